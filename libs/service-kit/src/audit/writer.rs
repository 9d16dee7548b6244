//! The thread that makes lines of acts and keeps them: one sync for all that waited. Absent: what is recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{oneshot, watch};

use super::Act;
use super::record::{Head, Line};
use super::segments::Segments;
use crate::{Component, clock};

/// Most records of one sync; bounds the memory of a batch.
const BATCH: usize = 1_024;
/// Between two attempts to write to a disk that refuses.
const TRY_AGAIN: Duration = Duration::from_secs(1);

pub(super) enum Message {
    Record(Pending),
    /// Answered when everything before it is written.
    Flush(oneshot::Sender<()>),
}

/// An act that is to be recorded.
pub(super) struct Pending {
    pub(super) at_us: u64,
    pub(super) act: Box<Act>,
    /// Whether its parameters are kept.
    pub(super) verbose: bool,
}

pub(super) struct Writer {
    segments: Segments,
    node: String,
    lost: Arc<AtomicU64>,
    heads: watch::Sender<Head>,
    component: Component,
}

impl Writer {
    pub(super) fn new(
        segments: Segments,
        node: String,
        lost: Arc<AtomicU64>,
        heads: watch::Sender<Head>,
        component: Component,
    ) -> Self {
        heads.send_replace(segments.head().clone());
        let writer = Self { segments, node, lost, heads, component };
        writer.tell_condition();
        writer
    }

    /// Writes until nobody can record any more.
    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        while let Ok(first) = messages.recv() {
            let mut lines = Vec::new();
            let mut waiting = Vec::new();
            let mut head = self.segments.head().clone();
            self.tell_loss(&mut head, &mut lines);
            for message in std::iter::once(first).chain(messages.try_iter()) {
                match message {
                    Message::Record(pending) => self.push(&mut head, &mut lines, pending),
                    Message::Flush(done) => waiting.push(done),
                }
                if lines.len() >= BATCH || !waiting.is_empty() {
                    break;
                }
            }
            self.keep(&lines);
            for done in waiting {
                // Who waited may have gone.
                done.send(()).ok();
            }
        }
    }

    fn push(&self, head: &mut Head, lines: &mut Vec<Line>, pending: Pending) {
        let line = Line::after(head, &self.node, pending);
        head.clone_from(&line.head);
        lines.push(line);
    }

    /// What could not be recorded is at least counted in the log.
    fn tell_loss(&self, head: &mut Head, lines: &mut Vec<Line>) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let act = Act { after: json!({ "acts": lost }), ..Act::system("audit.lost") };
            self.push(head, lines, Pending { at_us: clock::now_us(), act: Box::new(act), verbose: false });
        }
    }

    /// Writes until it is done: a disk that is full now may not be later, and the queue holds what comes meanwhile.
    fn keep(&mut self, lines: &[Line]) {
        loop {
            match self.segments.append(lines) {
                Ok(()) => {
                    metrics::counter!("audit_records_total").increment(lines.len() as u64);
                    self.heads.send_replace(self.segments.head().clone());
                    self.tell_condition();
                    return;
                }
                Err(error) => {
                    self.component.degraded(format!("the audit log cannot be written: {error}; free its disk"));
                }
            }
            // Nothing tells when a disk can be written again.
            thread::park_timeout(TRY_AGAIN);
        }
    }

    fn tell_condition(&self) {
        match &self.segments.damage {
            Some(damage) => {
                self.component.degraded(format!("the audit log is damaged: {damage}; see `admin audit verify`"));
            }
            None => self.component.ok(),
        }
    }
}
