//! What plugins answer to ADD: which of the addresses are the Pod's. CNI specification 1.1, section 5.

use std::net::IpAddr;

use serde_json::Value;

/// The addresses of `interface` in the Pod, IPv4 first, otherwise in the plugins' order. Addresses that name no interface count, too.
pub fn addresses(result: &Value, interface: &str) -> Result<Vec<IpAddr>, String> {
    let list = |key: &str| result.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_pods = |index: u64| {
        let found = usize::try_from(index).ok().and_then(|index| list("interfaces").get(index));
        found.is_none_or(|found| text(found, "name") == interface && !text(found, "sandbox").is_empty())
    };
    let (mut own, mut all) = (Vec::new(), Vec::new());
    for ip in list("ips") {
        let address = text(ip, "address");
        let plain = address.split('/').next().unwrap_or_default();
        let parsed: IpAddr = plain.parse().map_err(|_| format!("its result has the address {address:?}"))?;
        all.push(parsed);
        if ip.get("interface").and_then(Value::as_u64).is_none_or(is_pods) {
            own.push(parsed);
        }
    }
    // A plugin that names interfaces otherwise has given addresses all the same.
    let mut found = if own.is_empty() { all } else { own };
    if found.is_empty() {
        return Err("its result has no ips".into());
    }
    found.sort_by_key(IpAddr::is_ipv6);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(result: &Value) -> Vec<String> {
        addresses(result, "eth0").unwrap().iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn addresses_of_the_pods_interface_count() {
        let result = json!({
            "interfaces": [
                {"name": "cni0"}, {"name": "veth1"}, {"name": "eth0", "sandbox": "/run/netns/x"},
            ],
            "ips": [
                {"address": "10.1.0.1/16", "interface": 0},
                {"address": "fd00::2/64", "interface": 2},
                {"address": "10.1.0.2/16", "interface": 2, "gateway": "10.1.0.1"},
            ],
        });
        assert_eq!(found(&result), ["10.1.0.2", "fd00::2"]);
    }

    #[test]
    fn addresses_without_an_interface_count() {
        assert_eq!(found(&json!({"ips": [{"version": "4", "address": "10.1.0.2/16"}]})), ["10.1.0.2"]);
        let strange = json!({"interfaces": [{"name": "net1", "sandbox": "x"}], "ips": [{"address": "10.1.0.2/16", "interface": 0}]});
        assert_eq!(found(&strange), ["10.1.0.2"]);
    }

    #[test]
    fn a_result_without_addresses_is_an_error() {
        assert_eq!(addresses(&json!({"cniVersion": "1.0.0"}), "eth0").unwrap_err(), "its result has no ips");
        let wrong = addresses(&json!({"ips": [{"address": "10.1"}]}), "eth0").unwrap_err();
        assert_eq!(wrong, "its result has the address \"10.1\"");
    }
}
