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
