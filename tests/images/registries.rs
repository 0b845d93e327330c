//! `registry explain`: what a user's configuration makes of a name.

use serde_json::json;

use crate::fixtures::{Authority, Node};
use crate::support::require;

#[test]
fn all_that_is_decided_about_a_name_is_told() {
    let mut node = Node::new();
    node.registries(
        "unqualified-search-registries = [\"a.example\", \"docker.io\"]\n[[registry]]\nlocation = \"a.example\"\n\
         typo = 1\n[[registry.mirror]]\nlocation = \"mirror.example:5000/a\"\ninsecure = true\n",
    );
    node.auth(&json!({"auths": {"mirror.example:5000": {"auth": "YWRhOnNlY3JldA=="}}}));
    node.set_env("HTTPS_PROXY", "http://user:hidden@proxy.example:3128");
    node.set_env("NO_PROXY", "mirror.example");
    let text = node.rcrun(&["registry", "explain", "app:1"]).wait().success().stdout;
    for part in [
        "app:1 is a.example/app:1: unqualified-search-registries in ",
        "1. mirror.example:5000/a/app:1 at mirror.example:5000, without verification",
        "registries.conf, line 5)",
        "credentials: user ada, from ",
        "2. a.example/app:1 at a.example, over https",
        "proxy: proxy.example:3128",
        "app:1 is docker.io/library/app:1",
        "at registry-1.docker.io",
        "signatures: insecureAcceptAnything",
        "\"typo\" of [[registry]] has no meaning",
    ] {
        assert!(text.contains(part), "{part:?}: {text}");
    }
    assert!(!text.contains("secret") && !text.contains("hidden"), "{text}");
    let explained = node.rcrun(&["registry", "explain", "--format", "json", "app:1"]).wait().success().json();
    let endpoint = &explained["candidates"][0]["endpoints"][0];
    assert_eq!(endpoint["credentials"]["user"]["user"], "ada");
    assert_eq!((&endpoint["mirror"], &endpoint["insecure"]), (&json!(true), &json!(true)));
    assert_eq!(endpoint["proxy"], json!(null));
}

#[test]
fn certificates_are_told_with_their_directory() {
    let node = Node::new();
    let authority = require!(Authority::new());
    node.certificate("r.example:5000", "ca.crt", &authority.own().certificate);
    let text = node.rcrun(&["registry", "explain", "r.example:5000/app"]).wait().success().stdout;
    assert!(
        text.contains("the system's authorities and 1 of ") && text.contains("certs.d/r.example:5000"),
        "{text}"
    );
}

#[test]
fn a_broken_configuration_is_one_line() {
    let node = Node::new();
    let explain = |name: &str| node.rcrun(&["registry", "explain", name]).wait();
    node.registries("[[registry]]\nlocation = 5\n");
    explain("app").refused(&["registries.conf", "line 2"]);
    node.registries("[registries.search]\nregistries = [\"a.b\"]\n");
    explain("app").refused(&["first format"]);
    node.registries("unqualified-search-registries = [\"a.b\", \"c.d\"]\nshort-name-mode = \"enforcing\"\n");
    explain("app").refused(&["a.b/app, c.d/app", "whole name"]);
    node.registries("");
    node.policy(&json!({"default": []}));
    explain("app").refused(&["policy.json", "empty list"]);
    node.policy(&json!({"default": [{"type": "reject"}]}));
    let text = explain("app").success().stdout;
    assert!(text.contains("signatures: reject (the default of "), "{text}");
    node.auth(&json!({"auths": 5}));
    let text = explain("app").success().stdout;
    assert!(
        text.contains("credentials: ") && text.contains("auth.json\" is no authentication file"),
        "{text}"
    );
    explain("UPPER").refused(&["lower case"]);
}

#[test]
fn what_is_blocked_is_told_and_who_blocks_it() {
    let node = Node::new();
    node.registries(
        "[[registry]]\nprefix = \"a.example/bad\"\nlocation = \"a.example/bad\"\nblocked = true\n",
    );
    let text = node.rcrun(&["registry", "explain", "a.example/bad/app"]).wait().success().stdout;
    assert!(text.contains("nobody is asked: a.example/bad/app:latest is blocked by"), "{text}");
}
