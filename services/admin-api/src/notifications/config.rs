//! Who is told. Absent: what they are told.

use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Serialize};
use service_kit::config::HumanDuration;

use super::Kind;

/// Receivers of notifications. Their addresses are secrets: many hold a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The security team's webhook, gets `{"incident","severity","system"}`. Default: none.
    pub security_webhook: Webhook,
    /// The status page's API, gets `{"status","message"}`. Default: none.
    pub status_page_webhook: Webhook,
    /// The stakeholders' webhook, gets `{"message"}`. Default: none.
    pub notification_webhook: Webhook,
    /// What this system is called in notifications. Default: "hive-mind-rust".
    pub system: String,
    /// Longest wait for a receiver, 100 ms to 60 s. Default: "5s".
    pub timeout: HumanDuration,
    /// How long a notification is tried again before it is given up. Default: "24h".
    pub retry_for: HumanDuration,
    /// How long the same notification is not sent a second time. Default: "10m".
    pub dedupe_for: HumanDuration,
}

/// Where a receiver is. Its `Debug` form leaves out all but whether it is set.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Webhook(String);

/// Why a configuration is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("notifications.{key}: {problem}")]
pub struct ConfigError {
    key: &'static str,
    problem: &'static str,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            security_webhook: Webhook::default(),
            status_page_webhook: Webhook::default(),
            notification_webhook: Webhook::default(),
            system: "hive-mind-rust".to_owned(),
            timeout: HumanDuration::from_secs(5),
            retry_for: HumanDuration::from_secs(24 * 3_600),
            dedupe_for: HumanDuration::from_secs(600),
        }
    }
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "(none)" } else { "(set)" })
    }
}

impl Config {
    /// Keys below the section that are applied without a restart: all.
    pub const HOT: &'static [&'static str] = &[
        "security_webhook",
        "status_page_webhook",
        "notification_webhook",
        "system",
        "timeout",
        "retry_for",
        "dedupe_for",
    ];

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key; never its value.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for kind in Kind::ALL {
            let (key, webhook) = self.webhook(kind);
            let good = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
            if !webhook.0.is_empty() && !Url::parse(&webhook.0).is_ok_and(|url| good(&url)) {
                return Err(ConfigError { key, problem: "must be http://… or https://…, or empty" });
            }
        }
        if self.system.is_empty() {
            return Err(ConfigError { key: "system", problem: "must not be empty" });
        }
        if !(Duration::from_millis(100)..=Duration::from_secs(60)).contains(&self.timeout.0) {
            return Err(ConfigError { key: "timeout", problem: "choose 100ms to 60s" });
        }
        Ok(())
    }

    fn webhook(&self, kind: Kind) -> (&'static str, &Webhook) {
        match kind {
            Kind::Security => ("security_webhook", &self.security_webhook),
            Kind::Status => ("status_page_webhook", &self.status_page_webhook),
            Kind::Message => ("notification_webhook", &self.notification_webhook),
        }
    }

    /// The key that names the receiver.
    pub(crate) fn key(&self, kind: Kind) -> &'static str {
        self.webhook(kind).0
    }

    /// Where the receiver is; `None` if it is not configured.
    pub(crate) fn url(&self, kind: Kind) -> Option<Url> {
        Url::parse(&self.webhook(kind).1.0).ok()
    }

    /// Its host, which is no secret; empty if it is not configured.
    pub(crate) fn host(&self, kind: Kind) -> String {
        self.url(kind).and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
    }
}
