//! The sequencer: which commands go into the next entry, at which log time, and what happens when it is committed, or
//! is not for too long.
//!
//! Deliberately absent: what a command does. Only its place is decided here.

use super::lead::{Phase, gauge};
use super::queue::Batch;
use super::{Shard, ShardError};
use crate::admission::Readiness;
use bytes::Bytes;
use journal_core::codec::{self, batch::MAX_COMMAND_BYTES};
use journal_core::proposer::Input;
use journal_core::{EntryKind, MAX_PAYLOAD_BYTES};
use service_kit::clock;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use types::{Seq, Timestamp};
use wire::pb::consensus::v1::ShardRole;
use wire::status::ApiError;

use crate::config::BATCH_COMMANDS_MAX;

/// The fullest batch fits an entry, so that no batch has to be cut by its bytes.
const _: () = assert!((BATCH_COMMANDS_MAX as usize + 1) * MAX_COMMAND_BYTES <= MAX_PAYLOAD_BYTES);

impl Shard {
    /// Puts waiting commands into the log: at once while few entries are on their way, together when a reply frees a
    /// place. That is group commit without a wait.
    pub(super) fn propose(&mut self) {
        if !matches!(self.phase, Phase::Leading { .. } | Phase::Draining { .. }) {
            return;
        }
        let most = self.config.appends_in_flight_max as usize;
        while !self.queue.is_empty() && self.in_flight.len() < most && self.proposer.can_propose() {
            if self.state_hash_is_due() {
                // The digest is of the state before its entry, so that nothing may be in flight before it.
                if !self.in_flight.is_empty() {
                    return;
                }
                self.propose_state_hash();
                continue;
            }
            self.propose_batch();
        }
    }

    fn propose_batch(&mut self) {
        let now = Instant::now();
        let metrics = &self.metrics;
        let (commands, waiters) = self
            .queue
            .take(self.config.batch_commands_max as usize, now, |waited, of| metrics.queue_seconds.record(waited, of));
        self.metrics.batch_commands.record(f64::from(u32::try_from(commands.len()).unwrap_or(u32::MAX)));
        let payload = self.payloads.encode(&commands);
        let seq = self.proposer.last().seq.next();
        // Before it is proposed: with everything in one process the answer may be there before the call returns.
        self.in_flight.push_back(Batch { seq, proposed: now, commands, waiters });
        self.append(EntryKind::Batch, payload);
    }

    fn propose_state_hash(&mut self) {
        self.last_state_hash = self.applier.applied().seq;
        let hash = self.applier.exchange.state_hash();
        self.append(EntryKind::StateHash, codec::state_hash::encode(hash).into());
    }

    fn state_hash_is_due(&self) -> bool {
        let interval = self.config.state_hash_interval;
        interval > 0 && self.proposer.last().seq.0.saturating_sub(self.last_state_hash.0) >= interval
    }

    fn append(&mut self, kind: EntryKind, payload: Bytes) {
        let wall = clock::now_us();
        let timestamp = Timestamp(wall.max(self.proposer.last_timestamp().0 + 1));
        self.drive(Input::Propose { kind, timestamp, payload });
    }

    /// Everything up to `seq` is final: apply it and answer.
    pub(super) fn on_committed(&mut self, seq: Seq) {
        while self.applier.applied().seq < seq {
            let next = self.applier.applied().seq.next();
            let Some(entry) = self.proposer.entry(next) else {
                self.failed = Some(ShardError::Missing { seq: next });
                return;
            };
            let own = self.in_flight.front().is_some_and(|batch| batch.seq == next);
            let kind = entry.kind;
            let applied = match if own { self.in_flight.pop_front() } else { None } {
                Some(batch) => {
                    let trace = batch.traces().next().map(|context| context.trace);
                    self.metrics.journal_seconds.record(batch.proposed.elapsed(), trace);
                    self.applier.apply(entry, &batch.commands, Some((batch.proposed, batch.waiters)))
                }
                None => self.applier.replay(entry),
            };
            if !self.was_applied(next, kind, applied) {
                return;
            }
        }
        self.status.commit.store(seq.0, Ordering::Relaxed);
        self.status.applied.store(seq.0, Ordering::Relaxed);
        self.serve();
        self.answer_early();
    }

    /// Whoever has waited too long is told what can be told.
    pub(super) fn look_at_deadlines(&mut self, now: Instant) {
        let Some(since) = now.checked_sub(self.config.answer_timeout()) else { return };
        let unknown = ApiError::unknown_outcome("the journal has not answered in time");
        for batch in self.in_flight.iter_mut().take_while(|batch| batch.proposed < since) {
            self.metrics.unknown.increment(batch.give_up(&unknown));
        }
        self.queue.refuse_older(since, &ApiError::not_ready("the journal does not answer"));
    }

    /// Closes the door to commands while the journal is silent, and opens it when it speaks again.
    pub(super) fn look_at_journal(&mut self) {
        let reachable = match self.phase {
            Phase::Standby | Phase::Loading { .. } => self.standby.follows(),
            _ => self.proposer.journal_reachable(),
        };
        let before = self.status.journal_reachable.swap(reachable, Ordering::Relaxed);
        let serving = self.status.leading.load(Ordering::Relaxed) != 0;
        if before == reachable || !serving || !matches!(self.phase, Phase::Leading { .. }) {
            return;
        }
        if reachable {
            tracing::info!(shard = %self.shard, "the journal answers again");
            self.published.readiness.store(Arc::new(Readiness::Open));
            self.health.open();
        } else {
            let why = "the journal does not answer";
            tracing::warn!(shard = %self.shard, "the journal does not answer, no new commands are taken");
            self.published.readiness.store(Arc::new(Readiness::ReadOnly { why: why.to_owned() }));
            self.health.failing(why);
        }
    }

    pub(super) fn gauges(&self) {
        self.metrics.queued.set(gauge(self.queue.len() as u64));
        self.metrics.in_flight.set(gauge(self.in_flight.len() as u64));
        self.metrics.applied_seq.set(gauge(self.applier.applied().seq.0));
        let role = self.role();
        if self.status.role.swap(role.into(), Ordering::Relaxed) != i32::from(role) {
            self.health.detail("role", role_name(role));
        }
    }
}

/// One word for people.
fn role_name(role: ShardRole) -> String {
    role.as_str_name().trim_start_matches("SHARD_ROLE_").to_ascii_lowercase()
}
