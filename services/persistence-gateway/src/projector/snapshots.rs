//! When a snapshot is made, and what the journal may forget afterwards.
//!
//! Only a state that is completely in the history is stored, and only after the history was made durable: whatever is
//! lost later, the newest snapshot is never ahead of the history. The journal is trimmed to the snapshot before the
//! newest, so that one damaged snapshot costs a longer replay and nothing else. Deliberately absent: how snapshots
//! are stored.

use std::sync::Arc;
use std::time::{Duration, Instant};

use journal_core::Tail;
use types::Seq;

use super::ProjectError;
use super::catch_up::CatchUp;
use crate::blocking;
use crate::config::JournalConfig;
use crate::journal::JournalHandle;
use crate::metrics::{gauge, seconds};

/// Decides about snapshots.
pub(super) struct Snapshots {
    every_entries: u64,
    every_bytes: u64,
    journal: JournalHandle,
    /// The newest one; none before the first look.
    newest: Option<Tail>,
    looked: bool,
    /// When a reader of the history last held up the one that was due.
    held_up: Option<Instant>,
}

/// Wait before a snapshot is tried again that a reader of the history held up.
const HELD_UP: Duration = Duration::from_secs(30);

impl Snapshots {
    pub(super) fn new(config: &JournalConfig, journal: JournalHandle) -> Self {
        Self {
            every_entries: config.snapshot_every_entries,
            every_bytes: config.snapshot_every_bytes.bytes(),
            journal,
            newest: None,
            looked: false,
            held_up: None,
        }
    }

    /// Another process may make snapshots from now on: the newest one is looked up again.
    pub(super) fn forget(&mut self) {
        (self.newest, self.looked) = (None, false);
    }

    /// Makes a snapshot if one is due.
    pub(super) async fn consider(&mut self, state: &mut CatchUp) -> Result<(), ProjectError> {
        let Some(at) = state.settled().map(|replica| replica.tail()) else { return Ok(()) };
        if !self.looked {
            let snapshots = Arc::clone(&state.snapshots);
            self.newest = blocking::storage(move || snapshots.latest()).await?.map(|(at, _)| at);
            self.looked = true;
        }
        let last = self.newest.map_or(Seq(0), |newest| newest.seq);
        let entries = at.seq.0.saturating_sub(last.0);
        if self.held_up.is_some_and(|at| at.elapsed() < HELD_UP) {
            return Ok(());
        }
        if entries == 0 || (entries < self.every_entries && state.applied_bytes < self.every_bytes) {
            return Ok(());
        }
        let started = Instant::now();
        if !state.writer.make_durable().await? {
            // A longer journal is all that this costs; to ask each time would cost the database's wait for a lock.
            tracing::debug!(shard = %state.shard, "a long read holds up the snapshot");
            self.held_up = Some(started);
            return Ok(());
        }
        self.held_up = None;
        let Some(replica) = state.settled() else { return Ok(()) };
        let bytes = replica.encode();
        let (snapshots, stored) = (Arc::clone(&state.snapshots), bytes.clone());
        blocking::storage(move || snapshots.put(&at, &stored)).await?;
        state.applied_bytes = 0;
        state.metrics.snapshot.record(seconds(started.elapsed()));
        state.metrics.snapshot_bytes.set(gauge(bytes.len() as u64));
        tracing::info!(
            shard = %state.shard,
            seq = %at.seq,
            bytes = bytes.len(),
            ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "snapshot stored"
        );
        if let Some(previous) = self.newest.replace(at)
            && let Err(error) = self.journal.trim(previous).await
        {
            // The next snapshot trims further; until then the journal is longer than it need be.
            tracing::warn!(shard = %state.shard, error, "journal not trimmed");
        }
        Ok(())
    }
}
