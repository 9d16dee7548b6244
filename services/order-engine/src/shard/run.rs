//! The loop of the shard. Waiting decides nothing ([`Shard::next_input`]), deciding waits for nothing
//! ([`Shard::step`]).
//!
//! Deliberately absent: how long anything takes on the network; whatever is slow comes back as an input.

use super::lead::Phase;
use super::queue::Batch;
use super::{Execute, Question, Shard, ShardError};
use crate::journal_client::JournalEvent;
use crate::leadership::Order;
use journal_core::Entry;
use journal_core::proposer::{Effect, Input};
use std::time::{Duration, Instant};
use tokio::time::{Interval, MissedTickBehavior};
use wire::convert::entry_trace_to_pb;
use wire::pb::journal::v1::EntryTrace;
use wire::status::ApiError;

/// Heartbeats to the voters, and how often deadlines are looked at.
const TICK: Duration = Duration::from_millis(100);

/// Commands taken from their queue at one time. More would only delay the look at the journal.
const COMMANDS_AT_ONCE: usize = 256;

/// Everything that can happen to a shard.
enum Happened {
    Journal(JournalEvent),
    /// `None`: nobody can lead any more, the engine stops.
    Leadership(Option<Order>),
    /// In `Shard::arrived`.
    Commands,
    Asked(Question),
    Tick,
}

impl Shard {
    /// Works until the leadership's task has ended, or the state is in doubt.
    pub(crate) async fn run(mut self) -> Result<(), ShardError> {
        self.follow();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            match self.next_input(&mut tick).await {
                Happened::Leadership(None) => return Ok(()),
                happened => self.step(happened),
            }
            if let Some(error) = self.failed.take() {
                return Err(self.halt(error));
            }
        }
    }

    async fn next_input(&mut self, tick: &mut Interval) -> Happened {
        tokio::select! {
            // What the journal says comes first: it is what everybody waits for.
            biased;
            event = self.journal.next() => Happened::Journal(event),
            order = self.orders.recv() => Happened::Leadership(order),
            _ = tick.tick() => Happened::Tick,
            _ = self.commands.recv_many(&mut self.arrived, COMMANDS_AT_ONCE), if !self.commands.is_closed() => {
                Happened::Commands
            }
            Some(question) = self.queries.recv(), if self.questions.have_room() => Happened::Asked(question),
        }
    }

    fn step(&mut self, happened: Happened) {
        match happened {
            Happened::Journal(event) => self.on_journal(event),
            Happened::Leadership(order) => {
                if let Some(order) = order {
                    self.on_order(order);
                }
            }
            Happened::Commands => self.on_commands(),
            Happened::Asked(question) => self.on_question(question),
            Happened::Tick => self.on_tick(),
        }
        if self.failed.is_none() {
            self.propose();
            self.finish_drain();
            self.gauges();
        }
    }

    fn on_journal(&mut self, event: JournalEvent) {
        let input = match event {
            JournalEvent::Fenced { voter, reply } => Input::FenceReply { voter, reply: *reply },
            JournalEvent::Fetched { entries } => Input::Fetched { entries },
            JournalEvent::SnapshotRead { snapshot } => return self.on_snapshot(snapshot),
            JournalEvent::Followed(followed) => return self.on_followed(&followed),
            JournalEvent::FollowEnded { error } => return self.on_follow_ended(&error),
            JournalEvent::StreamOpened { voter } => Input::StreamOpened { voter },
            JournalEvent::StreamClosed { voter } => {
                self.metrics.journal_losses.increment(1);
                Input::StreamClosed { voter }
            }
            JournalEvent::Appended { voter, reply } => Input::AppendReply { voter, reply },
        };
        self.drive(input);
    }

    fn on_commands(&mut self) {
        let open = matches!(self.phase, Phase::Leading { .. });
        for execute in self.arrived.drain(..) {
            if open {
                self.queue.push(execute);
            } else {
                refuse(execute);
            }
        }
    }

    fn on_tick(&mut self) {
        let now = Instant::now();
        self.journal.watch(now);
        if self.phase.epoch().is_some() {
            self.drive(Input::Heartbeat);
        } else {
            self.stand_by();
        }
        self.look_at_deadlines(now);
        self.look_at_questions(now);
        self.look_at_journal();
    }

    /// One input to the proposer, and everything that follows from it.
    pub(super) fn drive(&mut self, input: Input) {
        let mut effects = std::mem::take(&mut self.effects);
        self.proposer.step(input, &mut effects);
        for effect in effects.drain(..) {
            // A shard that has failed does nothing more, least of all open its door; one that has just ended its
            // leadership has nothing to do with what else follows from it.
            if self.failed.is_none() && self.phase.epoch().is_some() {
                self.carry_out(effect);
            }
        }
        self.effects = effects;
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Fence { voter, request } => self.journal.fence(voter, &request),
            Effect::Fetch { voter, from, to } => self.journal.fetch(voter, self.proposer.log_id(), from, to),
            Effect::OpenStream { voter } => self.journal.open_stream(voter),
            Effect::Append { voter, request } => {
                let traces = self.traces_of(&request.entries);
                self.journal.append(voter, request, traces);
            }
            Effect::Committed { seq } => self.on_committed(seq),
            Effect::ReadsConfirmed { up_to } => self.on_reads_confirmed(up_to),
            Effect::Opened => self.on_opened(),
            Effect::Adopted { tail } => self.on_adopted(tail),
            Effect::Deposed { promised } => self.stop_leading("a voter promised a newer epoch", promised.number),
            Effect::Halt { reason } => self.on_halt(reason),
        }
    }
}

impl Shard {
    /// Where commands of entries on their way stand in traces, for the voters.
    fn traces_of(&self, entries: &[Entry]) -> Vec<EntryTrace> {
        let sent = |batch: &&Batch| entries.iter().any(|entry| entry.seq == batch.seq);
        let traced = |batch: &'_ Batch| -> Vec<EntryTrace> {
            batch.traces().map(|context| entry_trace_to_pb(batch.seq, context)).collect()
        };
        self.in_flight.iter().filter(sent).flat_map(traced).collect()
    }
}

fn refuse(execute: Execute) {
    // Nobody waits any more if this fails.
    let _ = execute.reply.send(Err(ApiError::not_ready("the shard is not open: send the request again")));
}
