//! `login` and `logout` against real registries.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;

use crate::fixtures::{Authority, Fault, Node, Options, PASSWORD, Proxy, Registry, TokenServer, USER};
use crate::support::Pty;
use crate::support::{Outcome, require};

/// Where the login is kept.
fn auth_file(node: &Node) -> PathBuf {
    node.file("../runtime/containers/auth.json")
}

fn kept(node: &Node) -> Value {
    let bytes = fs::read(auth_file(node)).unwrap_or_else(|_| b"null".to_vec());
    serde_json::from_slice(&bytes).expect("JSON")
}

fn login(node: &Node, registry: &str, password: &str) -> Outcome {
    node.rcrun(&["login", "--username", USER, "--password-stdin", registry]).stdin(password).wait()
}

/// A registry that wants a password, over http.
fn registry(node: &Node) -> Result<Registry, String> {
    let registry = Options::default().basic().start()?;
    node.insecure(&[registry.address()]);
    Ok(registry)
}

#[test]
fn a_right_password_is_kept_for_the_user_alone() {
    let node = Node::new();
    let registry = require!(registry(&node));
    let outcome = login(&node, registry.address(), &format!("{PASSWORD}\n")).success();
    assert!(outcome.stdout.starts_with("Login Succeeded"), "{outcome:?}");
    assert!(kept(&node)["auths"][registry.address()]["auth"].is_string());
    assert_eq!(fs::metadata(auth_file(&node)).unwrap().permissions().mode() & 0o777, 0o600);
    let who = node.rcrun(&["login", "--get-login", registry.address()]).wait().success();
    assert_eq!(who.stdout, format!("{USER}\n"));
    let explained = node.rcrun(&["registry", "explain", &registry.name("a:1")]).wait().success();
    assert!(explained.stdout.contains(&format!("user {USER}, from ")), "{explained:?}");
    assert!(!explained.stdout.contains(PASSWORD));
    node.rcrun(&["logout", registry.address()]).wait().success();
    assert_eq!(kept(&node)["auths"], serde_json::json!({}));
    let again = node.rcrun(&["logout", registry.address()]).wait();
    again.refused(&["nobody is logged in to"]);
}

#[test]
fn a_wrong_password_is_refused_and_not_kept() {
    let node = Node::new();
    let registry = require!(registry(&node));
    let outcome =
        login(&node, registry.address(), "wrong").refused(&["cannot log in to", registry.address()]);
    assert!(!outcome.stderr.contains("wrong"), "{outcome:?}");
    assert!(!auth_file(&node).exists());
}

#[test]
fn a_token_server_is_asked_for_a_login() {
    let node = Node::new();
    let tokens = require!(TokenServer::start(false));
    let registry = require!(Options::default().token(&tokens).start());
    node.insecure(&[registry.address()]);
    login(&node, registry.address(), PASSWORD).success();
    assert!(!tokens.asked().is_empty());
    login(&node, registry.address(), "wrong").refused(&["cannot log in to"]);
}

#[test]
fn tls_is_verified_unless_told_otherwise() {
    let node = Node::new();
    let authority = require!(Authority::new());
    let identity = authority.server(&["DNS:localhost", "IP:127.0.0.1"]);
    let registry = require!(Options::default().tls(identity).basic().start());
    login(&node, registry.address(), PASSWORD).refused(&["certificate is not trusted"]);
    let arguments = ["login", "-u", USER, "-p", PASSWORD, "--tls-verify=false", registry.address()];
    let outcome = node.rcrun(&arguments).wait().success();
    assert!(outcome.stderr.contains("--password-stdin"), "a warning: {outcome:?}");
    node.rcrun(&["logout", "--all"]).wait().success();
    node.certificate(registry.address(), "ca.crt", &authority.own().certificate);
    login(&node, registry.address(), PASSWORD).success();
}

#[test]
fn a_terminal_is_asked_and_shows_no_password() {
    let node = Node::new();
    let registry = require!(registry(&node));
    let (mut terminal, slave) = Pty::open();
    let running = node.rcrun(&["login", registry.address()]).on_terminal(&slave).spawn();
    terminal.wait_for("Username: ");
    terminal.write(&format!("{USER}\r"));
    terminal.wait_for("Password: ");
    // A slip, taken back.
    terminal.write(&format!("x\x7f{PASSWORD}\r"));
    let shown = terminal.wait_for("Login Succeeded");
    assert!(!shown.contains(PASSWORD), "{shown}");
    running.wait().success();
}

#[test]
fn an_interrupted_login_gives_the_terminal_back() {
    let node = Node::new();
    let registry = require!(registry(&node));
    let (mut terminal, slave) = Pty::open();
    let running = node.rcrun(&["login", "-u", USER, registry.address()]).on_terminal(&slave).spawn();
    terminal.wait_for("Password: ");
    terminal.write("secr\x03");
    terminal.wait_for("interrupted");
    let outcome = running.wait();
    assert!(!outcome.status.success());
    let modes = rustix::termios::tcgetattr(&slave).expect("tcgetattr").local_modes;
    assert!(modes.contains(rustix::termios::LocalModes::ECHO | rustix::termios::LocalModes::ICANON));
    assert!(!terminal.text().contains("secr"));
}

#[test]
fn without_a_terminal_nobody_is_asked() {
    let node = Node::new();
    let outcome = node.rcrun(&["login", "r.example"]).wait();
    outcome.refused(&["no terminal", "--password-stdin"]);
    node.rcrun(&["login", "-u", "a:b", "-p", "c", "r.example"]).wait().refused(&["colon"]);
    node.rcrun(&["login", "-u", "a", "--password-stdin", "r.example"]).wait().refused(&["needs a password"]);
}

#[test]
fn a_login_is_skopeos_too() {
    let node = Node::new();
    let registry = require!(registry(&node));
    let skopeo = |arguments: &[&str]| {
        let mut skopeo = crate::fixtures::program("skopeo").expect("it was fetched");
        skopeo.args(arguments).arg(registry.address());
        node.invocation(skopeo)
    };
    login(&node, registry.address(), PASSWORD).success();
    let who = skopeo(&["login", "--get-login"]).wait().success();
    assert_eq!(who.stdout.trim(), USER);
    skopeo(&["logout"]).wait().success();
    node.rcrun(&["login", "--get-login", registry.address()]).wait().refused(&["nobody is logged in"]);
    skopeo(&["login", "--tls-verify=false", "-u", USER, "-p", PASSWORD]).wait().success();
    let who = node.rcrun(&["login", "--get-login", registry.address()]).wait().success();
    assert_eq!(who.stdout.trim(), USER);
}

#[test]
fn a_registry_that_answers_html_or_nothing_is_no_login() {
    let node = Node::new();
    let registry = require!(registry(&node));
    let proxy = Proxy::before(registry.address());
    node.insecure(&[&proxy.address()]);
    proxy.always(
        "/v2/",
        Fault::Answer(404, vec![("Content-Type", "text/html".into())], b"<html><title>Oops</title>".to_vec()),
    );
    login(&node, &proxy.address(), PASSWORD).refused(&["cannot log in to"]);
    assert!(!auth_file(&node).exists());
}
