//! The configuration that `rcrun spec` writes: runc's, with rcrun's hostname and a cgroup namespace.
//!
//! It is text first, so that fields stand in the order in which people know them.

use super::Spec;

/// Marks lines that differ between the two configurations; each stands for whole lines.
const TEMPLATE: &str = r#"{
	"ociVersion": "@VERSION@",
	"process": {
		"terminal": true,
		"user": {
			"uid": 0,
			"gid": 0
		},
		"args": [
			"sh"
		],
		"env": [
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			"TERM=xterm"
		],
		"cwd": "/",
		"capabilities": {
			"bounding": [
				"CAP_AUDIT_WRITE",
				"CAP_KILL",
				"CAP_NET_BIND_SERVICE"
			],
			"effective": [
				"CAP_AUDIT_WRITE",
				"CAP_KILL",
				"CAP_NET_BIND_SERVICE"
			],
			"permitted": [
				"CAP_AUDIT_WRITE",
				"CAP_KILL",
				"CAP_NET_BIND_SERVICE"
			]
		},
		"rlimits": [
			{
				"type": "RLIMIT_NOFILE",
				"hard": 1024,
				"soft": 1024
			}
		],
		"noNewPrivileges": true
	},
	"root": {
		"path": "rootfs",
		"readonly": true
	},
	"hostname": "rcrun",
	"mounts": [
		{
			"destination": "/proc",
			"type": "proc",
			"source": "proc"
		},
		{
			"destination": "/dev",
			"type": "tmpfs",
			"source": "tmpfs",
			"options": [
				"nosuid",
				"strictatime",
				"mode=755",
				"size=65536k"
			]
		},
		{
			"destination": "/dev/pts",
			"type": "devpts",
			"source": "devpts",
			"options": [
				"nosuid",
				"noexec",
				"newinstance",
				"ptmxmode=0666",
				"mode=0620"@TTY_GROUP@
			]
		},
		{
			"destination": "/dev/shm",
			"type": "tmpfs",
			"source": "shm",
			"options": [
				"nosuid",
				"noexec",
				"nodev",
				"mode=1777",
				"size=65536k"
			]
		},
		{
			"destination": "/dev/mqueue",
			"type": "mqueue",
			"source": "mqueue",
			"options": [
				"nosuid",
				"noexec",
				"nodev"
			]
		},
		{
			"destination": "/sys",
			@SYS@
				"nosuid",
				"noexec",
				"nodev",
				"ro"
			]
		},
		{
			"destination": "/sys/fs/cgroup",
			"type": "cgroup",
			"source": "cgroup",
			"options": [
				"nosuid",
				"noexec",
				"nodev",
				"relatime",
				"ro"
			]
		}
	],
	"linux": {
		@IDS_AND_RESOURCES@
		"namespaces": [
			{
				"type": "pid"
			},@NETWORK@
			{
				"type": "ipc"
			},
			{
				"type": "uts"
			},
			{
				"type": "mount"
			},
			{
				"type": "cgroup"
			}@USER@
		],
		"maskedPaths": [
			"/proc/acpi",
			"/proc/asound",
			"/proc/kcore",
			"/proc/keys",
			"/proc/latency_stats",
			"/proc/timer_list",
			"/proc/timer_stats",
			"/proc/sched_debug",
			"/sys/firmware",
			"/proc/scsi"
		],
		"readonlyPaths": [
			"/proc/bus",
			"/proc/fs",
			"/proc/irq",
			"/proc/sys",
			"/proc/sysrq-trigger"
		]
	}
}"#;

const TTY_GROUP: &str = r#",
				"gid=5""#;

const SYSFS: &str = r#""type": "sysfs",
			"source": "sysfs",
			"options": ["#;

/// A new sysfs needs a network namespace of its own; without one the host's is bound, read-only with
/// all below it: a cgroup that is delegated to the user is no business of the container's.
const HOST_SYS: &str = r#""type": "none",
			"source": "/sys",
			"options": [
				"rbind",
				"rro","#;

const RESOURCES: &str = r#""resources": {
			"devices": [
				{
					"allow": false,
					"access": "rwm"
				}
			]
		},"#;

const MAPPINGS: &str = r#""uidMappings": [
			{
				"containerID": 0,
				"hostID": @UID@,
				"size": 1
			}
		],
		"gidMappings": [
			{
				"containerID": 0,
				"hostID": @GID@,
				"size": 1
			}
		],"#;

const NETWORK: &str = r#"
			{
				"type": "network"
			},"#;

const USER: &str = r#",
			{
				"type": "user"
			}"#;

/// The text of a config.json for root, indented by tabs.
pub fn default_config() -> String {
    fill(&[
        ("@TTY_GROUP@", TTY_GROUP),
        ("@SYS@", SYSFS),
        ("@IDS_AND_RESOURCES@", RESOURCES),
        ("@NETWORK@", NETWORK),
        ("@USER@", ""),
    ])
}

/// The same for the user `uid` and the group `gid`: a user namespace that maps only these, and none
/// of what only the host's root may do.
pub fn rootless_config(uid: u32, gid: u32) -> String {
    fill(&[
        ("@TTY_GROUP@", ""),
        ("@SYS@", HOST_SYS),
        ("@IDS_AND_RESOURCES@", MAPPINGS),
        ("@UID@", &uid.to_string()),
        ("@GID@", &gid.to_string()),
        ("@NETWORK@", ""),
        ("@USER@", USER),
    ])
}

/// [`default_config`] as the specification's types.
pub fn default_spec() -> Spec {
    serde_json::from_str(&default_config()).expect("the template is a valid config.json")
}

/// [`rootless_config`] as the specification's types.
pub fn rootless_spec(uid: u32, gid: u32) -> Spec {
    serde_json::from_str(&rootless_config(uid, gid)).expect("the template is a valid config.json")
}

fn fill(parts: &[(&str, &str)]) -> String {
    let text = TEMPLATE.replace("@VERSION@", super::OCI_VERSION);
    parts.iter().fold(text, |text, (mark, part)| text.replace(mark, part))
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::LinuxNamespaceType as Kind;

    use super::*;

    fn kinds(spec: &Spec) -> Vec<Kind> {
        let linux = spec.linux().as_ref().unwrap();
        linux.namespaces().iter().flatten().map(|namespace| namespace.typ()).collect()
    }

    #[test]
    fn no_mark_is_left() {
        assert!(!default_config().contains('@'));
        assert!(!rootless_config(1000, 1001).contains('@'));
    }

    #[test]
    fn root_gets_a_network_and_no_user_namespace() {
        let spec = default_spec();
        assert_eq!(kinds(&spec), [Kind::Pid, Kind::Network, Kind::Ipc, Kind::Uts, Kind::Mount, Kind::Cgroup]);
        assert_eq!(spec.hostname().as_deref(), Some("rcrun"));
        assert!(spec.linux().as_ref().unwrap().resources().is_some());
    }

    #[test]
    fn a_user_gets_a_user_namespace_that_maps_only_itself() {
        let spec = rootless_spec(1000, 1001);
        assert_eq!(kinds(&spec), [Kind::Pid, Kind::Ipc, Kind::Uts, Kind::Mount, Kind::Cgroup, Kind::User]);
        let linux = spec.linux().as_ref().unwrap();
        let (uids, gids) = (linux.uid_mappings().as_ref().unwrap(), linux.gid_mappings().as_ref().unwrap());
        assert_eq!((uids[0].host_id(), uids[0].container_id(), uids[0].size()), (1000, 0, 1));
        assert_eq!((gids[0].host_id(), gids[0].container_id(), gids[0].size()), (1001, 0, 1));
        assert!(linux.resources().is_none());
        let options = |destination: &str| {
            let mounts = spec.mounts().as_ref().unwrap();
            let mount = mounts.iter().find(|m| m.destination().to_str() == Some(destination)).unwrap();
            mount.options().clone().unwrap()
        };
        assert_eq!(options("/sys")[0], "rbind");
        assert!(!options("/dev/pts").iter().any(|option| option.starts_with("gid=")));
    }
}
