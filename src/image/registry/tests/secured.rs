//! TLS: private authorities, client certificates, and what happens without.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;

use super::*;

/// An authority of the test's own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for `host` and its key.
    fn issue(&self, host: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    /// A server's side; with `client`, only for those that this authority knows.
    fn server(&self, host: &str, client: bool) -> rustls::ServerConfig {
        let (certificate, key) = self.issue(host);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match client {
            false => builder.with_no_client_auth(),
            true => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(self.0.der().clone()).unwrap();
                let verifier =
                    rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        builder.with_single_cert(vec![certificate.der().clone()], key).unwrap()
    }
}

fn serve(authority: &Authority, host: &str, client: bool) -> Server {
    Server::start_tls(authority.server(host, client), |_, _| Reply::new(200, MANIFEST))
}

/// One secure registry with these certificates.
fn secure(place: &str, certificates: Certificates) -> Given {
    let mut given = Given::insecure(&[place.to_owned()]);
    given.endpoints[0].insecure = false;
    Given { certificates, ..given }
}

fn trusting(authority: &Authority) -> Certificates {
    Certificates { roots: vec![authority.pem()], client: None }
}

fn manifest(given: Given, place: &str) -> Result<Fetched, RegistryError> {
    given.registry().manifest(&format!("{place}/a").parse().unwrap())
}

#[test]
fn a_private_authority_is_trusted_where_certs_d_has_it() {
    let authority = Authority::new();
    let server = serve(&authority, "localhost", false);
    let place = server.named("localhost");
    manifest(secure(&place, trusting(&authority)), &place).unwrap();
    let error = line(manifest(secure(&place, trusting(&Authority::new())), &place));
    assert!(error.contains("certificate is not trusted (by an unknown authority)"), "{error}");
    assert!(error.contains("certs.d"), "{error}");
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn an_address_can_have_a_certificate_too() {
    let authority = Authority::new();
    let server = serve(&authority, "127.0.0.1", false);
    let place = server.address.to_string();
    manifest(secure(&place, trusting(&authority)), &place).unwrap();
}

#[test]
fn another_host_s_certificate_is_refused() {
    let authority = Authority::new();
    let server = serve(&authority, "other.example", false);
    let place = server.named("localhost");
    let error = line(manifest(secure(&place, trusting(&authority)), &place));
    assert!(error.contains("it is for another host"), "{error}");
}

#[test]
fn an_insecure_registry_may_have_any_certificate_or_none() {
    let server = serve(&Authority::new(), "other.example", false);
    let place = server.address.to_string();
    manifest(Given::insecure(&[place.as_str()]), &place).unwrap();
    let plain = Server::start(|_, _| Reply::new(200, MANIFEST));
    let place = plain.address.to_string();
    manifest(Given::insecure(&[place.as_str()]), &place).unwrap();
}

#[test]
fn a_secure_registry_that_speaks_http_is_not_asked_over_it() {
    let server = Server::start(|_, _| Reply::new(200, MANIFEST));
    let place = server.address.to_string();
    let error = line(manifest(secure(&place, Certificates::default()), &place));
    assert!(error.contains("no TLS") && error.contains("insecure = true"), "{error}");
}

#[test]
fn a_client_certificate_is_shown_to_the_registry_alone() {
    let authority = Authority::new();
    let server = serve(&authority, "localhost", true);
    let place = server.named("localhost");
    let error = line(manifest(secure(&place, trusting(&authority)), &place));
    assert!(error.contains("client certificate"), "{error}");
    let (certificate, key) = authority.issue("me");
    let client = ClientCertificate {
        certificate: certificate.pem().into_bytes(),
        key: key.serialize_pem().into_bytes(),
    };
    let certificates = Certificates { client: Some(client), ..trusting(&authority) };
    manifest(secure(&place, certificates.clone()), &place).unwrap();
    let target = format!("https://{place}/v2/a/manifests/latest");
    let first = Server::start_tls(authority.server("localhost", false), move |_, _| {
        Reply::new(307, "").with("Location", &target)
    });
    let place = first.named("localhost");
    let error = line(manifest(secure(&place, certificates), &place));
    assert!(error.contains("client certificate"), "{error}");
}

#[test]
fn unusable_certificates_are_told_before_anything_is_asked() {
    let authority = Authority::new();
    let server = serve(&authority, "localhost", false);
    let place = server.named("localhost");
    let (certificate, _) = authority.issue("me");
    let certificate = certificate.pem().into_bytes();
    let other = KeyPair::generate().unwrap().serialize_pem().into_bytes();
    for (certificate, key, words) in [
        (certificate.clone(), other, "do not fit"),
        (certificate, b"rubbish".to_vec(), ".key file"),
        (b"-----BEGIN CERTIFICATE-----\n!".to_vec(), Vec::new(), ".cert file"),
    ] {
        let client = Some(ClientCertificate { certificate, key });
        let error = line(manifest(secure(&place, Certificates { client, ..trusting(&authority) }), &place));
        assert!(error.contains(words), "{error}");
    }
    let roots = vec![b"-----BEGIN CERTIFICATE-----\n!".to_vec()];
    let error = line(manifest(secure(&place, Certificates { roots, client: None }), &place));
    assert!(error.contains(".crt file"), "{error}");
    assert!(server.seen().is_empty());
}

/// A secure registry whose blobs are somewhere in clear.
fn leading_down(authority: &Authority, target: String) -> Server {
    Server::start_tls(authority.server("localhost", false), move |seen, _| {
        match (seen.header("authorization"), seen.target.contains("blobs")) {
            (None, true) => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=r"),
            _ => Reply::new(302, "").with("Location", &target),
        }
    })
}

#[test]
fn the_way_down_to_http_is_taken_only_by_what_has_a_digest_and_without_credentials() {
    let (authority, bytes) = (Authority::new(), noise(100));
    let sent = bytes.clone();
    let plain = Server::start(move |_, _| Reply::new(200, sent.clone()));
    let server = leading_down(&authority, format!("http://{}/", plain.named("localhost")));
    let place = server.named("localhost");
    let registry = secure(&place, trusting(&authority)).password().registry();
    let reference: Reference = format!("{place}/a").parse().unwrap();
    assert_eq!(read(registry.blob(&reference, &layer(&bytes))).unwrap(), bytes);
    assert_eq!(plain.seen()[0].header("authorization"), None);
    let error = line(registry.manifest(&reference));
    assert!(error.contains("from https to http at localhost"), "{error}");
    assert_eq!(plain.seen().len(), 1);
}

#[test]
fn a_secure_registry_s_token_server_must_be_secure() {
    let authority = Authority::new();
    let tokens = Server::start(|_, _| Reply::new(200, r#"{"token":"t"}"#));
    let realm = format!("http://{}/token", tokens.address);
    let server = Server::start_tls(authority.server("localhost", false), move |_, _| {
        Reply::new(401, "").with("WWW-Authenticate", format!("Bearer realm=\"{realm}\""))
    });
    let place = server.named("localhost");
    let error = line(manifest(secure(&place, trusting(&authority)).password(), &place));
    assert!(error.contains("must be asked over https, but is http://127.0.0.1"), "{error}");
    assert!(tokens.seen().is_empty());
}

#[test]
fn a_blob_is_cut_and_resumed_over_tls() {
    let (authority, bytes) = (Authority::new(), noise(200_000));
    let sent = bytes.clone();
    let server = Server::start_tls(authority.server("localhost", false), move |seen, _| match seen.from() {
        0 => Reply { cut: Some(70_000), ..Reply::new(200, sent.clone()) },
        from => Reply::new(206, sent[from..].to_vec())
            .with("Content-Range", format!("bytes {from}-199999/200000")),
    });
    let place = server.named("localhost");
    let registry = secure(&place, trusting(&authority)).registry();
    let blob = registry.blob(&format!("{place}/a").parse().unwrap(), &layer(&bytes));
    assert_eq!(read(blob).unwrap(), bytes);
    assert_eq!(server.seen().len(), 2);
}
