//! What of a gateway follows its configuration while it runs: limits of the pools, and memory-only mode, of which it
//! also tells health and metrics.
//!
//! Deliberately absent: how a journal goes on without its database; see `journal_store::postgres`.

use std::time::Duration;

use journal_store::postgres::Volatility;
use metrics::{Gauge, counter, describe_counter, describe_gauge, gauge};
use service_kit::Component;
use service_kit::audit::{Act, Audit};
use service_kit::config::Live;
use types::ShardId;

use crate::config::Config;
use crate::history::Replica;
use crate::journal::Watch;
use crate::pools::postgres::PostgresPool;

/// Between two looks at the journals: their threads do not stop to tell.
const LOOK: Duration = Duration::from_millis(250);
/// How long the journal's database may be away before this instance says that it cannot do its work: longer than a
/// database takes that hands over to its standby in order, or that is slow for once.
const AWAY_MAX: Duration = Duration::from_secs(3);

/// What is wrong then, and what to do about it.
const LOST: &str = "the journal's database does not answer, nothing can be acknowledged: start it, or allow \
                    database.enable_memory_only_mode";

/// The parts.
pub(crate) struct LiveParts {
    pub(crate) questions: Option<PostgresPool>,
    pub(crate) replica: Option<Replica>,
    pub(crate) projectors: Vec<PostgresPool>,
    pub(crate) volatile: Vec<VolatileShard>,
    /// Looks after a journal in a database.
    pub(crate) watch: Option<Watch>,
    /// Told that acknowledgements are volatile, or that there can be none.
    pub(crate) component: Component,
    /// Keeps when they became so, and when no more.
    pub(crate) audit: Audit,
}

/// A journal that may go on without its database.
pub(crate) struct VolatileShard {
    shard: ShardId,
    volatility: Volatility,
    active: Gauge,
    entries: Gauge,
    superseded: u64,
}

impl VolatileShard {
    pub(crate) fn new(shard: ShardId, volatility: Volatility) -> Self {
        let label = shard.to_string();
        Self {
            shard,
            volatility,
            active: gauge!("journal_volatile", "shard" => label.clone()),
            entries: gauge!("journal_backlog_entries", "shard" => label),
            superseded: 0,
        }
    }

    /// Shows how it is. The reason for not being well, if there is one.
    fn look(&mut self) -> Option<String> {
        let entries = self.volatility.entries();
        let active = self.volatility.is_active();
        self.active.set(if active { 1.0 } else { 0.0 });
        self.entries.set(crate::metrics::gauge(entries));
        let superseded = self.volatility.superseded();
        counter!("journal_backlog_superseded_total").increment(superseded - self.superseded);
        self.superseded = superseded;
        let shard = self.shard;
        active.then(|| {
            format!(
                "memory-only mode: {entries} entries of shard {shard} are volatile until the database is back; start it, \
                 and keep this machine"
            )
        })
    }
}

impl LiveParts {
    /// Whether the journal of a shard may go on without its database: followed from now on.
    pub(crate) fn volatility(&mut self, shard: ShardId, config: &Config) -> Volatility {
        let volatility = Volatility::default();
        volatility.allow(config.database.enable_memory_only_mode);
        self.volatile.push(VolatileShard::new(shard, volatility.clone()));
        volatility
    }

    /// Applies every change of the configuration, and tells how the journals do.
    pub(crate) async fn follow(mut self, mut live: Live<Config>) {
        describe_gauge!("memory_only_mode", "1 while the journal may go on without its database.");
        describe_gauge!("journal_volatile", "1 while what is acknowledged is volatile.");
        describe_gauge!("journal_backlog_entries", "Acknowledged entries that do not stand in the database yet.");
        describe_counter!("journal_backlog_superseded_total", "Volatile entries that another leadership superseded.");
        let allowed = gauge!("memory_only_mode");
        counter!("journal_backlog_superseded_total").increment(0);
        let config = live.now();
        allowed.set(if config.database.enable_memory_only_mode { 1.0 } else { 0.0 });
        drop(config);
        let (mut told, mut told_lost) = (None, false);
        loop {
            let changed = tokio::select! {
                config = live.changed() => Some(config),
                () = tokio::time::sleep(LOOK) => None,
            };
            if let Some(config) = changed {
                allowed.set(if config.database.enable_memory_only_mode { 1.0 } else { 0.0 });
                self.apply(&config);
            }
            let mut reasons = self.volatile.iter_mut().filter_map(VolatileShard::look);
            let reason = reasons.next();
            reasons.for_each(drop);
            let lost = reason.is_none() && self.is_lost(&live.now());
            if reason != told || lost != told_lost {
                match &reason {
                    Some(reason) => self.component.degraded(reason),
                    None if lost => self.component.down(LOST),
                    None => self.component.ok(),
                }
                told_lost = lost;
                // The text counts entries and changes with them; the state does not.
                if reason.is_some() != told.is_some() {
                    let action = if reason.is_some() { "journal.went_volatile" } else { "journal.became_durable" };
                    let reason = reason.clone().unwrap_or_default();
                    self.audit.record(Act { target: "journal".to_owned(), reason, ..Act::system(action) });
                }
                told = reason;
            }
        }
    }

    /// Whether nothing can be acknowledged: the database of the journal is away, and it may not go on without it.
    fn is_lost(&self, config: &Config) -> bool {
        let away = self.watch.as_ref().is_some_and(|watch| watch.away() >= AWAY_MAX);
        away && !config.database.enable_memory_only_mode
    }

    fn apply(&self, config: &Config) {
        if let Some(pool) = &self.questions {
            pool.apply(&config.database, config.question_connections());
        }
        if let Some(replica) = &self.replica {
            replica.switch(config.database.use_read_replica);
            if let Some(pool) = replica.reader().pool() {
                pool.apply(&config.database, config.question_connections());
            }
        }
        for pool in &self.projectors {
            pool.apply(&config.database, 1);
        }
        for shard in &self.volatile {
            shard.volatility.allow(config.database.enable_memory_only_mode);
        }
    }
}
