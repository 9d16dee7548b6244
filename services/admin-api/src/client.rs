//! How this service calls others over HTTP: webhooks and the monitoring. Absent: whom.

use reqwest::ClientBuilder;

/// TLS by the implementation of cryptography that the whole process uses.
pub(crate) fn builder() -> ClientBuilder {
    // Somebody else may have chosen it already: it is the same.
    rustls::crypto::ring::default_provider().install_default().ok();
    ClientBuilder::new()
}
