//! What can be configured.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use service_kit::config::HumanDuration;

/// Where epochs and leases are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// In a file below the data directory: one coordinator, on one machine.
    #[default]
    Embedded,
    /// In an etcd cluster: any number of coordinators.
    Etcd,
}

/// Configuration of the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Shards that have leaders, numbered 0 to 65535. A leadership of any other is refused: it would stay without a
    /// leader for good, and an alarm with it. Not a key: whoever composes the process knows.
    #[serde(skip)]
    pub shards: Vec<u32>,
    /// "embedded" or "etcd".
    pub store: StoreKind,
    /// Addresses of the etcd members, each `http://host:port`. Only for etcd.
    pub endpoints: Vec<String>,
    /// What the names of all keys in etcd begin with; clusters that share an etcd need different ones.
    pub prefix: String,
    /// How long a leader stays leader without a sign of life: 2 s to 60 s. etcd counts in whole seconds and ends
    /// leases up to half a second late.
    pub lease_ttl: HumanDuration,
    /// How long the store may take for one operation: 50 ms to 1 s. Three of them must fit the three seconds an
    /// engine waits, and two heartbeats the lease.
    pub request_timeout: HumanDuration,
    /// How long a connection to etcd may take to be made: 50 ms to 5 s.
    pub connect_timeout: HumanDuration,
    /// How long nothing is moved after a shard was moved to spread leaderships: 1 s to 1 h.
    pub balance_pause: HumanDuration,
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A duration is out of range.
    #[error("consensus_coordinator.{key} is {given}; choose {least} to {most}")]
    Duration {
        /// Which.
        key: &'static str,
        /// As configured.
        given: HumanDuration,
        /// Shortest.
        least: HumanDuration,
        /// Longest.
        most: HumanDuration,
    },
    /// No shards, or one that there cannot be.
    #[error("consensus_coordinator.shards: name at least one shard, numbered 0 to 65535")]
    Shards,
    /// etcd without endpoints.
    #[error("consensus_coordinator.endpoints is empty; name the etcd members, or choose store = \"embedded\"")]
    NoEndpoints,
    /// Not an address.
    #[error("consensus_coordinator.endpoints: \"{0}\" is no address: write http://host:port")]
    Endpoint(String),
    /// Not a prefix.
    #[error("consensus_coordinator.prefix is \"{0}\"; it must begin with \"/\" and not end with one")]
    Prefix(String),
}

impl Default for Config {
    /// Shard 0; embedded; leases of 5 s; a second for each operation and two for a connection; a move every 5 s.
    fn default() -> Self {
        Self {
            shards: vec![0],
            store: StoreKind::Embedded,
            endpoints: Vec::new(),
            prefix: "/hivemind".to_owned(),
            lease_ttl: HumanDuration::from_millis(5_000),
            request_timeout: HumanDuration::from_millis(1_000),
            connect_timeout: HumanDuration::from_millis(2_000),
            balance_pause: HumanDuration::from_millis(5_000),
        }
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
        in_range("lease_ttl", self.lease_ttl, 2_000, 60_000)?;
        in_range("request_timeout", self.request_timeout, 50, 1_000)?;
        in_range("connect_timeout", self.connect_timeout, 50, 5_000)?;
        in_range("balance_pause", self.balance_pause, 1_000, 3_600_000)?;
        if self.shards.is_empty() || self.shards.iter().any(|shard| *shard > u16::MAX.into()) {
            return Err(ConfigError::Shards);
        }
        if self.store == StoreKind::Etcd && self.endpoints.is_empty() {
            return Err(ConfigError::NoEndpoints);
        }
        let address = |text: &&String| text.starts_with("http://") && text.parse::<tonic::transport::Uri>().is_ok();
        if let Some(wrong) = self.endpoints.iter().find(|text| !address(text)) {
            return Err(ConfigError::Endpoint(wrong.clone()));
        }
        if !self.prefix.starts_with('/') || self.prefix.ends_with('/') {
            return Err(ConfigError::Prefix(self.prefix.clone()));
        }
        Ok(())
    }
}

fn in_range(key: &'static str, given: HumanDuration, least: u64, most: u64) -> Result<(), ConfigError> {
    if (Duration::from_millis(least)..=Duration::from_millis(most)).contains(&given.0) {
        return Ok(());
    }
    let (least, most) = (HumanDuration::from_millis(least), HumanDuration::from_millis(most));
    Err(ConfigError::Duration { key, given, least, most })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_cannot_work() {
        assert_eq!(Config::default().validate(), Ok(()));
        for shards in [vec![], vec![0, 65_536]] {
            assert_eq!(Config { shards, ..Config::default() }.validate(), Err(ConfigError::Shards));
        }
        let etcd = Config { store: StoreKind::Etcd, ..Config::default() };
        assert_eq!(etcd.validate(), Err(ConfigError::NoEndpoints));
        let endpoints = vec!["localhost:2379".to_owned()];
        let wrong = Config { endpoints, ..etcd }.validate();
        assert_eq!(wrong, Err(ConfigError::Endpoint("localhost:2379".to_owned())));
        let wrong = Config { prefix: "/hivemind/".to_owned(), ..Config::default() }.validate();
        assert!(matches!(wrong, Err(ConfigError::Prefix(_))));
        let wrong = Config { lease_ttl: HumanDuration::from_millis(1_000), ..Config::default() }.validate();
        assert_eq!(
            wrong.map_err(|error| error.to_string()).err().as_deref(),
            Some("consensus_coordinator.lease_ttl is 1s; choose 2s to 1m")
        );
    }
}
