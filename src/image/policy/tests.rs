use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _,
};
use serde_json::{Value, json};

use super::*;
use crate::image::{Document, Limits};

const IMAGE: &str = "r.example:5000/team/app:1";

/// A signer of this test run, P-256 as cosign's are.
struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap())
    }

    /// The public key as PEM.
    fn pem(&self) -> String {
        pem("3059301306072a8648ce3d020106082a8648ce3d030107034200", self.0.public_key().as_ref())
    }

    fn sign(&self, payload: &Value) -> Signature {
        let payload = payload.to_string().into_bytes();
        let signature = self.0.sign(&SystemRandom::new(), &payload).unwrap();
        Signature { payload, base64: STANDARD.encode(signature.as_ref()) }
    }
}

/// A SubjectPublicKeyInfo as PEM: the bytes before the key, and the key.
fn pem(before: &str, key: &[u8]) -> String {
    let digits = before.as_bytes().chunks(2);
    let mut der: Vec<u8> =
        digits.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect();
    der.extend(key);
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
}

fn payload(reference: &str, digest: &Digest) -> Value {
    json!({"critical": {"identity": {"docker-reference": reference},
        "image": {"docker-manifest-digest": digest.to_string()}, "type": "cosign container image signature"},
        "optional": null})
}

fn policy(document: &Value) -> Result<Policy, String> {
    Policy::parse(Path::new("/p.json"), document.to_string().as_bytes()).map_err(|error| error.to_string())
}

/// A policy that wants a signature by `pem` for everything.
fn signed_by(pem: &str, identity: Value) -> Policy {
    let mut requirement = json!({"type": "sigstoreSigned", "keyData": STANDARD.encode(pem)});
    if !identity.is_null() {
        requirement["signedIdentity"] = identity;
    }
    policy(&json!({"default": [requirement]})).unwrap()
}

fn check(policy: &Policy, image: &str, digest: &Digest, signatures: &[Signature]) -> Result<(), String> {
    let all = |_: &Digest| Ok(signatures.to_vec());
    policy.check(&image.parse().unwrap(), &[digest], &all).map_err(|error| error.to_string())
}

#[test]
fn a_signature_for_the_image_by_the_key_is_accepted() {
    let (signer, digest) = (Signer::new(), Digest::of(b"manifest"));
    let policy = signed_by(&signer.pem(), Value::Null);
    let good = signer.sign(&payload(IMAGE, &digest));
    check(&policy, IMAGE, &digest, std::slice::from_ref(&good)).unwrap();
    check(&policy, &format!("r.example:5000/team/app@{digest}"), &digest, std::slice::from_ref(&good))
        .unwrap();
    let others = [Signer::new().sign(&payload(IMAGE, &digest)), signer.sign(&json!({})), good];
    check(&policy, IMAGE, &digest, &others).unwrap();
}

#[test]
fn whatever_else_is_signed_is_refused_and_says_why() {
    let (signer, digest) = (Signer::new(), Digest::of(b"manifest"));
    let policy = signed_by(&signer.pem(), Value::Null);
    let good = signer.sign(&payload(IMAGE, &digest));
    let with = |change: &dyn Fn(&mut Value)| {
        let mut payload = payload(IMAGE, &digest);
        change(&mut payload);
        signer.sign(&payload)
    };
    let mut tampered = good.clone();
    tampered.payload = String::from_utf8(good.payload.clone()).unwrap().replace("app:1", "app:2").into();
    let mut flipped = STANDARD.decode(&good.base64).unwrap();
    *flipped.last_mut().unwrap() ^= 1;
    let replayed = signer.sign(&payload(IMAGE, &Digest::of(b"another")));
    let cases: Vec<(Signature, &str)> = vec![
        (tampered, "none of the policy's keys"),
        (Signature { base64: STANDARD.encode(flipped), ..good.clone() }, "none of the policy's keys"),
        (Signature { base64: String::new(), ..good.clone() }, "none of the policy's keys"),
        (Signature { base64: "!".into(), ..good }, "no base64"),
        (Signer::new().sign(&payload(IMAGE, &digest)), "none of the policy's keys"),
        (replayed, "another image than"),
        (
            signer.sign(&payload("r.example:5000/team/other:1", &digest)),
            "is of r.example:5000/team/other:1, not of",
        ),
        (signer.sign(&payload("r.example:5000/team/app:2", &digest)), "not of r.example:5000/team/app:1"),
        (signer.sign(&payload("r.example:5000/team/app", &digest)), "matchRepository"),
        (signer.sign(&payload("Nonsense/", &digest)), "docker-reference"),
        (with(&|p| p["critical"]["type"] = json!("atomic container signature")), "no image"),
        (with(&|p| p["critical"]["more"] = json!(1)), "not what sigstore signs"),
        (with(&|p| p["more"] = json!(1)), "not what sigstore signs"),
        (with(&|p| p["critical"]["image"]["docker-manifest-digest"] = json!("sha256:1")), "another image"),
        (with(&|p| drop(p.as_object_mut().unwrap().remove("optional"))), "not what sigstore signs"),
    ];
    for (signature, reason) in cases {
        let error = check(&policy, IMAGE, &digest, &[signature]).unwrap_err();
        assert!(error.contains(reason) && error.contains("/p.json") && !error.contains('\n'), "{error}");
    }
    let error = check(&policy, IMAGE, &digest, &[]).unwrap_err();
    assert!(error.contains("it has no signature"), "{error}");
}

#[test]
fn cosigns_names_have_no_tag() {
    let (signer, digest) = (Signer::new(), Digest::of(b"manifest"));
    let bare = [signer.sign(&payload("index.docker.io/library/app", &digest))];
    let repository = signed_by(&signer.pem(), json!({"type": "matchRepository"}));
    check(&repository, "app:7", &digest, &bare).unwrap();
    check(&repository, "app", &digest, &bare).unwrap();
    assert!(check(&repository, "team/app:7", &digest, &bare).is_err());
    let exact = signed_by(
        &signer.pem(),
        json!({"type": "exactRepository", "dockerRepository": "docker.io/library/app"}),
    );
    check(&exact, "m.example/copy:7", &digest, &bare).unwrap();
}

#[test]
fn an_index_or_the_manifest_chosen_from_it_may_be_signed() {
    let signer = Signer::new();
    let (index, chosen) = (Digest::of(b"index"), Digest::of(b"chosen"));
    let policy = signed_by(&signer.pem(), Value::Null);
    for signed in [&index, &chosen] {
        let signature = signer.sign(&payload(IMAGE, signed));
        let of = |digest: &Digest| Ok(if digest == signed { vec![signature.clone()] } else { Vec::new() });
        policy.check(&IMAGE.parse().unwrap(), &[&index, &chosen], &of).unwrap();
        let misplaced = |_: &Digest| Ok(vec![signer.sign(&payload(IMAGE, &Digest::of(b"x")))]);
        assert!(policy.check(&IMAGE.parse().unwrap(), &[&index, &chosen], &misplaced).is_err());
    }
}

#[test]
fn signatures_that_cannot_be_had_are_an_error_and_unneeded_ones_are_not_fetched() {
    let digest = Digest::of(b"");
    let policy = signed_by(&Signer::new().pem(), Value::Null);
    let unreachable = |_: &Digest| Err("registry down".into());
    let error = policy.check(&IMAGE.parse().unwrap(), &[&digest], &unreachable).unwrap_err().to_string();
    assert_eq!(error, format!("get the signatures of {IMAGE}: registry down"));
    let asked = Cell::new(false);
    let note = |_: &Digest| {
        asked.set(true);
        Ok(Vec::new())
    };
    Policy::accept_anything().check(&IMAGE.parse().unwrap(), &[&digest], &note).unwrap();
    assert!(!asked.get());
}

#[test]
fn all_requirements_of_a_scope_must_hold() {
    let (one, two, digest) = (Signer::new(), Signer::new(), Digest::of(b"manifest"));
    let by = |signer: &Signer| json!({"type": "sigstoreSigned", "keyData": STANDARD.encode(signer.pem())});
    let both = policy(&json!({"default": [by(&one), by(&two)]})).unwrap();
    let (first, second) = (one.sign(&payload(IMAGE, &digest)), two.sign(&payload(IMAGE, &digest)));
    assert!(check(&both, IMAGE, &digest, std::slice::from_ref(&first)).is_err());
    check(&both, IMAGE, &digest, &[first.clone(), second]).unwrap();
    let never = policy(&json!({"default": [by(&one), {"type": "reject"}]})).unwrap();
    assert!(check(&never, IMAGE, &digest, std::slice::from_ref(&first)).unwrap_err().contains("is rejected"));
    let either = json!({"type": "sigstoreSigned", "keyDatas": [STANDARD.encode(one.pem()), STANDARD.encode(two.pem())]});
    check(&policy(&json!({"default": [either]})).unwrap(), IMAGE, &digest, &[first]).unwrap();
}

#[test]
fn the_most_specific_scope_counts_alone() {
    let digest = Digest::of(b"");
    let (accept, reject) = (json!([{"type": "insecureAcceptAnything"}]), json!([{"type": "reject"}]));
    let policy = policy(&json!({"default": reject, "transports": {"docker": {"a.b": accept, "a.b/c": reject,
        "a.b/c/d:1": accept, "*.wild.e": accept, "no.wild.e": reject, "docker.io/library": accept}, "docker-archive": {"": accept},
        "oci": {"/nonexistent/x": accept}, "dir": {}}})).unwrap();
    for (image, accepted) in [
        ("a.b/x", true),
        ("a.b/c", false),
        ("a.b/c/d", false),
        ("a.b/c/d:1", true),
        ("a.b/cc", true),
        ("x.wild.e/y", true),
        ("no.wild.e/y", false),
        ("busybox", true),
        ("team/app", false),
        ("z.z/z", false),
    ] {
        assert_eq!(check(&policy, image, &digest, &[]).is_ok(), accepted, "{image}");
        assert_eq!(policy.check_name(&image.parse().unwrap()).is_ok(), accepted, "{image}");
    }
    let error = check(&policy, "a.b/c:9", &digest, &[]).unwrap_err();
    assert_eq!(error, "a.b/c:9 is rejected by a.b/c in signature policy \"/p.json\"");
    assert_eq!(policy.explain(&"z.z/z".parse().unwrap()), "reject (the default of /p.json)");
    policy.check_archive(Transport::DockerArchive, None).unwrap();
    policy.check_archive(Transport::OciDirectory, Some(Path::new("/nonexistent/x/y"))).unwrap();
    assert!(policy.check_archive(Transport::OciDirectory, Some(Path::new("/nonexistent/z"))).is_err());
    assert!(policy.check_archive(Transport::OciArchive, None).is_err());
    let signed = signed_by(&Signer::new().pem(), Value::Null);
    let error = signed.check_archive(Transport::DockerArchive, None).unwrap_err().to_string();
    assert!(error.contains("stdin is not accepted") && error.contains("archives have none"), "{error}");
}

#[test]
fn what_cannot_be_verified_is_never_accepted() {
    let digest = Digest::of(b"");
    let key = STANDARD.encode(Signer::new().pem());
    for (requirement, what) in [
        (json!({"type": "signedBy", "keyType": "GPGKeys", "keyPaths": ["/a"]}), "GPG"),
        (json!({"type": "signedBaseLayer", "baseLayerIdentity": {"type": "matchExact"}}), "signedBaseLayer"),
        (json!({"type": "sigstoreSigned", "fulcio": {"caPath": "/a"}, "rekorPublicKeyPath": "/b"}), "fulcio"),
        (json!({"type": "sigstoreSigned", "keyData": key, "rekorPublicKeyData": "eA=="}), "rekor"),
        (json!({"type": "sigstoreSigned", "pki": {}}), "pki"),
    ] {
        let policy = policy(&json!({"default": [requirement]})).unwrap();
        let error = check(&policy, IMAGE, &digest, &[]).unwrap_err();
        assert!(error.contains(what) && error.contains("cannot verify"), "{error}");
        assert!(policy.check_archive(Transport::DockerArchive, None).is_err());
    }
}

#[test]
fn a_file_with_a_fault_is_refused_as_a_whole() {
    let accept = r#"[{"type": "insecureAcceptAnything"}]"#;
    for (text, reason) in [
        ("{}".to_owned(), "missing field `default`"),
        ("[]".to_owned(), "struct Document"),
        ("{".to_owned(), "EOF"),
        (format!("{{\"default\": {accept}}} x"), "trailing"),
        (format!("{{\"default\": {accept}, \"defualt\": {accept}}}"), "defualt"),
        (format!("{{\"default\": {accept}, \"default\": {accept}}}"), "duplicate"),
        (r#"{"default": []}"#.to_owned(), "empty list"),
        (r#"{"default": [{"type": "acceptAll"}]}"#.to_owned(), "\"acceptAll\" is unknown"),
        (r#"{"default": [{"type": "reject", "keyPath": "/a"}]}"#.to_owned(), "no fields but its type"),
        (r#"{"default": [{"type": "reject", "x": 1}]}"#.to_owned(), "unknown field `x`"),
        (r#"{"default": [{"type": "sigstoreSigned"}]}"#.to_owned(), "needs one of keyPath"),
        (
            r#"{"default": [{"type": "sigstoreSigned", "keyPath": "/a", "keyData": "YQ=="}]}"#.to_owned(),
            "needs one",
        ),
        (r#"{"default": [{"type": "sigstoreSigned", "keyPaths": []}]}"#.to_owned(), "needs one"),
        (r#"{"default": [{"type": "sigstoreSigned", "keyData": "!"}]}"#.to_owned(), "no base64"),
        (
            format!(
                "{{\"default\": {accept}, \"transports\": {{\"docker\": {{\"a\": {accept}, \"a\": {accept}}}}}}}"
            ),
            "twice",
        ),
        (
            format!("{{\"default\": {accept}, \"transports\": {{\"docker\": {{\"a.b\": 5}}}}}}"),
            "transports.docker",
        ),
    ] {
        let error = Policy::parse(Path::new("/p.json"), text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("/p.json"), "{text}: {error}");
    }
    for (identity, reason) in [
        (json!({"type": "matchAll"}), "matchAll"),
        (json!({"type": "matchExact", "prefix": "a.b"}), "fields of another"),
        (json!({"type": "exactReference"}), "lacks"),
        (json!({"type": "exactReference", "dockerReference": "a.b/c"}), "needs a tag"),
        (json!({"type": "exactRepository", "dockerRepository": "a.b/c:1"}), "neither tag nor digest"),
        (json!({"type": "remapIdentity", "prefix": "a.b:1:2", "signedPrefix": "c.d"}), "HOST[:PORT]"),
        (json!({"type": "remapIdentity", "prefix": "busybox", "signedPrefix": "c.d"}), "HOST[:PORT]"),
    ] {
        let requirement = json!({"type": "sigstoreSigned", "keyPath": "/a", "signedIdentity": identity});
        let error = policy(&json!({"default": [requirement]})).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn the_first_file_that_is_there_counts_and_a_named_one_must_be() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let usual: Vec<PathBuf> = vec![path("own.json"), path("system.json")];
    let files = |chosen: Option<PathBuf>| PolicyFiles { chosen, usual: usual.clone() };
    let image = IMAGE.parse().unwrap();
    Policy::load(&files(None)).unwrap().check_name(&image).unwrap();
    std::fs::write(path("system.json"), r#"{"default": [{"type": "reject"}]}"#).unwrap();
    assert!(Policy::load(&files(None)).unwrap().check_name(&image).is_err());
    std::fs::write(path("own.json"), r#"{"default": [{"type": "insecureAcceptAnything"}]}"#).unwrap();
    Policy::load(&files(None)).unwrap().check_name(&image).unwrap();
    let error = Policy::load(&files(Some(path("mine.json")))).unwrap_err().to_string();
    assert!(error.contains("mine.json\" does not exist"), "{error}");
}

#[test]
fn keys_come_from_files_that_must_be_there_and_be_keys() {
    let (signer, digest) = (Signer::new(), Digest::of(b"manifest"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key.pub");
    let policy =
        policy(&json!({"default": [{"type": "sigstoreSigned", "keyPaths": [path.to_str().unwrap()]}]}))
            .unwrap();
    let good = [signer.sign(&payload(IMAGE, &digest))];
    let error = check(&policy, IMAGE, &digest, &good).unwrap_err();
    assert!(error.contains("key.pub\": it does not exist"), "{error}");
    for (content, reason) in [
        (String::new(), "no `-----BEGIN PUBLIC KEY-----`"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n".to_owned(), "broken"),
        ("-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n".to_owned(), "no PEM"),
        (P521.to_owned(), "kind is not supported"),
    ] {
        std::fs::write(&path, content).unwrap();
        let error = check(&policy, IMAGE, &digest, &good).unwrap_err();
        assert!(error.contains(reason) && error.contains("key.pub"), "{error}");
    }
    std::fs::write(&path, Signer::new().pem() + &signer.pem()).unwrap();
    check(&policy, IMAGE, &digest, &good).unwrap();
}

/// Keys of openssl's, and its signatures of one payload.
const SIGNED: &str = r#"{"critical":{"identity":{"docker-reference":"r.example:5000/team/app"},"image":{"docker-manifest-digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},"type":"cosign container image signature"},"optional":null}"#;
const RSA: (&str, &str) = (
    "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAxszfhur/DfS9kfgKRkL/\nnqr9M5VaC7A1FHakWz/J8J8Pakx5TTgGhrbP7ud/GfcBgRvYzr6pB9Q8ijezxxEQ\nF1fxns8U7AfO+OT7bPQhxb41xSFDcaCPtE/cGTMKIiH0eHJ8De1WKKmPrASTOEdd\ncCEy93V+kgJhMvFVztMmSDUYCa/2AP7OuFsga4jfh1Y0qY7lYbIhexTy1Ggt7fO/\n6I3NRzhl4gAPNqVcJnpLPqBphLcHNwQ9JJjtQ+0IDJxAxmef8O1WML1SyoNFhQIZ\nXMwVto5+wbN+CI2WIF6Uh6QIpV9/JpSXSrPvaJ201z/HaB4lf5LMXeNl/OykEoR3\ncwIDAQAB\n-----END PUBLIC KEY-----\n",
    "Ipg4QL1362/zomh53ONyjtkXpjm1JAEjpximdXwELbnM2E6rhRXdFFoTVDPCLJXJM4FDzsfrXrDg3kl6eGynntXcaKfTDcf/320JonV9Y4XKitOudxSYBpi9HPVidrrWiNlQAhwROWQ5wXvY/pPifnOk5sDtQ2NGt+F8cF6y7z1tVBwuDdU3bcO823srBMER/aQjFmUMg9P1DDf7WP34HacWIz9uiLV+kBLkRZ4cETYXEJQlnRe0LUiFitmK5t92F7+JOC7LB9LFQge2wzY6Vv+Btsv1jhSSEKbgxx99i8vOAyCNJyizZrPAe/dUiFkCCL7+2grIp194QxRrxlydsA==",
);
const P256: (&str, &str) = (
    "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEMVOJ3Jfc4eIHcDCGjeBocVRhw/pj\nCKlMqmmyjC4PaVOmMlTCCUeTJ/NPKd1O/2wK5F/QCYx+z07llxEiCT+nAw==\n-----END PUBLIC KEY-----\n",
    "MEUCIC7f3sdxQ18iRCwO3/96W73y23xuryDjHhEVO9ipC2HFAiEAnc8qu5FGjFMzoRU9soiVHZrhdI5XPoqv72eIibkzad4=",
);
const P384: (&str, &str) = (
    "-----BEGIN PUBLIC KEY-----\nMHYwEAYHKoZIzj0CAQYFK4EEACIDYgAESZtEcZTnZ0LPaDyx2IfO3wsx3VqqISiX\n2BueqUFR80AMs8ZCzGOhWys3VYfsfk8zEKuIKQRxTbz9dnM9jVlezdzllDWCsLMK\n+4WD8WyD/eciD8wWlUhkW5REO91ZRckK\n-----END PUBLIC KEY-----\n",
    "MGUCMQDSad6B1rqEdtZdDd9YX7kgMGoJIGlNb33FlKMPVZcGCQPaSmdQrr1hULMRZMTouG4CMHRDBCi1wmSigTITCDmc6mMaYS3LmFHFPMliZcd+rlA+AEMi+GEzq5sLdzyb9J25lQ==",
);
const ED25519: (&str, &str) = (
    "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA8QXczxSizxtVGRXFNla9WQrtvtxO2c+r8ARRnjCN+Jk=\n-----END PUBLIC KEY-----\n",
    "OToDThFWeTwNcyKoFmbaI1xYsdI3POE55NvcllcfHz3dLqTgLlnNsbLzNlkfw/QiSqbWWeVqMB+p4VWcsAhTCQ==",
);
const P521: &str = "-----BEGIN PUBLIC KEY-----\nMIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQA4UJ2UaDUKD16jzLuN0sQqSa98H05\n7Pkm38cDsaZrtCcqTuBQHEQ23br1QvvkVSSKQBAAir0wzhlv3xahIM16rSQAOgDz\ntkwon6xjlEr8BZYNuCh4GH4IYUNH00CxJqP32MAS6PWxviCsrhCl4c8YHTWKyxv8\nn0hq7agUtDUWxVu3PUg=\n-----END PUBLIC KEY-----\n";

#[test]
fn openssls_signatures_of_each_kind_are_verified() {
    let digest = Digest::of(b"");
    for (pem, base64) in [RSA, P256, P384, ED25519] {
        let policy = signed_by(pem, json!({"type": "matchRepository"}));
        let good = Signature { payload: SIGNED.into(), base64: base64.into() };
        check(&policy, IMAGE, &digest, std::slice::from_ref(&good)).unwrap();
        let tampered = Signature { payload: SIGNED.replace("null", "{}").into(), ..good };
        assert!(check(&policy, IMAGE, &digest, &[tampered]).is_err());
    }
    for (pem, _) in [RSA, P256, P384, ED25519] {
        let others = [RSA, P256, P384, ED25519].into_iter().filter(|(other, _)| *other != pem);
        let wrong: Vec<Signature> =
            others.map(|(_, base64)| Signature { payload: SIGNED.into(), base64: base64.into() }).collect();
        let policy = signed_by(pem, json!({"type": "matchRepository"}));
        assert!(check(&policy, IMAGE, &digest, &wrong).is_err());
    }
}

#[test]
fn rings_signatures_of_the_other_kinds_are_verified() {
    let (random, digest) = (SystemRandom::new(), Digest::of(b"manifest"));
    let message = payload(IMAGE, &digest).to_string().into_bytes();
    let algorithm = &ECDSA_P384_SHA384_ASN1_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
    let key = pem("3076301006072a8648ce3d020106052b81040022036200", pair.public_key().as_ref());
    let base64 = STANDARD.encode(pair.sign(&random, &message).unwrap().as_ref());
    check(&signed_by(&key, Value::Null), IMAGE, &digest, &[Signature { payload: message.clone(), base64 }])
        .unwrap();
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let key = pem("302a300506032b6570032100", pair.public_key().as_ref());
    let base64 = STANDARD.encode(pair.sign(&message).as_ref());
    check(&signed_by(&key, Value::Null), IMAGE, &digest, &[Signature { payload: message, base64 }]).unwrap();
}

#[test]
fn signatures_are_layers_of_an_artifact_beside_the_image() {
    let digest = Digest::of(b"manifest");
    assert_eq!(signature_tag(&digest), format!("sha256-{}.sig", digest.hex()));
    let layer = |media_type: &str, size: u64, annotations: BTreeMap<&str, &str>| json!({"mediaType": media_type, "digest": digest.to_string(), "size": size, "annotations": annotations});
    let kind = "application/vnd.dev.cosign.simplesigning.v1+json";
    let signature = || BTreeMap::from([("dev.cosignproject.cosign/signature", "c2ln")]);
    let manifest = json!({"schemaVersion": 2, "config": layer("application/vnd.oci.image.config.v1+json", 2, BTreeMap::new()),
        "layers": [layer(kind, 250, signature()), layer(kind, 250, BTreeMap::new()), layer("text/plain", 250, signature()),
            layer(kind, 1 << 40, signature())]});
    let parsed = Document::parse(manifest.to_string().as_bytes(), None, &Limits::default()).unwrap();
    let Document::Manifest(manifest) = parsed else { panic!("a manifest") };
    let found: Vec<_> = attached(&manifest).collect();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].with(b"{}".to_vec()), Signature { payload: b"{}".to_vec(), base64: "c2ln".into() });
}

#[test]
fn skopeos_signature_is_verified() {
    // Of `skopeo copy --sign-by-sigstore-private-key`, version 1.22.
    let key = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAENqVJM8UtKQbILuDxQVEGGmqwv81D\ny4gMeBevh7pQTKFZV8dxg8xbVhuiF6rExURhA1xbT2UcwKmaJidbWuaGgQ==\n-----END PUBLIC KEY-----\n";
    let digest = "sha256:418c30b6638cf7fbd7f8851059845330db9053d7b6b20a2b31259e37fe39a801".parse().unwrap();
    let payload = r#"{"critical":{"identity":{"docker-reference":"r.example:5000/team/app:1"},"image":{"docker-manifest-digest":"sha256:418c30b6638cf7fbd7f8851059845330db9053d7b6b20a2b31259e37fe39a801"},"type":"cosign container image signature"},"optional":{"creator":"containers/image 5.39.1","timestamp":1795656601}}"#;
    let base64 =
        "MEUCIGeDUflGL42YuC3MWuhU8ORGxW2/OJGs7q2we/V8y6dyAiEArd+yIIm4TUfK4OlzYwp4X9VRjdOZh0776Tz1AklicvI=";
    let signature = [Signature { payload: payload.into(), base64: base64.into() }];
    let policy = signed_by(key, Value::Null);
    check(&policy, IMAGE, &digest, &signature).unwrap();
    assert!(check(&policy, "r.example:5000/team/app:2", &digest, &signature).is_err());
    assert!(check(&policy, IMAGE, &Digest::of(b"another"), &signature).is_err());
}

#[test]
fn the_case_of_a_host_is_no_way_around_a_policy() {
    let reject = |scope: &str| {
        json!({"default": [{"type": "insecureAcceptAnything"}],
            "transports": {"docker": {scope: [{"type": "reject"}]}}})
    };
    for (scope, name) in [
        ("r.example", "R.Example/a"),
        ("R.EXAMPLE:5000/team", "r.example:5000/team/app"),
        ("*.Example", "r.eXample/a"),
        ("docker.io", "Docker.io/busybox"),
        ("docker.io/library/busybox:1", "INDEX.docker.io/busybox:1"),
    ] {
        let policy = policy(&reject(scope)).unwrap();
        assert!(policy.check_name(&name.parse().unwrap()).is_err(), "{scope} {name}");
        assert!(policy.check_name(&"other.example.org/a".parse().unwrap()).is_ok());
    }
    let mut twice = reject("a.b");
    twice["transports"]["docker"]["A.b"] = json!([{"type": "insecureAcceptAnything"}]);
    assert!(policy(&twice).unwrap_err().contains("twice but for its case"));
}
