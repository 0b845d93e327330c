//! Signatures as cosign and skopeo leave them in a registry, and what the policy makes of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcrun::image::policy::{self, Policy, PolicyFiles};
use rcrun::image::registry::settings::{Settings, SettingsOptions};
use rcrun::image::registry::{Registry as Client, Timeouts};
use rcrun::image::{Digest, Limits, Reference};
use serde_json::{Value, json};

use crate::fixtures::registry::{push_blob, put_manifest};
use crate::fixtures::{Built, Fault, Image, Node, Proxy, Registry, sha256};
use crate::support::{self, require};

/// A registry with an image that may get a signature.
struct Signed {
    node: Node,
    registry: Registry,
    image: Built,
}

impl Signed {
    fn new() -> Result<Self, String> {
        let (node, registry, image) = (Node::new(), Registry::start()?, Image::busybox().build());
        support::program("openssl")?;
        registry.push("team/app", "1", &image);
        node.insecure(&[registry.address()]);
        Ok(Self { node, registry, image })
    }

    /// Makes a key of P-256, NAME, and its public key, NAME.pub.
    fn make_key(&self, name: &str) -> PathBuf {
        let (key, public) = (self.node.file(name), self.node.file(&format!("{name}.pub")));
        self.openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"], &key);
        let text = self.openssl(&["pkey", "-pubout", "-in"], &key);
        fs::write(&public, text).expect("write");
        public
    }

    fn openssl(&self, arguments: &[&str], last: &Path) -> Vec<u8> {
        let output = Command::new("openssl").args(arguments).arg(last).output().expect("openssl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Signs the image as NAME by a key, and puts the signature where cosign puts it.
    fn sign(&self, name: &str, key: &str) {
        let digest = self.image.digest();
        let payload = json!({"critical": {"identity": {"docker-reference": self.registry.name(name)},
            "image": {"docker-manifest-digest": digest}, "type": "cosign container image signature"},
            "optional": {"creator": "a test"}});
        let file = self.node.file("payload");
        fs::write(&file, payload.to_string()).expect("write");
        let key = self.node.file(key);
        let signature = self.openssl(&["dgst", "-sha256", "-sign", key.to_str().expect("UTF-8")], &file);
        let payload = payload.to_string().into_bytes();
        let config = b"{}";
        let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": sha256(config), "size": config.len()},
            "layers": [{"mediaType": "application/vnd.dev.cosign.simplesigning.v1+json", "digest": sha256(&payload),
                "size": payload.len(),
                "annotations": {"dev.cosignproject.cosign/signature": STANDARD.encode(signature)}}]});
        let address = self.registry.address();
        for blob in [&config[..], &payload] {
            push_blob(address, "team/app", &sha256(blob), blob);
        }
        let tag = format!("{}.sig", digest.replace(':', "-"));
        let media_type = manifest["mediaType"].as_str().expect("a string");
        put_manifest(address, "team/app", &tag, media_type, manifest.to_string().as_bytes());
    }

    /// Does a policy with this requirement for everything accept `name` in the registry at `address`?
    fn check_at(&self, address: &str, name: &str, requirement: &Value) -> Result<(), String> {
        let path = self.node.file("policy.json");
        fs::write(&path, json!({"default": [requirement]}).to_string()).expect("write");
        let policy = Policy::load(&PolicyFiles { chosen: Some(path), usual: Vec::new() })
            .map_err(|e| e.to_string())?;
        let home = self.node.file("../home");
        let options =
            SettingsOptions::from_variables(0, None, |name| (name == "HOME").then(|| home.clone().into()));
        let settings = Settings::load(&options).expect("settings");
        let limits = Limits::default();
        let client =
            Client::new(Arc::new(settings), Timeouts { tries: 1, ..Timeouts::default() }, limits.clone());
        let reference: Reference = format!("{address}/{name}").parse().expect("a name");
        let digest: Digest = client.manifest(&reference).map_err(|e| e.to_string())?.digest;
        let signatures = |digest: &Digest| policy::signatures(&client, &reference, digest, &limits);
        policy.check(&reference, &[&digest], &signatures).map_err(|e| e.to_string())
    }

    fn check(&self, name: &str, requirement: &Value) -> Result<(), String> {
        self.check_at(self.registry.address(), name, requirement)
    }

    fn by(&self, key: &Path) -> Value {
        json!({"type": "sigstoreSigned", "keyPath": key})
    }
}

#[test]
fn what_is_signed_is_accepted_by_its_key_and_name() {
    let signed = require!(Signed::new());
    let requirement = signed.by(&signed.make_key("key"));
    let error = signed.check("team/app:1", &requirement).unwrap_err();
    assert!(error.contains("it has no signature"), "{error}");
    signed.sign("team/app:1", "key");
    signed.check("team/app:1", &requirement).unwrap();
    signed.check(&format!("team/app@{}", signed.image.digest()), &requirement).unwrap();
}

#[test]
fn a_signature_of_another_tag_or_by_another_key_is_not() {
    let signed = require!(Signed::new());
    let requirement = signed.by(&signed.make_key("key"));
    signed.sign("team/app:1", "key");
    // The same manifest by another name: the signature is found, but it is not of that name.
    signed.registry.push("team/app", "2", &signed.image);
    let error = signed.check("team/app:2", &requirement).unwrap_err();
    assert!(error.contains("not of"), "{error}");
    let mut repository = requirement.clone();
    repository["signedIdentity"] = json!({"type": "matchRepository"});
    signed.check("team/app:2", &repository).unwrap();
    let error = signed.check("team/app:1", &signed.by(&signed.make_key("other"))).unwrap_err();
    assert!(error.contains("none of the policy's keys"), "{error}");
}

#[test]
fn a_registry_that_does_not_say_whether_there_are_signatures_is_an_error() {
    let signed = require!(Signed::new());
    let proxy = Proxy::before(signed.registry.address());
    signed.node.insecure(&[&proxy.address()]);
    let mut requirement = signed.by(&signed.make_key("key"));
    signed.sign("team/app:1", "key");
    let repository = signed.registry.name("team/app");
    requirement["signedIdentity"] = json!({"type": "exactRepository", "dockerRepository": repository});
    signed.check_at(&proxy.address(), "team/app:1", &requirement).unwrap();
    proxy.always(".sig", Fault::Answer(403, Vec::new(), Vec::new()));
    let error = signed.check_at(&proxy.address(), "team/app:1", &requirement).unwrap_err();
    assert!(error.contains("get the signatures of"), "{error}");
    proxy.heal();
    proxy.always("/blobs/", Fault::Flip(7));
    let error = signed.check_at(&proxy.address(), "team/app:1", &requirement).unwrap_err();
    assert!(error.contains("has no signature"), "{error}");
}

#[test]
fn a_pull_takes_only_what_the_policy_lets_in() {
    let signed = require!(Signed::new());
    let name = signed.registry.name("team/app:1");
    let requirement = signed.by(&signed.make_key("key"));
    signed.node.policy(&json!({"default": [requirement]}));
    signed.node.pull(&name).refused(&["it has no signature", &name]);
    signed.node.holds_nothing();
    signed.sign("team/app:1", "key");
    signed.node.pull(&name).success();
    signed.node.rcrun(&["rmi", &name]).wait().success();
    signed.make_key("key");
    signed.node.pull(&name).refused(&["none of the policy's keys"]);
    let scope = signed.registry.name("team");
    signed.node.policy(&json!({"default": [{"type": "insecureAcceptAnything"}],
        "transports": {"docker": {scope.clone(): [{"type": "reject"}]}}}));
    signed.node.pull(&name).refused(&["is rejected by", &scope]);
    signed
        .node
        .policy(&json!({"default": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/nonexistent"}]}));
    signed.node.pull(&name).refused(&["GPG", "cannot verify"]);
    signed.node.policy(&json!({"default": []}));
    signed.node.pull(&name).refused(&["policy.json", "empty list"]);
    signed.node.holds_nothing();
}

#[test]
fn an_archive_is_loaded_only_if_the_policy_lets_it_in() {
    let node = Node::new();
    let layout = node.file("layout");
    Image::busybox().build().write_layout(&layout, "app:1");
    let load = || node.rcrun(&["load", "--quiet", "--input", layout.to_str().expect("UTF-8")]).wait();
    node.policy(&json!({"default": [{"type": "reject"}]}));
    load().refused(&["is rejected by the default", "layout"]);
    node.holds_nothing();
    let parent = layout.parent().expect("a parent").canonicalize().expect("it is there");
    node.policy(&json!({"default": [{"type": "reject"}],
        "transports": {"oci": {parent.to_str().expect("UTF-8"): [{"type": "insecureAcceptAnything"}]}}}));
    load().success();
}
