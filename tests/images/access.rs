//! Who may pull, from where, on which way: authentication, TLS, mirrors, proxies.

use serde_json::json;

use crate::fixtures::token::{Asked, IDENTITY_TOKEN};
use crate::fixtures::{
    Authority, Fault, ForwardProxy, Image, Node, Options, Proxy, Registry, Scene, TokenServer, USER,
};
use crate::support::require;

#[test]
fn basic_authentication_takes_the_credentials_of_auth_json() {
    let registry = require!(Options::default().basic().start());
    registry.push("a", "1", &Image::busybox().build());
    let node = Node::new();
    node.insecure(&[registry.address()]);
    let name = registry.name("a:1");
    node.pull(&name).refused(&[registry.address(), "rcrun login"]);
    node.auth(&json!({"auths": {registry.address(): {"auth": "YWRhOndyb25n"}}}));
    let refused = node.pull(&name).refused(&[registry.address()]);
    assert!(!refused.stderr.contains("wrong"), "{refused}");
    node.credentials(&[registry.address()]);
    node.pull(&name).success();
}

#[test]
fn tokens_are_asked_for_and_used() {
    let server = require!(TokenServer::start(true));
    let registry = require!(Options::default().token(&server).start());
    registry.push("team/a", "1", &Image::busybox().build());
    let node = Node::new();
    node.insecure(&[registry.address()]);
    node.pull(&registry.name("team/a:1")).success();
    let scopes = vec!["repository:team/a:pull".to_owned()];
    assert_eq!(server.asked(), [Asked { method: "GET".into(), user: None, scopes: scopes.clone() }]);

    let closed = require!(TokenServer::start(false));
    let registry = require!(Options::default().token(&closed).start());
    registry.push("team/a", "1", &Image::busybox().build());
    let node = Node::new();
    node.insecure(&[registry.address()]);
    node.pull(&registry.name("team/a:1")).refused(&[registry.address()]);
    node.credentials(&[registry.address()]);
    node.pull(&registry.name("team/a:1")).success();
    let last = closed.asked().pop().unwrap();
    assert_eq!((last.user.as_deref(), last.scopes), (Some(USER), scopes));
}

#[test]
fn an_identity_token_is_exchanged() {
    let server = require!(TokenServer::start(false));
    let registry = require!(Options::default().token(&server).start());
    registry.push("a", "1", &Image::busybox().build());
    let node = Node::new();
    node.insecure(&[registry.address()]);
    let auth = json!({"auth": "YWRhOg==", "identitytoken": IDENTITY_TOKEN});
    node.auth(&json!({"auths": {registry.address(): auth}}));
    node.pull(&registry.name("a:1")).success();
    let last = server.asked().pop().unwrap();
    assert_eq!((last.method.as_str(), last.user.as_deref()), ("POST", Some(USER)));
}

#[test]
fn a_token_that_ends_in_the_middle_is_renewed() {
    let server = require!(TokenServer::start(true));
    let registry = require!(Options::default().token(&server).start());
    let built = Image::busybox().build();
    registry.push("a", "1", &built);
    let proxy = Proxy::before(registry.address());
    let node = Node::new();
    node.insecure(&[&proxy.address()]);
    let challenge = format!(
        "Bearer realm=\"http://{}/token\",service=\"registry of a test\",scope=\"repository:a:pull\",error=\"invalid_token\"",
        server.address()
    );
    let blob = format!("/blobs/{}", built.layers()[0]);
    proxy.times(1, &blob, Fault::Answer(401, vec![("WWW-Authenticate", challenge)], b"{}".to_vec()));
    node.pull(&proxy.name("a:1")).success();
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn authorization_does_not_follow_to_another_host() {
    let registry = require!(Options::default().basic().start());
    let built = Image::busybox().build();
    registry.push("a", "1", &built);
    // What the registry redirects to needs no authentication, as a signed URL does not.
    let open = require!(Registry::start());
    open.push("a", "1", &built);
    let proxy = Proxy::before(registry.address());
    let elsewhere = Proxy::at("127.0.0.2", open.address());
    proxy.always("/blobs/", Fault::Redirect(format!("http://{}", elsewhere.address())));
    let node = Node::new();
    node.insecure(&[&proxy.address()]);
    node.credentials(&[&proxy.address()]);
    node.pull(&proxy.name("a:1")).success();
    let asked = elsewhere.seen("/blobs/");
    assert_eq!(asked.len(), 2, "configuration and layer");
    assert!(asked.iter().all(|seen| seen.head.header("authorization").is_none()), "{asked:?}");
    assert!(proxy.seen("/blobs/").iter().any(|seen| seen.head.header("authorization").is_some()));
}

#[test]
fn credentials_are_sent_after_a_challenge_only() {
    let scene = require!(Scene::with(&Image::busybox().build()));
    scene.node.credentials(&[&scene.proxy.address()]);
    scene.pull().success();
    let asked = scene.proxy.seen("/v2/");
    assert!(asked.iter().all(|seen| seen.head.header("authorization").is_none()), "{asked:?}");
}

#[test]
fn redirects_have_an_end() {
    let scene = require!(Scene::with(&Image::busybox().build()));
    scene.proxy.always("/blobs/", Fault::Redirect(format!("http://{}", scene.proxy.address())));
    scene.pull().refused(&["redirect"]);
    assert!(scene.proxy.count("/blobs/") < 100);
    scene.node.holds_nothing();
}

#[test]
fn a_private_authority_is_trusted_where_certs_d_says_so() {
    let authority = require!(Authority::new());
    let identity = authority.server(&["IP:127.0.0.1"]);
    let registry = require!(Options::default().tls(identity).start());
    registry.push("a", "1", &Image::busybox().build());
    let node = Node::new();
    node.pull(&registry.name("a:1")).refused(&[registry.address(), "certificate"]);
    node.certificate(registry.address(), "ca.crt", &authority.own().certificate);
    node.pull(&registry.name("a:1")).success();
    // Of another name it is not.
    let wrong = authority.server(&["DNS:other.example"]);
    let registry = require!(Options::default().tls(wrong).start());
    registry.push("a", "1", &Image::busybox().build());
    node.certificate(registry.address(), "ca.crt", &authority.own().certificate);
    node.pull(&registry.name("a:1")).refused(&[registry.address(), "certificate"]);
    node.insecure(&[registry.address()]);
    node.pull(&registry.name("a:1")).success();
}

#[test]
fn a_client_shows_its_certificate() {
    let authority = require!(Authority::new());
    let identity = authority.server(&["IP:127.0.0.1"]);
    let registry = require!(Options::default().tls(identity).clients_of(&authority).start());
    registry.push("a", "1", &Image::busybox().build());
    let node = Node::new();
    node.certificate(registry.address(), "ca.crt", &authority.own().certificate);
    node.pull(&registry.name("a:1")).refused(&[registry.address()]);
    let client = authority.client();
    node.certificate(registry.address(), "client.cert", &client.certificate);
    node.certificate(registry.address(), "client.key", &client.key);
    node.pull(&registry.name("a:1")).success();
}

#[test]
fn http_is_for_insecure_registries_only() {
    let registry = require!(Registry::start());
    registry.push("a", "1", &Image::busybox().build());
    let node = Node::new();
    node.pull(&registry.name("a:1")).refused(&[registry.address()]);
    node.holds_nothing();
    node.insecure(&[registry.address()]);
    node.pull(&registry.name("a:1")).success();
}

#[test]
fn mirrors_are_asked_first_and_the_registry_after_them() {
    let scene = require!(Scene::with(&Image::busybox().build()));
    let mirror = Proxy::at("127.0.0.2", scene.registry.address());
    let (primary, gone) = (scene.proxy.address(), "127.0.0.1:9");
    scene.node.registries(&format!(
        "[[registry]]\nprefix = \"r.example\"\nlocation = \"{primary}\"\ninsecure = true\n\
         [[registry.mirror]]\nlocation = \"{gone}/x\"\ninsecure = true\n\
         [[registry.mirror]]\nlocation = \"{}\"\ninsecure = true\n",
        mirror.address()
    ));
    scene.node.pull("r.example/a:1").success();
    assert_eq!((scene.proxy.count("/v2/"), mirror.count("/manifests/")), (0, 1));
    // What no mirror has, the registry has.
    mirror.always("/v2/", Fault::Answer(404, vec![], b"".to_vec()));
    let built = Image::busybox().config(|config| config["author"] = json!("new")).build();
    scene.registry.push("a", "2", &built);
    scene.node.pull("r.example/a:2").success();
    assert_eq!(scene.proxy.count("/manifests/2"), 1);
    // What nobody has is an error that names each.
    let outcome = scene.node.pull("r.example/a:3");
    outcome.refused(&[gone, &mirror.address(), &primary]);
}

#[test]
fn blocked_registries_are_not_asked() {
    let scene = require!(Scene::with(&Image::busybox().build()));
    let address = scene.proxy.address();
    scene.node.registries(&format!("[[registry]]\nlocation = \"{address}\"\nblocked = true\n"));
    scene.pull().refused(&["blocked", &address]);
    assert_eq!(scene.proxy.count(""), 0);
}

#[test]
fn short_names_are_looked_up() {
    let scene = require!(Scene::with(&Image::busybox().build()));
    let address = scene.proxy.address();
    let insecure = format!("[[registry]]\nlocation = \"{address}\"\ninsecure = true\n");
    scene.node.registries(&format!("unqualified-search-registries = [\"{address}\"]\n{insecure}"));
    scene.node.pull("a:1").success();
    scene.node.registries(&format!("{insecure}[aliases]\n\"b\" = \"{address}/a\"\n"));
    scene.node.pull("b:1").success();
    assert_eq!(scene.proxy.count("/v2/a/manifests/1"), 2);
}

#[test]
fn http_proxies_lead_to_registries() {
    let registry = require!(Registry::start());
    registry.push("a", "1", &Image::busybox().build());
    let forward = ForwardProxy::start(&[("r.example:80", registry.address())]);
    let mut node = Node::new();
    node.insecure(&["r.example"]);
    // Of an insecure registry https is asked first, and this one speaks it neither directly nor by way of the proxy.
    node.set_env("HTTP_PROXY", &forward.url());
    node.set_env("HTTPS_PROXY", &forward.url());
    node.pull("r.example/a:1").success();
    let seen = forward.seen();
    let plain = |line: &String| line.contains("r.example/v2/a/") || line.contains("r.example:80");
    assert!(seen.iter().any(plain), "{seen:?}");
}

#[test]
fn https_goes_through_a_tunnel_and_no_proxy_around_it() {
    let authority = require!(Authority::new());
    let identity = authority.server(&["DNS:r.example", "IP:127.0.0.1"]);
    let registry = require!(Options::default().tls(identity).start());
    registry.push("a", "1", &Image::busybox().build());
    let forward = ForwardProxy::with_login(&[("r.example:443", registry.address())], Some("who:what"));
    let mut node = Node::new();
    node.certificate("r.example", "ca.crt", &authority.own().certificate);
    node.set_env("HTTPS_PROXY", &forward.url());
    node.pull("r.example/a:1").refused(&["407"]);
    node.set_env("HTTPS_PROXY", &format!("http://who:what@{}", forward.address()));
    node.pull("r.example/a:1").success();
    assert!(forward.seen().iter().all(|line| line == "CONNECT r.example:443"), "{:?}", forward.seen());
    let before = forward.seen().len();
    node.set_env("NO_PROXY", ".example");
    node.pull("r.example/b:1").refused(&["r.example"]);
    // Loopback never goes through a proxy.
    node.certificate(registry.address(), "ca.crt", &authority.own().certificate);
    node.pull(&registry.name("a:1")).success();
    assert_eq!(forward.seen().len(), before);
}
