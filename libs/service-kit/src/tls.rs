//! TLS of a node: its certificate, whom it takes for a process of the cluster, and whom it trusts as one. The files are
//! read again when they change; connections that are open go on, new ones use what is new. What cannot be used changes
//! nothing.
//!
//! Deliberately absent: making certificates, and revoking them; authorities and short lives do that.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::VerifierBuilderError;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_util::sync::CancellationToken;
use wire::transport::ClientTls;
use wire::transport::tls::{self, PemError};

use crate::auth::config::TlsConfig;

/// How often the files are read again.
const READ_AGAIN: Duration = Duration::from_secs(2);

/// Certificates of a node. Clones share them.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    files: TlsConfig,
    /// For HTTP/2, and for HTTP/1.1.
    h2: ArcSwap<ServerConfig>,
    http1: ArcSwap<ServerConfig>,
    client: Option<ClientTls>,
    /// What was read last, whether it could be used or not.
    read: Mutex<Option<Texts>>,
}

/// What the files hold.
#[derive(Clone, PartialEq, Eq)]
struct Texts {
    certificate: Vec<u8>,
    private_key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
    authorities: Option<Vec<u8>>,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// What it holds cannot be used.
    #[error("the certificates of security.tls cannot be used: {0}")]
    Pem(#[from] PemError),
    /// The authorities of clients cannot be used.
    #[error("security.tls.client_ca cannot be used: {0}")]
    ClientCa(#[from] VerifierBuilderError),
}

/// The protocol a door speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    H2,
    Http1,
}

impl Tls {
    /// Reads the files; `None` if there is to be no TLS.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(files: &TlsConfig) -> Result<Option<Self>, TlsError> {
        if !files.is_on() {
            return Ok(None);
        }
        let texts = Texts::read(files)?;
        let config = texts.server()?;
        let client = match &texts.authorities {
            Some(trusted) => Some(ClientTls::new(trusted, Some(texts.identity()))?),
            None => None,
        };
        let inner = Inner {
            files: files.clone(),
            h2: ArcSwap::from_pointee(for_protocol(&config, Protocol::H2)),
            http1: ArcSwap::from_pointee(for_protocol(&config, Protocol::Http1)),
            client,
            read: Mutex::new(Some(texts)),
        };
        Ok(Some(Self(Arc::new(inner))))
    }

    /// How this process calls the others.
    #[must_use]
    pub fn client(&self) -> Option<ClientTls> {
        self.0.client.clone()
    }

    /// What the next connection is set up with.
    pub(crate) fn server(&self, protocol: Protocol) -> Arc<ServerConfig> {
        match protocol {
            Protocol::H2 => self.0.h2.load_full(),
            Protocol::Http1 => self.0.http1.load_full(),
        }
    }

    /// Reads the files again; true if what they hold is new and in force.
    ///
    /// # Errors
    /// [`TlsError`], once for each content that cannot be used; then everything stays as it was.
    pub fn read_again(&self) -> Result<bool, TlsError> {
        let inner = &*self.0;
        let mut read = inner.read.lock().unwrap_or_else(PoisonError::into_inner);
        let texts = match Texts::read(&inner.files) {
            Ok(texts) => texts,
            // Reported once, until there is something to read again.
            Err(error) => return if read.take().is_some() { Err(error) } else { Ok(false) },
        };
        if read.as_ref() == Some(&texts) {
            return Ok(false);
        }
        *read = Some(texts.clone());
        let config = texts.server()?;
        if let (Some(client), Some(trusted)) = (&inner.client, &texts.authorities) {
            client.replace(trusted, Some(texts.identity()))?;
        }
        inner.h2.store(Arc::new(for_protocol(&config, Protocol::H2)));
        inner.http1.store(Arc::new(for_protocol(&config, Protocol::Http1)));
        Ok(true)
    }

    /// Reads the files again and again, until `end`.
    pub(crate) async fn follow(self, end: CancellationToken) {
        let mut ticks = tokio::time::interval(READ_AGAIN);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = end.cancelled() => return,
            }
            let tls = self.clone();
            match tokio::task::spawn_blocking(move || tls.read_again()).await {
                Ok(Ok(true)) => tracing::info!(target: "auth", "certificates were read again"),
                Ok(Err(error)) => {
                    tracing::error!(target: "auth", %error, "certificates cannot be used, the former ones stay in force");
                }
                Ok(Ok(false)) | Err(_) => {}
            }
        }
    }
}

impl Texts {
    fn read(files: &TlsConfig) -> Result<Self, TlsError> {
        let read = |path: &Path| fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source });
        let optional = |path: &PathBuf| if path.as_os_str().is_empty() { Ok(None) } else { read(path).map(Some) };
        Ok(Self {
            certificate: read(&files.certificate)?,
            private_key: read(&files.private_key)?,
            client_ca: optional(&files.client_ca)?,
            authorities: optional(files.authorities())?,
        })
    }

    fn identity(&self) -> (&[u8], &[u8]) {
        (&self.certificate, &self.private_key)
    }

    fn server(&self) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(PemError::from)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let roots = Arc::new(tls::authorities(pem)?);
                // Clients without a certificate show a key.
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).allow_unauthenticated();
                builder.with_client_cert_verifier(verifier.build()?)
            }
        };
        let (chain, key) = (tls::certificates(&self.certificate)?, tls::private_key(&self.private_key)?);
        Ok(builder.with_single_cert(chain, key).map_err(PemError::from)?)
    }
}

fn for_protocol(config: &ServerConfig, protocol: Protocol) -> ServerConfig {
    let alpn = match protocol {
        Protocol::H2 => b"h2".as_slice(),
        Protocol::Http1 => b"http/1.1",
    };
    let mut config = config.clone();
    config.alpn_protocols = vec![alpn.to_vec()];
    config
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("files", &self.0.files).finish_non_exhaustive()
    }
}
