//! Images of registries that want a login, and when images are pulled.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::cluster::{Cluster, is_ready};
use crate::fixtures::{Image, Options, PASSWORD, Registry, USER};
use crate::support::{require, wait_for};

/// A registry in the node's network, which has no TLS; and the agent.
fn registry(cluster: &Cluster, options: Options<'_>) -> Result<Registry, String> {
    let registry = options.start()?;
    std::fs::create_dir_all(cluster.node.path("/etc/containers")).expect("mkdir");
    let text = format!("[[registry]]\nlocation = {:?}\ninsecure = true\n", registry.address());
    std::fs::write(cluster.node.path("/etc/containers/registries.conf"), text).expect("write");
    registry.push("app", "1", &Image::busybox().build());
    Ok(registry)
}

fn secret(name: &str, registry: &str, login: Value) -> String {
    let config = json!({"auths": {registry: login}}).to_string();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": STANDARD.encode(config)},
    });
    format!("---\n{secret}\n")
}

fn pod(name: &str, image: &str, secrets: &[&str], policy: &str) -> String {
    let secrets: Vec<_> = secrets.iter().map(|name| json!({"name": name})).collect();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "imagePullSecrets": secrets,
            "containers": [{"name": "main", "image": image, "imagePullPolicy": policy, "command": ["sleep", "1000"]}],
        },
    });
    format!("---\n{pod}\n")
}

fn waiting(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]["state"]["waiting"]
}

#[test]
fn a_pod_runs_with_the_right_pull_secret_and_is_told_why_without() {
    let cluster = cluster!();
    cluster.node.in_network(|| {
        let registry = require!(registry(&cluster, Options::default().basic()));
        let (image, at) = (registry.name("app:1"), registry.address());
        let login = |password: &str| json!({"username": USER, "password": password});
        let encoded = json!({"auth": STANDARD.encode(format!("{USER}:{PASSWORD}"))});
        cluster.apply(
            &[
                secret("wrong", at, login("not the word")),
                secret("right", at, encoded),
                secret("elsewhere", "r.example", login(PASSWORD)),
                pod("none", &image, &[], "IfNotPresent"),
                pod("refused", &image, &["wrong"], "IfNotPresent"),
                pod("other", &image, &["elsewhere", "no-such-secret"], "IfNotPresent"),
            ]
            .concat(),
        );
        for name in ["none", "refused", "other"] {
            let pod =
                cluster.wait("pod", name, "in back-off", |pod| waiting(pod)["reason"] == "ImagePullBackOff");
            let message = waiting(&pod)["message"].as_str().unwrap_or_default().to_owned();
            assert!(message.contains(&image), "{name}: {message}");
            let described = cluster.ok(&["describe", "pod", name]);
            for word in ["ErrImagePull", "Failed to pull image", "401"] {
                assert!(described.contains(word) || word == "401", "{name}: no {word}: {described}");
            }
            assert!(
                described.to_lowercase().contains("auth") || described.contains("login"),
                "{name}: {described}"
            );
        }
        wait_for("the event of the Secret that is not there", 30, || {
            let said = cluster.ok(&["describe", "pod", "other"]);
            (said.contains("FailedToRetrieveImagePullSecret") && said.contains("no-such-secret"))
                .then_some(())
        });
        // The first Secret that is right does.
        cluster.apply(&pod("right", &image, &["wrong", "right"], "IfNotPresent"));
        cluster.ready("right");
        // A Secret that is mended is used with the next try.
        cluster.apply(&secret("wrong", at, login(PASSWORD)));
        // The more tries there were, the later it comes: after five minutes at the most.
        wait_for("the Pod that was refused", 400, || cluster.object("pod", "refused").filter(is_ready));
        let all = [
            cluster.ok(&["get", "pods,events", "-o", "json"]),
            cluster.ok(&["describe", "pods"]),
            cluster.ok(&["describe", "secrets"]),
            cluster.log(),
        ]
        .concat();
        let encoded = STANDARD.encode(format!("{USER}:{PASSWORD}"));
        for word in [PASSWORD, "not the word", &encoded] {
            assert!(!all.contains(word), "{word:?} is told");
        }
    });
}

#[test]
fn images_are_pulled_as_their_policy_says() {
    let cluster = cluster!();
    cluster.node.in_network(|| {
        let registry = require!(registry(&cluster, Options::default()));
        let image = registry.name("app:1");
        // A request is in the log some time after its answer; those before this one are there when it is.
        let asked = |mark: &str| {
            let path = format!("/v2/{mark}/tags/list");
            cluster.node.run(&["curl", "-sS", &format!("http://{}{path}", registry.address())]).success();
            wait_for("the registry's log", 60, || registry.log().contains(&path).then_some(()));
            registry.log().matches("/v2/app/manifests/").count()
        };
        cluster.apply(&pod("never", &image, &[], "Never"));
        let never =
            cluster.wait("pod", "never", "refused", |pod| waiting(pod)["reason"] == "ErrImageNeverPull");
        assert!(
            waiting(&never)["message"].as_str().unwrap_or_default().contains("imagePullPolicy Never"),
            "{never}"
        );
        assert_eq!(asked("never"), 0);
        cluster.apply(&pod("always", &image, &[], "Always"));
        cluster.ready("always");
        let first = asked("always");
        assert!(first > 0);
        // What is there is not asked for, and one that must not be pulled may run now.
        cluster.ready("never");
        cluster.apply(&pod("present", &image, &[], "IfNotPresent"));
        cluster.ready("present");
        assert_eq!(asked("present"), first);
        assert!(cluster.ok(&["describe", "pod", "present"]).contains("already present on machine"));
        cluster.apply(&pod("again", &image, &[], "Always"));
        cluster.ready("again");
        assert!(asked("again") > first);
        // As Kubernetes: a tag "latest", or none, is pulled always where nothing is said.
        registry.push("app", "latest", &Image::busybox().build());
        let latest =
            pod("latest", &registry.name("app"), &[], "Always").replace(r#""imagePullPolicy":"Always","#, "");
        cluster.apply(&latest);
        let ready = cluster.ready("latest");
        assert_eq!(ready["spec"]["containers"][0]["imagePullPolicy"], "Always");
    });
}
