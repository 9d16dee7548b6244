//! The journal as segment files: one sequential write and one fdatasync per unit, into files written with zeroes
//! beforehand, so that a sync never waits for metadata.
//!
//! Files are never written again behind their end except to zero what a torn unit left, and that is durable before the
//! next unit is written: nothing that was cut comes back. After a failed write or sync the storage refuses everything:
//! what the disk has is unknown then, and a repeated sync would succeed without having written anything.
//!
//! Deliberately absent: recycling of old segments and io_uring (measured: slower for small units).

mod blocks;
mod control;
mod disk;
mod layout;
mod lock;
mod log;
mod probe;
mod scan;
mod segment;
mod snapshots;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use journal_core::codec::record::{Place, Record};
use journal_core::{Control, Recovered, Tail, Unit};
use types::{Epoch, LogId, Seq};

use crate::admission::{Position, Service};
use crate::{LogReader, SnapshotStore, Storage, StoreError};
use blocks::Blocks;
use control::ControlFile;
use disk::{Disk, OsDisk};
use layout::{CONTROL, CONTROL_NEW, PREPARED, SEGMENT_MAX, SEGMENT_MIN, parse_segment, parse_snapshot};
use lock::DirectoryLock;
use log::Log;
pub use probe::{Percentiles, Probed, probe_sync};
use segment::{Location, Preparation, Preparer, Segment, headers_of};
use snapshots::SnapshotFiles;

/// Usual length of a segment: a few minutes of heavy traffic, prewritten within a second.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// Where a file storage is and how it is laid out.
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// Directory of this shard's journal and nothing else; made if missing.
    pub dir: PathBuf,
    /// Length of new segments in bytes, a multiple of 4 KiB from 8 KiB; existing ones keep theirs.
    pub segment_bytes: u64,
}

impl FileOptions {
    /// The usual layout in `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), segment_bytes: SEGMENT_BYTES }
    }
}

/// One shard's journal in a directory.
pub struct FileStorage {
    disk: Arc<dyn Disk>,
    service: Service,
    control: Option<ControlFile>,
    log: Arc<Log>,
    snapshots: Arc<SnapshotFiles>,
    preparer: Preparer,
    next_record: u64,
    /// Where the next record goes in the active segment.
    end: u64,
    /// Encoded records; reused for every unit.
    buffer: Vec<u8>,
    /// How they go to the disk.
    blocks: Blocks,
    /// First record and encoded headers of a unit whose slots are not written yet.
    unproven: Option<(u64, Vec<u8>)>,
    /// Last, so that everything else is closed before another process may come.
    _lock: Option<DirectoryLock>,
}

impl FileStorage {
    /// Opens a directory and locks it.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process uses it, [`StoreError::Invalid`] for an impossible segment length,
    /// [`StoreError::Io`] if the directory cannot be used.
    pub fn open(options: FileOptions) -> Result<Self, StoreError> {
        let FileOptions { dir, segment_bytes } = options;
        let disk = OsDisk::open(&dir).map_err(|source| StoreError::io("open", dir.display().to_string(), source))?;
        let lock = DirectoryLock::take(&dir)?;
        let mut storage = Self::on_disk(Arc::new(disk), segment_bytes, Preparation::Ahead)?;
        storage._lock = Some(lock);
        Ok(storage)
    }

    fn on_disk(disk: Arc<dyn Disk>, segment_bytes: u64, preparation: Preparation) -> Result<Self, StoreError> {
        if !(SEGMENT_MIN..=SEGMENT_MAX).contains(&segment_bytes) || !segment_bytes.is_multiple_of(4096) {
            return Err(StoreError::invalid(format!(
                "segments of {segment_bytes} bytes: a multiple of 4096, at least {SEGMENT_MIN}"
            )));
        }
        Ok(Self {
            service: Service::New,
            control: None,
            log: Arc::default(),
            snapshots: Arc::new(SnapshotFiles::new(Arc::clone(&disk))),
            preparer: Preparer::new(Arc::clone(&disk), segment_bytes, preparation),
            next_record: 1,
            end: 0,
            buffer: Vec::new(),
            blocks: Blocks::default(),
            unproven: None,
            disk,
            _lock: None,
        })
    }

    fn load(&mut self) -> Result<Recovered, StoreError> {
        let failed = |operation| move |source| StoreError::io(operation, "the directory", source);
        self.preparer.discard();
        self.snapshots.discard()?;
        // Names that a killed process left in memory only.
        self.disk.sync_dir().map_err(failed("sync"))?;
        let names = self.disk.list().map_err(failed("list"))?;
        let mut firsts: Vec<u64> = names.iter().filter_map(|name| parse_segment(name)).collect();
        firsts.sort_unstable();
        for name in names.iter().filter(|name| [CONTROL_NEW, PREPARED].contains(&name.as_str())) {
            self.disk.remove(name).map_err(|source| StoreError::io("remove", name, source))?;
        }
        if !names.iter().any(|name| name == CONTROL) {
            if names.iter().any(|name| parse_snapshot(name).is_some()) {
                return Err(missing_control("there are snapshots"));
            }
            self.create(&firsts)?;
            firsts = vec![1];
        }
        let (control_file, control) = ControlFile::open(&*self.disk)?;
        self.control = Some(control_file);
        let lost = |reason: &str| StoreError::Corrupt {
            segment: self.disk.path().display().to_string(),
            offset: 0,
            seq: control.base.seq.next(),
            reason: reason.to_owned(),
        };
        let mut segments =
            firsts.iter().map(|first| Segment::open(&*self.disk, *first)).collect::<Result<Vec<_>, _>>()?;
        let Some(active) = segments.pop() else { return Err(lost("there is no segment file")) };
        // What the last process wrote but did not sync becomes durable before it is believed.
        active.file.sync().map_err(active.failed("sync"))?;
        active.file.drop_cache();
        segments.push(active);
        let scanned = scan::scan(&segments.iter().collect::<Vec<_>>(), &control)?;
        if let Some(active) = segments.last() {
            if scanned.remains {
                tracing::warn!(
                    segment = active.name,
                    offset = scanned.end,
                    after_seq = scanned.recovered.tail.seq.0,
                    "the last unit was cut short by a crash; it was never acknowledged and is cut"
                );
                erase(active, scanned.end)?;
            }
            self.blocks.resume(&*active.file, scanned.end).map_err(active.failed("read"))?;
        }
        (self.next_record, self.end) = (scanned.next_record, scanned.end);
        self.log.reset(control.disk_id, control.base.seq, scanned.index, segments);
        self.unproven = scanned.last_unit;
        self.prove()?;
        Ok(scanned.recovered)
    }

    /// The first start of this directory, or one that a crash interrupted. The control file comes last: with it the
    /// rest is complete, so that nothing that ever held an entry is mistaken for new.
    fn create(&mut self, segments: &[u64]) -> Result<(), StoreError> {
        match segments {
            [] => {}
            [1] => {
                let segment = Segment::open(&*self.disk, 1)?;
                let mut bytes = vec![0; segment.len as usize];
                segment.file.read_at(&mut bytes, 0).map_err(segment.failed("read"))?;
                if !scan::is_zero(&bytes) {
                    return Err(missing_control("there are records"));
                }
            }
            _ => return Err(missing_control("there are segments")),
        }
        self.preparer.take(1, 0)?;
        let control = Control { log_id: LogId(rand::random()), disk_id: rand::random(), ..Control::default() };
        ControlFile::create(&*self.disk, &control)?;
        Ok(())
    }

    fn store_control(&mut self, control: &Control) -> Result<(), StoreError> {
        let file = self.control.as_mut().ok_or_else(|| StoreError::invalid("not recovered"))?;
        let result = file.write(control);
        self.service.note(result)?;
        self.service.set_control(control.clone());
        Ok(())
    }

    /// Encodes a unit into the buffer: its size, and what is needed afterwards.
    fn encode(&mut self, unit: &Unit) -> Result<Vec<journal_core::codec::record::Header>, StoreError> {
        let disk_id = self.service.position()?.control.disk_id;
        self.buffer.clear();
        let truncation = unit.truncate_to.map(|to| Record::Truncate { to, by: unit.epoch });
        let count = usize::from(truncation.is_some()) + unit.entries.len();
        let records = truncation.into_iter().chain(unit.entries.iter().cloned().map(Record::Entry));
        records
            .enumerate()
            .map(|(index, record)| {
                let place = Place {
                    disk_id,
                    phys_no: self.next_record + index as u64,
                    unit_no: self.next_record,
                    last_in_unit: index + 1 == count,
                };
                record.encode(place, &mut self.buffer).map_err(|error| StoreError::invalid(error.to_string()))
            })
            .collect()
    }

    /// The segment that has room for the buffer, and its ordinal.
    fn room(&mut self) -> Result<(Arc<Segment>, u32), StoreError> {
        let none = || StoreError::invalid("not recovered");
        let (active, ordinal) = self.log.active().ok_or_else(none)?;
        let needed = self.buffer.len() as u64;
        if self.end + needed <= active.len {
            if self.end + needed > active.len / 2 {
                self.preparer.start();
            }
            return Ok((active, ordinal));
        }
        let next = self.preparer.take(self.next_record, needed)?;
        self.end = next.data_start();
        self.blocks.begin();
        self.log.add_segment(next);
        self.log.active().ok_or_else(none)
    }

    fn append(&mut self, unit: &Unit) -> Result<(), StoreError> {
        let headers = self.encode(unit)?;
        let (segment, ordinal) = self.room()?;
        self.blocks.write(&*segment.file, self.end, &self.buffer).map_err(segment.failed("write"))?;
        segment.file.sync().map_err(segment.failed("sync"))?;
        // Durable from here on, and so is everything before, which needs no slots any more.
        self.unproven = Some((self.next_record, headers_of(&self.buffer, &headers)));
        let skip = headers.len() - unit.entries.len();
        let mut locations = Vec::with_capacity(unit.entries.len());
        for (index, header) in headers.iter().enumerate() {
            if index >= skip {
                locations.push(Location::new(ordinal, self.end));
            }
            self.end += header.record_bytes() as u64;
        }
        self.next_record += headers.len() as u64;
        self.log.append(unit.truncate_to, &unit.entries, &locations);
        Ok(())
    }

    /// Writes the slots of the last unit, durably.
    fn prove(&mut self) -> Result<(), StoreError> {
        if let (Some((first_record, headers)), Some((active, _))) = (self.unproven.take(), self.log.active()) {
            active.write_slots(first_record, &headers)?;
            active.file.sync().map_err(active.failed("sync"))?;
        }
        Ok(())
    }
}

fn missing_control(but: &str) -> StoreError {
    let reason = format!("the file is missing, but {but}");
    StoreError::Corrupt { segment: CONTROL.to_owned(), offset: 0, seq: Seq(0), reason }
}

/// Zeroes a segment from `start` on, durably.
fn erase(segment: &Segment, start: u64) -> Result<(), StoreError> {
    let zeroes = vec![0; (segment.len - start) as usize];
    segment.file.write_at(&zeroes, start).map_err(segment.failed("write"))?;
    segment.file.sync().map_err(segment.failed("sync"))
}

impl Storage for FileStorage {
    fn recover(&mut self) -> Result<Recovered, StoreError> {
        self.service.check()?;
        let result = self.load();
        let recovered = self.service.note(result)?;
        self.service = Service::Open(Box::new(Position::of(&recovered)));
        Ok(recovered)
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn confirm(&mut self, epoch: Epoch) -> Result<(), StoreError> {
        self.service.position()?.admit_epoch(epoch)
    }

    fn persist_control(&mut self, control: &Control) -> Result<(), StoreError> {
        let control = self.service.position()?.admit_control(control)?;
        self.store_control(&control)
    }

    fn write(&mut self, unit: &Unit) -> Result<(), StoreError> {
        let position = self.service.position()?;
        let base = position.control.base;
        position.admit(unit, |seq| if seq == base.seq { Ok(Some(base.chain)) } else { self.log.chain_at(seq) })?;
        let Some(last) = unit.entries.last() else { return Err(StoreError::invalid("a unit without entries")) };
        // The records carry their entries' epoch. That of the writer, if it is higher, has to be promised by itself.
        if unit.truncate_to.is_none() && last.epoch != unit.epoch && position.control.promised != unit.epoch {
            let control = Control { promised: unit.epoch, ..position.control.clone() };
            self.store_control(&control)?;
        }
        let result = self.append(unit);
        self.service.note(result)?;
        self.service.set_written(unit.epoch, last.tail());
        Ok(())
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        self.service.position()?;
        let result = self.prove();
        self.service.note(result)
    }

    fn trim(&mut self, base: &Tail) -> Result<(), StoreError> {
        let mut control = self.service.position()?.control.clone();
        if base.seq <= control.base.seq {
            return Ok(());
        }
        if self.log.chain_at(base.seq)? != Some(base.chain) {
            return Err(StoreError::invalid(format!("base {} is not an entry of this log", base.seq)));
        }
        control.base = *base;
        // With the promise, which may so far be durable only through entries that go now.
        self.store_control(&control)?;
        let result = self.log.trim(&*self.disk, base.seq);
        self.service.note(result)
    }

    fn begin_after(&mut self, base: &Tail) -> Result<(), StoreError> {
        let control = self.service.position()?.admit_beginning(base)?;
        self.store_control(&control)?;
        self.service = Service::New;
        Ok(())
    }

    fn log(&self) -> Arc<dyn LogReader> {
        Arc::clone(&self.log) as Arc<dyn LogReader>
    }

    fn snapshots(&self) -> Arc<dyn SnapshotStore> {
        Arc::clone(&self.snapshots) as Arc<dyn SnapshotStore>
    }
}

impl Drop for FileStorage {
    fn drop(&mut self) {
        // Everything that was acknowledged is durable already.
        if matches!(self.service, Service::Open(_))
            && let Err(error) = self.prove()
        {
            tracing::warn!(%error, "the last header slots were not written at closing");
        }
    }
}
