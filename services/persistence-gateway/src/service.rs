//! Puts a gateway together and runs it: storages opened, threads started, gRPC services mounted, an orderly stop.
//!
//! Deliberately absent: listeners and signals; the node has those.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{FuturesUnordered, StreamExt};
use journal_core::Recovered;
use journal_store::file::{FileOptions, FileStorage};
use journal_store::postgres::{PostgresStorage, VolatileStorage, Volatility};
use journal_store::{Storage, StoreError};
use service_kit::config::Live;
use service_kit::{Component, NodeContext, Service, ServiceError, Shutdown};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;
use tonic::server::NamedService;
use tonic::service::RoutesBuilder;
use types::{LogId, Seq, ShardId};
use wire::pb::admin::v1::audit_store_service_server::AuditStoreServiceServer;
use wire::pb::admin::v1::backup_service_server::BackupServiceServer;
use wire::pb::history::v1::history_service_server::HistoryServiceServer;
use wire::pb::journal::v1::journal_service_server::JournalServiceServer;
use wire::transport::{PEER_MESSAGE_LIMIT, REQUEST_LIMIT};

use crate::backup::Backups;
use crate::config::{Config, ConfigProblem, HistoryDatabase, JournalBackend};
use crate::history::{
    AuditCopies, HistoryError, HistoryQueries, HistoryReader, HistoryWriter, Replica, ShardProgress, sqlite_path,
};
use crate::journal::{JournalFailure, JournalHandle, JournalVoter, Watch};
use crate::live::LiveParts;
use crate::pools::PoolGauge;
use crate::pools::journal::JournalSessions;
use crate::pools::postgres::PostgresPool;
use crate::projector::{HistoryHealth, Projector, ProjectorOptions};
use crate::{EXIT_JOURNAL_DAMAGED, EXIT_JOURNAL_FAILED, blocking, journal, projector};

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A setting cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigProblem),
    /// The journal of a shard cannot be opened.
    #[error("the journal of shard {shard} cannot be opened: {source}")]
    Journal {
        /// Which shard.
        shard: ShardId,
        /// Why not.
        source: StoreError,
    },
    /// The journal is new and empty, but its history is there: what was acknowledged would be forgotten.
    #[error(
        "the journal of shard {shard} is empty, but the history holds log {log_id} up to entry {seq}: is its directory or \
         disk missing? Put it back, or give the new journal a new history"
    )]
    JournalMissing {
        /// Which shard.
        shard: ShardId,
        /// Log of the history.
        log_id: LogId,
        /// How far the history goes.
        seq: Seq,
    },
    /// The history database as configured cannot be used.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The system gives no thread, or a start-up task ended badly.
    #[error("cannot start: {0}")]
    System(String),
}

impl BuildError {
    /// Exit code for a process that could not start because of it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Journal { source: StoreError::Corrupt { .. }, .. } | Self::JournalMissing { .. } => {
                EXIT_JOURNAL_DAMAGED
            }
            Self::Journal { .. } => EXIT_JOURNAL_FAILED,
            Self::Config(_) | Self::History(_) | Self::System(_) => ServiceError::EXIT_FAILURE,
        }
    }
}

/// How long the start of a gateway with an empty journal waits for the history to say that it was not always empty.
const HISTORY_ANSWER: Duration = Duration::from_secs(5);

/// A gateway, ready to run.
#[derive(Debug)]
pub struct PersistenceGateway {
    voter: JournalVoter,
    queries: HistoryQueries,
    backups: Option<Backups>,
    copies: AuditCopies,
    journals: Vec<JournalHandle>,
    ended: Vec<oneshot::Receiver<Result<(), JournalFailure>>>,
    projectors: Vec<Projector>,
    component: Component,
    /// Applies changes of the configuration for as long as the gateway lives.
    following: Option<AbortOnDropHandle<()>>,
}

/// Directory of the segment files of all shards.
pub(crate) fn journal_root(config: &Config, data_dir: &Path) -> PathBuf {
    config.journal.directory.clone().unwrap_or_else(|| data_dir.join("journal"))
}

/// Directory of a shard's segment files.
pub(crate) fn journal_directory(config: &Config, data_dir: &Path, shard: ShardId) -> PathBuf {
    journal_root(config, data_dir).join(format!("shard-{shard}"))
}

/// Opens and reads a shard's storage. With `volatility` one in a database may go on without it. Blocks.
pub(crate) fn open_storage(
    config: &Config,
    data_dir: &Path,
    shard: ShardId,
    volatility: Option<Volatility>,
) -> Result<(Box<dyn Storage>, Recovered), StoreError> {
    let mut storage: Box<dyn Storage> = match config.journal.backend {
        JournalBackend::File => {
            let mut options = FileOptions::new(journal_directory(config, data_dir, shard));
            options.segment_bytes = config.journal.segment_size.bytes();
            Box::new(FileStorage::open(options)?)
        }
        JournalBackend::Postgres => {
            let storage = PostgresStorage::connect(config.database.url.expose(), shard)?;
            match volatility {
                Some(volatility) => {
                    let file = journal_directory(config, data_dir, shard).with_extension("backlog");
                    let limit = config.database.memory_only_limit.bytes();
                    Box::new(VolatileStorage::new(shard, storage, file, limit, volatility))
                }
                None => Box::new(storage),
            }
        }
    };
    let recovered = storage.recover()?;
    Ok((storage, recovered))
}

/// Opens the journals and starts the threads of a gateway.
///
/// # Errors
/// When a setting cannot be used or a journal cannot be opened. A history database that is away is no error.
pub async fn build(config: impl Into<Live<Config>>, context: &NodeContext) -> Result<PersistenceGateway, BuildError> {
    let live: Live<Config> = config.into();
    let config = (*live.now()).clone();
    config.check()?;
    let component = context.components.register("persistence");
    component.serves(<JournalServiceServer<JournalVoter> as NamedService>::NAME);
    let history = history_health(context);

    let database = database(&config);
    let readers = config.question_connections();
    let gauge = Arc::new(PoolGauge::new("history-read", database, readers));
    let reader = HistoryReader::new(&config, &context.data_dir, readers, Arc::clone(&gauge))?;
    let replica = replica(&config, context)?;
    let watch = watch(&config)?;
    let mut live_parts = LiveParts {
        questions: reader.pool(),
        replica: replica.clone(),
        projectors: Vec::new(),
        volatile: Vec::new(),
        watch: watch.clone(),
        component: component.clone(),
        audit: context.audit.clone(),
    };
    register_pool(context, gauge, reader.pool());
    let mut gateway = PersistenceGateway {
        voter: JournalVoter::default(),
        queries: HistoryQueries::new(reader.clone(), BTreeMap::new()),
        backups: None,
        copies: AuditCopies::new(reader.clone()),
        journals: Vec::new(),
        ended: Vec::new(),
        projectors: Vec::new(),
        component,
        following: None,
    };
    let mut progress = BTreeMap::new();
    if let Some(watch) = &watch {
        context.pools.register(Arc::new(JournalSessions::Watch(watch.clone())));
    }
    for shard in config.shards.iter().copied().map(ShardId) {
        let (settings, data_dir) = (config.clone(), context.data_dir.clone());
        let volatility = live_parts.volatility(shard, &config);
        let opened = move || open_storage(&settings, &data_dir, shard, Some(volatility));
        let (storage, recovered) =
            blocking::storage(opened).await.map_err(|source| BuildError::Journal { shard, source })?;
        refuse_a_lost_journal(&config, &context.data_dir, shard, &recovered, &reader).await?;
        let spawned = journal::spawn(shard, &context.name, storage, recovered, watch.as_ref(), context.tracer.clone())
            .map_err(|error| BuildError::System(error.to_string()))?;
        if let Some(sessions) = spawned.handle.sessions() {
            context.pools.register(Arc::new(JournalSessions::Shard(sessions)));
        }
        let gauge = Arc::new(PoolGauge::new(format!("history-write-{shard}"), database, 1));
        let writer = HistoryWriter::new(&config, &context.data_dir, Arc::clone(&gauge))?;
        live_parts.projectors.extend(writer.pool());
        register_pool(context, gauge, writer.pool());
        let projector = projector::spawn(ProjectorOptions {
            config: config.clone(),
            journal: spawned.handle.clone(),
            writer,
            health: history.clone(),
            audit: context.audit.clone(),
        })
        .map_err(|error| BuildError::System(error.to_string()))?;
        context.memory.register(format!("persistence_gateway.projector-{shard}"), projector.memory());
        let standstill = projector.standstill.clone();
        progress.insert(shard, ShardProgress { commit: spawned.handle.commit(), standstill });
        gateway.journals.push(spawned.handle);
        gateway.ended.push(spawned.ended);
        gateway.projectors.push(projector);
    }
    gateway.voter = JournalVoter::new(gateway.journals.iter().map(|j| (j.shard(), j.clone())).collect());
    let backups = Backups::new(&config, context, gateway.journals.clone(), reader.clone());
    backups.look().await;
    gateway.backups = Some(backups);
    gateway.queries = HistoryQueries::new(reader, progress).with_replica(replica);
    gateway.following = Some(AbortOnDropHandle::new(tokio::spawn(live_parts.follow(live))));
    gateway.component.ok();
    Ok(gateway)
}

fn history_health(context: &NodeContext) -> HistoryHealth {
    let component = context.components.register_optional("history");
    component.serves(<HistoryServiceServer<HistoryQueries> as NamedService>::NAME);
    HistoryHealth::new(component)
}

/// What the history's pools are pools of.
fn database(config: &Config) -> &'static str {
    match config.history.database {
        HistoryDatabase::Sqlite => "sqlite",
        HistoryDatabase::Postgres => "postgres",
    }
}

/// The read replica, if one is configured.
fn replica(config: &Config, context: &NodeContext) -> Result<Option<Replica>, BuildError> {
    let connections = config.question_connections();
    let gauge = Arc::new(PoolGauge::new("history-replica", "postgres", connections));
    let Some(reader) = HistoryReader::of_replica(config, connections, Arc::clone(&gauge)) else { return Ok(None) };
    let reader = reader?;
    register_pool(context, gauge, reader.pool());
    metrics::describe_gauge!(
        "history_replica_lag_entries",
        "Entries of the history that the read replica does not have, when its status was asked for last."
    );
    Ok(Some(Replica::new(reader, config.database.use_read_replica)))
}

/// Shows a pool, and lets operators give it orders if there is a server behind it.
fn register_pool(context: &NodeContext, gauge: Arc<PoolGauge>, pool: Option<PostgresPool>) {
    match pool {
        Some(pool) => context.pools.register(Arc::new(pool)),
        None => context.pools.register(gauge),
    }
}

/// Who looks after a journal that other gateways may write to; none for one of our own.
fn watch(config: &Config) -> Result<Option<Watch>, BuildError> {
    if config.journal.backend != JournalBackend::Postgres {
        return Ok(None);
    }
    let shards: Vec<ShardId> = config.shards.iter().copied().map(ShardId).collect();
    let first = shards.first().copied().unwrap_or(ShardId(0));
    let watch = Watch::spawn(config.database.url.expose(), &shards);
    watch.map(Some).map_err(|source| BuildError::Journal { shard: first, source })
}

/// An empty journal beside a history that goes on from another log: a disk that was not mounted, a directory that was
/// removed. A history that cannot be read says nothing, and a database that is away holds up a start for a moment only.
async fn refuse_a_lost_journal(
    config: &Config,
    data_dir: &Path,
    shard: ShardId,
    recovered: &Recovered,
    reader: &HistoryReader,
) -> Result<(), BuildError> {
    let exists = config.history.database == HistoryDatabase::Postgres || sqlite_path(config, data_dir).exists();
    if recovered.tail.seq != Seq(0) || !exists {
        return Ok(());
    }
    let cursors = tokio::time::timeout(HISTORY_ANSWER, reader.cursors()).await;
    let cursors = cursors.map(Result::unwrap_or_default).unwrap_or_default();
    match cursors.into_iter().find(|(of, _)| *of == shard) {
        Some((_, cursor)) if cursor.seq > Seq(0) => {
            Err(BuildError::JournalMissing { shard, log_id: cursor.log_id, seq: cursor.seq })
        }
        _ => Ok(()),
    }
}

#[async_trait]
impl Service for PersistenceGateway {
    fn name(&self) -> &'static str {
        "persistence-gateway"
    }

    fn register(&self, routes: &mut RoutesBuilder) {
        routes
            .add_service(
                JournalServiceServer::new(self.voter.clone())
                    .max_decoding_message_size(PEER_MESSAGE_LIMIT)
                    .max_encoding_message_size(PEER_MESSAGE_LIMIT),
            )
            .add_service(HistoryServiceServer::new(self.queries.clone()).max_decoding_message_size(REQUEST_LIMIT))
            .add_service(AuditStoreServiceServer::new(self.copies.clone()).max_decoding_message_size(REQUEST_LIMIT));
        if let Some(backups) = &self.backups {
            routes.add_service(BackupServiceServer::new(backups.clone()).max_decoding_message_size(REQUEST_LIMIT));
        }
    }

    async fn run(self: Box<Self>, shutdown: Shutdown) -> Result<(), ServiceError> {
        let mut ended: FuturesUnordered<_> = self.ended.into_iter().collect();
        let early = tokio::select! {
            early = ended.next() => early,
            () = shutdown.draining() => None,
        };
        if let Some(end) = early {
            let failure = match end {
                Ok(Ok(())) => "the journal's thread ended by itself".to_owned(),
                Ok(Err(failure)) => failure.to_string(),
                Err(_) => "the journal's thread panicked; the log says why".to_owned(),
            };
            // No orderly stop: nothing may be written or acknowledged any more.
            self.component.down(&failure);
            return Err(ServiceError::new(failure).with_exit_code(EXIT_JOURNAL_FAILED));
        }
        for projector in self.projectors {
            projector.stop().await;
        }
        for journal in &self.journals {
            journal.stop();
        }
        while let Some(end) = ended.next().await {
            if let Ok(Err(failure)) = end {
                return Err(ServiceError::from_error(failure).with_exit_code(EXIT_JOURNAL_FAILED));
            }
        }
        Ok(())
    }
}
