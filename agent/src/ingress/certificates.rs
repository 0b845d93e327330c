//! Certificates of Ingresses, from Secrets of type `kubernetes.io/tls`, chosen by the name that a client asks for.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use anyhow::Context;
use k8s_openapi::api::core::v1::Secret;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::table::{Problem, SecretOf};
use crate::objects::{Key, Objects};

/// All certificates, by the hosts that they are for; "" is that of any host.
#[derive(Default)]
pub struct Certificates {
    hosts: HashMap<String, Arc<CertifiedKey>>,
    /// By Secret, with the revision they were read of: they are not read again until that changes.
    read: BTreeMap<Key, (Option<String>, Read)>,
}

/// Of a Secret, or why it holds none.
type Read = Result<Arc<CertifiedKey>, String>;

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.hosts.keys()).finish()
    }
}

impl Certificates {
    /// Those that a table names. Of hosts whose Secret is missing or broken there is none, and a problem.
    pub fn load(
        secrets: &BTreeMap<String, SecretOf>,
        objects: &Objects,
        before: &Self,
    ) -> (Self, Vec<Problem>) {
        let (mut after, mut problems) = (Self::default(), Vec::new());
        for (host, of) in secrets {
            let Some(secret) = objects.find::<Secret>(&of.secret.namespace, &of.secret.name) else {
                problems.push(Problem {
                    ingress: of.ingress.clone(),
                    reason: "SecretNotFound",
                    message: format!("{} not found: clients get a self-signed certificate", of.secret),
                });
                continue;
            };
            let revision = secret.metadata.resource_version.clone();
            let read =
                after.read.entry(of.secret.clone()).or_insert_with(|| match before.read.get(&of.secret) {
                    Some((same, read)) if *same == revision => (revision, read.clone()),
                    _ => {
                        (revision, certified_key(secret).map(Arc::new).map_err(|error| format!("{error:#}")))
                    }
                });
            match &read.1 {
                Ok(key) => {
                    after.hosts.insert(host.clone(), key.clone());
                }
                Err(why) => problems.push(Problem {
                    ingress: of.ingress.clone(),
                    reason: "CertificateInvalid",
                    message: format!("{}: {why}: clients get a self-signed certificate", of.secret),
                }),
            }
        }
        problems.sort();
        problems.dedup();
        (after, problems)
    }

    /// By the name that a client asks for, if it does.
    pub fn find(&self, host: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let host = host.unwrap_or_default();
        let wildcard = || host.split_once('.').and_then(|(_, parent)| self.hosts.get(&format!("*.{parent}")));
        self.hosts.get(host).or_else(wildcard).or_else(|| self.hosts.get("")).cloned()
    }
}

/// Of `tls.crt` and `tls.key`. Errors say nothing of what is in them.
fn certified_key(secret: &Secret) -> anyhow::Result<CertifiedKey> {
    let data = |name: &str| {
        let found = secret.data.as_ref().and_then(|data| data.get(name));
        found.map(|bytes| bytes.0.as_slice()).with_context(|| format!("data.{name} is missing"))
    };
    let chain = CertificateDer::pem_slice_iter(data("tls.crt")?).collect::<Result<Vec<_>, _>>();
    // The parser's error may quote what it read.
    let chain =
        chain.ok().filter(|chain| !chain.is_empty()).context("data.tls.crt holds no certificate in PEM")?;
    let key = PrivateKeyDer::from_pem_slice(data("tls.key")?)
        .ok()
        .context("data.tls.key holds no private key in PEM")?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => anyhow::anyhow!("data.tls.key is not the key of data.tls.crt"),
        _ => anyhow::anyhow!(
            "data.tls.key and data.tls.crt are of no kind that is supported (RSA, ECDSA, Ed25519)"
        ),
    })
}

/// The cryptography of all TLS here.
pub fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// A certificate for hosts without one of their own: self-signed, new at each start.
pub fn fallback() -> anyhow::Result<CertifiedKey> {
    let names = vec!["ingress.invalid".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).context("cannot make a certificate")?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
    CertifiedKey::from_der(vec![made.cert.der().clone()], key, &provider())
        .context("cannot use a new certificate")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;
    use crate::objects::{Kind, Typed};

    fn secret(name: &str, revision: &str, certificate: &str, key: &str) -> Secret {
        let mut secret = Secret::default();
        secret.metadata.namespace = Some("web".into());
        secret.metadata.name = Some(name.into());
        secret.metadata.resource_version = Some(revision.into());
        let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
        secret.data = Some([("tls.crt".into(), bytes(certificate)), ("tls.key".into(), bytes(key))].into());
        secret
    }

    fn pair(host: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec![host.into()]).expect("a certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn wanted(hosts: &[(&str, &str)]) -> BTreeMap<String, SecretOf> {
        let of = |name: &str| SecretOf {
            secret: Key::new(Kind::Secret, "web", name),
            ingress: Key::new(Kind::Ingress, "web", "front"),
        };
        hosts.iter().map(|(host, name)| ((*host).to_owned(), of(name))).collect()
    }

    #[test]
    fn certificates_are_chosen_by_host_and_read_once() {
        let (certificate, key) = pair("www.example.com");
        let objects: Objects =
            [secret("a", "1", &certificate, &key).wrap(), secret("b", "2", &certificate, &key).wrap()]
                .into_iter()
                .collect();
        let wanted = wanted(&[("www.example.com", "a"), ("*.example.com", "b")]);
        let (first, problems) = Certificates::load(&wanted, &objects, &Certificates::default());
        assert_eq!(problems, []);
        let exact = first.find(Some("www.example.com")).expect("by name");
        let wild = first.find(Some("mail.example.com")).expect("by wildcard");
        assert!(!Arc::ptr_eq(&exact, &wild));
        assert!(first.find(Some("example.org")).is_none());
        assert!(first.find(None).is_none());
        let (second, _) = Certificates::load(&wanted, &objects, &first);
        assert!(Arc::ptr_eq(&exact, &second.find(Some("www.example.com")).expect("by name")));
    }

    #[test]
    fn what_is_broken_is_said_without_its_content() {
        let (certificate, key) = pair("a");
        let (_, other) = pair("b");
        let objects: Objects = [
            secret("text", "1", "hidden words", &key),
            secret("no-key", "1", &certificate, "hidden words"),
            secret("mixed", "1", &certificate, &other),
        ]
        .map(Typed::wrap)
        .into_iter()
        .collect();
        let wanted = wanted(&[("a", "absent"), ("b", "text"), ("c", "no-key"), ("d", "mixed")]);
        let (certificates, problems) = Certificates::load(&wanted, &objects, &Certificates::default());
        let said = problems.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>().join("\n");
        for part in [
            "secret web/absent not found",
            "secret web/text: data.tls.crt holds no certificate in PEM",
            "secret web/no-key: data.tls.key holds no private key in PEM",
            "secret web/mixed: data.tls.key is not the key of data.tls.crt",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!said.contains("hidden"), "{said}");
        assert!(certificates.find(Some("d")).is_none());
        assert!(fallback().is_ok());
    }
}
