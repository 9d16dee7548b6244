//! What can be configured. Absent: which instances there are; they are passed as channels.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use service_kit::config::HumanDuration;

/// Longest wait for an instance. An answer is promised within a second; the rest is for putting it together.
pub(crate) const MAX_TIMEOUT: Duration = Duration::from_millis(900);

/// Configuration of the admin service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long to wait for an instance before answering without it: 1 ms to 900 ms.
    pub timeout: HumanDuration,
    /// Where Prometheus is asked for the alerts of an incident: `http://host:9090`. Default: none.
    pub prometheus_url: String,
}

/// Why a configuration is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The timeout is out of range.
    #[error("admin_api.timeout is {given}; choose 1ms to 900ms, so that an answer comes within a second")]
    Timeout {
        /// As configured.
        given: HumanDuration,
    },
}

impl Default for Config {
    /// 800 ms.
    fn default() -> Self {
        Self { timeout: HumanDuration::from_millis(800), prometheus_url: String::new() }
    }
}

impl Config {
    /// Keys that may change while the process runs; all others need a restart.
    pub const HOT: &'static [&'static str] = &[];

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if (Duration::from_millis(1)..=MAX_TIMEOUT).contains(&self.timeout.0) {
            Ok(())
        } else {
            Err(ConfigError::Timeout { given: self.timeout })
        }
    }
}
