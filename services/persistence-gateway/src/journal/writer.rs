//! The writer thread of one shard: it owns the storage and the acceptor, and carries the acceptor's effects out.
//!
//! While a write waits for the disk, requests pile up in the queue; they are taken in as soon as it returns, before
//! the next write starts, so that one write makes all of them durable: group commit without a wait. Answers go
//! straight from here to the streams. Deliberately absent: async code, and retries of a failed write.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use journal_core::acceptor::{Acceptor, ClientId, Effect, Input, PersistError, Reply};
use journal_core::{AppendReply, Control, FenceReply, Recovered};
use journal_store::{Storage, StoreError};
use service_kit::trace::Tracer;
use tokio::sync::{mpsc, oneshot, watch};
use tonic::Status;
use types::{Seq, ShardId};
use wire::convert;
use wire::pb::journal::v1::AppendResponse;

use super::arrivals::Arrivals;
use super::client::{JournalHandle, Message, QUEUE};
use super::leader::LeaderSight;
use super::traced::Traced;
use super::watch::Watch;
use crate::metrics::{JournalMetrics, gauge};

/// How long a shared storage that failed is left alone before it is asked again. Short against the time a leader
/// waits before it gives up, long against a connection attempt.
const RELOAD_PAUSE: Duration = Duration::from_millis(250);

/// How long a journal is quiet before its storage does what would have delayed the next write.
const QUIET: Duration = Duration::from_millis(20);

/// Why a shard's journal ended. The process must not go on: what the storage holds is unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal of shard {shard} cannot be written: {reason}")]
pub struct JournalFailure {
    /// Which shard.
    pub shard: ShardId,
    /// Why.
    pub reason: String,
}

/// A running writer thread.
#[derive(Debug)]
pub struct Spawned {
    /// To talk to it.
    pub handle: JournalHandle,
    /// How it ended: resolves when the thread is over.
    pub ended: oneshot::Receiver<Result<(), JournalFailure>>,
}

/// What everybody may know of a shard's journal: told by its writer thread and, of a shared storage, by its watch.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) commit: watch::Sender<Seq>,
    pub(super) tail: watch::Sender<Seq>,
    pub(super) sight: LeaderSight,
    /// Whether the storage waits for its database to be back.
    pub(super) volatile: AtomicBool,
}

impl Published {
    /// Takes a committed seq; one that is older than what is known changes nothing.
    pub(super) fn committed(&self, seq: Seq) {
        raise(&self.commit, seq);
    }

    /// Takes the end of a log that only grows.
    pub(super) fn grown(&self, tail: Seq) {
        raise(&self.tail, tail);
    }
}

fn raise(known: &watch::Sender<Seq>, seq: Seq) {
    known.send_if_modified(|known| {
        let news = seq > *known;
        *known = seq.max(*known);
        news
    });
}

/// Starts the writer thread of a shard over a storage that was just recovered. `watch` looks after a shared one; `tracer`
/// is told of entries that belong to traces.
///
/// # Errors
/// When the system gives no thread.
pub fn spawn(
    shard: ShardId,
    gateway: &str,
    storage: Box<dyn Storage>,
    recovered: Recovered,
    watch: Option<&Watch>,
    tracer: Tracer,
) -> std::io::Result<Spawned> {
    let (queue, inbox) = sync_channel(QUEUE);
    let queue = Arc::new(queue);
    let shared = storage.is_shared();
    let mut acceptor = Acceptor::new(shard, gateway, recovered);
    if shared {
        acceptor = acceptor.sharing();
    }
    let (commit, commit_seen) = watch::channel(acceptor.commit());
    let (tail, tail_seen) = watch::channel(acceptor.tail().seq);
    let sight = LeaderSight::default();
    sight.promised(acceptor.promised());
    let published =
        Arc::new(Published { commit, tail, sight: sight.clone(), volatile: AtomicBool::new(storage.is_volatile()) });
    if let Some(watch) = watch {
        watch.add(shard, &published, &queue);
    }
    let (now, traced, metrics) = (Instant::now(), Traced::new(tracer), JournalMetrics::new(shard));
    let handle = JournalHandle {
        shard,
        log_id: acceptor.log_id(),
        queue,
        next_client: Arc::new(AtomicU64::new(1)),
        commit: commit_seen,
        tail: tail_seen,
        log: storage.log(),
        snapshots: storage.snapshots(),
        sight,
        watch: watch.cloned(),
        sessions: storage.sessions(),
        traced: traced.clone(),
    };
    let writer = Writer {
        shard,
        shared,
        storage,
        acceptor,
        inbox,
        effects: VecDeque::new(),
        steps: Vec::new(),
        deferred: None,
        fences: HashMap::new(),
        streams: HashMap::new(),
        closing: Vec::new(),
        next_fence: u64::MAX / 2,
        arrivals: Arrivals::new(metrics.append.clone(), traced),
        last_write: (now, now),
        published,
        reload_at: None,
        storage_failed: false,
        unsettled: false,
        metrics,
    };
    let (end, ended) = oneshot::channel();
    std::thread::Builder::new().name(format!("journal-{shard}")).spawn(move || {
        // The receiver is gone when the process is past caring.
        let _ = end.send(writer.run());
    })?;
    Ok(Spawned { handle, ended })
}

struct Writer {
    shard: ShardId,
    shared: bool,
    storage: Box<dyn Storage>,
    acceptor: Acceptor,
    inbox: Receiver<Message>,
    effects: VecDeque<Effect>,
    /// Scratch for the acceptor's effects.
    steps: Vec<Effect>,
    /// A message that has to wait until no write is under way.
    deferred: Option<Message>,
    fences: HashMap<ClientId, oneshot::Sender<FenceReply>>,
    streams: HashMap<ClientId, mpsc::Sender<Result<AppendResponse, Status>>>,
    /// Streams to forget once their last answers are out.
    closing: Vec<ClientId>,
    /// Fence calls get ids from the upper half, streams from the lower.
    next_fence: u64,
    /// Appends with entries that were not answered yet.
    arrivals: Arrivals,
    /// When the last write began and ended.
    last_write: (Instant, Instant),
    published: Arc<Published>,
    /// When a storage that failed is to be read again.
    reload_at: Option<Instant>,
    storage_failed: bool,
    /// Written to since it was last settled.
    unsettled: bool,
    metrics: JournalMetrics,
}

/// How the loop goes on after an effect.
type Step = Result<(), JournalFailure>;

impl Writer {
    fn run(mut self) -> Result<(), JournalFailure> {
        tracing::info!(
            shard = %self.shard,
            log_id = %self.acceptor.log_id(),
            tail = %self.acceptor.tail().seq,
            promised = self.acceptor.promised().number,
            "journal opened"
        );
        if let Some(reason) = self.acceptor.broken() {
            return Err(self.failure(reason.to_owned()));
        }
        loop {
            let message = match self.deferred.take() {
                Some(message) => message,
                None => match self.next()? {
                    Some(message) => message,
                    None => continue,
                },
            };
            if matches!(message, Message::Stop) {
                return Ok(());
            }
            self.take(message)?;
            self.settle()?;
        }
    }

    /// Waits for a message; none when the time was used for something else.
    fn next(&mut self) -> Result<Option<Message>, JournalFailure> {
        let wait = match self.reload_at {
            Some(at) => at.saturating_duration_since(Instant::now()),
            None if self.unsettled => QUIET,
            // All handles are gone: as good as being told.
            None => return Ok(Some(self.inbox.recv().unwrap_or(Message::Stop))),
        };
        match self.inbox.recv_timeout(wait) {
            Ok(message) => return Ok(Some(message)),
            Err(RecvTimeoutError::Disconnected) => return Ok(Some(Message::Stop)),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if self.reload_at.is_some() {
            self.reload();
        } else {
            self.unsettled = false;
            if let Err(error) = self.storage.settle() {
                tracing::error!(shard = %self.shard, %error, "journal write failed");
                self.metrics.errors.increment(1);
                self.storage_failed = true;
                self.give_up(error.to_string())?;
            }
        }
        Ok(None)
    }

    /// Whether a message has to wait until no write is under way.
    fn must_wait(&self, message: &Message) -> bool {
        match message {
            Message::Trim { .. } | Message::Renew { .. } | Message::Seen { .. } | Message::Back | Message::Stop => true,
            Message::Fence { .. } | Message::Open { .. } | Message::Append { .. } | Message::Close { .. } => false,
        }
    }

    fn take(&mut self, message: Message) -> Step {
        match message {
            Message::Fence { request, reply } => {
                let client = ClientId(self.next_fence);
                self.next_fence += 1;
                self.fences.insert(client, reply);
                self.step(Input::Fence { client, request });
            }
            Message::Open { stream, replies } => {
                self.streams.insert(stream, replies);
            }
            Message::Append { stream, request, arrived, traces } => {
                self.arrivals.arrived(stream, &request.entries, arrived, traces);
                self.step(Input::Append { client: stream, request });
            }
            Message::Close { stream } => self.closing.push(stream),
            Message::Trim { base, done } => {
                let trimmed = self.storage.trim(&base);
                if let Err(error) = &trimmed {
                    tracing::error!(shard = %self.shard, %error, "journal not trimmed");
                    self.metrics.errors.increment(1);
                    if !error.is_refusal() && !self.shared {
                        let reason = error.to_string();
                        drop(done.send(Err(reason.clone())));
                        return Err(self.failure(reason));
                    }
                } else {
                    self.step(Input::Trim { base });
                }
                drop(done.send(trimmed.map_err(|error| error.to_string())));
            }
            Message::Renew { done } => {
                // Nobody may be waiting any more.
                drop(done.send(self.storage.renew().map_err(|error| error.to_string())));
            }
            Message::Seen { promised, tail, base } => {
                // What is behind: a later fence or leader finds this gateway up to date.
                let (known, log) = (self.acceptor.promised(), self.acceptor.tail());
                let news = promised > known.number || tail > log.seq || base > self.acceptor.control().base.seq;
                if news && self.reload_at.is_none() {
                    self.reload();
                }
            }
            Message::Back if self.storage.is_volatile() => self.reload(),
            Message::Back | Message::Stop => {}
        }
        Ok(())
    }

    fn step(&mut self, input: Input) {
        self.acceptor.step(input, &mut self.steps);
        self.effects.extend(self.steps.drain(..));
    }

    /// Carries out effects until there are none: no write is under way then.
    fn settle(&mut self) -> Step {
        while let Some(effect) = self.effects.pop_front() {
            match effect {
                Effect::PersistControl { token, control } => {
                    let result = self.storage.persist_control(&control);
                    self.persisted(token, result);
                    self.published.sight.promised(self.acceptor.promised());
                }
                Effect::Confirm { token, epoch } => {
                    let result = self.storage.confirm(epoch);
                    self.persisted(token, result);
                }
                Effect::Write { token, unit } => {
                    let started = Instant::now();
                    let result = self.storage.write(&unit);
                    self.unsettled = true;
                    self.last_write = (started, Instant::now());
                    self.metrics.sync.record(self.last_sync(), self.arrivals.trace());
                    self.metrics.unit_entries.record(gauge(unit.entries.len() as u64));
                    self.tell_volatile();
                    self.take_what_waits()?;
                    self.persisted(token, result);
                    self.tell_tail();
                }
                Effect::Reply { client, reply: Reply::Fence(reply) } => {
                    self.published.sight.promised(self.acceptor.promised());
                    if let Some(waiting) = self.fences.remove(&client) {
                        // The caller may have given up.
                        drop(waiting.send(reply));
                    }
                }
                Effect::Reply { client, reply: Reply::Append(reply) } => self.answer(client, reply),
                Effect::Committed { seq } => {
                    self.metrics.commit_seq.set(gauge(seq.0));
                    self.published.committed(seq);
                }
                // If it fails it is tried again.
                Effect::Reload => self.reload(),
                Effect::Quarantine { reason } => self.give_up(reason)?,
            }
        }
        for stream in std::mem::take(&mut self.closing) {
            self.streams.remove(&stream);
            self.published.sight.closed(stream);
            self.arrivals.forget(stream);
        }
        Ok(())
    }

    /// Takes in what arrived while the disk worked, for the next unit.
    fn take_what_waits(&mut self) -> Step {
        while self.deferred.is_none() {
            let Ok(message) = self.inbox.try_recv() else { break };
            if self.must_wait(&message) {
                self.deferred = Some(message);
            } else {
                self.take(message)?;
            }
        }
        Ok(())
    }

    fn persisted(&mut self, token: u64, result: Result<(), StoreError>) {
        let error = match result {
            Ok(()) => return self.step(Input::Persisted { token }),
            Err(StoreError::Fenced { promised }) => PersistError::Fenced { promised },
            Err(StoreError::Mismatch { .. }) if self.shared => PersistError::Moved,
            Err(error) => {
                tracing::error!(shard = %self.shard, %error, "journal write failed");
                self.metrics.errors.increment(1);
                self.storage_failed = true;
                PersistError::Storage(error.to_string())
            }
        };
        self.step(Input::Failed { token, error });
    }

    fn answer(&mut self, stream: ClientId, reply: AppendReply) {
        match &reply {
            AppendReply::Ok(ok) => self.arrivals.answered(stream, ok.match_seq, ok.synced, self.last_write),
            // The leader starts over from another place.
            _ => self.arrivals.forget(stream),
        }
        let sync_us = u64::try_from(self.last_sync().as_micros()).unwrap_or(u64::MAX);
        let Some(replies) = self.streams.get(&stream) else { return };
        if let Err(error) =
            replies.try_send(Ok(convert::append_reply_to_pb(reply, sync_us, self.storage.is_volatile())))
        {
            if matches!(error, mpsc::error::TrySendError::Full(_)) {
                tracing::warn!(shard = %self.shard, "append stream closed: its answers are not read");
            }
            self.streams.remove(&stream);
            self.published.sight.closed(stream);
        }
    }

    /// The acceptor gave up. A database can be read again and then knows what it holds; a file cannot.
    fn give_up(&mut self, reason: String) -> Step {
        if self.shared {
            tracing::error!(shard = %self.shard, reason, "journal out of service until its database answers");
            self.reload_soon();
            return Ok(());
        }
        if !self.storage_failed {
            // The disk is sound, but a rule of the protocol was broken: it must not vote until somebody looked.
            let control = Control { quarantined: true, ..self.acceptor.control().clone() };
            if let Err(error) = self.storage.persist_control(&control) {
                tracing::error!(shard = %self.shard, %error, "quarantine mark not written");
            }
        }
        // What is queued is answered before the end.
        for effect in std::mem::take(&mut self.effects) {
            if let Effect::Reply { client, reply } = effect {
                match reply {
                    Reply::Append(reply) => self.answer(client, reply),
                    Reply::Fence(reply) => {
                        if let Some(waiting) = self.fences.remove(&client) {
                            drop(waiting.send(reply));
                        }
                    }
                }
            }
        }
        Err(self.failure(reason))
    }

    /// How long the last write took.
    fn last_sync(&self) -> Duration {
        self.last_write.1 - self.last_write.0
    }

    fn failure(&self, reason: String) -> JournalFailure {
        JournalFailure { shard: self.shard, reason }
    }

    fn reload_soon(&mut self) {
        self.reload_at.get_or_insert_with(|| Instant::now() + RELOAD_PAUSE);
    }

    fn tell_tail(&self) {
        let tail = self.acceptor.tail().seq;
        if self.shared {
            self.published.grown(tail);
        } else {
            self.published.tail.send_replace(tail);
        }
    }

    fn tell_volatile(&self) {
        self.published.volatile.store(self.storage.is_volatile(), Ordering::Relaxed);
    }

    /// Reads a shared storage again.
    fn reload(&mut self) {
        let refreshed = self.storage.refresh();
        self.tell_volatile();
        match refreshed {
            Ok(recovered) => {
                if self.reload_at.take().is_some() {
                    tracing::info!(shard = %self.shard, tail = %recovered.tail.seq, "journal read again");
                }
                self.storage_failed = false;
                if self.storage.has_superseded() {
                    // Both go back: what followed them saw entries that are no more.
                    self.published.tail.send_replace(recovered.tail.seq);
                    self.step(Input::Superseded(recovered));
                    self.published.commit.send_replace(self.acceptor.commit());
                } else {
                    self.step(Input::Reloaded(recovered));
                }
                self.published.sight.promised(self.acceptor.promised());
                self.tell_tail();
            }
            Err(error) => {
                if self.reload_at.is_none() {
                    tracing::error!(shard = %self.shard, %error, "journal cannot be read, trying again");
                }
                self.metrics.errors.increment(1);
                self.reload_at = Some(Instant::now() + RELOAD_PAUSE);
                self.step(Input::ReloadFailed { reason: format!("the journal's database cannot be read: {error}") });
            }
        }
    }
}
