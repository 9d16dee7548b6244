//! Entries that were taken while the database was away, in a file of this machine until they stand in the database.
//!
//! The file has the records of the segment files, one after another, each synced before it counts; a torn last one was
//! never acknowledged and is cut. A promise is kept as the truncation of nothing by whoever it was made to. Deliberately
//! absent: when it is used and what becomes of it; see `volatile`.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use journal_core::codec::CodecError;
use journal_core::codec::record::{Place, Record};
use journal_core::{Entry, Tail, Unit};
use types::{Epoch, Seq};

use crate::StoreError;

/// What was taken and does not stand in the database yet.
pub(super) struct Backlog {
    path: PathBuf,
    disk_id: u128,
    limit: u64,
    bytes: u64,
    records: u64,
    file: Option<File>,
    entries: Vec<Entry>,
    promised: Option<Epoch>,
    /// Whether a write failed: what stands behind the last whole record then, nobody knows.
    broken: bool,
}

impl Backlog {
    /// Reads what an earlier process left at `path`. Takes at most `limit` bytes.
    pub(super) fn open(path: &Path, disk_id: u128, limit: u64) -> Result<Self, StoreError> {
        let mut backlog = Self {
            path: path.to_owned(),
            disk_id,
            limit,
            bytes: 0,
            records: 0,
            file: None,
            entries: Vec::new(),
            promised: None,
            broken: false,
        };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(backlog),
            Err(error) => return Err(backlog.failed("read", error)),
        };
        let mut rest = &bytes[..];
        loop {
            let (header, record) = match Record::decode(rest, disk_id) {
                Ok(found) => found,
                // Whole records that are not ours to read are not a torn end: somebody was told that they are kept.
                Err(error @ (CodecError::Foreign { .. } | CodecError::Version { .. })) => {
                    return Err(backlog.foreign(bytes.len() - rest.len(), &error));
                }
                Err(_) => break,
            };
            match record {
                Record::Entry(entry) if backlog.continues(&entry) => backlog.entries.push(entry),
                Record::Entry(_) => break,
                Record::Truncate { by, .. } => backlog.promised = Some(by),
            }
            rest = &rest[header.record_bytes()..];
            backlog.records += 1;
        }
        backlog.bytes = (bytes.len() - rest.len()) as u64;
        if !rest.is_empty() {
            tracing::warn!(path = %path.display(), bytes = rest.len(), "torn end of the journal's backlog cut");
            let bytes = backlog.bytes;
            backlog.with_file("cut", |file| file.set_len(bytes))?;
        }
        Ok(backlog)
    }

    /// The entries, oldest first.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The epoch under which it was taken: none later wrote or was promised here. None if there is nothing in it.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        newer(self.promised, self.entries.last())
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.epoch().is_none()
    }

    /// Adds a unit's entries; durable on this machine when it returns.
    pub(super) fn append(&mut self, unit: &Unit) -> Result<(), StoreError> {
        let mut records: Vec<Record> = unit.entries.iter().cloned().map(Record::Entry).collect();
        // A leader may hand on what an earlier one made: then the entries do not tell who wrote them.
        let told = newer(self.promised, unit.entries.last()).is_some_and(|told| told.number >= unit.epoch.number);
        if !told && let Some(first) = unit.entries.first() {
            records.insert(0, Record::Truncate { to: Seq(first.seq.0 - 1), by: unit.epoch });
        }
        self.add(&records)?;
        self.entries.extend_from_slice(&unit.entries);
        if !told {
            self.promised = Some(unit.epoch);
        }
        Ok(())
    }

    /// Keeps a promise.
    pub(super) fn promise(&mut self, tail: &Tail, epoch: Epoch) -> Result<(), StoreError> {
        self.add(&[Record::Truncate { to: tail.seq, by: epoch }])?;
        self.promised = Some(epoch);
        Ok(())
    }

    /// Forgets everything: it stands in the database.
    pub(super) fn clear(&mut self) -> Result<(), StoreError> {
        self.forget();
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.failed("remove", error)),
            _ => Ok(()),
        }
    }

    /// Keeps the file under another name, for whoever has to find out what was in it, and begins anew.
    pub(super) fn set_aside(&mut self) -> Result<PathBuf, StoreError> {
        let first = self.entries.first().map_or(Seq(0), |entry| entry.seq);
        let aside = self.path.with_extension(format!("superseded-{first}"));
        std::fs::rename(&self.path, &aside).map_err(|error| self.failed("rename", error))?;
        self.forget();
        Ok(aside)
    }

    fn forget(&mut self) {
        (self.bytes, self.records, self.file, self.promised, self.broken) = (0, 0, None, None, false);
        self.entries = Vec::new();
    }

    fn continues(&self, entry: &Entry) -> bool {
        self.entries.last().is_none_or(|last| last.seq.next() == entry.seq && last.chain == entry.prev_chain)
    }

    fn add(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let mut bytes = Vec::new();
        for (phys_no, record) in (self.records..).zip(records) {
            let place = Place { disk_id: self.disk_id, phys_no, unit_no: phys_no, last_in_unit: true };
            record.encode(place, &mut bytes).map_err(|error| StoreError::invalid(error.to_string()))?;
        }
        if self.bytes + bytes.len() as u64 > self.limit {
            return Err(StoreError::Full { path: self.path.display().to_string() });
        }
        if self.broken {
            let cause =
                format!("{} could not be written before: make room, then restart the gateway", self.path.display());
            return Err(StoreError::OutOfService { cause });
        }
        let written = self.with_file("write", |file| file.write_all(&bytes).and_then(|()| file.sync_data()));
        // The next start cuts an unfinished end, so nothing may stand behind one.
        self.broken = written.is_err();
        written?;
        self.bytes += bytes.len() as u64;
        self.records += records.len() as u64;
        Ok(())
    }

    fn with_file(
        &mut self,
        operation: &'static str,
        work: impl FnOnce(&mut File) -> std::io::Result<()>,
    ) -> Result<(), StoreError> {
        if self.file.is_none() {
            let made = (|| {
                let directory = self.path.parent().unwrap_or(Path::new("."));
                std::fs::create_dir_all(directory)?;
                let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
                // The name must survive as well.
                File::open(directory)?.sync_all()?;
                Ok(file)
            })();
            self.file = Some(made.map_err(|error| self.failed("open", error))?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        work(file).map_err(|error| self.failed(operation, error))
    }

    fn foreign(&self, offset: usize, error: &CodecError) -> StoreError {
        let reason = format!(
            "{error}; it was taken without another database than this one: bring that one back, or move the file away \
             if its entries are not wanted"
        );
        let seq = self.entries.last().map_or(Seq(0), |last| last.seq.next());
        StoreError::Corrupt { segment: self.path.display().to_string(), offset: offset as u64, seq, reason }
    }

    fn failed(&self, operation: &'static str, source: std::io::Error) -> StoreError {
        StoreError::io(operation, self.path.display().to_string(), source)
    }
}

fn newer(promised: Option<Epoch>, last: Option<&Entry>) -> Option<Epoch> {
    promised.into_iter().chain(last.map(|entry| entry.epoch)).max_by_key(|epoch| epoch.number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use journal_core::{ChainHash, EntryKind};
    use types::{Incarnation, LogId, Timestamp};

    const DISK: u128 = 7;

    fn epoch(number: u64) -> Epoch {
        Epoch { number, owner: Incarnation(1) }
    }

    fn entries(from: u64, count: u64) -> Vec<Entry> {
        let mut chain = ChainHash([u8::try_from(from).expect("small"); 16]);
        let seal = |seq| {
            let payload = Bytes::from(vec![3; 100]);
            let entry = Entry::seal(LogId(9), epoch(1), Seq(seq), EntryKind::Batch, Timestamp(seq), chain, payload);
            chain = entry.chain;
            entry
        };
        (from..from + count).map(seal).collect()
    }

    fn unit(entries: &[Entry]) -> Unit {
        Unit { epoch: epoch(1), truncate_to: None, entries: entries.to_vec() }
    }

    #[test]
    fn nothing_stands_behind_a_write_that_failed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("shard-0.backlog");
        let taken = entries(5, 3);
        let mut backlog = Backlog::open(&path, DISK, 1 << 20).expect("nothing yet");
        backlog.append(&unit(&taken[..1])).expect("written");
        let good = backlog.file.replace(File::open(&path).expect("readable, not writable"));
        assert!(matches!(backlog.append(&unit(&taken[1..2])), Err(StoreError::Io { .. })));
        backlog.file = good;
        assert!(matches!(backlog.append(&unit(&taken[1..2])), Err(StoreError::OutOfService { .. })));
        assert_eq!(Backlog::open(&path, DISK, 1 << 20).expect("read").entries(), &taken[..1]);
        backlog.clear().expect("removed");
        backlog.append(&unit(&taken[1..])).expect("a new file is as good as ever");
        assert_eq!(Backlog::open(&path, DISK, 1 << 20).expect("read").entries(), &taken[1..]);
    }

    #[test]
    fn what_was_taken_is_there_after_a_crash_and_a_torn_end_is_cut() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("shard-0.backlog");
        let taken = entries(5, 6);
        let mut backlog = Backlog::open(&path, DISK, 1 << 20).expect("nothing yet");
        assert!(backlog.is_empty());
        backlog.append(&unit(&taken[..4])).expect("written");
        backlog.promise(&taken[3].tail(), epoch(2)).expect("written");
        backlog.append(&unit(&taken[4..])).expect("written");
        drop(backlog);
        let whole = std::fs::read(&path).expect("it is there");
        for length in 0..=whole.len() {
            std::fs::write(&path, &whole[..length]).expect("torn");
            let found = Backlog::open(&path, DISK, 1 << 20).expect("read");
            assert_eq!(found.entries(), &taken[..found.entries().len()], "torn at {length}");
            if length == whole.len() {
                assert_eq!((found.entries().len(), found.epoch()), (6, Some(epoch(2))));
            }
        }
        let refused = Backlog::open(&path, DISK + 1, 1 << 20).map(|_| ()).expect_err("of another journal");
        assert!(matches!(refused, StoreError::Corrupt { offset: 0, .. }), "{refused}");
        assert_eq!(std::fs::read(&path).expect("it is there"), whole, "nothing was cut");
    }

    #[test]
    fn it_takes_no_more_than_its_limit() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("shard-0.backlog");
        let taken = entries(1, 8);
        let mut backlog = Backlog::open(&path, DISK, 1_000).expect("nothing yet");
        backlog.append(&unit(&taken[..3])).expect("there is room for three");
        assert!(matches!(backlog.append(&unit(&taken[3..])), Err(StoreError::Full { .. })));
        assert_eq!(backlog.entries().len(), 3);
        backlog.clear().expect("removed");
        assert!(backlog.is_empty() && !path.exists());
        backlog.append(&unit(&taken[..1])).expect("there is room again");
        let aside = backlog.set_aside().expect("renamed");
        assert!(backlog.is_empty() && aside.exists() && !path.exists());
    }
}
