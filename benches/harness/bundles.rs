//! One root file system out of Debian's busybox, and a bundle for each case.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};

#[path = "../../tests/seccomp/profiles.rs"]
mod profiles;

/// Debian's busybox-static.
const BUSYBOX: &str = "/bin/busybox";
/// podman's default profile, of Debian's golang-github-containers-common.
const PROFILE: &str = "/usr/share/containers/seccomp.json";
/// The network namespace that the case `network` joins.
pub const NETWORK: &str = "/run/bench/network";
/// The ids of the case `user`'s containers on the host.
pub const FIRST_ID: u32 = 100_000;
/// How many these are.
pub const IDS: u32 = 65_536;

/// Makes all of them below `out`, which is emptied of older ones; the directory that holds them.
pub fn make(out: &Path) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(out).with_context(|| format!("make {}", out.display()))?;
    let bundles = fs::canonicalize(out)?.join("bundles");
    if bundles.exists() {
        fs::remove_dir_all(&bundles).with_context(|| format!("remove {}", bundles.display()))?;
    }
    let root = bundles.join("rootfs");
    root_file_system(&root).with_context(|| format!("make the root file system {}", root.display()))?;
    let default = default_config(&root)?;
    write(&bundles, "default", &default)?;
    write(&bundles, "sleep", &with_args(&default, &["sleep", "1000000"]))?;
    if let Ok(profile) = fs::read(PROFILE) {
        let profile = serde_json::from_slice(&profile).with_context(|| format!("read {PROFILE}"))?;
        let mut config = default.clone();
        config["linux"]["seccomp"] = profiles::resolved(&profile, &[]);
        write(&bundles, "seccomp", &config)?;
    }
    write(&bundles, "network", &joining_network(&default))?;
    write(&bundles, "user", &in_user_namespace(&default, &bundles.join("user/rootfs")))?;
    write(&bundles, "mounts", &with_mounts(&default, &bundles.join("shared")))?;
    fs::create_dir(bundles.join("user/rootfs"))?;
    fs::create_dir(bundles.join("shared"))?;
    Ok(bundles)
}

fn root_file_system(root: &Path) -> anyhow::Result<()> {
    let mount_points = ["proc", "dev", "sys"].map(String::from).into_iter();
    for name in mount_points.chain(["bin".into(), "mnt".into()]).chain((0..40).map(|n| format!("mnt/{n}"))) {
        fs::create_dir_all(root.join(name))?;
    }
    let busybox = root.join("bin/busybox");
    fs::copy(BUSYBOX, &busybox).with_context(|| format!("copy {BUSYBOX} (package busybox-static)"))?;
    fs::set_permissions(&busybox, fs::Permissions::from_mode(0o755))?;
    for applet in ["true", "sleep", "sh", "cat", "ls", "grep", "id"] {
        fs::hard_link(&busybox, root.join("bin").join(applet))?;
    }
    Ok(())
}

/// runc's and rcrun's, without a terminal, for /bin/true.
fn default_config(root: &Path) -> anyhow::Result<Value> {
    let mut config: Value = serde_json::from_str(&rcrun::spec::default_config())?;
    config["process"]["terminal"] = json!(false);
    config["root"]["path"] = json!(root);
    Ok(with_args(&config, &["/bin/true"]))
}

fn with_args(config: &Value, args: &[&str]) -> Value {
    let mut config = config.clone();
    config["process"]["args"] = json!(args);
    config
}

/// As a container of a Pod has it.
fn joining_network(config: &Value) -> Value {
    let mut config = config.clone();
    for namespace in config["linux"]["namespaces"].as_array_mut().into_iter().flatten() {
        if namespace["type"] == "network" {
            namespace["path"] = json!(NETWORK);
        }
    }
    config
}

fn in_user_namespace(config: &Value, root: &Path) -> Value {
    let mut config = config.clone();
    let ids = json!([{"containerID": 0, "hostID": FIRST_ID, "size": IDS}]);
    config["root"]["path"] = json!(root);
    config["linux"]["uidMappings"] = ids.clone();
    config["linux"]["gidMappings"] = ids;
    if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
        namespaces.push(json!({"type": "user"}));
    }
    config
}

/// 40 binds of a directory more, as many volumes as a large Pod has.
fn with_mounts(config: &Value, shared: &Path) -> Value {
    let mut config = config.clone();
    let bind = |n| json!({"destination": format!("/mnt/{n}"), "source": shared, "type": "bind", "options": ["rbind", "ro"]});
    if let Some(mounts) = config["mounts"].as_array_mut() {
        mounts.extend((0..40).map(bind));
    }
    config
}

fn write(bundles: &Path, name: &str, config: &Value) -> anyhow::Result<()> {
    let directory = bundles.join(name);
    fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    let path = directory.join("config.json");
    fs::write(&path, serde_json::to_vec_pretty(config)?).with_context(|| format!("write {}", path.display()))
}
