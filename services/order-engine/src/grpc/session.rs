//! A session: requests pipelined over one stream, answered in their order, shard by shard.
//!
//! Two halves. The reader takes requests off the network as they come, so that the connection never fills up with
//! unread frames, starts each in its shard and puts a slot for its answer into a bounded queue. The answers are the
//! response stream: it has a lane for every shard and waits for the slots at their heads only, which is right since a
//! shard answers in order. A shard that stands still holds up no other.
//!
//! Deliberately absent: state that survives the stream. A client that lost its session sends what is unanswered again.

use super::mass_cancel;
use super::part::Part;
use super::relay::Relay;
use super::shards::Shards;
use super::trading::Trading;
use crate::metrics::Operation;
use futures::Stream;
use service_kit::auth::Rights;
use service_kit::trace::{TraceContext, current};
use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, Streaming};
use types::ShardId;
use wire::convert;
use wire::pb::orders::v1::order_session_request::Command;
use wire::pb::orders::v1::order_session_response::Result as Answered;
use wire::pb::orders::v1::{OrderReport, OrderSessionRequest, OrderSessionResponse};
use wire::status::ApiError;

/// When a session that has too many unanswered requests should send the next one.
const RETRY_SESSION_FULL: Duration = Duration::from_millis(50);

/// Slots per accepted command: a client over its limit gets an error for each request, and these take slots too. One
/// that sends as many again without reading a single answer is not reading, and its session is ended.
const SLOTS_PER_COMMAND: usize = 2;

/// The place of one answer in the order of its shard.
struct Slot {
    shard: ShardId,
    client_seq: u64,
    work: Work,
}

/// What an answer waits for.
enum Work {
    /// One shard.
    One(Part),
    /// All shards; so far these have answered.
    Everywhere(Vec<Part>, Vec<Result<OrderReport, ApiError>>),
}

/// What the reader hands to the answers.
enum Handed {
    Slot(Slot),
    /// The session is over for this reason, after all answers before.
    End(ApiError),
}

/// What both halves count.
#[derive(Default)]
struct Counts {
    /// Requests that shards have and the client has no answer to.
    unanswered: AtomicUsize,
    /// Slots whose answers the client has not got.
    slots: AtomicUsize,
}

/// The response stream.
pub(crate) struct Answers {
    handed: mpsc::Receiver<Handed>,
    lanes: Lanes,
    /// Why the session ends, once the reader has said so.
    end: Option<ApiError>,
    shards: Shards,
    counts: Arc<Counts>,
    ended: bool,
    /// Dropping the answers ends the reader.
    _reader: AbortOnDropHandle<()>,
}

/// Slots by their shards. Bounded by the slots there may be.
#[derive(Default)]
struct Lanes {
    /// Shards in the order of their first requests.
    lanes: Vec<(ShardId, VecDeque<Slot>)>,
    /// The lane that is looked at first, so that none is always last.
    next: usize,
}

/// Starts a session over `requests`.
/// `forwarded` is the shard for which another engine hands them on; `rights` are those of whoever sends them. Requests
/// that say nothing of a trace stand where the stream does.
pub(crate) fn open(
    shards: Shards,
    unanswered_max: usize,
    forwarded: Option<ShardId>,
    rights: Rights,
    requests: Streaming<OrderSessionRequest>,
) -> Answers {
    let slots_max = unanswered_max * SLOTS_PER_COMMAND;
    // One more than slots, for the end.
    let (out, handed) = mpsc::channel(slots_max + 1);
    let counts = Arc::<Counts>::default();
    let reader = Reader {
        shards: shards.clone(),
        forwarded,
        rights,
        place: current(),
        relays: HashMap::new(),
        counts: Arc::clone(&counts),
        unanswered_max,
        slots_max,
        out,
    };
    let reader = AbortOnDropHandle::new(tokio::spawn(reader.run(requests)));
    Answers { handed, lanes: Lanes::default(), end: None, shards, counts, ended: false, _reader: reader }
}

struct Reader {
    shards: Shards,
    forwarded: Option<ShardId>,
    rights: Rights,
    /// Of the stream.
    place: Option<TraceContext>,
    /// The ways to shards that other engines lead.
    relays: HashMap<ShardId, Relay>,
    counts: Arc<Counts>,
    unanswered_max: usize,
    slots_max: usize,
    out: mpsc::Sender<Handed>,
}

impl Reader {
    async fn run(mut self, mut requests: Streaming<OrderSessionRequest>) {
        let closing = self.shards.all()[0].closing.clone();
        let end = loop {
            let request = tokio::select! {
                biased;
                () = closing.cancelled() => break Some(ApiError::shutting_down()),
                request = requests.message() => request,
            };
            match request {
                Ok(Some(request)) => {
                    // Relaxed, here and elsewhere: counters that guard no other memory.
                    // Looked at first: what is started is executed, and nobody would hear of it.
                    if self.counts.slots.fetch_add(1, Ordering::Relaxed) >= self.slots_max {
                        break Some(ApiError::slow_consumer("the stream of answers"));
                    }
                    let slot = self.start(&request);
                    // There is a place for every slot, unless the client is gone.
                    if self.out.try_send(Handed::Slot(slot)).is_err() {
                        break None;
                    }
                }
                Ok(None) => break None,
                Err(status) => break Some(ApiError::from_status(&status)),
            }
        };
        if let Some(error) = end {
            // A client that is gone has dropped the other half.
            let _ = self.out.send(Handed::End(error)).await;
        }
    }

    fn start(&mut self, request: &OrderSessionRequest) -> Slot {
        let client_seq = request.client_seq;
        let (operation, symbol, account) = match &request.command {
            Some(Command::Submit(request)) => (Operation::Submit, &*request.symbol, request.account_id),
            Some(Command::Cancel(request)) => (Operation::Cancel, &*request.symbol, request.account_id),
            Some(Command::Replace(request)) => (Operation::Replace, &*request.symbol, request.account_id),
            Some(Command::MassCancel(request)) => (Operation::MassCancel, &*request.symbol, request.account_id),
            None => (Operation::Submit, "", 0),
        };
        let shards = self.shards.clone();
        let everywhere = operation == Operation::MassCancel && symbol.is_empty();
        let door = if everywhere { &shards.asked(self.forwarded)[0] } else { shards.of_text(symbol) };
        let slot = |work| Slot { shard: door.shard, client_seq, work };
        if let Err(error) = self.rights.message(account) {
            return slot(Work::One(Part::Refused(error)));
        }
        if self.counts.unanswered.load(Ordering::Relaxed) >= self.unanswered_max {
            let error = ApiError::overloaded("the queue of the session", RETRY_SESSION_FULL);
            return slot(Work::One(Part::Refused(error)));
        }
        let work = if everywhere {
            let parts = shards.asked(self.forwarded).iter().map(|door| self.one(door, operation, request));
            Work::Everywhere(parts.collect(), Vec::new())
        } else {
            Work::One(self.one(door, operation, request))
        };
        if work.is_started() {
            self.counts.unanswered.fetch_add(1, Ordering::Relaxed);
        }
        slot(work)
    }

    /// Starts a request in one shard, here or where it is led.
    fn one(&mut self, door: &Trading, operation: Operation, request: &OrderSessionRequest) -> Part {
        let place = TraceContext::parse(request.traceparent.as_bytes()).or(self.place);
        let entered = door.tracer.enter(place, || true);
        let command = request.command.clone().filter(|_| self.shards.elsewhere(door, self.forwarded).is_some());
        let Some(command) = command else {
            return door.start(operation, entered.span, |symbols| convert::session_command(request, symbols)).into();
        };
        let relay = self
            .relays
            .entry(door.shard)
            .or_insert_with(|| Relay::start(self.shards.clone(), door.shard, self.unanswered_max));
        let (answer, door) = (relay.send(command, entered.context), door.clone());
        Part::There(Box::pin(async move {
            let answer = door.handed_on(operation, answer).await;
            door.forwarded(entered.span, answer.as_ref().err());
            answer
        }))
    }
}

impl Answers {
    /// Takes what the reader has handed over; whether it has handed over everything.
    fn take_handed(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            match self.handed.poll_recv(cx) {
                Poll::Ready(Some(Handed::Slot(slot))) => self.lanes.push(slot),
                Poll::Ready(Some(Handed::End(error))) => self.end = Some(error),
                Poll::Ready(None) => return true,
                Poll::Pending => return false,
            }
        }
    }
}

impl Stream for Answers {
    type Item = Result<OrderSessionResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let all_handed = this.take_handed(cx);
        if let Poll::Ready((client_seq, answer, started)) = this.lanes.poll(&this.shards, cx) {
            this.counts.slots.fetch_sub(1, Ordering::Relaxed);
            if started {
                this.counts.unanswered.fetch_sub(1, Ordering::Relaxed);
            }
            let result = Some(match answer {
                Ok(report) => Answered::Report(report),
                Err(error) => Answered::Error(error.into_session_error()),
            });
            return Poll::Ready(Some(Ok(OrderSessionResponse { client_seq, result })));
        }
        if !all_handed || !this.lanes.is_empty() {
            return Poll::Pending;
        }
        this.ended = true;
        Poll::Ready(this.end.take().map(|error| Err(error.into())))
    }
}

impl Lanes {
    fn push(&mut self, slot: Slot) {
        match self.lanes.iter_mut().find(|(shard, _)| *shard == slot.shard) {
            Some((_, lane)) => lane.push_back(slot),
            None => self.lanes.push((slot.shard, VecDeque::from([slot]))),
        }
    }

    fn is_empty(&self) -> bool {
        self.lanes.iter().all(|(_, lane)| lane.is_empty())
    }

    /// The next answer at the head of any lane: the number of its request, and whether a shard had it.
    fn poll(&mut self, shards: &Shards, cx: &mut Context<'_>) -> Poll<(u64, Result<OrderReport, ApiError>, bool)> {
        let count = self.lanes.len();
        for at in (0..count).map(|step| (self.next + step) % count) {
            let lane = &mut self.lanes[at].1;
            let Some(head) = lane.front_mut() else { continue };
            if let Poll::Ready(answer) = head.work.poll(shards, cx) {
                let (client_seq, started) = (head.client_seq, head.work.is_started());
                lane.pop_front();
                self.next = (at + 1) % count;
                return Poll::Ready((client_seq, answer, started));
            }
        }
        Poll::Pending
    }
}

impl Work {
    /// Whether somebody has the request, or will.
    const fn is_started(&self) -> bool {
        !matches!(self, Self::One(Part::Refused(_)))
    }

    fn poll(&mut self, shards: &Shards, cx: &mut Context<'_>) -> Poll<Result<OrderReport, ApiError>> {
        match self {
            Self::One(part) => part.poll(shards, cx),
            Self::Everywhere(parts, answers) => {
                while let Some(part) = parts.get_mut(answers.len()) {
                    answers.push(ready!(part.poll(shards, cx)));
                }
                Poll::Ready(mass_cancel::merge(std::mem::take(answers)))
            }
        }
    }
}
