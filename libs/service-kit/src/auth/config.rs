//! `[security]`. Absent: where keys and certificates come from; they are files, read again when they change.

use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Keys, TLS and limits of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Directory of the key files, usually a mounted secret. Empty: there are no keys but `local.key`, and only
    /// loopback addresses can be listened on.
    pub keys_dir: PathBuf,
    /// From where connections without TLS are taken.
    pub plaintext: Plaintext,
    /// Certificates.
    pub tls: TlsConfig,
    /// How many requests are taken. Hot.
    pub limits: Limits,
}

/// From where connections without TLS are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plaintext {
    /// This machine: probes and tools beside the node.
    #[default]
    Loopback,
    /// Anywhere: for networks that encrypt by themselves. Keys can be read by whoever sees the traffic.
    Anywhere,
}

/// Certificates, as PEM files; read again when they change. All empty: no TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Chain of the node, its own certificate first. Also shown to peers that ask for one.
    pub certificate: PathBuf,
    /// Private key of the node.
    pub private_key: PathBuf,
    /// Certificates of authorities whose clients are processes of the cluster. Empty: clients show keys only.
    pub client_ca: PathBuf,
    /// Certificates of authorities that peers' certificates are checked against. Empty: `client_ca`.
    pub peer_ca: PathBuf,
}

/// How many requests are taken; 0 for any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests a second with one key; requests within a session count too.
    pub requests_per_second_per_key: u32,
    /// Requests a second from one address, this machine excepted.
    pub requests_per_second_per_peer: u32,
    /// Requests a minute from one address that fail to authenticate; the others are answered RESOURCE_EXHAUSTED.
    pub failures_per_minute_per_peer: u32,
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Half a certificate.
    #[error("security.tls.certificate and security.tls.private_key belong together: set both, or neither")]
    HalfACertificate,
    /// Authorities without a certificate of one's own.
    #[error("security.tls.{key} is set without security.tls.certificate: set that and security.tls.private_key too")]
    NoCertificate {
        /// The key that is set.
        key: &'static str,
    },
}

impl Default for Limits {
    /// Any number of requests; 60 failures a minute.
    fn default() -> Self {
        Self { requests_per_second_per_key: 0, requests_per_second_per_peer: 0, failures_per_minute_per_peer: 60 }
    }
}

impl Limits {
    pub(super) const fn per_key(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.requests_per_second_per_key)
    }

    pub(super) const fn per_peer(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.requests_per_second_per_peer)
    }

    pub(super) const fn failures(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.failures_per_minute_per_peer)
    }
}

impl TlsConfig {
    /// Whether there is TLS.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.certificate.as_os_str().is_empty()
    }

    /// What peers' certificates are checked against; empty for nothing.
    #[must_use]
    pub fn authorities(&self) -> &PathBuf {
        if self.peer_ca.as_os_str().is_empty() { &self.client_ca } else { &self.peer_ca }
    }
}

impl Config {
    /// Keys below `security` that are applied without a restart.
    pub const HOT: &[&str] = &[
        "limits.requests_per_second_per_key",
        "limits.requests_per_second_per_peer",
        "limits.failures_per_minute_per_peer",
    ];

    /// Whether callers need keys: there is a directory of them, whatever is in it.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        !self.keys_dir.as_os_str().is_empty()
    }

    /// Whether addresses outside the machine may be listened on.
    #[must_use]
    pub fn may_listen_anywhere(&self) -> bool {
        self.has_keys() && (self.tls.is_on() || self.plaintext == Plaintext::Anywhere)
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key.
    pub fn check(&self) -> Result<(), ConfigError> {
        let tls = &self.tls;
        if tls.is_on() == tls.private_key.as_os_str().is_empty() {
            return Err(ConfigError::HalfACertificate);
        }
        for (key, path) in [("client_ca", &tls.client_ca), ("peer_ca", &tls.peer_ca)] {
            if !path.as_os_str().is_empty() && !tls.is_on() {
                return Err(ConfigError::NoCertificate { key });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_open_to_the_network_without_keys_and_encryption() {
        let read = |text: &str| toml::from_str::<Config>(text).expect("readable");
        let tls = "tls = { certificate = \"c\", private_key = \"k\" }";
        assert!(!read("").may_listen_anywhere());
        assert!(!read("keys_dir = \"d\"").may_listen_anywhere());
        assert!(!read(tls).may_listen_anywhere());
        assert!(!read("plaintext = \"anywhere\"").may_listen_anywhere());
        assert!(read(&format!("keys_dir = \"d\"\n{tls}")).may_listen_anywhere());
        assert!(read("keys_dir = \"d\"\nplaintext = \"anywhere\"").may_listen_anywhere());
        assert_eq!(read(tls).check(), Ok(()));
        assert_eq!(read("tls = { certificate = \"c\" }").check(), Err(ConfigError::HalfACertificate));
        assert_eq!(read("tls = { private_key = \"k\" }").check(), Err(ConfigError::HalfACertificate));
        assert_eq!(read("tls = { client_ca = \"a\" }").check(), Err(ConfigError::NoCertificate { key: "client_ca" }));
    }
}
