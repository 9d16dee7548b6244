//! While the shard does not lead: a snapshot, then the committed log as it grows, through the same applier that a
//! leader has, so that a takeover begins with the state at hand.
//!
//! Deliberately absent: anything uncommitted (I11). What a voter does not call committed is not applied, and the stream
//! ends before this engine leads.

use super::applier::ApplyError;
use super::lead::Phase;
use super::{Shard, ShardError};
use crate::journal_client::Followed;
use journal_core::proposer::HaltReason;
use journal_core::{Entry, EntryKind, Tail};
use matching::Exchange;
use std::sync::atomic::Ordering;
use types::{Seq, Snapshot};
use wire::pb::consensus::v1::ShardRole;
use wire::status::{ApiError, ErrorCode};

/// Longest pause before a voter is asked again, in ticks of the loop: 1 s.
const PAUSE_TICKS_MAX: u32 = 10;

/// Attempts without an answer after which people are told. With the pauses between them about two seconds, longer than
/// a gateway takes to start again.
const FAILURES_TOLD: u32 = 5;

/// How far the following is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// There is nothing to follow with; so it is before the loop begins, and while this engine leads.
    Idle,
    /// The newest snapshot is being read.
    Loading,
    /// So many ticks until a voter is asked again.
    Pausing { ticks: u32 },
    /// A stream was asked for, or is open.
    Following,
}

/// What a standby knows of its copy of the log.
#[derive(Debug)]
pub(super) struct Standby {
    step: Step,
    /// Streams that ended since the last one that gave something.
    failures: u32,
    /// Whether a snapshot was asked for: the state is that of some entry of the log.
    loaded: bool,
    /// Whether everything that was committed when the stream was opened is applied.
    current: bool,
    /// Whether the state was dropped and has not proven itself since.
    rebuilt: bool,
    /// Where the state differed from the log, until a new state agrees there.
    diverged: Option<Seq>,
}

impl Default for Standby {
    fn default() -> Self {
        Self { step: Step::Idle, failures: 0, loaded: false, current: false, rebuilt: false, diverged: None }
    }
}

impl Standby {
    /// Whether there is a state to lead from. While a snapshot is being read there will soon be a newer one.
    pub(super) fn has_state(&self) -> bool {
        self.loaded && self.step != Step::Loading
    }

    /// Whether the state may be shown: it has once been all that was committed.
    pub(super) const fn is_readable(&self) -> bool {
        self.current && self.diverged.is_none()
    }

    /// Whether a voter sends what is committed.
    pub(super) fn follows(&self) -> bool {
        self.step == Step::Following && self.failures == 0
    }

    /// Nothing is followed any more.
    pub(super) fn rest(&mut self) {
        self.step = Step::Idle;
    }

    /// Whether the state was dropped already since it was last good enough to lead.
    pub(super) const fn was_rebuilt(&self) -> bool {
        self.rebuilt
    }

    /// The state was good enough to lead.
    pub(super) fn proven(&mut self) {
        self.rebuilt = false;
        self.current = true;
    }
}

impl Shard {
    /// What this engine is for the shard.
    pub(super) fn role(&self) -> ShardRole {
        match self.phase {
            Phase::Loading { .. } | Phase::Recovering { .. } => ShardRole::Opening,
            Phase::Leading { .. } => ShardRole::Leader,
            Phase::Draining { .. } => ShardRole::Draining,
            Phase::Standby if self.standby.diverged.is_some() => ShardRole::Diverged,
            Phase::Standby if self.standby.current => ShardRole::Standby,
            Phase::Standby => ShardRole::Loading,
        }
    }

    /// Begins to follow the log, from a snapshot if nothing is applied yet. Ends everything else that the journal was
    /// asked for.
    pub(super) fn follow(&mut self) {
        self.journal.reset();
        self.standby.failures = 0;
        if self.standby.loaded { self.open_stream() } else { self.load() }
    }

    fn load(&mut self) {
        self.standby.step = Step::Loading;
        self.journal.read_snapshot();
    }

    fn open_stream(&mut self) {
        self.standby.step = Step::Following;
        self.journal.follow(self.applier.applied().seq.next());
    }

    fn pause(&mut self) {
        let ticks = 1_u32 << self.standby.failures.min(5);
        self.standby.failures = self.standby.failures.saturating_add(1);
        self.standby.step = Step::Pausing { ticks: ticks.min(PAUSE_TICKS_MAX) };
    }

    /// A tick while the shard does not lead.
    pub(super) fn stand_by(&mut self) {
        match &mut self.standby.step {
            Step::Pausing { ticks: 0 } => self.open_stream(),
            Step::Pausing { ticks } => *ticks -= 1,
            Step::Idle | Step::Loading | Step::Following => {}
        }
    }

    /// The newest snapshot is here: go on from it unless the state is further already.
    pub(super) fn on_snapshot(&mut self, snapshot: Option<Box<(Tail, Snapshot)>>) {
        let before = self.applier.applied().seq;
        if let Some(snapshot) = snapshot
            && let Err(error) = self.restore(&snapshot)
        {
            self.failed = Some(error);
            return;
        }
        let first = !std::mem::replace(&mut self.standby.loaded, true);
        if let Phase::Loading { .. } = self.phase {
            self.standby.rest();
            self.elected();
        } else if first || self.applier.applied().seq > before {
            self.open_stream();
        } else {
            // The log begins after this state, and so did the snapshot: there will be a newer one.
            self.pause();
        }
    }

    fn restore(&mut self, snapshot: &(Tail, Snapshot)) -> Result<(), ShardError> {
        let (at, state) = snapshot;
        if at.seq <= self.applier.applied().seq {
            return Ok(());
        }
        let exchange = Exchange::restore(state).map_err(|source| ShardError::Snapshot { seq: at.seq, source })?;
        if exchange.shard() != self.shard {
            return Err(ShardError::ForeignSnapshot { shard: exchange.shard() });
        }
        self.applier.replace(exchange, *at);
        self.applier.feeds.close();
        tracing::info!(shard = %self.shard, seq = at.seq.0, "state restored from a snapshot");
        Ok(())
    }

    /// The log has grown, or a voter has said how far it is.
    pub(super) fn on_followed(&mut self, followed: &Followed) {
        self.standby.failures = 0;
        for entry in &followed.entries {
            if let Err(problem) = self.check(entry, followed.commit) {
                tracing::warn!(shard = %self.shard, seq = entry.seq.0, problem, "a voter sent what cannot be used");
                self.journal.reset();
                return self.pause();
            }
            if entry.prev_chain != self.applier.applied().chain {
                let at = self.applier.applied().seq;
                return self.on_halt(HaltReason::StateOffLog { at });
            }
            let applied = self.applier.replay(entry);
            if !self.was_applied(entry.seq, entry.kind, applied) {
                return;
            }
            // It goes on from what was applied.
            self.standby.rebuilt = false;
        }
        let applied = self.applier.applied().seq;
        self.standby.current |= applied >= followed.commit;
        self.status.commit.store(followed.commit.max(applied).0, Ordering::Relaxed);
        self.status.applied.store(applied.0, Ordering::Relaxed);
        self.answer_early();
    }

    /// Whether an entry is committed, comes next and is what its hash says.
    fn check(&self, entry: &Entry, commit: Seq) -> Result<(), &'static str> {
        if entry.seq > commit {
            return Err("it is not committed");
        }
        if entry.seq != self.applier.applied().seq.next() {
            return Err("it does not come next");
        }
        if entry.verify() { Ok(()) } else { Err("its hash is not that of its content") }
    }

    /// The stream has ended, or could not be opened.
    pub(super) fn on_follow_ended(&mut self, error: &ApiError) {
        if error.code == ErrorCode::PreconditionFailed {
            tracing::info!(shard = %self.shard, %error, "the log begins after the state: a snapshot is read");
            return self.load();
        }
        self.pause();
        if self.standby.failures == FAILURES_TOLD {
            tracing::warn!(shard = %self.shard, %error, "the log cannot be followed, trying again");
        } else {
            tracing::debug!(shard = %self.shard, %error, failures = self.standby.failures, "the log is not followed");
        }
    }

    /// What follows from applying an entry, also for a leader. False if the state cannot be gone on with.
    pub(super) fn was_applied(&mut self, seq: Seq, kind: EntryKind, applied: Result<(), ApplyError>) -> bool {
        match applied {
            Ok(()) if kind == EntryKind::StateHash => {
                self.last_state_hash = seq;
                self.status.state_hash_seq.store(seq.0, Ordering::Relaxed);
                if self.standby.diverged.is_some_and(|diverged| diverged <= seq) {
                    tracing::info!(shard = %self.shard, seq = seq.0, "the state agrees with the log again");
                    self.standby.diverged = None;
                }
                true
            }
            Ok(()) => true,
            Err(error) => {
                self.on_apply_error(error);
                false
            }
        }
    }

    /// A state that differs from the log is dropped and built again, so that a fault of this machine's memory costs no
    /// more than a while. If the new one differs at the same place, it is the log or the program that is wrong.
    fn on_apply_error(&mut self, error: ApplyError) {
        let ApplyError::Diverged { seq, .. } = error else {
            self.failed = Some(error.into());
            return;
        };
        self.metrics.divergences.increment(1);
        if self.standby.diverged.replace(Seq(seq)) == Some(Seq(seq)) {
            self.failed = Some(error.into());
            return;
        }
        tracing::error!(shard = %self.shard, %error, "the state is dropped and built again");
        self.rebuild("its state differed from the log");
    }

    /// Drops the state, ends the leadership if there is one, and reads snapshot and log again.
    pub(super) fn rebuild(&mut self, why: &str) {
        self.applier.replace(Exchange::new(self.shard), Tail::default());
        self.applier.feeds.close();
        self.status.applied.store(0, Ordering::Relaxed);
        let Standby { failures, diverged, .. } = self.standby;
        self.standby = Standby { failures, diverged, rebuilt: true, ..Standby::default() };
        if let Phase::Standby = self.phase { self.follow() } else { self.stop_leading(why, 0) }
    }
}
