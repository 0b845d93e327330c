//! `linux.rootfsPropagation`, and the propagation of single mounts.

use serde_json::json;

use crate::support::{Bundle, busybox};

/// The optional fields of mountinfo (`shared:N`, `master:N`, `unbindable`) of a mount point,
/// without numbers; `-` for none.
const FIELDS: &str = r#"fields() { while read -r _ _ _ _ point _ rest; do
    [ "$point" = "$1" ] && last=${rest%%- *}; done </proc/self/mountinfo
    echo "${last:--}" | sed 's/:[0-9]*//g; s/ *$//'; }; "#;

/// Runs the bundle where its root file system is a mount, shared with the host's namespace.
fn run_on_shared(bundle: &Bundle, options: &[&str]) -> crate::support::Outcome {
    bundle.write_config();
    let inside = "mount --bind \"$0\" \"$0\" && mount --make-rshared / && exec \"$@\"";
    let script = format!("exec unshare -m sh -c '{inside}' '{}' \"$@\"", bundle.rootfs().display());
    bundle.invocation_in_shell(&script, &bundle.bundle_command("run", options)).wait()
}

#[test]
fn the_roots_propagation_is_as_configured() {
    for (name, root, below) in [
        ("", "master", "-"),
        ("slave", "master", "-"),
        ("rslave", "master", "-"),
        ("private", "-", "-"),
        ("rprivate", "-", "-"),
        ("shared", "shared", "-"),
        ("rshared", "shared", "shared"),
        ("unbindable", "unbindable", "-"),
        ("runbindable", "unbindable", "unbindable"),
    ] {
        for options in [&[][..], &["--no-pivot"]] {
            let bundle = busybox!().script(&format!("{FIELDS} fields /; fields /mnt"));
            let bundle = bundle.mount("/mnt", "tmpfs", "tmpfs", &[]);
            let bundle = bundle.set("/linux/rootfsPropagation", json!(name));
            let outcome = run_on_shared(&bundle, options).success();
            assert_eq!(outcome.stdout.trim_end(), format!("{root}\n{below}"), "{name:?} {options:?}");
        }
    }
}

#[test]
fn a_shared_root_is_no_peer_of_the_hosts() {
    let bundle =
        busybox!().script("mkdir /tmp/inner && mount -t tmpfs tmpfs /tmp/inner && touch /tmp/inner/x");
    let bundle = bundle.writable().set("/linux/rootfsPropagation", json!("rshared"));
    let bundle = bundle.edit(|config| {
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_SYS_ADMIN"]);
        }
    });
    bundle.write_config();
    let inside = "mount --bind \"$0\" \"$0\" && mount --make-rshared / && \"$@\" && ls \"$0/tmp/inner\"";
    let script = format!("exec unshare -m sh -c '{inside}' '{}' \"$@\"", bundle.rootfs().display());
    bundle.invocation_in_shell(&script, &bundle.bundle_command("run", &[])).wait().prints("");
}

#[test]
fn a_binds_propagation_is_as_configured() {
    for (name, top, below) in [
        ("private", "-", "master"),
        ("rprivate", "-", "-"),
        ("slave", "master", "master"),
        ("rslave", "master", "master"),
        ("shared", "shared", "shared"),
        ("rshared", "shared", "shared"),
        ("unbindable", "unbindable", "master"),
        ("runbindable", "unbindable", "unbindable"),
    ] {
        let bundle = busybox!().script(&format!("{FIELDS} fields /mnt; fields /mnt/below"));
        let data = bundle.data();
        std::fs::create_dir(data.join("below")).expect("mkdir");
        let bundle = bundle.bind(&data, "/mnt", &["rbind", name]);
        bundle.write_config();
        let inside = "mount --bind \"$0\" \"$0\" && mount -t tmpfs tmpfs \"$0/below\" && \
            mount --make-rshared / && exec \"$@\"";
        let script = format!("exec unshare -m sh -c '{inside}' '{}' \"$@\"", data.display());
        let outcome = bundle.invocation_in_shell(&script, &bundle.bundle_command("run", &[])).wait();
        let lines: Vec<String> = outcome.success().stdout.lines().map(str::to_owned).collect();
        assert_eq!(lines, [top, below], "{name}");
    }
}

#[test]
fn an_unknown_root_propagation_is_refused_by_name() {
    let bundle = busybox!().set("/linux/rootfsPropagation", json!("everywhere"));
    bundle.run().refused(&["linux.rootfsPropagation", "everywhere"]);
    bundle.leaves_nothing();
}
