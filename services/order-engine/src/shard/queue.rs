//! Commands that wait: for their batch, then for its commit. Who waits is kept apart from what was asked, since the
//! codec wants the commands of a batch side by side.
//!
//! Deliberately absent: a bound of its own. Every command holds a permit of the admission, and these are counted.

use crate::admission::Permit;
use crate::shard::{Answer, Execute};
use service_kit::trace::{TraceContext, TraceId};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use types::{Command, Seq};
use wire::status::ApiError;

/// Whoever waits for the answer to one command.
#[derive(Debug)]
pub(super) struct Waiter {
    received: Instant,
    /// `None` for the engine's own commands, and after an answer was given early.
    reply: Option<oneshot::Sender<Result<Answer, ApiError>>>,
    permit: Option<Permit>,
    /// Its part in the journal as a trace shows it, if it is recorded.
    pub(super) trace: Option<TraceContext>,
}

/// Commands that are in no batch yet.
#[derive(Debug, Default)]
pub(super) struct Queue {
    commands: VecDeque<(Command, Waiter)>,
}

/// A batch on its way through the journal.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) seq: Seq,
    pub(super) proposed: Instant,
    pub(super) commands: Vec<Command>,
    pub(super) waiters: Vec<Waiter>,
}

impl Waiter {
    /// Gives the answer, if nobody did before and somebody still waits.
    pub(super) fn answer(mut self, answer: Result<Answer, ApiError>) {
        self.settle(answer);
    }

    fn settle(&mut self, answer: Result<Answer, ApiError>) {
        self.permit = None;
        if let Some(reply) = self.reply.take() {
            // A client that has gone needs no answer.
            let _ = reply.send(answer);
        }
    }
}

impl From<Execute> for (Command, Waiter) {
    fn from(execute: Execute) -> Self {
        let Execute { command, received, reply, permit, trace } = execute;
        (command, Waiter { received, reply: Some(reply), permit: Some(permit), trace })
    }
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.commands.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// A client's command.
    pub(super) fn push(&mut self, execute: Execute) {
        self.commands.push_back(execute.into());
    }

    /// A command of the engine itself, answered to nobody.
    pub(super) fn push_own(&mut self, command: Command, now: Instant) {
        self.commands.push_back((command, Waiter { received: now, reply: None, permit: None, trace: None }));
    }

    /// Takes up to `most` commands out; `waited` is told how long each stood here, and its trace if it is recorded.
    pub(super) fn take(
        &mut self,
        most: usize,
        now: Instant,
        mut waited: impl FnMut(Duration, Option<TraceId>),
    ) -> (Vec<Command>, Vec<Waiter>) {
        let count = self.commands.len().min(most);
        let drained = self.commands.drain(..count);
        let told = |(_, waiter): &(Command, Waiter)| {
            waited(now.saturating_duration_since(waiter.received), waiter.trace.map(|context| context.trace));
        };
        drained.inspect(told).unzip()
    }

    /// Refuses everything: none of it reached the log.
    pub(super) fn refuse_all(&mut self, error: &ApiError) {
        for (_, waiter) in self.commands.drain(..) {
            waiter.answer(Err(error.clone()));
        }
    }

    /// Refuses what came before `since`: it did not reach the log.
    pub(super) fn refuse_older(&mut self, since: Instant, error: &ApiError) {
        while self.commands.front().is_some_and(|(_, waiter)| waiter.reply.is_some() && waiter.received < since) {
            if let Some((_, waiter)) = self.commands.pop_front() {
                waiter.answer(Err(error.clone()));
            }
        }
    }
}

impl Batch {
    /// Tells everybody who waits that nobody knows; the batch may still be committed. Returns how many were told.
    pub(super) fn give_up(&mut self, error: &ApiError) -> u64 {
        let mut told = 0;
        for waiter in &mut self.waiters {
            if waiter.reply.is_some() {
                waiter.settle(Err(error.clone()));
                told += 1;
            }
        }
        told
    }

    /// The traces of its commands that are recorded.
    pub(super) fn traces(&self) -> impl Iterator<Item = &TraceContext> {
        self.waiters.iter().filter_map(|waiter| waiter.trace.as_ref())
    }

    /// Whether somebody waits for an answer.
    pub(super) fn is_awaited(&self) -> bool {
        self.waiters.iter().any(|waiter| waiter.reply.is_some())
    }
}
