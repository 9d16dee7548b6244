//! How leaders, sessions and voter configurations are written, the same in both stores: JSON, for people with `etcdctl`.

use std::collections::BTreeSet;

use journal_core::placement::{Note, Target};
use journal_core::{Voter, VoterConfig};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use types::{Epoch, Incarnation, ShardId};
use wire::convert::Engine;

use super::{Holder, Session, StoreError};

/// A leadership, or who was given one last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LeaderText {
    pub(super) engine: String,
    /// 32 hexadecimal digits.
    pub(super) incarnation: String,
    pub(super) address: String,
    pub(super) epoch: u64,
    /// The lease's number in etcd; 0 elsewhere.
    pub(super) lease: i64,
    /// Whether it was given back or taken away.
    #[serde(default)]
    pub(super) ended: bool,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SessionText {
    pub(super) engine: String,
    /// 32 hexadecimal digits.
    pub(super) incarnation: String,
    pub(super) address: String,
    pub(super) lease: i64,
    pub(super) away: bool,
    /// Shards that it could not open at once.
    pub(super) cold: BTreeSet<u32>,
}

/// Who shall lead instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TargetText {
    /// 32 hexadecimal digits.
    pub(super) incarnation: String,
    pub(super) forced: bool,
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
            ended: false,
        }
    }

    pub(super) fn holder(&self) -> Result<Holder, StoreError> {
        Ok(Holder { engine: self.engine()?, epoch: self.epoch()?, ended: self.ended })
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
}

impl SessionText {
    pub(super) fn new(engine: &Engine, note: &Note, lease: i64) -> Self {
        Self {
            engine: engine.name.clone(),
            incarnation: engine.incarnation.to_string(),
            address: engine.address.clone(),
            lease,
            away: note.away,
            cold: note.cold.iter().map(|shard| shard.0).collect(),
        }
    }

    pub(super) fn session(&self) -> Result<Session, StoreError> {
        let incarnation = self.incarnation.parse().map_err(|_| corrupt("session", "it is not of an engine"))?;
        let engine = Engine { name: self.engine.clone(), incarnation, address: self.address.clone() };
        let note = Note { away: self.away, cold: self.cold.iter().map(|shard| ShardId(*shard)).collect() };
        Ok(Session { engine, note })
    }
}

impl TargetText {
    pub(super) fn new(target: Target) -> Self {
        Self { incarnation: target.engine.to_string(), forced: target.forced }
    }

    pub(super) fn target(&self) -> Result<Target, StoreError> {
        let engine = self.incarnation.parse().map_err(|_| corrupt("target", "it is not of an engine"))?;
        Ok(Target { engine, forced: self.forced })
    }
}

pub(super) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers are always JSON")
}

/// `what` is for people.
pub(super) fn from_json<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|error| corrupt(what, &error.to_string()))
}

/// Reads a voter configuration; the same form is written by whoever changes members.
pub(super) fn voter_config(bytes: &[u8]) -> Result<VoterConfig, StoreError> {
    let text: ConfigText = from_json("config", bytes)?;
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
        assert_eq!(from_json("leader", to_json(&text).as_bytes()), Ok(text.clone()));
        assert_eq!(text.engine(), Ok(engine));
        assert!(text.is(Epoch { number: 4, owner: Incarnation(7) }));
        assert!(!text.is(Epoch { number: 4, owner: Incarnation(8) }));
        assert!(from_json::<LeaderText>("leader", b"{}").is_err());
    }
}
