//! Where the services of other processes are.
//!
//! Deliberately absent: connections; `run` makes them.

use anyhow::{Context, Result};
use serde::{Deserialize, Deserializer, Serialize};
use wire::transport::Address;

/// gRPC addresses of services in other processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Peers {
    /// Needed by the admin API.
    pub(crate) order_engine: Addresses,
    /// Needed by the order engine and the admin API; any of them will do.
    pub(crate) consensus_coordinator: Addresses,
    /// Needed by the order engine and the admin API. With `persistence_gateway.journal.backend = "postgres"` all of
    /// them are ways to one journal; with "file" there is one.
    pub(crate) persistence_gateway: Addresses,
}

/// Addresses, each `http://host:port`: a list of texts, or one text with commas between them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Addresses(Vec<String>);

impl Addresses {
    /// All of them, read.
    pub(crate) fn read(&self, key: &str) -> Result<Vec<Address>> {
        self.0.iter().map(|text| text.parse().with_context(|| key.to_owned())).collect()
    }

    /// As written.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected an address or a list of addresses, each http://host:port")]
        enum Written {
            One(String),
            Many(Vec<String>),
        }
        Ok(Self(match Written::deserialize(deserializer)? {
            Written::One(text) => {
                text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect()
            }
            Written::Many(texts) => texts,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_or_many() {
        let read = |text: &str| toml::from_str::<Peers>(text).map(|peers| peers.order_engine.0);
        assert_eq!(read(""), Ok(vec![]));
        assert_eq!(read("order_engine = \"http://a:1\""), Ok(vec!["http://a:1".to_owned()]));
        let two = Ok(vec!["http://a:1".to_owned(), "http://b:2".to_owned()]);
        assert_eq!(read("order_engine = [\"http://a:1\", \"http://b:2\"]"), two);
        assert_eq!(read("order_engine = \"http://a:1, http://b:2\""), two);
        let refused = read("order_engine = 7").expect_err("a number");
        assert!(refused.message().contains("list of addresses"), "{refused}");
    }
}
