//! What a backup says of itself. Absent: the files it names.

use bytes::Bytes;
use journal_core::Tail;
use serde::{Deserialize, Serialize};
use types::{Epoch, Incarnation, LogId, Seq, StateHash};

use super::BackupError;

/// Version of the layout.
const FORMAT: u32 = 1;

/// Name of the manifest, and of the file with its hash.
pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const MANIFEST_HASH: &str = "manifest.json.b3";

/// A backup, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the layout: 1.
    pub format: u32,
    /// Name of the backup; that of its directory too.
    pub id: String,
    /// When it was begun, RFC 3339, UTC.
    pub created_at: String,
    /// Version of the program that made it.
    pub version: String,
    /// Name of the instance that made it.
    pub node: String,
    /// Id of the order.
    pub request_id: String,
    /// Who ordered it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// The shards.
    pub shards: Vec<ShardPart>,
    /// Rows of the history.
    pub rows: u64,
    /// Files with rows of the history, in their order.
    pub history: Vec<String>,
    /// Every file but those of the manifest.
    pub files: Vec<FilePart>,
}

/// One shard of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardPart {
    /// Its number.
    pub shard: u32,
    /// History that was backed up, 32 hexadecimal digits.
    pub log_id: String,
    /// Last entry in the backup; 0 if there was none.
    pub seq: u64,
    /// Its chain hash, 32 hexadecimal digits.
    pub chain: String,
    /// Epoch it was written in.
    pub epoch: u64,
    /// State hash after it, 32 hexadecimal digits.
    pub state_hash: String,
    /// Snapshot that the replay begins with; none if it begins with the first entry.
    pub snapshot: Option<SnapshotPart>,
    /// Files with the entries after the snapshot, in their order.
    pub entries: Vec<String>,
}

/// The snapshot of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotPart {
    /// File that holds it.
    pub file: String,
    /// Entry after which the state was so.
    pub seq: u64,
    /// Its chain hash, 32 hexadecimal digits.
    pub chain: String,
    /// Epoch it was written in.
    pub epoch: u64,
    /// Who led then, 32 hexadecimal digits.
    pub owner: String,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilePart {
    /// Its name below the backup's directory.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its BLAKE3 hash, 64 hexadecimal digits.
    pub blake3: String,
}

impl Manifest {
    /// The manifest as a file, and the file with its hash, in the format of `b3sum --check`.
    pub(super) fn encode(&self) -> Result<(Bytes, Bytes), BackupError> {
        let text = serde_json::to_vec_pretty(self).map_err(|error| BackupError::System(error.to_string()))?;
        let hash = hash_file(&text);
        Ok((text.into(), hash.into()))
    }

    /// Reads a manifest that must be that of backup `id`, bit by bit.
    pub(super) fn decode(id: &str, text: &[u8], hash: &[u8]) -> Result<Self, BackupError> {
        let damaged = |reason: &str| BackupError::damaged(id, reason);
        if hash != hash_file(text).as_bytes() {
            return Err(damaged("manifest.json and manifest.json.b3 do not belong together"));
        }
        let manifest: Self = serde_json::from_slice(text).map_err(|error| BackupError::damaged(id, error))?;
        if manifest.format != FORMAT {
            let format = manifest.format;
            let reason = format!("its layout is version {format}, this program reads {FORMAT}: use a newer program");
            return Err(BackupError::damaged(id, reason));
        }
        if manifest.id != id {
            return Err(damaged("its manifest is that of another backup"));
        }
        Ok(manifest)
    }

    /// A manifest without content.
    pub(super) fn new(id: String, created_at: String, node: String) -> Self {
        Self {
            format: FORMAT,
            id,
            created_at,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node,
            request_id: String::new(),
            actor: String::new(),
            reason: String::new(),
            shards: Vec::new(),
            rows: 0,
            history: Vec::new(),
            files: Vec::new(),
        }
    }

    /// All its bytes, the manifest not counted.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

fn hash_file(manifest: &[u8]) -> String {
    format!("{}  {MANIFEST}\n", blake3::hash(manifest).to_hex())
}

impl ShardPart {
    pub(super) fn log_id(&self) -> Option<LogId> {
        self.log_id.parse().ok()
    }

    pub(super) fn state_hash(&self) -> Option<StateHash> {
        self.state_hash.parse().ok()
    }
}

impl SnapshotPart {
    pub(super) fn new(file: String, at: &Tail) -> Self {
        Self {
            file,
            seq: at.seq.0,
            chain: at.chain.to_string(),
            epoch: at.epoch.number,
            owner: at.epoch.owner.to_string(),
        }
    }

    pub(super) fn at(&self) -> Option<Tail> {
        let owner: Incarnation = self.owner.parse().ok()?;
        Some(Tail { epoch: Epoch { number: self.epoch, owner }, seq: Seq(self.seq), chain: self.chain.parse().ok()? })
    }
}
