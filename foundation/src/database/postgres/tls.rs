//! TLS for PostgreSQL by rustls, with the five modes that libpq has.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::database::{DatabaseError, DatabaseErrorKind, PostgresUrl, SslMode};

/// The connector that does what the URL's `sslmode` and `sslrootcert` say.
///
/// # Errors
/// [`DatabaseErrorKind::Tls`] when the authorities cannot be read.
pub(super) fn connector(url: &PostgresUrl) -> Result<MakeRustlsConnect, DatabaseError> {
    let provider = Arc::new(ring::default_provider());
    let check = match url.ssl_mode.unwrap_or_default() {
        // As libpq does it: who names authorities wants them to be looked at.
        SslMode::Require if url.ssl_root_cert.is_some() => Check::Authority(verifier(url, &provider)?),
        SslMode::Disable | SslMode::Prefer | SslMode::Require => Check::Nothing,
        SslMode::VerifyCa => Check::Authority(verifier(url, &provider)?),
        SslMode::VerifyFull => Check::AuthorityAndName(verifier(url, &provider)?),
    };
    let algorithms = provider.signature_verification_algorithms;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| tls_error("TLS cannot be set up").caused_by(error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { check, algorithms }))
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn tls_error(message: impl Into<String>) -> DatabaseError {
    DatabaseError::new(DatabaseErrorKind::Tls, message)
}

fn verifier(
    url: &PostgresUrl,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, DatabaseError> {
    let roots = match &url.ssl_root_cert {
        Some(path) => roots_in(path)?,
        None => roots_of_the_system()?,
    };
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| tls_error("the certificate authorities cannot be used").caused_by(error))
}

fn roots_in(path: &Path) -> Result<RootCertStore, DatabaseError> {
    let unusable = || tls_error(format!("the file {} holds no certificate in PEM form", path.display()));
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unusable().caused_by(error))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| unusable().caused_by(error))?;
        roots.add(certificate).map_err(|error| unusable().caused_by(error))?;
    }
    if roots.is_empty() { Err(unusable()) } else { Ok(roots) }
}

fn roots_of_the_system() -> Result<RootCertStore, DatabaseError> {
    let mut roots = RootCertStore::empty();
    let (_added, _ignored) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(tls_error(
            "the operating system has no certificate authorities; name a file with DATABASE_SSL_ROOT_CERT",
        ));
    }
    Ok(roots)
}

/// How much of the server's certificate is looked at.
#[derive(Debug)]
enum Check {
    Nothing,
    Authority(Arc<WebPkiServerVerifier>),
    AuthorityAndName(Arc<WebPkiServerVerifier>),
}

#[derive(Debug)]
struct Verifier {
    check: Check,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Says what is wrong with the certificate that `openssl req -x509` makes, as PostgreSQL's manual shows it. libpq takes
/// it where it is named as authority.
fn explained(error: Error) -> Error {
    match &error {
        Error::InvalidCertificate(CertificateError::Other(other))
            if other.to_string().contains("CaUsedAsEndEntity") =>
        {
            Error::General(
                "the server's certificate is that of an authority (CA:TRUE), which no server may use; \
                 sign one for the server with it, or make it with `openssl req -x509 -extensions usr_cert ...` (CA:FALSE)"
                    .to_owned(),
            )
        }
        _ => error,
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |verifier: &WebPkiServerVerifier| {
            verifier
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .map_err(explained)
        };
        match &self.check {
            Check::Nothing => Ok(ServerCertVerified::assertion()),
            Check::AuthorityAndName(verifier) => verify(verifier),
            // rustls looks at the name after everything else, so this error says that the rest is right.
            Check::Authority(verifier) => match verify(verifier) {
                Err(Error::InvalidCertificate(
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                )) => Ok(ServerCertVerified::assertion()),
                verdict => verdict,
            },
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
