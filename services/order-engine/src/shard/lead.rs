//! Becoming the leader, being it, and stopping: what the orders of the leadership and the milestones of the proposer
//! change.
//!
//! Deliberately absent: whether this engine should lead, and the protocol by which it may.

use super::{Shard, ShardError};
use crate::admission::Readiness;
use crate::leadership::{Order, Report};
use journal_core::proposer::{HaltReason, Input};
use journal_core::{Tail, VoterConfig};
use service_kit::clock;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use types::{Command, Epoch, Seq, Timestamp};
use wire::status::ApiError;

/// How far this engine is with leading the shard.
#[derive(Debug)]
pub(super) enum Phase {
    /// It does not.
    Standby,
    /// It was given the shard and reads the newest snapshot.
    Loading { epoch: Epoch, config: VoterConfig },
    /// The voters are fenced, the rest of the log is read, the epoch's first entry is written.
    Recovering { epoch: Epoch },
    /// The log is open. Clients are served once everything up to `serve_from` is applied: then an empty log has got
    /// its rules and instruments.
    Leading { epoch: Epoch, serve_from: Option<Seq> },
    /// What was accepted is finished, nothing new is taken.
    Draining { epoch: Epoch },
}

impl Phase {
    /// The epoch, from the first fence to the last answer.
    pub(super) const fn epoch(&self) -> Option<Epoch> {
        match self {
            Self::Standby | Self::Loading { .. } => None,
            Self::Recovering { epoch } | Self::Leading { epoch, .. } | Self::Draining { epoch } => Some(*epoch),
        }
    }
}

impl Shard {
    pub(super) fn on_order(&mut self, order: Order) {
        match order {
            Order::Lead { epoch, config } => {
                self.granted = epoch;
                self.ordered = Instant::now();
                self.close("the engine is recovering");
                self.health.settling("recovering");
                self.phase = Phase::Loading { epoch, config };
                if self.standby.has_state() {
                    self.elected();
                }
            }
            Order::StepDown { epoch, why } if epoch == self.granted => self.stop_leading(why, 0),
            Order::Drain { epoch } if epoch == self.granted => self.drain(),
            Order::StepDown { epoch, .. } | Order::Drain { epoch } => {
                self.report(Report::Stopped { epoch, promised: 0 });
            }
        }
    }

    /// There is a state to go on from: the voters are asked for the epoch, and for what is missing. Nothing more comes
    /// by the way of a standby.
    pub(super) fn elected(&mut self) {
        let Phase::Loading { epoch, config } = std::mem::replace(&mut self.phase, Phase::Standby) else { return };
        self.journal.reset();
        self.standby.rest();
        self.phase = Phase::Recovering { epoch };
        let applied = *self.applier.applied();
        let timestamp = Timestamp(clock::now_us().max(self.applier.timestamp().0 + 1));
        self.drive(Input::Elected { epoch, config, applied, timestamp });
    }

    /// The proposer found that it must not go on. A state that does not fit the log is dropped, and built again from a
    /// snapshot and the log; everything else is for people.
    pub(super) fn on_halt(&mut self, reason: HaltReason) {
        match reason {
            HaltReason::StateTooOld { .. } | HaltReason::StateOffLog { .. } if !self.standby.was_rebuilt() => {
                tracing::error!(shard = %self.shard, %reason, "the state is dropped and built again");
                self.rebuild("the state has to be built again");
            }
            reason => self.failed = Some(ShardError::Journal(reason)),
        }
    }

    /// The epoch's first entry is committed: everything before it is final and applied.
    pub(super) fn on_opened(&mut self) {
        let Phase::Recovering { epoch } = self.phase else { return };
        let missing = self.missing_commands();
        let now = Instant::now();
        let serve_from = if missing.is_empty() { Some(self.applier.applied().seq) } else { None };
        for command in missing {
            self.queue.push_own(command, now);
        }
        tracing::info!(
            shard = %self.shard,
            epoch = epoch.number,
            seq = self.applier.applied().seq.0,
            state_hash = %self.applier.exchange.state_hash(),
            own_commands = self.queue.len(),
            took_us = u64::try_from(self.ordered.elapsed().as_micros()).unwrap_or(u64::MAX),
            "log is open"
        );
        self.metrics.takeover_seconds.record(self.ordered.elapsed());
        self.standby.proven();
        self.phase = Phase::Leading { epoch, serve_from };
        self.report(Report::Opened { epoch });
        self.serve();
    }

    /// Lets clients in, once everything they may rely on is applied.
    pub(super) fn serve(&mut self) {
        let Phase::Leading { epoch, serve_from } = &mut self.phase else { return };
        // The engine's own commands are the first of the queue: when it has been empty, they are in the log.
        if serve_from.is_none() && self.queue.is_empty() && self.in_flight.is_empty() {
            *serve_from = Some(self.applier.applied().seq);
        }
        if serve_from.is_none() || self.status.leading.load(Ordering::Relaxed) == epoch.number {
            return;
        }
        self.status.leading.store(epoch.number, Ordering::Relaxed);
        // It has just made the epoch's first entry durable.
        self.status.journal_reachable.store(true, Ordering::Relaxed);
        self.metrics.leader_epoch.set(gauge(epoch.number));
        self.published.readiness.store(Arc::new(Readiness::Open));
        self.health.detail("epoch", epoch.number);
        // After the door is open: whoever sees the engine ready is let in.
        self.health.open();
        tracing::info!(shard = %self.shard, epoch = epoch.number, "serving clients");
    }

    /// Commands that a log needs before clients come: rules if it is empty, and configured instruments it lacks.
    fn missing_commands(&self) -> Vec<Command> {
        let exchange = &self.applier.exchange;
        let rules = (exchange.now() == Timestamp::default()).then(|| Command::SetRules(self.config.rules.into()));
        let instruments = self.config.instruments.iter().filter_map(|instrument| instrument.to_instrument().ok());
        let missing = instruments.filter(|instrument| exchange.instrument_id(&instrument.symbol).is_none());
        rules.into_iter().chain(missing.map(Command::DefineInstrument)).collect()
    }

    fn drain(&mut self) {
        let Phase::Leading { epoch, .. } = self.phase else {
            self.stop_leading("the engine is stopping", 0);
            return;
        };
        self.close("the engine is stopping");
        self.health.settling("draining");
        self.on_late_commands();
        self.phase = Phase::Draining { epoch };
    }

    /// Commands that passed the door before it was closed are accepted: they are finished too.
    fn on_late_commands(&mut self) {
        while let Ok(execute) = self.commands.try_recv() {
            self.queue.push(execute);
        }
    }

    /// Ends a drain when nobody waits any more.
    pub(super) fn finish_drain(&mut self) {
        let waiting = !self.queue.is_empty() || self.in_flight.iter().any(super::queue::Batch::is_awaited);
        if matches!(self.phase, Phase::Draining { .. }) && !waiting {
            self.stop_leading("the engine has stopped", 0);
        }
    }

    /// Leads no longer. What is in flight may still be committed by the next leader, so that nobody is told that it was
    /// refused; what is in no batch yet never reached the log.
    pub(super) fn stop_leading(&mut self, why: &str, promised: u64) {
        self.close(why);
        self.health.settling(why);
        let unknown = ApiError::unknown_outcome(why);
        for mut batch in self.in_flight.drain(..) {
            self.metrics.unknown.increment(batch.give_up(&unknown));
        }
        self.queue.refuse_all(&ApiError::not_ready(why));
        self.questions.give_up();
        if self.phase.epoch().is_some() {
            let mut ignored = Vec::new();
            self.proposer.step(Input::StepDown { reason: why.to_owned() }, &mut ignored);
        }
        self.applier.feeds.close();
        self.status.leading.store(0, Ordering::Relaxed);
        self.metrics.leader_epoch.set(0.0);
        let led = !matches!(self.phase, Phase::Standby);
        self.phase = Phase::Standby;
        if led {
            self.follow();
        }
        tracing::info!(shard = %self.shard, why, seq = self.applier.applied().seq.0, "not leading");
        self.report(Report::Stopped { epoch: self.granted, promised });
    }

    /// The log was chosen.
    pub(super) fn on_adopted(&self, tail: Tail) {
        tracing::info!(shard = %self.shard, seq = tail.seq.0, "log adopted");
        self.report(Report::Adopted { epoch: self.granted });
    }

    fn report(&self, report: Report) {
        // There is room: the next order to lead comes only after the report that the shard has stopped, and none is
        // missed but by a task that is gone.
        let _ = self.reports.try_send(report);
    }

    /// Stops for good, since going on would be guessing.
    pub(super) fn halt(&mut self, error: ShardError) -> ShardError {
        tracing::error!(shard = %self.shard, %error, "the shard stops");
        self.stop_leading(&error.to_string(), 0);
        error
    }

    fn close(&self, why: &str) {
        let closed = Readiness::Closed { why: why.to_owned() };
        self.published.readiness.store(Arc::new(closed));
    }
}

/// A number as a gauge shows it; exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub(super) fn gauge(number: u64) -> f64 {
    number as f64
}
