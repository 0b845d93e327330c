use serde_json::json;

use super::super::config::ImageConfig;
use super::super::mounts;
use super::super::options::{Dns, Network, Security};
use super::*;

fn image(config: Value) -> ImageConfig {
    let whole = json!({"os": "linux", "architecture": "amd64", "config": config});
    ImageConfig::parse("app", whole.to_string().as_bytes()).unwrap()
}

fn request<'a>(image: &'a ImageConfig, options: &'a Options) -> Request<'a> {
    Request {
        name: "app",
        image,
        options,
        user: User { uid: 7, gid: 8, groups: vec![9] },
        hostname: "c0ffee",
        root: "/c/rootfs".into(),
        files: vec![("/c/hosts".into(), "/etc/hosts".into())],
        volumes: vec![("/c/volumes/0".into(), "/data".into())],
        ids: None,
        makes_nodes: true,
        permitted: u64::MAX,
        many_ids: true,
    }
}

fn made(config: Value, options: &Options) -> Result<Value, String> {
    let value = spec(&request(&image(config), options)).map_err(|error| error.to_string())?;
    crate::spec::parse(value.to_string().as_bytes()).expect("a valid config.json");
    Ok(value)
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|&word| word.to_owned()).collect()
}

fn args(image: [&[&str]; 2], entrypoint: Option<&str>, args: &[&str]) -> Result<Vec<String>, String> {
    let [image_entrypoint, command] = image;
    let options =
        Options { entrypoint: entrypoint.map(str::to_owned), args: words(args), ..Options::default() };
    let value = made(json!({"Entrypoint": image_entrypoint, "Cmd": command}), &options)?;
    Ok(serde_json::from_value(value["process"]["args"].clone()).unwrap())
}

fn places(here: &Path) -> mounts::Places<'_> {
    mounts::Places { here, volumes: Path::new("/volumes") }
}

#[test]
fn entrypoint_and_command_are_dockers() {
    let both: [&[&str]; 2] = [&["/entry", "-x"], &["serve"]];
    let only: [&[&str]; 2] = [&[], &["sh"]];
    for (image, entrypoint, given, expected) in [
        (both, None, &[][..], Ok(words(&["/entry", "-x", "serve"]))),
        (both, None, &["-l"], Ok(words(&["/entry", "-x", "-l"]))),
        (both, Some("/bin/ls"), &["-l"], Ok(words(&["/bin/ls", "-l"]))),
        (both, Some("/bin/ls"), &[], Ok(words(&["/bin/ls"]))),
        (both, Some(""), &["true"], Ok(words(&["true"]))),
        (only, None, &[], Ok(words(&["sh"]))),
        (only, None, &["echo", "a b"], Ok(words(&["echo", "a b"]))),
    ] {
        assert_eq!(args(image, entrypoint, given), expected);
    }
    for (image, entrypoint) in [([&[][..], &[][..]], None), (both, Some(""))] {
        let error = args(image, entrypoint, &[]).unwrap_err();
        assert!(error.contains("app") && error.contains("neither Entrypoint nor Cmd"), "{error}");
    }
}

#[test]
fn the_environment_is_the_images_with_the_users_changes() {
    let config = json!({"Cmd": ["sh"], "Env": ["PATH=/x", "A=1", "B=2"]});
    let options = Options { tty: true, env: words(&["B=3", "C=", "A"]), ..Options::default() };
    let value = made(config, &options).unwrap();
    assert_eq!(value["process"]["env"], json!(["PATH=/x", "HOSTNAME=c0ffee", "TERM=xterm", "B=3", "C="]));
    let value = made(json!({"Cmd": ["sh"]}), &Options::default()).unwrap();
    assert_eq!(value["process"]["env"][0], format!("PATH={}", defaults::PATH));
    let options = Options { env: words(&["=x"]), ..Options::default() };
    assert!(made(json!({"Cmd": ["sh"]}), &options).unwrap_err().contains("no name"));
}

#[test]
fn who_is_not_root_has_capabilities_only_in_the_bounding_set() {
    let value = made(json!({"Cmd": ["sh"]}), &Options::default()).unwrap();
    let sets = &value["process"]["capabilities"];
    assert_eq!(sets["bounding"].as_array().unwrap().len(), 14);
    assert_eq!(sets["effective"], json!([]));
    assert_eq!(value["process"]["user"], json!({"uid": 7, "gid": 8, "additionalGids": [9]}));
}

#[test]
fn directories_are_absolute() {
    let directory = |working: &str, option: Option<&str>| {
        let options = Options { workdir: option.map(str::to_owned), ..Options::default() };
        made(json!({"Cmd": ["sh"], "WorkingDir": working}), &options)
            .map(|value| value["process"]["cwd"].as_str().unwrap().to_owned())
    };
    assert_eq!(directory("", None).unwrap(), "/");
    assert_eq!(directory("srv", None).unwrap(), "/srv");
    assert_eq!(directory("/srv", Some("/tmp")).unwrap(), "/tmp");
    assert!(directory("/srv", Some("tmp")).unwrap_err().contains("absolute"));
}

#[test]
fn mounts_are_sorted_and_a_wish_hides_what_would_be_there() {
    let here = Path::new("/here");
    let options = Options {
        mounts: vec![
            mounts::volume("/b:/data/deep", places(here)).unwrap(),
            mounts::volume("/a:/data:ro,rslave", places(here)).unwrap(),
            mounts::volume("/h:/etc/hosts", places(here)).unwrap(),
            mounts::tmpfs("/dev/shm:size=1m").unwrap(),
        ],
        ..Options::default()
    };
    let value = made(json!({"Cmd": ["sh"]}), &options).unwrap();
    let list = value["mounts"].as_array().unwrap();
    let targets: Vec<&str> = list.iter().map(|mount| mount["destination"].as_str().unwrap()).collect();
    assert_eq!(targets.iter().filter(|target| **target == "/dev/shm").count(), 1);
    assert_eq!(&targets[6..], ["/data", "/data/deep", "/etc/hosts", "/dev/shm"]);
    assert_eq!(list[6]["options"], json!(["rbind", "rslave", "ro"]));
    assert_eq!(list[8]["source"], "/h");
}

#[test]
fn labels_are_annotations_and_rcruns_own_are_refused() {
    let label = |name: &str| Options { labels: vec![(name.into(), "v".into())], ..Options::default() };
    let config =
        json!({"Cmd": ["sh"], "Labels": {"a": "b"}, "StopSignal": "SIGINT", "ExposedPorts": {"80/tcp": {}}});
    let value = made(config, &label("c")).unwrap();
    assert_eq!(value["annotations"]["a"], "b");
    assert_eq!(value["annotations"]["c"], "v");
    assert_eq!(value["annotations"]["org.opencontainers.image.stopSignal"], "SIGINT");
    assert_eq!(value["annotations"]["org.opencontainers.image.exposedPorts"], "80/tcp");
    assert!(made(json!({"Cmd": ["sh"]}), &label("org.rcrun.x")).unwrap_err().contains("rcrun's own"));
    for (signal, good) in
        [("9", true), ("RTMIN+3", true), ("SIGRTMAX-1", true), ("TERM", true), ("0", false), ("NOPE", false)]
    {
        let options = Options { stop_signal: Some(signal.into()), ..Options::default() };
        assert_eq!(made(json!({"Cmd": ["sh"]}), &options).is_ok(), good, "{signal}");
    }
}

#[test]
fn an_image_tells_the_runtime_nothing_by_its_labels() {
    let names = ["org.criu.config", "org.systemd.property.MemoryMax", "run.oci.keep_original_groups"];
    for name in names {
        let value = made(json!({"Cmd": ["sh"], "Labels": {name: "1"}}), &Options::default()).unwrap();
        assert_eq!(value["annotations"].get(name), None);
        let user = Options { labels: vec![(name.into(), "v".into())], ..Options::default() };
        assert_eq!(made(json!({"Cmd": ["sh"]}), &user).unwrap()["annotations"][name], "v");
    }
}

#[test]
fn limits_and_security_are_in_the_configuration() {
    let options = Options {
        limits: Limits { memory: Some(1 << 20), cpu_quota: Some(50_000), pids: Some(0), ..Limits::default() },
        security: Security { no_new_privileges: true, seccomp: Seccomp::Unconfined, ..Security::default() },
        network: Network::Host,
        dns: Dns::default(),
        read_only: true,
        ..Options::default()
    };
    let value = made(json!({"Cmd": ["sh"]}), &options).unwrap();
    let linux = &value["linux"];
    assert_eq!(linux["resources"]["memory"], json!({"limit": 1 << 20, "swap": 2 << 20}));
    assert_eq!(linux["resources"]["cpu"], json!({"quota": 50_000}));
    assert!(linux["resources"].get("pids").is_none() && linux.get("seccomp").is_none());
    let kinds: Vec<&str> =
        linux["namespaces"].as_array().unwrap().iter().map(|kind| kind["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["pid", "ipc", "uts", "mount", "cgroup"]);
    assert_eq!(value["root"]["readonly"], true);
    assert_eq!(value["process"]["noNewPrivileges"], true);
    let swap = |memory, memory_swap| Options {
        limits: Limits { memory, memory_swap, ..Limits::default() },
        ..Options::default()
    };
    assert!(made(json!({"Cmd": ["sh"]}), &swap(None, Some(9))).unwrap_err().contains("needs --memory"));
    assert!(made(json!({"Cmd": ["sh"]}), &swap(Some(9), Some(8))).unwrap_err().contains("together"));
    let value = made(json!({"Cmd": ["sh"]}), &swap(Some(9), Some(-1))).unwrap();
    assert_eq!(value["linux"]["resources"]["memory"]["swap"], -1);
}

#[test]
fn the_default_profile_is_the_filter() {
    let value = made(json!({"Cmd": ["sh"]}), &Options::default()).unwrap();
    assert_eq!(value["linux"]["seccomp"]["defaultAction"], "SCMP_ACT_ERRNO");
    assert_eq!(value["linux"]["maskedPaths"].as_array().unwrap().len(), 12);
    let security = Security { system_paths_unconfined: true, ..Security::default() };
    let value = made(json!({"Cmd": ["sh"]}), &Options { security, ..Options::default() }).unwrap();
    assert!(value["linux"].get("maskedPaths").is_none());
}

#[test]
fn a_device_of_another_name_is_mounted_where_no_node_can_be_made() {
    let device = |path: &str| super::super::device(&format!("/dev/zero:{path}")).unwrap();
    let options =
        Options { devices: vec![device("/dev/zero"), device("/dev/mine/zero")], ..Options::default() };
    let image = image(json!({"Cmd": ["sh"]}));
    for (makes_nodes, nodes, mounts) in [(true, 2, 0), (false, 1, 1)] {
        let value = spec(&Request { makes_nodes, ..request(&image, &options) }).unwrap();
        assert_eq!(value["linux"]["devices"].as_array().unwrap().len(), nodes);
        let of_zero = |mount: &&Value| mount["source"] == "/dev/zero";
        assert_eq!(value["mounts"].as_array().unwrap().iter().filter(of_zero).count(), mounts);
        assert_eq!(value["linux"]["resources"]["devices"].as_array().unwrap().len(), 3);
    }
}

#[test]
fn a_path_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let odd = Path::new(std::ffi::OsStr::from_bytes(b"/odd\xff"));
    let (image, options) = (image(json!({"Cmd": ["sh"]})), Options::default());
    let volume =
        Options { mounts: vec![mounts::volume("./v:/v", places(odd)).unwrap()], ..Options::default() };
    for request in [
        Request { root: odd.into(), ..request(&image, &options) },
        Request { files: vec![(odd.into(), "/etc/hosts".into())], ..request(&image, &options) },
        request(&image, &volume),
    ] {
        let error = spec(&request).unwrap_err().to_string();
        assert!(error.contains(r#""/odd\xFF"#) && error.contains("not UTF-8"), "{error}");
    }
}
