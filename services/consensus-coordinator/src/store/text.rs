//! How leaders and voter configurations are written, the same in both stores: JSON, for people with `etcdctl`.

use journal_core::{Voter, VoterConfig};
use serde::{Deserialize, Serialize};
use types::{Epoch, Incarnation};
use wire::convert::Engine;

use super::StoreError;

/// A leadership, without its lease time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LeaderText {
    pub(super) engine: String,
    /// 32 hexadecimal digits.
    pub(super) incarnation: String,
    pub(super) address: String,
    pub(super) epoch: u64,
    /// The lease's number in etcd; 0 elsewhere.
    pub(super) lease: i64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ConfigText {
    generation: u64,
    current: Vec<VoterText>,
    pending: Vec<VoterText>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct VoterText {
    gateway: String,
    /// 32 hexadecimal digits.
    disk: String,
}

impl LeaderText {
    pub(super) fn new(engine: &Engine, epoch: u64, lease: i64) -> Self {
        Self {
            engine: engine.name.clone(),
            incarnation: engine.incarnation.to_string(),
            address: engine.address.clone(),
            epoch,
            lease,
        }
    }

    pub(super) fn engine(&self) -> Result<Engine, StoreError> {
        let incarnation =
            self.incarnation.parse().map_err(|_| corrupt("leader", "its incarnation is not hexadecimal"))?;
        Ok(Engine { name: self.engine.clone(), incarnation, address: self.address.clone() })
    }

    pub(super) fn epoch(&self) -> Result<Epoch, StoreError> {
        Ok(Epoch { number: self.epoch, owner: self.engine()?.incarnation })
    }

    pub(super) fn is(&self, epoch: Epoch) -> bool {
        self.epoch == epoch.number && self.incarnation.parse() == Ok::<Incarnation, _>(epoch.owner)
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers are always JSON")
    }

    pub(super) fn from_json(bytes: &[u8]) -> Result<Self, StoreError> {
        serde_json::from_slice(bytes).map_err(|error| corrupt("leader", &error.to_string()))
    }
}

/// Reads a voter configuration; the same form is written by whoever changes members.
pub(super) fn voter_config(bytes: &[u8]) -> Result<VoterConfig, StoreError> {
    let text: ConfigText = serde_json::from_slice(bytes).map_err(|error| corrupt("config", &error.to_string()))?;
    let voters = |voters: Vec<VoterText>| {
        let voter = |voter: VoterText| {
            let disk_id = u128::from_str_radix(&voter.disk, 16)
                .map_err(|_| corrupt("config", "the disk of a voter is not hexadecimal"))?;
            Ok(Voter { gateway: voter.gateway, disk_id })
        };
        voters.into_iter().map(voter).collect::<Result<_, _>>()
    };
    Ok(VoterConfig { generation: text.generation, current: voters(text.current)?, pending: voters(text.pending)? })
}

pub(super) fn corrupt(what: &str, why: &str) -> StoreError {
    StoreError::Corrupt(format!("{what}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_read_as_people_write_them() {
        let text = br#"{"generation":3,"current":[{"gateway":"a","disk":"ff"}]}"#;
        let config = voter_config(text).expect("valid");
        assert_eq!(config.generation, 3);
        assert_eq!(config.current, [Voter { gateway: "a".to_owned(), disk_id: 255 }]);
        assert!(voter_config(br#"{"generation":3,"curent":[]}"#).is_err(), "a typing error is not an empty list");
        assert!(voter_config(br#"{"current":[{"gateway":"a","disk":"xyz"}]}"#).is_err());
    }

    #[test]
    fn leaders_read_back() {
        let engine = Engine { name: "e1".into(), incarnation: Incarnation(7), address: "http://h:1".into() };
        let text = LeaderText::new(&engine, 4, 9);
        assert_eq!(LeaderText::from_json(text.to_json().as_bytes()), Ok(text.clone()));
        assert_eq!(text.engine(), Ok(engine));
        assert!(text.is(Epoch { number: 4, owner: Incarnation(7) }));
        assert!(!text.is(Epoch { number: 4, owner: Incarnation(8) }));
        assert!(LeaderText::from_json(b"{}").is_err());
    }
}
