//! The engine put together: rooms, queues between them, and the order in which they start and stop.
//!
//! Deliberately absent: sockets (the node's) and where the channels lead (whoever builds the engine knows).

use crate::admission::{Admission, Published, QUERY_QUEUE};
use crate::config::{Config, ConfigError};
use crate::grpc::{Instruments, MarketData, Orders, Trading};
use crate::leadership::{LEADERSHIP_QUEUE, Leadership, LeadershipParts, ShardStatus};
use crate::metrics::Metrics;
use crate::shard::{Footprint, Shard, ShardError, ShardParts};
use service_kit::{NodeContext, Service, ServiceError, Shutdown, async_trait};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::server::NamedService;
use tonic::service::RoutesBuilder;
use tonic::transport::Channel;
use types::Incarnation;
use wire::convert::Engine;
use wire::pb::admin::v1::instrument_service_server::InstrumentServiceServer;
use wire::pb::marketdata::v1::market_data_service_server::MarketDataServiceServer;
use wire::pb::orders::v1::order_service_server::OrderServiceServer;
use wire::transport::REQUEST_LIMIT;

/// Name of the engine among the components of a node's health.
const COMPONENT: &str = "order_engine";

/// Where the engine finds the others.
#[derive(Clone, Debug)]
pub struct Deps {
    /// The journal's voters, each reached by its own channel. The position is the voter's number.
    pub journal: Vec<Channel>,
    /// A coordinator.
    pub consensus: Channel,
    /// The history, asked for orders that the engine no longer remembers.
    pub history: Option<Channel>,
}

/// Why an engine could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is nothing to write to.
    #[error("the order engine needs 1 to {most} journal voters, {given} were given")]
    Voters {
        /// How many were given.
        given: usize,
        /// How many there may be.
        most: usize,
    },
}

/// The engine, ready to run.
pub struct OrderEngine {
    orders: Orders,
    market_data: MarketData,
    instruments: Instruments,
    shard: Shard,
    leadership: Leadership,
    closing: CancellationToken,
}

/// Puts an engine together. Nothing runs before [`Service::run`]; until the shard is open every request is answered
/// UNAVAILABLE.
pub async fn build(config: Config, deps: Deps, context: &NodeContext) -> Result<OrderEngine, BuildError> {
    config.validate()?;
    let most = journal_core::codec::control::MAX_VOTERS;
    if deps.journal.is_empty() || deps.journal.len() > most {
        return Err(BuildError::Voters { given: deps.journal.len(), most });
    }
    let shard = config.shard_id();
    let metrics = Arc::new(Metrics::new());
    let published = Arc::new(Published::new("the engine is starting"));
    let status = Arc::new(ShardStatus::default());
    let footprint = Arc::new(Footprint::default());
    let (book, idempotency) = (Arc::clone(&footprint), Arc::clone(&footprint));
    context.memory.register(format!("{COMPONENT}.book-{shard}"), move || book.book());
    context.memory.register(format!("{COMPONENT}.idempotency-{shard}"), move || idempotency.idempotency());
    let closing = CancellationToken::new();

    // Whoever holds a permit finds room in the queue of commands.
    let (commands_in, commands) = mpsc::channel(config.unanswered_max as usize);
    let (queries_in, queries) = mpsc::channel(QUERY_QUEUE);
    let (orders_in, orders) = mpsc::channel(LEADERSHIP_QUEUE);
    let (reports_in, reports) = mpsc::channel(LEADERSHIP_QUEUE);

    let admission = Arc::new(Admission::new(
        Arc::clone(&published),
        config.unanswered_max,
        commands_in,
        queries_in,
        Arc::clone(&metrics),
    ));
    let trading = Trading { shard, admission, metrics: Arc::clone(&metrics), closing: closing.clone() };
    let component = context.components.register(COMPONENT);
    component.serves(OrderServiceServer::<Orders>::NAME);
    component.serves(MarketDataServiceServer::<MarketData>::NAME);
    component.serves(InstrumentServiceServer::<Instruments>::NAME);

    let leadership = Leadership::new(LeadershipParts {
        shard,
        engine: Engine {
            name: config.name.clone(),
            // A new process never goes on under the epoch of an old one (I13).
            incarnation: Incarnation(uuid::Uuid::new_v4().as_u128()),
            address: config.advertised_address.clone(),
        },
        consensus: deps.consensus,
        published: Arc::clone(&published),
        status: Arc::clone(&status),
        orders: orders_in,
        reports,
        closing: closing.clone(),
        component: component.clone(),
    });
    let session_unanswered_max = config.session_unanswered_max as usize;
    let shard = Shard::new(ShardParts {
        config,
        channels: deps.journal,
        commands,
        queries,
        orders,
        reports: reports_in,
        published,
        status,
        footprint,
        metrics,
        component,
    });
    Ok(OrderEngine {
        orders: Orders::new(trading.clone(), session_unanswered_max, deps.history),
        market_data: MarketData::new(trading.clone()),
        instruments: Instruments::new(trading),
        shard,
        leadership,
        closing,
    })
}

#[async_trait]
impl Service for OrderEngine {
    fn name(&self) -> &'static str {
        "order-engine"
    }

    fn register(&self, routes: &mut RoutesBuilder) {
        routes.add_service(OrderServiceServer::new(self.orders.clone()).max_decoding_message_size(REQUEST_LIMIT));
        routes.add_service(
            MarketDataServiceServer::new(self.market_data.clone()).max_decoding_message_size(REQUEST_LIMIT),
        );
        routes.add_service(
            InstrumentServiceServer::new(self.instruments.clone()).max_decoding_message_size(REQUEST_LIMIT),
        );
    }

    /// Leads when it may. When `shutdown` drains: nothing new is taken, what was accepted is answered, the leadership
    /// is given back.
    async fn run(self: Box<Self>, shutdown: Shutdown) -> Result<(), ServiceError> {
        let Self { shard, leadership, closing, .. } = *self;
        let mut shard = AbortOnDropHandle::new(tokio::spawn(shard.run()));
        let leadership = AbortOnDropHandle::new(tokio::spawn(leadership.run()));
        tokio::select! {
            ended = &mut shard => return outcome(ended),
            () = shutdown.draining() => {}
        }
        closing.cancel();
        tokio::select! {
            // The leadership ends when the shard has answered everything; the shard when there is no leadership left.
            ended = async {
                let _ = leadership.await;
                shard.await
            } => outcome(ended),
            () = shutdown.stopped() => Ok(()),
        }
    }
}

fn outcome(ended: Result<Result<(), ShardError>, tokio::task::JoinError>) -> Result<(), ServiceError> {
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(ServiceError::from_error(error)),
        Err(error) => Err(ServiceError::new(format!("the shard's task ended unexpectedly: {error}"))),
    }
}
