//! TLS of clients: what servers' certificates are checked against, and the client's own certificate, both exchangeable
//! under way: the next connection uses the new ones.
//!
//! Deliberately absent: trust in the authorities of the public web; whoever runs the servers names their authority.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

/// Why certificates cannot be used. Does not show what is in the files.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// Not PEM, or nothing of the wanted kind in it.
    #[error("cannot read {what}: {source}")]
    Pem {
        /// Which part.
        what: &'static str,
        /// The parser's reason.
        source: pem::Error,
    },
    /// There is none.
    #[error("there is no certificate in it")]
    Empty,
    /// They do not fit each other, or are not supported.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// Who servers must be, and who this client is. Clones share it.
#[derive(Clone)]
pub struct ClientTls(Arc<ArcSwap<ClientConfig>>);

impl ClientTls {
    /// Trusts `authorities` and shows `identity`, a chain and its private key; all in PEM.
    ///
    /// # Errors
    /// [`PemError`].
    pub fn new(authorities: &[u8], identity: Option<(&[u8], &[u8])>) -> Result<Self, PemError> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(config(authorities, identity)?))))
    }

    /// From the next connection on, this.
    ///
    /// # Errors
    /// [`PemError`]; then everything stays as it was.
    pub fn replace(&self, authorities: &[u8], identity: Option<(&[u8], &[u8])>) -> Result<(), PemError> {
        self.0.store(Arc::new(config(authorities, identity)?));
        Ok(())
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientTls")
    }
}

impl PartialEq for ClientTls {
    /// Whether they are clones of one.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ClientTls {}

/// Certificates in PEM.
///
/// # Errors
/// [`PemError`]; also when there are none.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|source| PemError::Pem { what: "certificates", source })?;
    if all.is_empty() { Err(PemError::Empty) } else { Ok(all) }
}

/// A private key in PEM.
///
/// # Errors
/// [`PemError`].
pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|source| PemError::Pem { what: "the private key", source })
}

/// Authorities in PEM.
///
/// # Errors
/// [`PemError`]; also when there are none.
pub fn authorities(pem: &[u8]) -> Result<RootCertStore, PemError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

fn config(trusted: &[u8], identity: Option<(&[u8], &[u8])>) -> Result<ClientConfig, PemError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(authorities(trusted)?);
    let mut config = match identity {
        Some((chain, key)) => builder.with_client_auth_cert(certificates(chain)?, private_key(key)?)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// One connection to `host:port`, set up within `limit`.
pub(super) async fn connect(
    tls: Option<ClientTls>,
    host: String,
    port: u16,
    limit: Duration,
) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
    let tls = tls.ok_or_else(|| io::Error::other("no certificate authority is configured for https"))?;
    let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let server = ServerName::try_from(name.clone()).map_err(io::Error::other)?;
    let connected = async {
        let stream = TcpStream::connect((name.as_str(), port)).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(tls.0.load_full()).connect(server, stream).await
    };
    let connected = tokio::time::timeout(limit, connected).await;
    connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?.map(TokioIo::new)
}
