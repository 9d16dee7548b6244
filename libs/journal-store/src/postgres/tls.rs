//! TLS to a database server: what its certificate is checked against, and the one that is shown to it.
//!
//! The files are read for every new connection, so that certificates are renewed without a restart. Deliberately absent:
//! trust in the authorities of the public web (whoever runs the server names its authority), and lists of revoked ones.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::Socket;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres_rustls::MakeRustlsConnect;

/// How connections to a server are protected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    pub(super) check: Check,
    /// File with the authorities that the server's certificate may come from.
    pub(super) authority: Option<PathBuf>,
    /// Files with our certificate and its private key.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
}

/// What is asked of the server's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Check {
    /// Nothing: whoever sits between can read along.
    #[default]
    Nothing,
    /// That the authority signed it, whatever its name.
    Authority,
    /// That the authority signed it for the name in the URL.
    Name,
}

/// Why TLS cannot be set up. Does not show what is in the files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds nothing of the kind.
    #[error("{parameter}={}: {reason}", path.display())]
    File {
        /// The word of the URL.
        parameter: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The files do not fit each other, or are not supported.
    #[error("the certificates of the database URL cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// The authorities cannot be used.
    #[error("sslrootcert cannot be used: {0}")]
    Authority(#[from] VerifierBuilderError),
}

/// Checks certificates as the URL says.
#[derive(Debug)]
struct Verifier {
    check: Check,
    /// None if nothing is checked.
    authority: Option<Arc<WebPkiServerVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Tls {
    /// What the next connection is set up with.
    ///
    /// # Errors
    /// [`TlsError`]: which file, and why.
    pub fn load(&self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let verifier = self.verifier(&provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        Ok(match &self.identity {
            Some((certificate, key)) => {
                let chain = certificates("sslcert", certificate)?;
                let private = PrivateKeyDer::from_pem_file(key).map_err(failed("sslkey", key))?;
                builder.with_client_auth_cert(chain, private)?
            }
            None => builder.with_no_client_auth(),
        })
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Verifier, TlsError> {
        let authority = match &self.authority {
            Some(file) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates("sslrootcert", file)? {
                    roots.add(certificate)?;
                }
                let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
                Some(verifier.build()?)
            }
            None => None,
        };
        Ok(Verifier { check: self.check, authority, algorithms: provider.signature_verification_algorithms })
    }
}

fn failed(parameter: &'static str, path: &Path) -> impl Fn(pem::Error) -> TlsError {
    move |error| TlsError::File { parameter, path: path.to_owned(), reason: error.to_string() }
}

fn certificates(parameter: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match all.map_err(failed(parameter, file))? {
        none if none.is_empty() => Err(failed(parameter, file)(pem::Error::NoItemsFound)),
        all => Ok(all),
    }
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;
    type TlsConnect = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn make_tls_connect(&mut self, host: &str) -> Result<Self::TlsConnect, Self::Error> {
        let mut connect = MakeRustlsConnect::new(self.load()?);
        Ok(MakeTlsConnect::<Socket>::make_tls_connect(&mut connect, host)?)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        let Some(authority) = &self.authority else { return Ok(ServerCertVerified::assertion()) };
        match authority.verify_server_cert(certificate, chain, name, ocsp, now) {
            // The name is looked at last: everything else was found good.
            Err(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
                if self.check == Check::Authority =>
            {
                Ok(ServerCertVerified::assertion())
            }
            answer => answer,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
