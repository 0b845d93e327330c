//! TLS of one registry: the system's roots and those of certs.d, a client certificate, and what went wrong in words.

use std::sync::{Arc, OnceLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription, CertificateError, InvalidMessage};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use super::error::Failure;
use super::types::{Certificates, ClientCertificate};

/// The authorities that the system trusts (or SSL_CERT_FILE and SSL_CERT_DIR name), read once and when needed.
#[derive(Default)]
pub(super) struct SystemRoots(OnceLock<Vec<Certificate<'static>>>);

impl SystemRoots {
    fn get(&self) -> &[Certificate<'static>] {
        self.0.get_or_init(|| {
            let found = rustls_native_certs::load_native_certs();
            found.certs.iter().map(|der| Certificate::from_der(der).to_owned()).collect()
        })
    }
}

/// What ureq is told of a registry that is verified: with the system's roots and its own.
pub(super) fn verified(system: &SystemRoots, own: &Certificates) -> Result<TlsConfig, Failure> {
    let mut roots = system.get().to_vec();
    for pem in &own.roots {
        let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let parsed = parsed.map_err(|error| Failure::Tls(format!("a .crt file of certs.d: {error}")))?;
        roots.extend(parsed.iter().map(|der| Certificate::from_der(der).to_owned()));
    }
    if roots.is_empty() {
        let why =
            "there are no trusted authorities: neither /etc/ssl/certs (ca-certificates) nor certs.d has any";
        return Err(Failure::Tls(why.to_owned()));
    }
    let roots = RootCerts::new_with_certs(&roots);
    Ok(config().root_certs(roots).client_cert(client(own)?).build())
}

/// The same without verification.
pub(super) fn unverified(own: &Certificates) -> Result<TlsConfig, Failure> {
    let none = RootCerts::new_with_certs(&[]);
    Ok(config().root_certs(none).disable_verification(true).client_cert(client(own)?).build())
}

/// For what is asked over http alone.
pub(super) fn unused() -> TlsConfig {
    config().root_certs(RootCerts::new_with_certs(&[])).build()
}

fn config() -> ureq::tls::TlsConfigBuilder {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    TlsConfig::builder().unversioned_rustls_crypto_provider(provider)
}

fn client(own: &Certificates) -> Result<Option<ClientCert>, Failure> {
    own.client.as_ref().map(|client| client_certificate(client).map_err(Failure::Tls)).transpose()
}

/// Checks the pair: ureq takes it for granted that they fit.
fn client_certificate(client: &ClientCertificate) -> Result<ClientCert, String> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&client.certificate).collect();
    let chain = parsed.map_err(|error| format!("a .cert file of certs.d: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(&client.key)
        .map_err(|error| format!("a .key file of certs.d: {error}"))?;
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            let builder = builder.with_root_certificates(rustls::RootCertStore::empty());
            builder.with_client_auth_cert(chain.clone(), key.clone_key())
        })
        .map_err(|error| format!("a .cert and a .key file of certs.d do not fit: {error}"))?;
    let chain: Vec<_> = chain.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    let key = PrivateKey::from_pem(&client.key).map_err(|error| error.to_string())?;
    Ok(ClientCert::new_with_certs(&chain, key))
}

/// What rustls says, for people.
pub(super) fn explain(error: &rustls::Error) -> Failure {
    match error {
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Failure::NoTls,
        rustls::Error::InvalidCertificate(why) => Failure::Certificate(match why {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "by an unknown authority".to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "it has expired".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "it is for another host".to_owned()
            }
            why => why.to_string(),
        }),
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            Failure::Tls("it wants a client certificate: a .cert and a .key file in certs.d".to_owned())
        }
        error => Failure::Tls(error.to_string()),
    }
}
