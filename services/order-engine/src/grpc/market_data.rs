//! MarketDataService: questions to the applied state, and streams of what changes in it.
//!
//! Deliberately absent: any second copy of a book. A stream starts with a snapshot that the shard took in the same
//! moment in which it was joined to the feed.

use super::encode;
use super::shards::Shards;
use super::trading::{Trading, outcome_of_error};
use crate::egress::{BookChange, TradeTick};
use crate::metrics::{Operation, Outcome};
use crate::shard::{BookFeed, Query, Told};
use futures::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use types::{ShardId, Symbol};
use wire::convert;
use wire::forwarding::marked;
use wire::pb::marketdata::v1::market_data_service_client::MarketDataServiceClient;
use wire::pb::marketdata::v1::market_data_service_server::MarketDataService;
use wire::pb::marketdata::v1::stream_book_response::Update;
use wire::pb::marketdata::v1::{
    GetBookRequest, GetBookResponse, GetStateDigestRequest, GetStateDigestResponse, ListInstrumentsRequest,
    ListInstrumentsResponse, StreamBookRequest, StreamBookResponse, StreamTradesRequest, StreamTradesResponse,
};
use wire::status::ApiError;
use wire::transport::Channel;

type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The handlers.
#[derive(Clone, Debug)]
pub(crate) struct MarketData {
    shards: Shards,
}

impl MarketData {
    pub(crate) const fn new(shards: Shards) -> Self {
        Self { shards }
    }

    async fn book(&self, request: &GetBookRequest, forwarded: Option<ShardId>) -> Result<GetBookResponse, ApiError> {
        let (symbol, depth) = convert::book_request(request)?;
        let door = self.shards.of_symbol(&symbol);
        if !request.allow_stale
            && let Some(way) = self.shards.elsewhere(door, forwarded)
        {
            return way.call(request.clone(), |to, request| async move { client(to).get_book(request).await }).await;
        }
        let question = |reply| Query::Book { symbol, depth, reply };
        let Told { view, stale } = door.read(request.allow_stale, request.min_seq, question).await?;
        let book = view.ok_or_else(|| no_instrument(&symbol))?;
        Ok(GetBookResponse { book: Some(encode::book(&book)), stale })
    }
}

#[tonic::async_trait]
impl MarketDataService for MarketData {
    type StreamBookStream = BoxStream<StreamBookResponse>;
    type StreamTradesStream = BoxStream<StreamTradesResponse>;

    async fn list_instruments(
        &self,
        request: Request<ListInstrumentsRequest>,
    ) -> Result<Response<ListInstrumentsResponse>, Status> {
        let forwarded = marked(request.metadata());
        let ListInstrumentsRequest { allow_stale, min_seq } = *request.get_ref();
        let mut answer = ListInstrumentsResponse { stale: allow_stale, ..Default::default() };
        for (at, door) in self.shards.asked(forwarded).iter().enumerate() {
            let min_seq = if door.shard == ShardId(0) { min_seq } else { 0 };
            if !allow_stale && let Some(way) = self.shards.elsewhere(door, forwarded) {
                let call = |to, request| async move { client(to).list_instruments(request).await };
                let part: ListInstrumentsResponse =
                    way.call(ListInstrumentsRequest { allow_stale, min_seq }, call).await?;
                answer.instruments.extend(part.instruments);
                answer.as_of_seq = if at == 0 { part.as_of_seq } else { answer.as_of_seq };
                continue;
            }
            let Told { view, .. } = door.read(allow_stale, min_seq, |reply| Query::Instruments { reply }).await?;
            answer.instruments.extend(view.instruments.iter().map(|one| encode::instrument(door.shard, one)));
            answer.as_of_seq = if at == 0 { view.as_of.0 } else { answer.as_of_seq };
        }
        Ok(Response::new(answer))
    }

    async fn get_book(&self, request: Request<GetBookRequest>) -> Result<Response<GetBookResponse>, Status> {
        let received = Instant::now();
        let found = self.book(request.get_ref(), marked(request.metadata())).await;
        let outcome = found.as_ref().map_or_else(outcome_of_error, |_| Outcome::Accepted);
        self.shards.of_text(&request.get_ref().symbol).record(Operation::GetBook, outcome, received.elapsed());
        Ok(Response::new(found?))
    }

    async fn stream_book(
        &self,
        request: Request<StreamBookRequest>,
    ) -> Result<Response<Self::StreamBookStream>, Status> {
        let symbol = convert::stream_book_request(request.get_ref())?;
        let door = self.shards.of_symbol(&symbol);
        if let Some(way) = self.shards.elsewhere(door, marked(request.metadata())) {
            let call = |to, request| async move { client(to).stream_book(request).await };
            let stream = way.stream(request.into_inner(), call).await?;
            return Ok(Response::new(Box::pin(pass_on(door.closing.clone(), stream))));
        }
        let feed = door.ask(|reply| Query::FollowBook { symbol, reply }).await?;
        let feed = feed.ok_or_else(|| no_instrument(&symbol))?;
        Ok(Response::new(Box::pin(book_stream(door.clone(), feed))))
    }

    async fn stream_trades(
        &self,
        request: Request<StreamTradesRequest>,
    ) -> Result<Response<Self::StreamTradesStream>, Status> {
        let only = convert::stream_trades_request(request.get_ref())?;
        let forwarded = marked(request.metadata());
        let doors = match &only {
            Some(symbol) => std::slice::from_ref(self.shards.of_symbol(symbol)),
            None => self.shards.asked(forwarded),
        };
        let mut streams: Vec<Self::StreamTradesStream> = Vec::with_capacity(doors.len());
        for door in doors {
            if let Some(way) = self.shards.elsewhere(door, forwarded) {
                let call = |to, request| async move { client(to).stream_trades(request).await };
                let stream = way.stream(request.get_ref().clone(), call).await?;
                streams.push(Box::pin(pass_on(door.closing.clone(), stream)));
                continue;
            }
            let trades = door.ask(|reply| Query::FollowTrades { of: only, reply }).await?;
            let trades = match (trades, only) {
                (Some(trades), _) => trades,
                (None, Some(symbol)) => return Err(no_instrument(&symbol).into()),
                (None, None) => return Err(ApiError::not_ready("this node cannot tell trades now").into()),
            };
            streams.push(Box::pin(trade_stream(door.clone(), trades, only)));
        }
        Ok(Response::new(Box::pin(until_first_end(streams))))
    }

    async fn get_state_digest(
        &self,
        request: Request<GetStateDigestRequest>,
    ) -> Result<Response<GetStateDigestResponse>, Status> {
        let GetStateDigestRequest { shard, allow_stale, min_seq } = *request.get_ref();
        let shard = ShardId(shard);
        let none = || ApiError::invalid("shard", format_args!("there are {} shards, from 0", self.shards.all().len()));
        let door = self.shards.get(shard).ok_or_else(none)?;
        if !allow_stale && let Some(way) = self.shards.elsewhere(door, marked(request.metadata())) {
            let call = |to, request| async move { client(to).get_state_digest(request).await };
            return Ok(Response::new(way.call(request.into_inner(), call).await?));
        }
        let Told { view: digest, stale } = door.read(allow_stale, min_seq, |reply| Query::Digest { reply }).await?;
        Ok(Response::new(GetStateDigestResponse {
            shard: shard.0,
            log_id: digest.log_id.to_string(),
            as_of_seq: digest.as_of.0,
            state_hash: digest.state_hash.to_string(),
            instruments: digest.instruments,
            open_orders: digest.open_orders,
            stale,
        }))
    }
}

fn book_stream(trading: Trading, feed: BookFeed) -> impl Stream<Item = Result<StreamBookResponse, Status>> {
    let snapshot = StreamBookResponse { update: Some(Update::Snapshot(encode::book(&feed.snapshot))) };
    let increment =
        |change: &BookChange| Some(StreamBookResponse { update: Some(Update::Increment(encode::increment(change))) });
    let increments = follow(trading, feed.changes, "the book", increment);
    futures::StreamExt::chain(futures::stream::once(async move { Ok(snapshot) }), increments)
}

fn trade_stream(
    trading: Trading,
    trades: broadcast::Receiver<Arc<TradeTick>>,
    only: Option<Symbol>,
) -> impl Stream<Item = Result<StreamTradesResponse, Status>> {
    follow(trading, trades, "the trades", move |tick: &TradeTick| {
        let wanted = only.is_none_or(|symbol| symbol == tick.symbol);
        wanted.then(|| StreamTradesResponse {
            trade: Some(convert::trade(&tick.trade, &tick.symbol, tick.place, tick.timestamp)),
        })
    })
}

/// What the leader's engine says, until its stream ends or this engine stops.
fn pass_on<T: Send + 'static>(
    closing: CancellationToken,
    stream: Streaming<T>,
) -> impl Stream<Item = Result<T, Status>> {
    futures::stream::unfold(Some((closing, stream)), |state| async move {
        let (closing, mut stream) = state?;
        let item = tokio::select! {
            biased;
            () = closing.cancelled() => Err(ApiError::shutting_down()),
            item = stream.message() => match item {
                Ok(Some(item)) => Ok(item),
                Ok(None) => Err(ApiError::not_ready("the leader of the shard ended the stream: open it again")),
                Err(status) => Err(ApiError::from_status(&status)),
            },
        };
        match item {
            Ok(item) => Some((Ok(item), Some((closing, stream)))),
            Err(error) => Some((Err(error.into()), None)),
        }
    })
}

fn client(channel: Channel) -> MarketDataServiceClient<Channel> {
    MarketDataServiceClient::new(channel)
}

/// What any of them says, until the first one ends: whoever reads must know that it no longer hears everything.
fn until_first_end<S: Stream<Item = Result<R, Status>> + Unpin, R>(
    streams: Vec<S>,
) -> impl Stream<Item = Result<R, Status>> {
    let merged = futures::stream::select_all(streams);
    futures::stream::unfold(Some(merged), |merged| async move {
        let mut merged = merged?;
        let item = futures::StreamExt::next(&mut merged).await?;
        let goes_on = item.is_ok().then_some(merged);
        Some((item, goes_on))
    })
}

/// Everything `receiver` gets, as far as `encode` wants it, until the feed ends, the reader falls behind, or the
/// engine stops. What it ends with says which.
fn follow<T: Send + Sync + 'static, R: Send + 'static>(
    trading: Trading,
    receiver: broadcast::Receiver<Arc<T>>,
    what: &'static str,
    encode: impl Fn(&T) -> Option<R> + Send + 'static,
) -> impl Stream<Item = Result<R, Status>> {
    futures::stream::unfold(Some((trading, receiver, encode)), move |state| async move {
        let (trading, mut receiver, encode) = state?;
        let error = loop {
            let received = tokio::select! {
                biased;
                () = trading.closing.cancelled() => break ApiError::shutting_down(),
                received = receiver.recv() => received,
            };
            match received {
                Ok(item) => {
                    if let Some(message) = encode(&item) {
                        return Some((Ok(message), Some((trading, receiver, encode))));
                    }
                }
                Err(RecvError::Lagged(_)) => {
                    trading.metrics.slow_subscribers.increment(1);
                    break ApiError::slow_consumer(what);
                }
                Err(RecvError::Closed) => {
                    break ApiError::not_ready("this node does not lead the shard any more: open the stream again");
                }
            }
        };
        Some((Err(error.into()), None))
    })
}

fn no_instrument(symbol: &Symbol) -> ApiError {
    ApiError::not_found(format!("no instrument has the symbol {symbol}"))
}
