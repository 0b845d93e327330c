use base64::Engine as _;
use serde_json::json;

use super::*;
use crate::spec::pull_secrets;

fn encoded(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// The user names of the logins for an image, of a Secret with logins for these registries; each is called by its registry.
fn users(registries: &[&str], image: &str) -> Vec<String> {
    let auths: serde_json::Map<_, _> = registries
        .iter()
        .map(|registry| ((*registry).to_owned(), json!({"auth": encoded(&format!("{registry}:word"))})))
        .collect();
    let json = json!({"auths": auths}).to_string();
    let secret = json!({"metadata": {"namespace": "web", "name": "login"}, "type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": encoded(&json)}});
    logins(&objects(&[(Kind::Secret, secret)]), &["none", "login"], image)
        .into_iter()
        .map(|login| login.server_address)
        .collect()
}

fn logins(objects: &Objects, secrets: &[&str], image: &str) -> Vec<api::AuthConfig> {
    let names: Vec<_> = secrets.iter().map(|name| json!({"name": name})).collect();
    pull_secrets(&pod(json!({"imagePullSecrets": names})), image, objects)
}

#[test]
fn logins_are_found_by_registry_and_path() {
    for (registries, image, wanted) in [
        (vec!["example.org"], "example.org/team/web:1", vec!["example.org"]),
        (vec!["https://example.org/v1/"], "example.org/web", vec!["https://example.org/v1/"]),
        (vec!["example.org:5000"], "example.org/web", vec![]),
        (vec!["example.org:5000"], "example.org:5000/web@sha256:0", vec!["example.org:5000"]),
        (vec!["example.org/team"], "example.org/teams/web", vec![]),
        (
            vec!["example.org", "example.org/team", "*.org", "other.org"],
            "example.org/team/web",
            vec!["example.org/team", "example.org", "*.org"],
        ),
        (vec!["*.example.org"], "example.org/web", vec![]),
        (
            vec!["*.example.org", "a*.e?ample.org"],
            "abc.example.org/web",
            vec!["*.example.org", "a*.e?ample.org"],
        ),
        (vec!["https://index.docker.io/v1/"], "nginx", vec!["https://index.docker.io/v1/"]),
        (vec!["docker.io"], "team/web:1", vec!["docker.io"]),
        (vec!["docker.io/library"], "docker.io/library/nginx", vec!["docker.io/library"]),
        (vec!["docker.io/team"], "nginx", vec![]),
        (vec!["registry-1.docker.io"], "index.docker.io/team/web", vec!["registry-1.docker.io"]),
        (vec!["localhost"], "localhost/web", vec!["localhost"]),
    ] {
        assert_eq!(users(&registries, image), wanted, "{registries:?} {image}");
    }
}

#[test]
fn hostile_patterns_end_soon() {
    let glob = format!("{}b.org", "*a".repeat(60));
    assert!(users(&[&glob], &format!("{}.org/web", "a".repeat(200))).is_empty());
}

#[test]
fn logins_of_all_forms() {
    let config = json!({"example.org": {"username": "u", "password": "p", "identitytoken": "t"}}).to_string();
    let old =
        json!({"metadata": {"namespace": "web", "name": "old"}, "data": {".dockercfg": encoded(&config)}});
    let config = json!({"auths": {"example.org": {"auth": encoded("user:a:b")}, "other.org": {"auth": "%"}}})
        .to_string();
    let new = json!({"metadata": {"namespace": "web", "name": "new"}, "data": {".dockerconfigjson": encoded(&config)}});
    let broken = json!({"metadata": {"namespace": "web", "name": "broken"}, "data": {".dockerconfigjson": encoded("{")}});
    let objects = objects(&[(Kind::Secret, old), (Kind::Secret, new), (Kind::Secret, broken)]);
    let found = logins(&objects, &["broken", "new", "old"], "example.org/web");
    let found: Vec<_> = found
        .iter()
        .map(|login| (login.username.as_str(), login.password.as_str(), login.identity_token.as_str()))
        .collect();
    assert_eq!(found, [("user", "a:b", ""), ("u", "p", "t")]);
    assert!(logins(&objects, &["new"], "other.org/web").is_empty());
    assert!(logins(&objects, &[], "example.org/web").is_empty());
}
