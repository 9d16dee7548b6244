//! The shell: sends what is planned over one order session, reads the book's changes beside it, and hands both to the
//! verifier in the order of the plan. Keeps a bounded number of requests under way.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use tokio::time::timeout;
use tonic::Streaming;
use types::{InstrumentState, Price, Qty, Side};
use wire::client::{Reply, Session, SessionOptions};
use wire::pb::admin::v1::SetInstrumentStateRequest;
use wire::pb::admin::v1::instrument_service_client::InstrumentServiceClient;
use wire::pb::marketdata::v1::market_data_service_client::MarketDataServiceClient;
use wire::pb::marketdata::v1::stream_book_response::Update;
use wire::pb::marketdata::v1::{
    BookIncrement, BookSnapshot, GetBookRequest, InstrumentState as State, StreamBookRequest, StreamBookResponse,
};
use wire::pb::orders::v1::{OrderStatus, Place};
use wire::transport::Channel;

use super::item::{Comparison, Item, Planned};
use super::plan::Planner;
use super::requests::Writer;
use super::side::SIDES;
use super::verify::{Verifier, WrongAnswer};
use crate::load::Recorder;

/// How long an answer, or the book's change that belongs to it, may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Requests between two looks at the whole book, for which the session runs empty: often enough to tell where the
/// increments went wrong, seldom enough to cost nothing.
const REQUESTS_BETWEEN_BOOKS: u64 = 10_000;

/// Levels of each side that are looked at then: the most the exchange gives.
const BOOK_DEPTH: u32 = 1_000;

/// One run under way.
pub(super) struct Desk {
    session: Session,
    channel: Channel,
    changes: Streaming<StreamBookResponse>,
    book_seq: u64,
    writer: Writer,
    under_way: VecDeque<UnderWay>,
    commands_under_way: usize,
    commands_most: usize,
    /// What has been found.
    pub(super) verifier: Verifier,
    /// Time from sending to the answer.
    pub(super) latency: Recorder,
    /// Requests sent.
    pub(super) requests: u64,
    /// Times the whole book was compared with the one its increments tell.
    pub(super) books_compared: u64,
}

enum UnderWay {
    Command(Planned, Instant, Reply),
    Compare(Comparison),
}

impl Desk {
    /// Opens the session and the stream of the book, which must be empty.
    pub(super) async fn open(channel: Channel, writer: Writer, in_flight: usize) -> Result<Self> {
        let request = StreamBookRequest { symbol: writer.symbol.clone() };
        let mut market = MarketDataServiceClient::new(channel.clone());
        let mut changes = market.stream_book(request).await.context("cannot stream the book")?.into_inner();
        let first = timeout(PATIENCE, changes.message()).await.context("no snapshot of the book")??;
        let Some(Update::Snapshot(book)) = first.and_then(|first| first.update) else {
            bail!("the stream of the book does not begin with a snapshot");
        };
        ensure!(
            book.bids.is_empty() && book.asks.is_empty(),
            "the book of {} is not empty; name another --symbol, or run without --target",
            writer.symbol
        );
        let options = SessionOptions { in_flight, ..SessionOptions::default() };
        let session = Session::open(channel.clone(), options).await.context("cannot open an order session")?;
        Ok(Self {
            session,
            channel,
            changes,
            book_seq: book.book_seq,
            writer,
            under_way: VecDeque::new(),
            commands_under_way: 0,
            commands_most: in_flight,
            verifier: Verifier::default(),
            latency: Recorder::new()?,
            requests: 0,
            books_compared: 0,
        })
    }

    /// Does everything that is planned; `progress` is told the messages planned so far.
    pub(super) async fn work(&mut self, planner: &mut Planner<'_>, progress: impl Fn(usize)) -> Result<()> {
        while let Some(item) = planner.next().context("order-book file")? {
            match item {
                Item::Command(planned) => {
                    while self.commands_under_way >= self.commands_most {
                        self.settle().await?;
                    }
                    self.send(planned).await?;
                    if self.requests.is_multiple_of(REQUESTS_BETWEEN_BOOKS) {
                        self.settle_all().await?;
                        self.compare_books().await?;
                    }
                }
                Item::Compare(comparison) => {
                    self.under_way.push_back(UnderWay::Compare(comparison));
                    if self.commands_under_way == 0 {
                        self.settle_all().await?;
                    }
                }
                Item::State(state) => {
                    self.settle_all().await?;
                    self.set_state(state).await?;
                }
            }
            progress(planner.messages_planned());
        }
        self.settle_all().await?;
        self.compare_books().await?;
        for side in SIDES {
            self.expect_levels(side, &planner.mirror().levels(side).collect::<Vec<_>>(), "the planned book");
        }
        Ok(())
    }

    /// Ends the session.
    pub(super) async fn close(self) -> (Verifier, Recorder) {
        self.session.close().await;
        (self.verifier, self.latency)
    }

    async fn send(&mut self, planned: Planned) -> Result<()> {
        let command = self.writer.write(&planned);
        let sent = Instant::now();
        let reply = self.session.send(command).await.with_context(|| format!("line {}", planned.line))?;
        self.requests += 1;
        self.commands_under_way += 1;
        self.under_way.push_back(UnderWay::Command(planned, sent, reply));
        Ok(())
    }

    async fn settle_all(&mut self) -> Result<()> {
        while !self.under_way.is_empty() {
            self.settle().await?;
        }
        Ok(())
    }

    /// Finishes the oldest thing under way.
    async fn settle(&mut self) -> Result<()> {
        match self.under_way.pop_front() {
            None => Ok(()),
            Some(UnderWay::Compare(comparison)) => {
                self.verifier.compare(&comparison);
                Ok(())
            }
            Some(UnderWay::Command(planned, sent, reply)) => {
                self.commands_under_way -= 1;
                let at = || format!("line {} of the message file: {:?}", planned.line, planned.request);
                let answer = timeout(PATIENCE, reply).await.context("no answer").with_context(at)?;
                // What comes after it may have been executed already, so an answer that is none ends the run.
                let report = answer.result.with_context(at)?;
                self.latency.record(answer.received.saturating_duration_since(sent));
                if self.verifier.answer(&planned, &report) {
                    self.follow_book(report.place.as_ref()).await.with_context(at)?;
                }
                Ok(())
            }
        }
    }

    /// Reads the change of the book that the request at `place` made.
    async fn follow_book(&mut self, place: Option<&Place>) -> Result<()> {
        let next = timeout(PATIENCE, self.changes.message()).await.context("the book's change did not come")?;
        let next = next.context("the stream of the book failed")?.context("the stream of the book has ended")?;
        let Some(Update::Increment(BookIncrement { book_seq, place: made_by, bids, asks, .. })) = next.update else {
            bail!("a second snapshot in the stream of the book");
        };
        ensure!(book_seq == self.book_seq + 1, "book change {book_seq} follows {}", self.book_seq);
        ensure!(
            made_by.as_ref() == place,
            "somebody else changed the book of {}; it must be the run's own",
            self.writer.symbol
        );
        self.book_seq = book_seq;
        self.verifier.change_book(&bids, &asks);
        Ok(())
    }

    /// The whole book must be the one that its increments tell.
    async fn compare_books(&mut self) -> Result<()> {
        let request = GetBookRequest { symbol: self.writer.symbol.clone(), depth: BOOK_DEPTH, ..Default::default() };
        let answer = MarketDataServiceClient::new(self.channel.clone()).get_book(request).await;
        let book = answer.context("cannot read the book")?.into_inner().book.unwrap_or_default();
        let BookSnapshot { bids, asks, book_seq, .. } = book;
        ensure!(book_seq == self.book_seq, "the book is at {book_seq}, its increments at {}", self.book_seq);
        self.books_compared += 1;
        for (side, levels) in [(Side::Buy, bids), (Side::Sell, asks)] {
            let levels: Vec<_> = levels.iter().map(|level| (Price(level.price), Qty(level.quantity))).collect();
            self.expect_levels(side, &levels, "the whole book");
        }
        Ok(())
    }

    /// The book as told must begin with these levels, and end there unless they are as many as can be asked for.
    fn expect_levels(&mut self, side: Side, levels: &[(Price, Qty)], whose: &str) {
        let limit = if levels.len() == BOOK_DEPTH as usize { levels.len() } else { usize::MAX };
        if self.verifier.levels(side).take(limit).ne(levels.iter().copied()) {
            let told: Vec<_> = self.verifier.levels(side).take(limit).collect();
            self.verifier.note_unexplained(WrongAnswer {
                line: 0,
                request: format!("levels of the {side:?} side after request {}", self.requests),
                expected: format!("{whose}: {levels:?}"),
                answer: format!("{told:?}"),
            });
        }
    }

    async fn set_state(&mut self, state: InstrumentState) -> Result<()> {
        let request =
            SetInstrumentStateRequest { symbol: self.writer.symbol.clone(), state: State::from(state).into() };
        let answer = InstrumentServiceClient::new(self.channel.clone()).set_instrument_state(request).await;
        let report = answer.context("cannot change the instrument's state")?.into_inner().report.unwrap_or_default();
        match report.status() {
            OrderStatus::Done => Ok(()),
            _ => Err(anyhow!("the instrument's state was not changed: {}", report.reject_reason().as_str_name())),
        }
    }
}
