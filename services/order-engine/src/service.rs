//! The engine put together: rooms, queues between them, and the order in which they start and stop.
//!
//! Deliberately absent: sockets (the node's) and where the channels lead (whoever builds the engine knows).

use crate::admission::{Admission, Published, QUERY_QUEUE};
use crate::config::{Config, ConfigError};
use crate::grpc::{Instruments, MarketData, Orders, Shards, Trading};
use crate::health::EngineHealth;
use crate::leadership::{Coordinators, LEADERSHIP_QUEUE, Leadership, LeadershipParts, Session, ShardStatus, Standing};
use crate::metrics::Metrics;
use crate::shard::{Shard, ShardError, ShardParts};
use service_kit::config::Live;
use service_kit::memory::Pressure;
use service_kit::trace::Tracer;
use service_kit::{NodeContext, Service, ServiceError, Shutdown, async_trait};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::server::NamedService;
use tonic::service::RoutesBuilder;
use types::{Incarnation, ShardId};
use wire::convert::Engine;
use wire::pb::admin::v1::instrument_service_server::InstrumentServiceServer;
use wire::pb::marketdata::v1::market_data_service_server::MarketDataServiceServer;
use wire::pb::orders::v1::order_service_server::OrderServiceServer;
use wire::transport::{Channel, REQUEST_LIMIT};

/// Name of the engine among the components of a node's health.
const COMPONENT: &str = "order_engine";

/// How often health is looked at for what only time changes.
const HEALTH_TICK: Duration = Duration::from_millis(200);

/// Where the engine finds the others.
#[derive(Clone, Debug)]
pub struct Deps {
    /// The journal's voters, and the ways to each: a voter of one disk has one, a shared database one for every gateway
    /// before it. The position is the voter's number.
    pub journal: Vec<Vec<Channel>>,
    /// The coordinators; any of them will do.
    pub consensus: Vec<Channel>,
    /// Where signs of life are given, and the connections to the coordinators are carried: apart from everything that
    /// requests keep busy, so that an engine under more load than it can bear is not taken for a dead one.
    pub signs_of_life: Handle,
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
    /// There is no way to one of them.
    #[error("the order engine needs a way to every journal voter")]
    Ways,
    /// There is nobody to ask for leaderships.
    #[error("the order engine needs a consensus coordinator")]
    Coordinators,
}

/// The engine, ready to run.
pub struct OrderEngine {
    orders: Orders,
    market_data: MarketData,
    instruments: Instruments,
    shards: Vec<(Shard, Leadership)>,
    session: Session,
    signs_of_life: Handle,
    health: Arc<EngineHealth>,
    closing: CancellationToken,
}

/// Puts an engine together. Nothing runs before [`Service::run`]; until a shard is open its requests are answered
/// UNAVAILABLE.
pub async fn build(
    config: impl Into<Live<Config>>,
    deps: Deps,
    context: &NodeContext,
) -> Result<OrderEngine, BuildError> {
    let live: Live<Config> = config.into();
    let config = (*live.now()).clone();
    config.validate()?;
    let most = journal_core::codec::control::MAX_VOTERS;
    if deps.journal.is_empty() || deps.journal.len() > most {
        return Err(BuildError::Voters { given: deps.journal.len(), most });
    }
    if deps.journal.iter().any(Vec::is_empty) {
        return Err(BuildError::Ways);
    }
    let component = context.components.register(COMPONENT);
    component.serves(OrderServiceServer::<Orders>::NAME);
    component.serves(MarketDataServiceServer::<MarketData>::NAME);
    component.serves(InstrumentServiceServer::<Instruments>::NAME);
    let health = EngineHealth::new(component, config.shards);
    let engine = Engine {
        name: config.name.clone(),
        // A new process never goes on under the epoch of an old one (I13).
        incarnation: Incarnation(uuid::Uuid::new_v4().as_u128()),
        address: config.advertised_address.clone(),
    };
    let shared = Shared {
        coordinators: Coordinators::new(deps.consensus).ok_or(BuildError::Coordinators)?,
        journal: deps.journal,
        engine,
        health,
        changed: Arc::default(),
        closing: CancellationToken::new(),
        config,
        pressure: context.memory.pressure().clone(),
        tracer: context.tracer.clone(),
    };
    let (mut doors, mut shards, mut standings) = (Vec::new(), Vec::new(), Vec::new());
    for shard in (0..shared.config.shards).map(ShardId) {
        let (door, parts, standing) = compose(shard, &shared);
        let (book, idempotency) = (Arc::clone(&parts.0.footprint), Arc::clone(&parts.0.footprint));
        context.memory.register(format!("{COMPONENT}.book-{shard}"), move || book.book());
        context.memory.register(format!("{COMPONENT}.idempotency-{shard}"), move || idempotency.idempotency());
        doors.push(door);
        shards.push((Shard::new(parts.0), Leadership::new(parts.1)));
        standings.push(standing);
    }
    let Shared { config, engine, coordinators, changed, health, closing, .. } = shared;
    let doors = Shards::new(doors, &config, &engine, Arc::clone(&changed), context.to_peers.clone());
    Ok(OrderEngine {
        orders: Orders::new(doors.clone(), config.session_unanswered_max as usize, deps.history),
        market_data: MarketData::new(doors.clone()),
        instruments: Instruments::new(doors),
        shards,
        session: Session::new(engine, coordinators, standings, changed),
        signs_of_life: deps.signs_of_life,
        health,
        closing,
    })
}

/// What all shards have in common.
struct Shared {
    config: Config,
    journal: Vec<Vec<Channel>>,
    engine: Engine,
    coordinators: Coordinators,
    health: Arc<EngineHealth>,
    changed: Arc<Notify>,
    closing: CancellationToken,
    pressure: Pressure,
    tracer: Tracer,
}

/// One shard: its door, its loop and its leadership, and the queues between them.
fn compose(shard: ShardId, shared: &Shared) -> (Trading, (ShardParts, LeadershipParts), Standing) {
    let Shared { config, journal, engine, coordinators, health, changed, closing, pressure, tracer } = shared;
    let health = health.of(shard);
    let metrics = Arc::new(Metrics::new(shard));
    let published = Arc::new(Published::new("the engine is starting"));
    let status = Arc::new(ShardStatus::default());
    // Whoever holds a permit finds room in the queue of commands.
    let (commands_in, commands) = mpsc::channel(config.unanswered_max as usize);
    let (queries_in, queries) = mpsc::channel(QUERY_QUEUE);
    let (orders_in, orders) = mpsc::channel(LEADERSHIP_QUEUE);
    let (reports_in, reports) = mpsc::channel(LEADERSHIP_QUEUE);
    let (said_in, said) = mpsc::channel(LEADERSHIP_QUEUE);
    let admission = Arc::new(Admission::new(
        Arc::clone(&published),
        config.unanswered_max,
        commands_in,
        queries_in,
        Arc::clone(&metrics),
        pressure.clone(),
    ));
    let door = Trading {
        shard,
        admission,
        status: Arc::clone(&status),
        metrics: Arc::clone(&metrics),
        closing: closing.clone(),
        tracer: tracer.clone(),
    };
    let leadership = LeadershipParts {
        shard,
        engine: engine.clone(),
        coordinators: coordinators.clone(),
        said,
        changed: Arc::clone(changed),
        published: Arc::clone(&published),
        status: Arc::clone(&status),
        orders: orders_in,
        reports,
        closing: closing.clone(),
        health: health.clone(),
    };
    let standing = Standing {
        shard,
        status: Arc::clone(&status),
        published: Arc::clone(&published),
        health: health.clone(),
        said: said_in,
    };
    let shard = ShardParts {
        shard,
        config: config.of_shard(shard),
        channels: journal.clone(),
        commands,
        queries,
        orders,
        reports: reports_in,
        published,
        status,
        footprint: Arc::default(),
        metrics,
        health,
    };
    (door, (shard, leadership), standing)
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

    /// Leads what it may. When `shutdown` drains: nothing new is taken, what was accepted is answered, the leaderships
    /// are given back. A shard that is in doubt ends the engine: other processes take over what it led.
    async fn run(self: Box<Self>, shutdown: Shutdown) -> Result<(), ServiceError> {
        let Self { shards, session, signs_of_life, health, closing, .. } = *self;
        // Until everything is given back.
        let _session = AbortOnDropHandle::new(signs_of_life.spawn(session.run()));
        // Dropping the set ends its tasks.
        let (mut loops, mut leaderships) = (JoinSet::new(), JoinSet::new());
        for (shard, leadership) in shards {
            loops.spawn(shard.run());
            leaderships.spawn(leadership.run());
        }
        let mut tick = tokio::time::interval(HEALTH_TICK);
        loop {
            tokio::select! {
                // A leadership ends when its shard has answered everything; a shard when it has no leadership left.
                ended = next_end(&mut loops, &mut leaderships) => ended?,
                () = shutdown.draining(), if !closing.is_cancelled() => closing.cancel(),
                () = shutdown.stopped() => return Ok(()),
                _ = tick.tick() => health.tick(),
            }
            if loops.is_empty() {
                return Ok(());
            }
        }
    }
}

/// Waits for the end of a task. One that panicked, of either kind, leaves a shard that nobody serves.
async fn next_end(
    loops: &mut JoinSet<Result<(), ShardError>>,
    leaderships: &mut JoinSet<()>,
) -> Result<(), ServiceError> {
    let ended = tokio::select! {
        Some(ended) = loops.join_next() => ended,
        Some(ended) = leaderships.join_next() => ended.map(Ok),
        else => return Ok(()),
    };
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(ServiceError::from_error(error)),
        Err(error) => Err(ServiceError::new(format!("the shard's task ended unexpectedly: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_panic_of_a_leadership_ends_the_engine() {
        let (mut loops, mut leaderships) = (JoinSet::new(), JoinSet::new());
        loops.spawn(std::future::pending());
        leaderships.spawn(async {});
        assert!(next_end(&mut loops, &mut leaderships).await.is_ok(), "as every leadership ends");
        leaderships.spawn(async { panic!("planted") });
        let failure = next_end(&mut loops, &mut leaderships).await.expect_err("its shard is served no more");
        assert!(failure.to_string().contains("ended unexpectedly"), "{failure}");
    }
}
