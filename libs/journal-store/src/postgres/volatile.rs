//! A journal in a database that may go on while the database is away, if an operator allows it: entries are then kept
//! in a file of this machine, and whatever is acknowledged is volatile until they stand in the database.
//!
//! Volatile means: it survives the end of this process, but not the loss of this machine; and if another leadership
//! begins in the database before this one has brought its entries there, the database is right. Then the entries are
//! set aside, and said to be. Each entry is brought there once: what stands in the database already is told by its
//! hash.
//!
//! Deliberately absent: who notices that the database is back. Whoever does calls [`Storage::refresh`].

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use journal_core::{Control, Entry, Recovered, Tail, Unit};
use types::{Epoch, Seq, ShardId};

use super::backlog::Backlog;
use super::{PostgresStorage, Sessions, known};
use crate::admission::Position;
use crate::{LogReader, SnapshotStore, Storage, StoreError};

/// Entries brought to the database at once.
const AT_ONCE: usize = 500;
/// How often the log may turn out to have moved while a backlog is brought: once by a late write of ours, and no more
/// often by anybody who does not supersede it.
const ATTEMPTS: usize = 4;
/// Payload brought to the database at once, bytes: some milliseconds of the server's time.
const AT_ONCE_BYTES: usize = 4 << 20;

/// Whether a journal may go on without its database, and how far it has. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Volatility(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    allowed: AtomicBool,
    active: AtomicBool,
    entries: AtomicU64,
    superseded: AtomicU64,
}

/// One shard's journal in a database, with a file beside it for the time the database is away.
pub struct VolatileStorage {
    shard: ShardId,
    inner: PostgresStorage,
    path: PathBuf,
    limit: u64,
    volatility: Volatility,
    /// None before the first recovery.
    backlog: Option<Backlog>,
    /// The log with what is in the file.
    known: Option<Recovered>,
    /// A unit that the database may have or may not have taken.
    in_doubt: Option<Unit>,
    active: bool,
    /// Entries were set aside, and nobody was told yet.
    superseded: bool,
}

impl Volatility {
    /// An operator allows it, or does so no more.
    pub fn allow(&self, allowed: bool) {
        self.0.allowed.store(allowed, Ordering::Relaxed);
    }

    /// Whether acknowledgements are volatile now.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.0.active.load(Ordering::Relaxed)
    }

    /// Entries that do not stand in the database yet.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.0.entries.load(Ordering::Relaxed)
    }

    /// Entries that were set aside because another leadership had begun in the database.
    #[must_use]
    pub fn superseded(&self) -> u64 {
        self.0.superseded.load(Ordering::Relaxed)
    }

    fn is_allowed(&self) -> bool {
        self.0.allowed.load(Ordering::Relaxed)
    }
}

impl VolatileStorage {
    /// `inner`, with a file of at most `limit` bytes at `path`.
    #[must_use]
    pub fn new(shard: ShardId, inner: PostgresStorage, path: PathBuf, limit: u64, volatility: Volatility) -> Self {
        let (backlog, known, in_doubt) = (None, None, None);
        let (active, superseded) = (false, false);
        Self { shard, inner, path, limit, volatility, backlog, known, in_doubt, active, superseded }
    }

    /// The database does not answer: goes on without it, if that is allowed and possible. What it was asked last counts
    /// as taken: whoever asked was not told otherwise, and asks again.
    fn go_on_without(&mut self, cause: &StoreError) -> Result<bool, StoreError> {
        let away = matches!(cause, StoreError::Database { .. } | StoreError::OutOfService { .. });
        let (Some(backlog), true) = (&mut self.backlog, away) else { return Ok(false) };
        let Some(known) = self.known.take() else { return Ok(false) };
        let cuts = self.in_doubt.as_ref().and_then(|unit| unit.truncate_to).is_some_and(|to| to < known.tail.seq);
        if !self.volatility.is_allowed() || cuts {
            self.known = Some(known);
            return Ok(false);
        }
        let known = match self.in_doubt.take() {
            Some(unit) => {
                if let Err(error) = backlog.append(&unit) {
                    (self.known, self.in_doubt) = (Some(known), Some(unit));
                    return Err(error);
                }
                known::extended(known, &unit)
            }
            None => Some(known),
        };
        self.known = known;
        tracing::warn!(
            shard = %self.shard, %cause,
            "journal goes on in memory-only mode: what is acknowledged is volatile until the database is back"
        );
        self.active = true;
        self.tell();
        Ok(true)
    }

    fn tell(&self) {
        let entries = self.backlog.as_ref().map_or(0, |backlog| backlog.entries().len() as u64);
        self.volatility.0.entries.store(entries, Ordering::Relaxed);
        self.volatility.0.active.store(self.active, Ordering::Relaxed);
    }

    fn position(&self) -> Result<Position, StoreError> {
        let known = self.known.as_ref();
        known
            .map(Position::of)
            .ok_or_else(|| StoreError::OutOfService { cause: "nothing was recovered yet".to_owned() })
    }

    fn not_allowed(&self) -> StoreError {
        let reason = "the database is away, and enable_memory_only_mode is off".to_owned();
        StoreError::Database { operation: "write unit", reason }
    }

    /// Brings what is in the file to the database.
    fn catch_up(&mut self) -> Result<Recovered, StoreError> {
        // Nobody is in a hurry now, and a part may take a slow server a while.
        self.inner.be_quick(false);
        for _ in 0..ATTEMPTS {
            let found = self.inner.refresh()?;
            let backlog = self.backlog.as_mut().and_then(|backlog| Some((backlog.epoch()?, backlog)));
            let Some((epoch, backlog)) = backlog else {
                self.active = false;
                self.tell();
                return Ok(found);
            };
            let Some(missing) = missing(&found, backlog.entries()) else {
                return self.superseded(&StoreError::Mismatch { found: found.tail });
            };
            if epoch.number > found.control.promised.number {
                // Also where no entry is missing: a promise is not forgotten (I2).
                match self.inner.persist_control(&Control { promised: epoch, ..found.control.clone() }) {
                    Err(error) if error.is_refusal() => continue,
                    done => done?,
                }
            }
            // Never under what the database promises now: that may be another leadership, which has been told already
            // where the log ends (I3, I12).
            match bring(&mut self.inner, epoch, missing) {
                Ok(entries) => {
                    backlog.clear()?;
                    tracing::info!(
                        shard = %self.shard, entries,
                        "journal's backlog is in the database: nothing is volatile any more"
                    );
                }
                // A write of ours that was given up has come through after all, or somebody else's: look again.
                Err(StoreError::Mismatch { .. }) => {}
                Err(error) if error.is_refusal() => return self.superseded(&error),
                Err(error) => return Err(error),
            }
        }
        let reason = "the log moves while the backlog is being brought".to_owned();
        Err(StoreError::Database { operation: "bring the backlog", reason })
    }

    /// Somebody else's log stands in the database.
    fn superseded(&mut self, error: &StoreError) -> Result<Recovered, StoreError> {
        if let Some(backlog) = &mut self.backlog {
            let entries = backlog.entries().len() as u64;
            let path = backlog.set_aside()?;
            self.volatility.0.superseded.fetch_add(entries, Ordering::Relaxed);
            tracing::error!(
                shard = %self.shard, %error, entries, path = %path.display(),
                "volatile entries are superseded: another leadership began in the database; they are set aside"
            );
        }
        self.active = false;
        self.superseded = true;
        // It must not be gone on with, should the database be away again.
        (self.known, self.in_doubt) = (None, None);
        self.tell();
        self.inner.refresh()
    }

    fn opened(&mut self, recovered: Recovered) -> Recovered {
        self.in_doubt = None;
        self.known = Some(recovered.clone());
        recovered
    }
}

/// What of `entries` the database does not have yet; none if it has something else in their place.
fn missing<'a>(found: &Recovered, entries: &'a [Entry]) -> Option<&'a [Entry]> {
    let Some(first) = entries.first() else { return Some(entries) };
    let chain_at = |seq: Seq| match seq.0.checked_sub(found.control.base.seq.0)? {
        0 => Some(found.control.base.chain),
        index => found.chains.get(usize::try_from(index - 1).ok()?).copied(),
    };
    let there = usize::try_from((found.tail.seq.0 + 1).saturating_sub(first.seq.0)).ok()?.min(entries.len());
    let joined = match there.checked_sub(1) {
        Some(last) => chain_at(entries[last].seq) == Some(entries[last].chain),
        None => found.tail.seq.next() == first.seq && chain_at(found.tail.seq) == Some(first.prev_chain),
    };
    joined.then_some(&entries[there..])
}

/// Writes entries, some at a time. Returns how many.
fn bring(inner: &mut PostgresStorage, epoch: Epoch, entries: &[Entry]) -> Result<usize, StoreError> {
    let mut rest = entries;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            bytes += entry.payload.len();
            bytes <= AT_ONCE_BYTES
        };
        let count = rest.iter().take(AT_ONCE).take_while(fits).count().max(1);
        let (part, further) = rest.split_at(count);
        inner.write(&Unit { epoch, truncate_to: None, entries: part.to_vec() })?;
        rest = further;
    }
    Ok(entries.len())
}

impl Storage for VolatileStorage {
    fn recover(&mut self) -> Result<Recovered, StoreError> {
        let recovered = self.inner.recover()?;
        if self.backlog.is_none() {
            self.backlog = Some(Backlog::open(&self.path, recovered.control.disk_id, self.limit)?);
        }
        let recovered = if self.backlog.as_ref().is_some_and(Backlog::is_empty) { recovered } else { self.catch_up()? };
        Ok(self.opened(recovered))
    }

    fn refresh(&mut self) -> Result<Recovered, StoreError> {
        let refreshed = if self.active { self.catch_up() } else { self.inner.refresh() };
        match refreshed {
            Ok(recovered) => Ok(self.opened(recovered)),
            Err(error) => {
                let goes_on = if self.active { self.volatility.is_allowed() } else { self.go_on_without(&error)? };
                self.known.clone().filter(|_| goes_on).ok_or(error)
            }
        }
    }

    fn confirm(&mut self, epoch: Epoch) -> Result<(), StoreError> {
        if !self.active {
            match self.inner.confirm(epoch) {
                Err(error) if !error.is_refusal() => {
                    if !self.go_on_without(&error)? {
                        return Err(error);
                    }
                }
                done => return done,
            }
        }
        let promised = self.position()?.control.promised;
        if promised == epoch { Ok(()) } else { Err(StoreError::Fenced { promised }) }
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn is_volatile(&self) -> bool {
        self.active
    }

    fn has_superseded(&mut self) -> bool {
        std::mem::take(&mut self.superseded)
    }

    fn persist_control(&mut self, control: &Control) -> Result<(), StoreError> {
        let position = self.position()?;
        if !self.active {
            match self.inner.persist_control(control) {
                Err(error) if !error.is_refusal() => {
                    if !self.go_on_without(&error)? {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
                Ok(()) => {
                    let control = position.admit_control(control)?;
                    if let Some(known) = &mut self.known {
                        known.control = control;
                    }
                    return Ok(());
                }
            }
        }
        let control = position.admit_control(control)?;
        if let (Some(backlog), Some(known)) = (&mut self.backlog, &mut self.known) {
            backlog.promise(&known.tail, control.promised)?;
            known.control = control;
        }
        Ok(())
    }

    fn write(&mut self, unit: &Unit) -> Result<(), StoreError> {
        if !self.active {
            self.inner.be_quick(self.volatility.is_allowed());
            match self.inner.write(unit) {
                Ok(()) => {
                    self.known = self.known.take().and_then(|known| known::extended(known, unit));
                    return Ok(());
                }
                Err(error) if error.is_refusal() => return Err(error),
                Err(error) => {
                    self.in_doubt = Some(unit.clone());
                    return if self.go_on_without(&error)? { Ok(()) } else { Err(error) };
                }
            }
        }
        if !self.volatility.is_allowed() {
            return Err(self.not_allowed());
        }
        let position = self.position()?;
        if unit.truncate_to.is_some_and(|to| to < position.tail.seq) {
            return Err(StoreError::invalid("what is volatile is not replaced before it is in the database"));
        }
        position.admit(unit, |_| Ok(Some(position.tail.chain)))?;
        if let Some(backlog) = &mut self.backlog {
            backlog.append(unit)?;
        }
        self.known = self.known.take().and_then(|known| known::extended(known, unit));
        self.tell();
        Ok(())
    }

    fn trim(&mut self, base: &Tail) -> Result<(), StoreError> {
        if self.active {
            return Err(StoreError::Database { operation: "trim", reason: "the database is away".to_owned() });
        }
        self.inner.trim(base)?;
        self.known = self.known.take().and_then(|known| {
            let (control, end) = (Control { base: *base, ..known.control.clone() }, known.tail);
            if base.seq > known.control.base.seq { known::rebased(&known, control, end) } else { Some(known) }
        });
        Ok(())
    }

    fn begin_after(&mut self, base: &Tail) -> Result<(), StoreError> {
        if self.active {
            return Err(StoreError::Database { operation: "begin", reason: "the database is away".to_owned() });
        }
        self.inner.begin_after(base)?;
        self.known = None;
        Ok(())
    }

    fn sessions(&self) -> Option<Sessions> {
        self.inner.sessions()
    }

    fn renew(&mut self) -> Result<(), StoreError> {
        if self.active {
            // Trying would hold up those who trade without it.
            let reason = "it is away, and the journal goes on without it".to_owned();
            return Err(StoreError::Database { operation: "connect anew", reason });
        }
        self.inner.renew()
    }

    fn log(&self) -> Arc<dyn LogReader> {
        self.inner.log()
    }

    fn snapshots(&self) -> Arc<dyn SnapshotStore> {
        self.inner.snapshots()
    }
}
