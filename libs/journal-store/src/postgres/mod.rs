//! The journal in PostgreSQL: for installations that already run a replicated one and want no other durable disk.
//!
//! The database decides, not this process: one row per shard holds the promise and the end of the log, and every
//! transaction that writes claims that row under the conditions that make the write legal. So several gateways may
//! share one database, and one of them that slept through a fence is refused by SQL. A commit whose answer was lost is
//! looked up, never assumed.
//!
//! Deliberately absent: notification of other writers, and pooling (a shard has one writer).

mod backlog;
mod known;
mod lookout;
mod reader;
mod records;
mod schema;
mod server;
mod session;
mod sessions;
mod snapshots;
mod tls;
mod volatile;
mod writer;

use std::sync::{Arc, Mutex};

use journal_core::{ChainHash, Control, Recovered, Tail, Unit};
use types::{Epoch, Seq, ShardId};

use crate::admission::{Position, Service};
use crate::{LogReader, SnapshotStore, Storage, StoreError};
pub use lookout::{PostgresLookout, Sighting};
use reader::PostgresReader;
pub use server::{Server, UrlError, describe, remedy};
use session::Session;
pub use session::Timeouts;
pub use sessions::{APPLICATION_NAME, SESSIONS, Sessions};
use snapshots::PostgresSnapshots;
pub use tls::{Tls, TlsError};
pub use volatile::{VolatileStorage, Volatility};

/// How often the whole log is read because what was read is no longer its beginning: a new leader replaced the end, or
/// it was trimmed beyond. Neither happens twice within seconds.
const RECOVERIES: usize = 4;

/// One shard's journal in a database. Its calls block; never make one on a thread that runs async tasks.
pub struct PostgresStorage {
    shard: i32,
    session: Session,
    service: Service,
    /// The log as it was read and written here; none when it has to be read in full.
    known: Option<Recovered>,
    reader: Arc<PostgresReader>,
    snapshots: Arc<PostgresSnapshots>,
    sessions: Sessions,
    timeouts: Timeouts,
}

impl PostgresStorage {
    /// Connects to the database at `url` (`postgres://…` or `host=… user=…`) and creates schema `hivemind_journal` if
    /// it is missing.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a malformed URL, [`StoreError::Database`] if the server cannot be used.
    pub fn connect(url: &str, shard: ShardId) -> Result<Self, StoreError> {
        Self::connect_with(url, shard, Timeouts::default())
    }

    /// [`Self::connect`] with other time limits.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub fn connect_with(url: &str, shard: ShardId, timeouts: Timeouts) -> Result<Self, StoreError> {
        let shard = i32::try_from(shard.0).map_err(|_| StoreError::invalid(format!("shard {shard} is too high")))?;
        let sessions = Sessions::default();
        let mut session = Session::new(url, timeouts, &sessions)?;
        schema::ensure(&mut session)?;
        Ok(Self {
            shard,
            session,
            service: Service::New,
            known: None,
            reader: Arc::new(PostgresReader { shard, session: Mutex::new(Session::new(url, timeouts, &sessions)?) }),
            snapshots: Arc::new(PostgresSnapshots {
                shard,
                storing: Mutex::new(Session::new(url, timeouts.for_snapshots(), &sessions)?),
                loading: Mutex::new(Session::new(url, timeouts.for_snapshots(), &sessions)?),
            }),
            sessions,
            timeouts,
        })
    }

    /// Writes give up soon, since there is another place for what is written; or wait for a server that restarts.
    pub(super) fn be_quick(&mut self, quick: bool) {
        self.session.set_limits(if quick { Timeouts::quick() } else { self.timeouts });
    }

    fn opened(&mut self, recovered: Recovered) -> Recovered {
        self.service = Service::Open(Box::new(Position::of(&recovered)));
        self.known = Some(recovered.clone());
        recovered
    }

    fn chain_at(&mut self, seq: Seq) -> Result<Option<ChainHash>, StoreError> {
        let base = self.service.position()?.control.base;
        if seq == base.seq {
            return Ok(Some(base.chain));
        }
        writer::chain_at(&mut self.session, self.shard, seq)
    }
}

impl Storage for PostgresStorage {
    fn recover(&mut self) -> Result<Recovered, StoreError> {
        // A failure before this is resolved by reading what the database says now.
        (self.service, self.known) = (Service::New, None);
        for _ in 0..RECOVERIES {
            let recovered = writer::recover(&mut self.session, self.shard)?;
            writer::wait_for_writers(&mut self.session, self.shard)?;
            if let Some(recovered) = known::refresh(&mut self.session, self.shard, &recovered)? {
                return Ok(self.opened(recovered));
            }
        }
        let reason = "the log is replaced faster than it can be read".to_owned();
        Err(StoreError::Database { operation: "recover", reason })
    }

    fn refresh(&mut self) -> Result<Recovered, StoreError> {
        self.service = Service::New;
        if let Some(known) = &self.known
            && let Some(recovered) = known::refresh(&mut self.session, self.shard, known)?
        {
            return Ok(self.opened(recovered));
        }
        self.recover()
    }

    fn confirm(&mut self, epoch: Epoch) -> Result<(), StoreError> {
        self.service.position()?;
        let result = writer::confirm(&mut self.session, self.shard, epoch);
        self.service.note(result)
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn persist_control(&mut self, control: &Control) -> Result<(), StoreError> {
        let position = self.service.position()?;
        let control = position.admit_control(control)?;
        let result = writer::persist_control(&mut self.session, self.shard, &control);
        self.service.note(result)?;
        self.service.set_control(control);
        Ok(())
    }

    fn write(&mut self, unit: &Unit) -> Result<(), StoreError> {
        let kept = match unit.truncate_to {
            Some(to) => {
                let result = self.chain_at(to);
                self.service.note(result)?
            }
            None => None,
        };
        let position = self.service.position()?;
        position.admit(unit, |_| Ok(kept))?;
        let result = writer::write(&mut self.session, self.shard, position, unit);
        let tail = self.service.note(result)?;
        self.service.set_written(unit.epoch, tail);
        self.known = self.known.take().and_then(|known| known::extended(known, unit));
        Ok(())
    }

    fn trim(&mut self, base: &Tail) -> Result<(), StoreError> {
        let mut control = self.service.position()?.control.clone();
        if base.seq <= control.base.seq {
            return Ok(());
        }
        // By the statement alone: the entry may have been written by somebody else, and never read here.
        let result = writer::trim(&mut self.session, self.shard, base);
        self.service.note(result)?;
        control.base = *base;
        self.service.set_control(control);
        Ok(())
    }

    fn sessions(&self) -> Option<Sessions> {
        Some(self.sessions.clone())
    }

    fn renew(&mut self) -> Result<(), StoreError> {
        self.sessions.renew();
        // Those that are in use now replace theirs before the next use.
        for session in [&self.reader.session, &self.snapshots.storing, &self.snapshots.loading] {
            if let Ok(mut session) = session.try_lock() {
                session.disconnect();
            }
        }
        self.session.renew()
    }

    fn begin_after(&mut self, base: &Tail) -> Result<(), StoreError> {
        self.service.position()?.admit_beginning(base)?;
        let result = writer::begin_after(&mut self.session, self.shard, base);
        self.service.note(result)?;
        (self.service, self.known) = (Service::New, None);
        Ok(())
    }

    fn log(&self) -> Arc<dyn LogReader> {
        Arc::clone(&self.reader) as Arc<dyn LogReader>
    }

    fn snapshots(&self) -> Arc<dyn SnapshotStore> {
        Arc::clone(&self.snapshots) as Arc<dyn SnapshotStore>
    }
}
