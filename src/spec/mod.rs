//! The bundle's configuration: bytes of config.json in, a checked [`Spec`] out.
//!
//! Rules here need the spec alone. What depends on the host is decided by [`crate::plan`]. Format:
//! the OCI runtime specification 1.3, config.md and config-linux.md.

mod default;
mod dialect;
mod validate;
mod variables;

pub use default::{default_config, default_spec, rootless_config, rootless_spec};
pub use oci_spec::runtime::{LinuxIdMapping, Process, Spec};
pub(crate) use validate::{has_namespace, joined_path, joins_namespace};
pub use validate::{sysctl_namespace, sysctl_path};
pub(crate) use variables::bytes_of;
pub use variables::variable;

/// The newest version of the runtime specification whose Linux part rcrun knows.
pub const OCI_VERSION: &str = "1.3.0";

/// What is wrong with a configuration, and where in it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SpecError {
    /// The text is no JSON.
    #[error("{file}: not JSON: {reason}")]
    NotJson {
        /// Which file.
        file: &'static str,
        /// The parser's words, with line and column.
        reason: String,
    },
    /// JSON, but not of the specification's types.
    #[error("{file}: {path}: {reason}")]
    WrongType {
        /// Which file.
        file: &'static str,
        /// JSON path of the value.
        path: String,
        /// The parser's words, with line and column.
        reason: String,
    },
    /// A value that the specification does not allow.
    #[error("config.json: {path}: {reason}")]
    Invalid {
        /// JSON path of the value.
        path: String,
        /// What is wrong with it, and the cure.
        reason: String,
    },
}

impl SpecError {
    /// An [`SpecError::Invalid`].
    pub(crate) fn invalid(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { path: path.into(), reason: reason.into() }
    }

    /// Only `create` does without.
    pub(crate) fn missing_process() -> Self {
        Self::invalid("process", "missing: there is nothing to start without it")
    }
}

/// Parses and checks a config.json.
pub fn parse(bytes: &[u8]) -> Result<Spec, SpecError> {
    let spec: Spec = parse_json("config.json", bytes)?;
    validate::spec(&spec)?;
    Ok(spec)
}

/// Parses and checks a process.json, as `exec --process` takes it.
pub fn parse_process(bytes: &[u8]) -> Result<Process, SpecError> {
    let process: Process = parse_json("process.json", bytes)?;
    check_process(&process)?;
    Ok(process)
}

/// Checks a process object that was put together from flags.
pub fn check_process(process: &Process) -> Result<(), SpecError> {
    validate::process(process)
}

/// Parses JSON; only a failure pays for finding its path.
pub fn parse_json<T: serde::de::DeserializeOwned>(file: &'static str, bytes: &[u8]) -> Result<T, SpecError> {
    let error = match serde_json::from_slice(bytes) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    if let Some(text) = dialect::translated(bytes) {
        return parse_json(file, &text);
    }
    // An enum of a wrong type is reported as if the text were no JSON.
    if error.is_data() || serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok() {
        let deserializer = &mut serde_json::Deserializer::from_slice(bytes);
        if let Err(located) = serde_path_to_error::deserialize::<_, T>(deserializer) {
            let path = located.path().to_string();
            let reason = located.into_inner().to_string();
            return Err(SpecError::WrongType { file, path, reason: in_our_words(reason) });
        }
    }
    Err(SpecError::NotJson { file, reason: error.to_string() })
}

/// The types' words for a capability that is none say how they looked for it.
fn in_our_words(reason: String) -> String {
    match reason.strip_prefix("no variant for ").and_then(|rest| rest.split_once(" (")) {
        Some((name, _)) => format!("unknown capability {name}"),
        None => reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn with(edit: impl FnOnce(&mut Value)) -> Result<Spec, SpecError> {
        let mut config = serde_json::to_value(default_spec()).unwrap();
        edit(&mut config);
        parse(&serde_json::to_vec(&config).unwrap())
    }

    fn message(edit: impl FnOnce(&mut Value)) -> String {
        with(edit).unwrap_err().to_string()
    }

    #[test]
    fn the_default_spec_is_valid() {
        with(|_| ()).unwrap();
    }

    #[test]
    fn broken_json_names_line_and_column() {
        let error = parse(b"{\n  \"ociVersion\": oops\n}").unwrap_err().to_string();
        assert_eq!(error, "config.json: not JSON: expected value at line 2 column 17");
    }

    #[test]
    fn a_wrong_type_names_its_json_path() {
        let error = message(|c| c["process"]["user"]["uid"] = json!("root"));
        assert!(error.starts_with("config.json: process.user.uid: invalid type: string \"root\""), "{error}");
        let error = message(|c| c["mounts"][2]["destination"] = json!(7));
        assert!(error.starts_with("config.json: mounts[2].destination: "), "{error}");
    }

    #[test]
    fn an_unknown_capability_is_named() {
        let error = message(|c| c["process"]["capabilities"]["bounding"][0] = json!("CAP_WORLD"));
        assert_eq!(error, "config.json: process.capabilities.bounding[0]: unknown capability CAP_WORLD");
    }

    #[test]
    fn another_major_version_is_refused() {
        let error = message(|c| c["ociVersion"] = json!("2.0.0"));
        assert!(
            error.contains("ociVersion") && error.contains("2.0.0") && error.contains(OCI_VERSION),
            "{error}"
        );
        assert!(with(|c| c["ociVersion"] = json!("1.0.2-dev")).is_ok());
    }

    #[test]
    fn names_and_lines_of_intel_rdt_are_checked() {
        for (rdt, field) in [
            (json!({"closID": "."}), "closID"),
            (json!({"closID": ".."}), "closID"),
            (json!({"closID": "a/b"}), "closID"),
            (json!({"closID": "//"}), "closID"),
            (json!({"closID": "info"}), "closID"),
            (json!({"closID": "mon_groups"}), "closID"),
            (json!({"closID": "a\nb"}), "closID"),
            (json!({"closID": "a\u{0}b"}), "closID"),
            (json!({"closID": "x".repeat(256)}), "closID"),
            (json!({"memBwSchema": "L3:0=f"}), "memBwSchema"),
            (json!({"memBwSchema": "MB:0=20\nL3:0=f"}), "memBwSchema"),
            (json!({"schemata": ["L3:0=f", "L3:0=f\nMB:0=20"]}), "schemata[1]"),
        ] {
            let error = message(|c| c["linux"]["intelRdt"] = rdt.clone());
            assert!(error.starts_with(&format!("config.json: linux.intelRdt.{field}")), "{rdt}: {error}");
        }
        for rdt in [
            json!({}),
            json!({"closID": "/"}),
            json!({"closID": "", "memBwSchema": "", "schemata": [""], "enableCMT": true, "enableMBM": true}),
            json!({"closID": "a b", "l3CacheSchema": "L3CODE:0=f\nL3DATA:0=f", "enableMonitoring": true}),
        ] {
            with(|c| c["linux"]["intelRdt"] = rdt.clone()).unwrap();
        }
    }

    #[test]
    fn settings_of_a_namespace_need_that_namespace() {
        let without = |kind: &'static str| {
            move |c: &mut Value| {
                c["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != kind);
                c["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
            }
        };
        assert!(message(without("uts")).contains("hostname"));
        assert!(message(without("network")).contains("net.ipv4.ip_forward"));
        assert!(message(without("mount")).contains("mount namespace"));
    }

    #[test]
    fn a_sysctl_outside_of_the_namespaces_is_refused() {
        for key in ["kernel.panic", "vm.swappiness", "net/../kernel.panic", "net..x", "kernel/panic"] {
            let error = message(|c| c["linux"]["sysctl"] = json!({key: "1"}));
            assert!(error.contains(key), "{error}");
        }
        for key in
            ["net.core.somaxconn", "net/ipv4/conf/eth0.1/forwarding", "kernel.msgmax", "fs.mqueue.msg_max"]
        {
            with(|c| c["linux"]["sysctl"] = json!({key: "1"})).unwrap();
        }
    }

    #[test]
    fn values_that_the_specification_forbids_are_named() {
        type Edit = fn(&mut Value);
        let cases: [(&str, Edit); 9] = [
            ("process.args", |c| c["process"]["args"] = json!([])),
            ("process.cwd", |c| c["process"]["cwd"] = json!("relative")),
            ("root", |c| drop(c.as_object_mut().unwrap().remove("root"))),
            ("linux.namespaces[1]", |c| c["linux"]["namespaces"] = json!([{"type": "pid"}, {"type": "pid"}])),
            ("linux.uidMappings", |c| {
                c["linux"]["uidMappings"] = json!([{"hostID": 0, "containerID": 0, "size": 1}])
            }),
            ("hooks.prestart[0].path", |c| c["hooks"] = json!({"prestart": [{"path": "hook"}]})),
            ("hooks.poststop[0].timeout", |c| {
                c["hooks"] = json!({"poststop": [{"path": "/h", "timeout": 0}]})
            }),
            ("process.rlimits[1]", |c| {
                let limit = json!({"type": "RLIMIT_CORE", "soft": 0, "hard": 0});
                c["process"]["rlimits"] = json!([limit, limit]);
            }),
            ("process.env[0]", |c| c["process"]["env"] = json!(["A\u{0}B=1"])),
        ];
        for (path, edit) in cases {
            let error = message(edit);
            assert!(error.starts_with(&format!("config.json: {path}")), "{path}: {error}");
        }
    }
}
