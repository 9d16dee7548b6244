//! Snapshots as files of their own, one each, complete or absent.
//!
//! ```text
//! magic [u8; 8] | version u32 | unused u32 | len u64 | epoch u64 | owner u128 | seq u64 | chain [u8; 16]
//! BLAKE3 of position and content [u8; 32] | content
//! ```

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use journal_core::{ChainHash, Tail};
use types::{Epoch, Incarnation, Seq};

use super::disk::Disk;
use super::layout::{parse_snapshot, snapshot_name};
use super::segment::full_or_failed;
use crate::{SnapshotStore, StoreError, digest};

const MAGIC: [u8; 8] = *b"HMSNAP\r\n";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 104;
const NEW: &str = "snapshot.tmp";
/// The newest, and one more should it be damaged.
const KEPT: usize = 2;

pub(super) struct SnapshotFiles {
    disk: Arc<dyn Disk>,
    /// One at a time: they share the temporary name.
    writing: Mutex<()>,
}

impl SnapshotFiles {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, writing: Mutex::new(()) }
    }

    /// Gives back the room of a snapshot that a process did not finish before it was killed.
    pub(super) fn discard(&self) -> Result<(), StoreError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let names = self.disk.list().map_err(|source| StoreError::io("list", "the directory", source))?;
        if names.iter().any(|name| name == NEW) {
            self.disk.remove(NEW).map_err(|source| StoreError::io("remove", NEW, source))?;
        }
        Ok(())
    }

    /// Numbers of the files, newest first.
    fn list(&self) -> Result<Vec<u64>, StoreError> {
        let names = self.disk.list().map_err(|source| StoreError::io("list", "the directory", source))?;
        let mut found: Vec<u64> = names.iter().filter_map(|name| parse_snapshot(name)).collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        Ok(found)
    }

    fn write(&self, at: &Tail, bytes: &[u8]) -> Result<(), StoreError> {
        let len = (HEADER_BYTES + bytes.len()) as u64;
        let file = self.disk.create(NEW, len).map_err(|source| full_or_failed("create", NEW, source))?;
        file.write_at(&header(at, bytes), 0).map_err(|source| full_or_failed("write", NEW, source))?;
        file.write_at(bytes, HEADER_BYTES as u64).map_err(|source| full_or_failed("write", NEW, source))?;
        file.sync().map_err(|source| full_or_failed("sync", NEW, source))?;
        let name = snapshot_name(at.seq.0);
        self.disk.rename(NEW, &name).map_err(|source| StoreError::io("rename", &name, source))?;
        self.disk.sync_dir().map_err(|source| StoreError::io("sync the directory of", &name, source))
    }

    fn read(&self, name: &str) -> Result<Result<(Tail, Bytes), String>, StoreError> {
        let failed = |source| StoreError::io("read", name, source);
        let file = self.disk.open(name).map_err(failed)?;
        let size = file.size().map_err(failed)?;
        let mut bytes = vec![0; usize::try_from(size).map_err(|_| StoreError::invalid("snapshot too large"))?];
        file.read_at(&mut bytes, 0).map_err(failed)?;
        Ok(parse(bytes))
    }
}

fn header(at: &Tail, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(&at.epoch.number.to_le_bytes());
    out.extend_from_slice(&at.epoch.owner.0.to_le_bytes());
    out.extend_from_slice(&at.seq.0.to_le_bytes());
    out.extend_from_slice(&at.chain.0);
    out.extend_from_slice(&digest::of_snapshot(at, bytes));
    out
}

fn parse(file: Vec<u8>) -> Result<(Tail, Bytes), String> {
    let Some((front, content)) = file.split_at_checked(HEADER_BYTES) else {
        return Err(format!("{} bytes are too few", file.len()));
    };
    let array = |at: usize| <[u8; 16]>::try_from(&front[at..at + 16]).map_err(|error| error.to_string());
    let number = |at: usize| <[u8; 8]>::try_from(&front[at..at + 8]).map(u64::from_le_bytes).map_err(|e| e.to_string());
    let at = Tail {
        epoch: Epoch { number: number(24)?, owner: Incarnation(u128::from_le_bytes(array(32)?)) },
        seq: Seq(number(48)?),
        chain: ChainHash(array(56)?),
    };
    // What the digest does not cover must be exactly what would be written, so that every changed bit is noticed.
    if front != header(&at, content) {
        return Err("the content does not match the header".to_owned());
    }
    Ok((at, Bytes::from(file).slice(HEADER_BYTES..)))
}

impl SnapshotStore for SnapshotFiles {
    fn put(&self, at: &Tail, bytes: &[u8]) -> Result<(), StoreError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.write(at, bytes) {
            // Give the room back; the next attempt starts over anyway.
            if let Err(error) = self.disk.remove(NEW) {
                tracing::debug!(%error, "an unfinished snapshot could not be removed");
            }
            return Err(error);
        }
        for old in self.list()?.into_iter().skip(KEPT) {
            let name = snapshot_name(old);
            self.disk.remove(&name).map_err(|source| StoreError::io("remove", &name, source))?;
        }
        Ok(())
    }

    fn latest(&self) -> Result<Option<(Tail, Bytes)>, StoreError> {
        let mut damage = None;
        for seq in self.list()? {
            let name = snapshot_name(seq);
            let reason = match self.read(&name)? {
                Ok(found) => return Ok(Some(found)),
                Err(reason) => reason,
            };
            tracing::warn!(file = name, reason, "a snapshot is damaged; trying the one before");
            damage.get_or_insert(StoreError::Corrupt { segment: name, offset: 0, seq: Seq(seq), reason });
        }
        damage.map_or(Ok(None), Err)
    }
}
