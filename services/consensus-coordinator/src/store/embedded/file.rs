//! The embedded store's file: written beside, synced, renamed, its directory synced. It begins with a checksum.
//!
//! Deliberately absent: leases, sessions, targets and operations; a restart forgets them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::text::{LeaderText, corrupt};
use super::super::{Policy, StoreError};

/// First word of the file; the number is the version of what follows.
const MAGIC: &str = "hivemind-epochs-2";
/// The version before had the shards alone.
const MAGIC_1: &str = "hivemind-epochs-1";

/// What is kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Kept {
    pub(super) shards: BTreeMap<u32, Saved>,
    pub(super) policy: Policy,
}

/// What is kept of a shard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    /// Number given out last.
    pub(super) epoch: u64,
    /// To whom; absent in files of the version before, once it was given back.
    pub(super) leader: Option<LeaderText>,
}

/// Reads the file; what is not there is empty.
pub(super) fn open(path: &Path) -> Result<Kept, StoreError> {
    match fs::read(path) {
        Ok(bytes) => decode(&bytes).map_err(|why| corrupt(&path.display().to_string(), &why)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Kept::default()),
        Err(error) => Err(unavailable(path, &error)),
    }
}

/// Replaces the file so that a crash leaves the old one or the new one, and a return means that the new one stays.
pub(super) fn write(path: &Path, kept: &Kept) -> Result<(), StoreError> {
    replace(path, &encode(kept)).map_err(|error| unavailable(path, &error))
}

pub(super) fn unavailable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}

fn encode(kept: &Kept) -> Vec<u8> {
    let json = serde_json::to_string(kept).expect("texts and numbers are always JSON");
    format!("{MAGIC} {}\n{json}\n", blake3::hash(json.as_bytes())).into_bytes()
}

fn decode(bytes: &[u8]) -> Result<Kept, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let (head, json) = text.split_once('\n').ok_or("it has no first line")?;
    let (magic, sum) = head.split_once(' ').ok_or("it is of another kind")?;
    let json = json.strip_suffix('\n').ok_or("it is cut short")?;
    if *blake3::hash(json.as_bytes()).to_hex() != *sum {
        return Err("it does not match its checksum; restore it from a backup, or write the highest epoch that \
                    any gateway has promised into a new one"
            .to_owned());
    }
    match magic {
        MAGIC => serde_json::from_str(json).map_err(|error| error.to_string()),
        MAGIC_1 => serde_json::from_str(json)
            .map(|shards| Kept { shards, policy: Policy::default() })
            .map_err(|error| error.to_string()),
        _ => Err("it is of another kind or version".to_owned()),
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_is_noticed() {
        let leader = Some(LeaderText {
            engine: "e1".into(),
            incarnation: "0f".into(),
            address: "http://h:1".into(),
            epoch: 3,
            lease: 0,
            ended: false,
        });
        let shards = BTreeMap::from([(0, Saved { epoch: 3, leader })]);
        let good = encode(&Kept { shards, policy: Policy::default() });
        assert_eq!(decode(&good).map(|kept| kept.shards[&0].epoch), Ok(3));
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(decode(&bad).is_err(), "byte {at}, bit {bit}");
            }
            assert!(decode(&good[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn the_version_before_reads() {
        let json = r#"{"0":{"epoch":3,"leader":null}}"#;
        let file = format!("{MAGIC_1} {}\n{json}\n", blake3::hash(json.as_bytes()));
        assert_eq!(decode(file.as_bytes()).map(|kept| kept.shards[&0].epoch), Ok(3));
        let unknown = file.replace(MAGIC_1, "hivemind-epochs-9");
        assert!(decode(unknown.as_bytes()).is_err());
    }
}
