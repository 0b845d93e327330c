//! io.weight (or BFQ's) and io.max.

use oci_spec::runtime::{LinuxBlockIo, LinuxThrottleDevice};

use super::{Absent, LimitError, Setting, invalid, refuse};

pub(super) fn plan(block_io: &LinuxBlockIo, settings: &mut Vec<Setting>) -> Result<(), LimitError> {
    refuse("linux.resources.blockIO.leafWeight", block_io.leaf_weight().is_some_and(|weight| weight != 0))?;
    if let Some(value) = block_io.weight().filter(|weight| *weight != 0) {
        settings.push(weight("", value, "linux.resources.blockIO.weight".into())?);
    }
    for (index, device) in block_io.weight_device().iter().flatten().enumerate() {
        let field = format!("linux.resources.blockIO.weightDevice[{index}]");
        refuse(&format!("{field}.leafWeight"), device.leaf_weight().is_some_and(|weight| weight != 0))?;
        if let Some(value) = device.weight().filter(|weight| *weight != 0) {
            let number = device_number(device.major(), device.minor(), &field)?;
            settings.push(weight(&format!("{number} "), value, format!("{field}.weight"))?);
        }
    }
    throttle(block_io.throttle_read_bps_device(), "rbps", "throttleReadBpsDevice", settings)?;
    throttle(block_io.throttle_write_bps_device(), "wbps", "throttleWriteBpsDevice", settings)?;
    throttle(block_io.throttle_read_iops_device(), "riops", "throttleReadIOPSDevice", settings)?;
    throttle(block_io.throttle_write_iops_device(), "wiops", "throttleWriteIOPSDevice", settings)
}

/// BFQ's weight has the spec's own range, that of io.cost (io.weight) goes from 1 to 10000.
fn weight(device: &str, weight: u16, field: String) -> Result<Setting, LimitError> {
    if !(10..=1000).contains(&weight) {
        return Err(invalid(field, weight, "a weight goes from 10 to 1000"));
    }
    let converted = 1 + (u32::from(weight) - 10) * 9999 / 990;
    let mut setting = Setting::new("io", "io.bfq.weight", format!("{device}{weight}"), field);
    setting.absent = Absent::Instead("io.weight", format!("{device}{converted}"));
    Ok(setting)
}

fn throttle(
    devices: &Option<Vec<LinuxThrottleDevice>>,
    key: &str,
    list: &str,
    settings: &mut Vec<Setting>,
) -> Result<(), LimitError> {
    for (index, device) in devices.iter().flatten().enumerate() {
        let field = format!("linux.resources.blockIO.{list}[{index}]");
        let number = device_number(device.major(), device.minor(), &field)?;
        // A rate of 0 takes the limit away, as it did on cgroup v1; io.max has a word for that.
        let rate = if device.rate() == 0 { "max".into() } else { device.rate().to_string() };
        settings.push(Setting::new("io", "io.max", format!("{number} {key}={rate}"), field));
    }
    Ok(())
}

fn device_number(major: i64, minor: i64, field: &str) -> Result<String, LimitError> {
    for (name, value) in [("major", major), ("minor", minor)] {
        if u32::try_from(value).is_err() {
            return Err(invalid(format!("{field}.{name}"), value, "it is no device number"));
        }
    }
    Ok(format!("{major}:{minor}"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{limits, written};
    use super::*;

    #[test]
    fn a_weight_is_bfqs_or_else_converted() {
        let json =
            r#"{"blockIO": {"weight": 500, "weightDevice": [{"major": 8, "minor": 0, "weight": 10}]}}"#;
        let settings = limits(json).unwrap().settings;
        assert_eq!(settings[0].to_string(), "io.bfq.weight = 500");
        assert_eq!(settings[0].absent, Absent::Instead("io.weight", "4950".into()));
        assert_eq!(settings[1].to_string(), "io.bfq.weight = 8:0 10");
        assert_eq!(settings[1].absent, Absent::Instead("io.weight", "8:0 1".into()));
        assert_eq!(
            weight("", 1000, String::new()).unwrap().absent,
            Absent::Instead("io.weight", "10000".into())
        );
    }

    #[test]
    fn each_throttle_is_a_key_of_io_max() {
        let device = r#"[{"major": 8, "minor": 16, "rate": 1000}]"#;
        let json = format!(
            r#"{{"blockIO": {{"throttleReadBpsDevice": {device}, "throttleWriteBpsDevice": {device},
            "throttleReadIOPSDevice": {device}, "throttleWriteIOPSDevice": [{{"major": 8, "minor": 16, "rate": 0}}]}}}}"#
        );
        assert_eq!(
            written(&json),
            [
                "io.max = 8:16 rbps=1000",
                "io.max = 8:16 wbps=1000",
                "io.max = 8:16 riops=1000",
                "io.max = 8:16 wiops=max"
            ]
        );
    }

    #[test]
    fn bad_weights_and_numbers_are_refused_with_their_path() {
        for (json, field) in [
            (r#"{"weight": 5}"#, "linux.resources.blockIO.weight is 5"),
            (r#"{"leafWeight": 100}"#, "linux.resources.blockIO.leafWeight"),
            (
                r#"{"weightDevice": [{"major": 8, "minor": 0, "weight": 2000}]}"#,
                "linux.resources.blockIO.weightDevice[0].weight",
            ),
            (
                r#"{"throttleReadBpsDevice": [{"major": -1, "minor": 0, "rate": 1}]}"#,
                "linux.resources.blockIO.throttleReadBpsDevice[0].major",
            ),
        ] {
            let error = limits(&format!(r#"{{"blockIO": {json}}}"#)).unwrap_err();
            assert!(error.starts_with(field), "{error}");
        }
        assert!(written(r#"{"blockIO": {"weight": 0, "leafWeight": 0}}"#).is_empty());
    }
}
