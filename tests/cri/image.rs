//! Images: from a registry on the node, under all that they are called by, and away again.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rcrun_cri::api;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::json;
use tonic::{Code, Status};

use crate::calls::{container_config, pod_config};
use crate::fixtures::{self, Image, Layer, Options, PASSWORD, Packing, Registry, USER};
use crate::node::{BUSYBOX, Node};
use crate::support::{require, wait_for};

impl Node {
    fn try_pull(&self, name: &str, auth: Option<api::AuthConfig>) -> Result<String, Status> {
        let request = api::PullImageRequest { image: spec(name), auth, sandbox_config: None };
        self.image_call(async |mut c| c.pull_image(request).await).map(|answer| answer.image_ref)
    }

    #[track_caller]
    fn pull(&self, name: &str) -> String {
        self.try_pull(name, None).unwrap()
    }

    #[track_caller]
    fn image(&self, name: &str) -> Option<api::Image> {
        self.verbose_image(name).image
    }

    #[track_caller]
    fn verbose_image(&self, name: &str) -> api::ImageStatusResponse {
        let request = api::ImageStatusRequest { image: spec(name), verbose: true };
        self.image_call(async |mut c| c.image_status(request).await).unwrap()
    }

    /// Those of a name; all of an empty one.
    fn list(&self, name: &str) -> Vec<api::Image> {
        let request = api::ListImagesRequest { filter: Some(api::ImageFilter { image: spec(name) }) };
        self.image_call(async |mut c| c.list_images(request).await).unwrap().images
    }

    #[track_caller]
    fn remove_image(&self, name: &str) {
        let request = api::RemoveImageRequest { image: spec(name) };
        self.image_call(async |mut c| c.remove_image(request).await).unwrap();
    }

    /// Bytes and inodes of all images.
    fn space(&self) -> (u64, u64) {
        let answer = self.image_call(async |mut c| c.image_fs_info(api::ImageFsInfoRequest {}).await);
        let usage = answer.unwrap().image_filesystems.remove(0);
        assert_eq!(usage.fs_id.unwrap().mountpoint, "/var/lib/rcrun");
        (usage.used_bytes.unwrap().value, usage.inodes_used.unwrap().value)
    }

    /// Does `work` in a thread that is in the node's network, and so are the programs that it starts.
    pub fn in_network<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/proc/{}/ns/net", self.pid())).expect("the node's network");
        std::thread::scope(|scope| {
            let entered = move || {
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), kind).expect("setns");
                work()
            };
            let name = std::thread::current().name().unwrap_or("test").to_owned();
            let thread = std::thread::Builder::new().name(name).spawn_scoped(scope, entered);
            match thread.expect("a thread").join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

fn spec(name: &str) -> Option<api::ImageSpec> {
    Some(api::ImageSpec { image: name.into(), ..Default::default() })
}

/// A registry that the node takes for an insecure one: it has no TLS. In the node's network.
fn registry(node: &Node, options: Options<'_>) -> Result<Registry, String> {
    let registry = options.start()?;
    std::fs::create_dir_all(node.path("/etc/containers")).expect("mkdir");
    let text = format!("[[registry]]\nlocation = {:?}\ninsecure = true\n", registry.address());
    std::fs::write(node.path("/etc/containers/registries.conf"), text).expect("write registries.conf");
    Ok(registry)
}

/// An image of one file that no other has.
fn small(content: &str) -> Image {
    Image::new().layer(Layer::new().file("file", content), Packing::Gzip)
}

#[test]
fn an_image_has_one_id_everywhere_and_is_found_by_all_its_names() {
    let node = node!();
    node.in_network(|| {
        let registry = require!(registry(&node, Options::default()));
        let built = small("names").config(|config| config["config"]["User"] = json!("7:8")).build();
        let index = fixtures::index(&[&built], false);
        registry.push("app", "1", &index);
        registry.push("team/app", "2", &index);
        let (one, two) = (registry.name("app:1"), registry.name("team/app:2"));
        let id = node.pull(&one);
        assert_eq!((&id, &node.pull(&two)), (&built.id(), &id));
        let image = node.image(&one).unwrap();
        assert_eq!(image.id, id);
        assert_eq!(image.repo_tags, [one.clone(), two.clone()]);
        let digests = ["app", "team/app"].map(|name| registry.name(&format!("{name}@{}", index.digest())));
        assert_eq!(image.repo_digests, digests);
        assert_eq!((image.uid.unwrap().value, image.username.as_str()), (7, ""));
        assert!(image.size >= built.size() && !image.pinned);
        let short = &id["sha256:".len()..][..12];
        for name in [id.as_str(), short, &two, &digests[0], &digests[1]] {
            assert_eq!(node.image(name).unwrap(), image, "{name}");
            assert_eq!(node.list(name), std::slice::from_ref(&image));
        }
        assert_eq!(node.list("").len(), 2);
        let info: serde_json::Value = serde_json::from_str(&node.verbose_image(&id).info["info"]).unwrap();
        assert_eq!(info["imageSpec"]["config"]["User"], "7:8");
        assert_eq!(info["chainID"], built.diff_ids()[0]);
        // Whatever it is called by, all of it goes, and nothing is left of it.
        node.remove_image(&digests[1]);
        for name in [&id, &one, &two] {
            assert_eq!(node.image(name), None);
        }
        assert_eq!(node.list("").len(), 1);
        node.remove_image(&id);
    });
}

#[test]
fn an_image_by_digest_has_no_tag_and_the_stream_tells_what_the_list_does() {
    let node = node!();
    node.in_network(|| {
        let registry = require!(registry(&node, Options::default()));
        let built = small("digest").build();
        registry.push("app", "1", &built);
        let name = registry.name(&format!("app@{}", built.digest()));
        assert_eq!(node.pull(&name), built.id());
        let image = node.image(&name).unwrap();
        assert!(image.repo_tags.is_empty());
        assert_eq!(image.repo_digests, [name]);
        let streamed = node.wait(async {
            let request = api::StreamImagesRequest::default();
            let mut stream = node.images().stream_images(request).await.unwrap().into_inner();
            let mut images = Vec::new();
            while let Some(part) = stream.message().await.unwrap() {
                images.extend(part.images);
            }
            images
        });
        assert_eq!(streamed, node.list(""));
        node.remove_image(&built.id());
    });
}

#[test]
fn errors_have_the_codes_and_words_that_a_kubelet_knows() {
    let node = node!();
    node.in_network(|| {
        let registry = require!(registry(&node, Options::default()));
        let port = registry.port();
        for (name, code, beginning) in [
            (registry.name("nope:1"), Code::NotFound, "pull 127.0.0.1:"),
            ("Upper".into(), Code::InvalidArgument, "\"Upper\" is no image name"),
            (String::new(), Code::InvalidArgument, "\"\" is no image name"),
            ("127.0.0.1:1/app:1".into(), Code::Unknown, "RegistryUnavailable: pull 127.0.0.1:1/app:1: "),
            ("host.invalid/app".into(), Code::Unknown, "RegistryUnavailable: "),
        ] {
            let status = node.try_pull(&name, None).unwrap_err();
            assert_eq!(status.code(), code, "{status}");
            assert!(status.message().starts_with(beginning), "{status}");
        }
        let handler = api::ImageSpec { runtime_handler: "nope".into(), ..spec("app").unwrap() };
        let request = api::PullImageRequest { image: Some(handler), ..Default::default() };
        let status = node.image_call(async |mut c| c.pull_image(request).await).unwrap_err();
        assert!(status.code() == Code::InvalidArgument && status.message().contains("\"nope\""), "{status}");
        let request = api::ImageStatusRequest { image: spec("Upper"), verbose: false };
        let status = node.image_call(async |mut c| c.image_status(request).await).unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        // Nothing of that name: no error.
        assert_eq!(node.image(&format!("127.0.0.1:{port}/app:1")), None);
        node.remove_image(&format!("127.0.0.1:{port}/app:1"));
        // An image of another machine's kind.
        let foreign = small("foreign").architecture("s390x", "").build();
        registry.push("foreign", "1", &fixtures::index(&[&foreign], false));
        let status = node.try_pull(&registry.name("foreign:1"), None).unwrap_err();
        assert!(status.code() == Code::NotFound && status.message().contains("s390x"), "{status}");
        // A policy that lets nobody in.
        std::fs::create_dir_all(node.path("/etc/containers")).unwrap();
        let policy = json!({"default": [{"type": "reject"}]}).to_string();
        std::fs::write(node.path("/etc/containers/policy.json"), policy).unwrap();
        let status = node.try_pull(&registry.name("app:1"), None).unwrap_err();
        assert_eq!(status.code(), Code::Unknown);
        assert!(status.message().starts_with("SignatureValidationFailed: "), "{status}");
    });
}

#[test]
fn a_request_brings_its_own_login() {
    let node = node!();
    node.in_network(|| {
        let registry = require!(registry(&node, Options::default().basic()));
        let built = small("login").build();
        registry.push("app", "1", &built);
        let name = registry.name("app:1");
        assert_eq!(node.try_pull(&name, None).unwrap_err().code(), Code::Unauthenticated);
        let password = |password: &str| api::AuthConfig {
            username: USER.into(),
            password: password.into(),
            ..Default::default()
        };
        let refused = node.try_pull(&name, Some(password("wrong"))).unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(!refused.message().contains("wrong"), "{refused}");
        // For another registry.
        let other = api::AuthConfig { server_address: "r.example".into(), ..password(PASSWORD) };
        assert_eq!(node.try_pull(&name, Some(other)).unwrap_err().code(), Code::Unauthenticated);
        let auth = "YWRhOm9wZW4gc2VzYW1l";
        let auth = api::AuthConfig {
            auth: auth.into(),
            server_address: registry.address().into(),
            ..Default::default()
        };
        for auth in [password(PASSWORD), auth] {
            assert_eq!(node.try_pull(&name, Some(auth)).unwrap(), built.id());
        }
        assert!(!node.log().contains(PASSWORD));
        node.remove_image(&name);
    });
}

#[test]
fn pulls_at_once_fetch_once() {
    let node = node!();
    node.in_network(|| {
        let registry = require!(registry(&node, Options::default()));
        let layer = Layer::new().file("noise", fixtures::noise(7, 2 << 20));
        let built = Image::new().layer(layer, Packing::Gzip).build();
        for tag in ["1", "2", "3"] {
            registry.push("app", tag, &built);
        }
        let names: Vec<String> = (0..9).map(|n| registry.name(&format!("app:{}", n % 3 + 1))).collect();
        let pulled = node.wait(async {
            let mut all = tokio::task::JoinSet::new();
            for name in names {
                let mut images = node.images();
                let request = api::PullImageRequest { image: spec(&name), ..Default::default() };
                all.spawn(async move { images.pull_image(request).await.map(|a| a.into_inner().image_ref) });
            }
            all.join_all().await
        });
        assert!(pulled.into_iter().all(|id| id.unwrap() == built.id()));
        let blob = format!("http.request.uri=\"/v2/app/blobs/{}\"", built.layers()[0]);
        let gets = || registry.log().lines().filter(|line| line.contains(&blob)).count();
        // It is logged after it was answered.
        wait_for("the registry's word", 10, || (gets() > 0).then_some(()));
        assert_eq!(gets(), 1, "{}", registry.log());
        assert_eq!(node.image(&built.id()).unwrap().repo_tags.len(), 3);
        node.remove_image(&built.id());
    });
}

#[test]
fn a_cancelled_pull_ends() {
    let mut node = require!(Node::without_server());
    // A registry that does not answer is left for that much later.
    let server = node.cri(&[]).env("RCRUN_REGISTRY_CONNECT_SECONDS", "600");
    node.serve(server.env("RCRUN_REGISTRY_SILENCE_SECONDS", "600"));
    node.accept_present();
    node.in_network(|| {
        // A registry that takes requests and never answers.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let name = format!("{}/app:1", listener.local_addr().unwrap());
        let (tell, hear) = mpsc::channel();
        std::thread::spawn(move || {
            let mut connection = listener.accept().unwrap().0;
            tell.send(()).unwrap();
            let _ = connection.read_to_end(&mut Vec::new());
            let _ = tell.send(());
        });
        let request = api::PullImageRequest { image: spec(&name), ..Default::default() };
        node.wait(async {
            let mut images = node.images();
            let pull = images.pull_image(request);
            let asked = tokio::task::spawn_blocking(move || {
                hear.recv().unwrap();
                hear
            });
            let hear = tokio::select! {
                answer = pull => panic!("{answer:?}"),
                hear = asked => hear.unwrap(),
            };
            let ended = tokio::task::spawn_blocking(move || hear.recv_timeout(Duration::from_secs(50)));
            ended.await.unwrap().expect("the connection ends");
        });
    });
}

#[test]
fn pinned_images_say_so_and_the_space_of_images_is_told_at_once() {
    let node = require!(Node::configured(|config| config.pinned_images = vec!["*pinned*".into()]));
    node.in_network(|| {
        let registry = require!(registry(&node, Options::default()));
        registry.push("app", "1", &small("app").build());
        registry.push("pinned", "1", &small("pinned").build());
        let before = node.space();
        for (name, pinned) in [("app:1", false), ("pinned:1", true)] {
            let id = node.pull(&registry.name(name));
            assert_eq!(node.image(&id).unwrap().pinned, pinned, "{name}");
        }
        let after = node.space();
        assert!(after.0 > before.0 && after.1 > before.1, "{before:?} {after:?}");
        // It is asked not to be removed, and is when somebody does ask.
        for name in ["app:1", "pinned:1"] {
            node.remove_image(&registry.name(name));
        }
        assert_eq!(node.space(), before);
    });
}

#[test]
fn an_image_that_a_container_uses_can_be_removed_and_its_files_go_with_the_container() {
    let node = node!();
    let pod = node.run_pod(&pod_config("user"));
    let id = node.run_container(&pod, &container_config("user", &["sh", "-c", "sleep 1000 & wait"]));
    node.remove_image(BUSYBOX);
    assert_eq!(node.image(BUSYBOX), None);
    assert_eq!(node.exec(&id, &["echo", "still here"]), "still here\n");
    node.stop(&id, 0);
    node.remove(&id);
    let layers = node.path("/var/lib/rcrun/layers/sha256");
    crate::support::wait_for("the layers' end", 10, || {
        std::fs::read_dir(&layers).unwrap().next().is_none().then_some(())
    });
}

/// The first file of this name below a directory.
fn find(directory: &Path, name: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory").flatten();
    entries.map(|entry| entry.path()).find_map(|path| match path.is_dir() {
        true => find(&path, name),
        false => path.file_name().is_some_and(|found| found == name).then_some(path),
    })
}

#[test]
fn the_measurement_of_a_client_that_gives_up_is_the_next_ones() {
    let node = node!();
    let ask = || {
        let mut images = node.images();
        node.tokio.spawn(async move { images.image_fs_info(api::ImageFsInfoRequest {}).await })
    };
    // Who reads the FIFO waits for its writer.
    let record = find(&node.path("/var/lib/rcrun/layers"), "layer.json").unwrap();
    let (kept, text) = (record.with_extension("kept"), std::fs::read(&record).unwrap());
    std::fs::rename(&record, &kept).unwrap();
    mknodat(CWD, &record, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let first = ask();
    let writer = wait_for("the measuring", 20, || {
        open(&record, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).ok()
    });
    first.abort();
    std::fs::rename(&kept, &record).unwrap();
    let mut second = ask();
    let early = node.wait(async { tokio::time::timeout(Duration::from_millis(300), &mut second).await });
    assert!(early.is_err(), "it has measured again, beside the first");
    File::from(writer).write_all(&text).unwrap();
    let answer = node.wait(second).unwrap().unwrap().into_inner();
    assert_ne!(answer.image_filesystems[0].used_bytes.unwrap().value, 0);
}
