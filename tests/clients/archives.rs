//! Images that go from podman, buildah and docker to rcrun in archives, and back.

use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::image;
use crate::support::{Outcome, require};
use crate::view::{RCRUN, ROOTFS, View};

/// Where rcrun keeps its images in the view.
const STORE: &str = "/run/images";

fn rcrun(view: &View, args: &[&str]) -> Outcome {
    view.run(&[&[RCRUN, "--storage", STORE], args].concat())
}

/// Ids of the images in rcrun's store, as others write them.
fn ids(view: &View) -> Vec<String> {
    let outcome = rcrun(view, &["images", "--no-trunc", "--quiet"]).success();
    let mut ids: Vec<String> =
        outcome.stdout.lines().map(|id| id.trim_start_matches("sha256:").to_owned()).collect();
    ids.dedup();
    ids
}

fn forget(view: &View) {
    view.run(&["rm", "-rf", STORE]).success();
}

#[test]
fn archives_of_podmans_and_buildahs_are_loaded_and_podman_loads_what_is_saved() {
    let mut view = require!(View::new("podman"));
    let name = "r.example/team/app:1";
    view.run(&["podman", "import", "--quiet", "--change", "CMD=[\"sh\"]", ROOTFS, name]).success();
    view.accept_present();
    view.expect(&["/var/lib/containers/storage/overlay"]);
    let id = view.run(&["podman", "image", "inspect", "--format", "{{.Id}}", name]).success();
    let id = id.stdout.trim().to_owned();
    for format in ["docker-archive", "oci-archive", "oci-dir"] {
        let file = format!("/run/{format}");
        view.run(&["podman", "save", "--quiet", "--format", format, "--output", &file, name]).success();
        rcrun(&view, &["load", "--quiet", "-i", &file]).prints(&format!("Loaded image: {name}"));
        // podman makes another configuration for docker's archive.
        if format != "docker-archive" {
            assert_eq!(ids(&view), [id.as_str()], "{format}");
        }
        forget(&view);
    }
    for transport in ["docker-archive", "oci-archive"] {
        let target = format!("{transport}:/run/{transport}.pushed:{name}");
        view.run(&["buildah", "push", "--quiet", name, &target]).success();
        let file = format!("/run/{transport}.pushed");
        rcrun(&view, &["load", "--quiet", "-i", &file]).prints(&format!("Loaded image: {name}"));
        forget(&view);
    }

    rcrun(&view, &["load", "--quiet", "-i", "/run/oci-archive"]).success();
    view.run(&["podman", "rmi", name]).success();
    for format in ["docker-archive", "oci-archive", "oci-dir"] {
        let file = format!("/run/saved-{format}");
        rcrun(&view, &["save", "--format", format, "-o", &file, name]).success();
        let loaded = view.run(&["podman", "load", "--quiet", "--input", &file]).success();
        // podman calls what is in a directory as the directory.
        let name = if format == "oci-dir" { "localhost/run/saved-oci-dir" } else { name };
        loaded.prints(&format!("Loaded image: {name}"));
        let again = view.run(&["podman", "image", "inspect", "--format", "{{.Id}}", name]).success();
        assert_eq!(again.stdout.trim(), id, "{format}");
        view.run(&["podman", "rmi", name]).success();
    }
}

#[test]
fn archives_of_dockers_are_loaded_and_docker_loads_and_runs_what_is_saved() {
    let mut view = require!(View::new("docker"));
    view.run(&["mount", "--bind", "-o", "ro", "/proc/sys/kernel/keys", "/proc/sys/kernel/keys"]).success();
    view.watch("/run/docker/runtime-runc/moby");
    view.expect(&["/run/docker/netns"]);
    let name = "localhost/busybox:latest";
    image::write(&view, "/run/image.tar", name, &json!({"Env": ["PATH=/bin", "FROM=image"]}));
    let runtime = format!("rcrun={RCRUN}");
    let args = [
        &["dockerd", "--log-level", "warn", "--add-runtime", &runtime][..],
        &["--exec-opt", "native.cgroupdriver=cgroupfs", "--storage-driver", "overlay2"],
        &["--bridge", "none", "--iptables=false", "--ip6tables=false"],
    ]
    .concat();
    let daemon = Daemon::start(view, &args, &["/usr/bin/docker", "version"]);
    let docker = |args: &[&str]| daemon.view.run(&[&["/usr/bin/docker"], args].concat());
    docker(&["load", "--input", "/run/image.tar"]).success();
    docker(&["tag", name, "team/app:2"]).success();
    // Two names and a layer that both have; docker writes links for layers that are the same.
    docker(&["save", "--output", "/run/docker.tar", name, "team/app:2"]).success();
    let inspected: Value = docker(&["image", "inspect", name]).success().json();
    let id = inspected[0]["Id"].as_str().expect("an id").trim_start_matches("sha256:").to_owned();
    let loaded = rcrun(&daemon.view, &["load", "--quiet", "-i", "/run/docker.tar"]).success();
    let mut lines: Vec<&str> = loaded.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["Loaded image: localhost/busybox:latest", "Loaded image: team/app:2"]);
    assert_eq!(ids(&daemon.view), [id.as_str()]);

    docker(&["rmi", name, "team/app:2"]).success();
    let save = ["save", "-o", "/run/saved.tar", "team/app:2", name];
    rcrun(&daemon.view, &save).success();
    let loaded = docker(&["load", "--input", "/run/saved.tar"]).success();
    for name in [name, "team/app:2"] {
        assert!(loaded.stdout.contains(&format!("Loaded image: {name}")), "{loaded}");
        let inspected: Value = docker(&["image", "inspect", name]).success().json();
        assert_eq!(inspected[0]["Id"].as_str().unwrap().trim_start_matches("sha256:"), id);
    }
    docker(&["run", "--runtime", "rcrun", "--rm", "team/app:2", "sh", "-c", "echo $FROM"]).prints("image");
}

#[test]
fn archives_of_containerds_are_loaded_and_containerd_imports_what_is_saved() {
    let mut view = require!(View::new("containerd"));
    let configuration = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\", \
                         \"io.containerd.snapshotter.v1.devmapper\"]\n";
    view.write("/etc/containerd/config.toml", configuration);
    view.watch("/run/containerd/runc/default");
    let name = "docker.io/team/app:1";
    image::write(&view, "/run/image.tar", name, &json!({"Env": ["PATH=/bin", "FROM=image"]}));
    let daemon = Daemon::start(view, &["containerd", "--log-level", "warn"], &["ctr", "version"]);
    let ctr = |args: &[&str]| daemon.view.run(&[&["ctr"], args].concat());
    ctr(&["image", "import", "/run/image.tar"]).success();
    ctr(&["image", "export", "/run/exported.tar", name]).success();
    rcrun(&daemon.view, &["load", "--quiet", "-i", "/run/exported.tar"]).prints("Loaded image: team/app:1");
    let digest = |listed: Outcome| {
        let line = listed.stdout.lines().find(|line| line.starts_with(name)).expect("the image").to_owned();
        line.split_whitespace().find(|word| word.starts_with("sha256:")).expect("a digest").to_owned()
    };
    let before = digest(ctr(&["image", "list"]).success());
    ctr(&["image", "remove", "--sync", name]).success();
    for format in ["docker-archive", "oci-archive"] {
        let file = format!("/run/{format}");
        rcrun(&daemon.view, &["save", "--format", format, "-o", &file, name]).success();
        ctr(&["image", "import", &file]).success();
        assert_eq!(digest(ctr(&["image", "list"]).success()), before, "{format}");
        let run = ctr(&["run", "--rm", "--runc-binary", RCRUN, name, "one", "sh", "-c", "echo $FROM"]);
        run.prints("image");
        ctr(&["image", "remove", "--sync", name]).success();
    }
}
