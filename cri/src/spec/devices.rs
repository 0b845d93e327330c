//! Devices: nodes below /dev, and who may use them.

use std::path::{Component, Path, PathBuf};

use serde_json::{Value, json};

use super::{Invalid, Node, Request};
use crate::api::Device;

/// linux.devices and linux.resources.devices.
#[derive(Debug)]
pub(super) struct Devices {
    pub nodes: Vec<Value>,
    pub rules: Vec<Value>,
}

/// All are denied but for the usual ones, which the runtime adds, and those that are asked for. A privileged container gets
/// all, unless its runtime handler says otherwise.
pub(super) fn devices(request: &Request<'_>) -> Result<Devices, Invalid> {
    let all = request.security().privileged && !request.profile.privileged_without_host_devices;
    let mut devices = Devices { nodes: Vec::new(), rules: vec![json!({"allow": all, "access": "rwm"})] };
    if all {
        devices.nodes = hosts(request)?;
    }
    for (index, device) in request.container.devices.iter().enumerate() {
        let field = format!("devices[{index}]");
        for (path, node) in found(request, &field, device)? {
            if !all {
                devices.rules.push(json!({
                    "allow": true, "type": kind(&node), "major": node.major, "minor": node.minor,
                    "access": device.permissions,
                }));
            }
            devices.nodes.retain(|known| known["path"] != *path.to_string_lossy());
            devices.nodes.push(json(&path, &node));
        }
    }
    Ok(devices)
}

/// The host's nodes with their paths in the container: one, or all below a directory.
fn found(request: &Request<'_>, field: &str, device: &Device) -> Result<Vec<(PathBuf, Node)>, Invalid> {
    let (host, target) = (Path::new(&device.host_path), Path::new(&device.container_path));
    let is_plain =
        |path: &Path| path.is_absolute() && !path.components().any(|part| part == Component::ParentDir);
    for (name, path) in [("host_path", host), ("container_path", target)] {
        if !is_plain(path) || path.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(Invalid::new(
                format!("{field}.{name}"),
                format!("{path:?} is no absolute path without .."),
            ));
        }
    }
    let access = device.permissions.as_str();
    if access.is_empty() || !access.bytes().all(|byte| b"rwm".contains(&byte)) {
        let reason = format!("{access:?} is none of r, w and m");
        return Err(Invalid::new(format!("{field}.permissions"), reason));
    }
    let refuse =
        |reason: String| Err(Invalid::new(format!("{field}.host_path"), format!("{host:?}: {reason}")));
    let nodes = match request.host_files.devices(host) {
        Ok(nodes) => nodes,
        Err(error) => return refuse(error.to_string()),
    };
    if nodes.is_empty() {
        return refuse("neither a device nor a directory with devices".into());
    }
    // A link's name says nothing in the container: the node is what it leads to.
    let place =
        |below: PathBuf| if below.as_os_str().is_empty() { target.to_owned() } else { target.join(below) };
    Ok(nodes.into_iter().map(|(below, node)| (place(below), node)).collect())
}

/// All of the host's /dev but what is a terminal's, or of the container's own.
fn hosts(request: &Request<'_>) -> Result<Vec<Value>, Invalid> {
    const OWN: [&str; 10] =
        ["pts", "shm", "mqueue", "fd", "console", "ptmx", "core", ".lxc", ".lxd-mounts", ".udev"];
    let devices = request.host_files.devices(Path::new("/dev"));
    let devices = devices
        .map_err(|error| Invalid::new("linux.security_context.privileged", format!("read /dev: {error}")))?;
    let is_own = |path: &Path| OWN.iter().any(|own| path.starts_with(own));
    let theirs = devices.into_iter().filter(|(path, _)| !is_own(path));
    Ok(theirs.map(|(path, node)| json(&Path::new("/dev").join(path), &node)).collect())
}

fn json(path: &Path, node: &Node) -> Value {
    json!({
        "path": path, "type": kind(node), "major": node.major, "minor": node.minor, "fileMode": node.mode,
        "uid": node.uid, "gid": node.gid,
    })
}

fn kind(node: &Node) -> &'static str {
    if node.block { "b" } else { "c" }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Wish;
    use super::*;

    fn node(minor: u32) -> Node {
        Node { block: minor == 8, major: 10, minor, mode: 0o660, uid: 0, gid: 6 }
    }

    fn wish(host: &str, target: &str, permissions: &str) -> Wish {
        Wish::with(|wish| {
            wish.container.devices = vec![Device {
                container_path: target.into(),
                host_path: host.into(),
                permissions: permissions.into(),
            }];
            wish.host_files.devices = vec![
                ("/dev/fuse", vec![("", node(229))]),
                ("/dev/snd", vec![("by/one", node(1)), ("two", node(8))]),
                ("/etc", vec![]),
                (
                    "/dev",
                    vec![("fuse", node(229)), ("pts/0", node(3)), ("console", node(4)), ("sda", node(8))],
                ),
            ];
        })
    }

    #[test]
    fn a_device_is_made_and_allowed() {
        let config = wish("/dev/fuse", "/dev/mine", "rw").json();
        let made = json!([{
            "path": "/dev/mine", "type": "c", "major": 10, "minor": 229, "fileMode": 0o660, "uid": 0, "gid": 6,
        }]);
        assert_eq!(config["linux"]["devices"], made);
        let rules = &config["linux"]["resources"]["devices"];
        assert_eq!(rules[1], json!({"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}));
        assert_eq!(rules.as_array().unwrap().len(), 2);
    }

    fn paths(config: &Value) -> Vec<Value> {
        let devices = config["linux"]["devices"].as_array().unwrap();
        devices.iter().map(|device| device["path"].clone()).collect()
    }

    #[test]
    fn a_directory_stands_for_the_devices_below_it() {
        let config = wish("/dev/snd", "/dev/sound", "r").json();
        assert_eq!(paths(&config), ["/dev/sound/by/one", "/dev/sound/two"]);
        assert_eq!(config["linux"]["resources"]["devices"][2]["type"], "b");
    }

    #[test]
    fn a_privileged_container_has_the_hosts_devices() {
        let mut wish = wish("/dev/fuse", "/dev/fuse", "rw");
        wish.privileged();
        let config = wish.json();
        assert_eq!(paths(&config), ["/dev/sda", "/dev/fuse"]);
        assert_eq!(config["linux"]["resources"]["devices"], json!([{"allow": true, "access": "rwm"}]));
        wish.profile.privileged_without_host_devices = true;
        let config = wish.json();
        assert_eq!(config["linux"]["devices"].as_array().unwrap().len(), 1);
        assert_eq!(config["linux"]["resources"]["devices"][0]["allow"], false);
    }

    #[test]
    fn devices_that_are_none_are_named() {
        for (host, target, permissions, expected) in [
            ("/dev/fuse", "/dev/fuse", "", "devices[0].permissions: \"\" is none of r, w and m"),
            ("/dev/fuse", "/dev/fuse", "rx", "devices[0].permissions: \"rx\" is none of r, w and m"),
            (
                "dev/fuse",
                "/dev/fuse",
                "r",
                "devices[0].host_path: \"dev/fuse\" is no absolute path without ..",
            ),
            (
                "/dev/fuse",
                "/dev/../x",
                "r",
                "devices[0].container_path: \"/dev/../x\" is no absolute path without ..",
            ),
            (
                "/etc",
                "/dev/x",
                "r",
                "devices[0].host_path: \"/etc\": neither a device nor a directory with devices",
            ),
            (
                "/dev/no",
                "/dev/x",
                "r",
                "devices[0].host_path: \"/dev/no\": No such file or directory (os error 2)",
            ),
        ] {
            assert_eq!(wish(host, target, permissions).error(), expected);
        }
    }
}
