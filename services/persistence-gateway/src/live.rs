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
use crate::pools::postgres::PostgresPool;

/// Between two looks at the journals: their threads do not stop to tell.
const LOOK: Duration = Duration::from_millis(250);

/// The parts.
pub(crate) struct LiveParts {
    pub(crate) questions: Option<PostgresPool>,
    pub(crate) replica: Option<Replica>,
    pub(crate) projectors: Vec<PostgresPool>,
    pub(crate) volatile: Vec<VolatileShard>,
    /// Told that acknowledgements are volatile.
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
        let mut told = None;
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
            if reason != told {
                match &reason {
                    Some(reason) => self.component.degraded(reason),
                    None => self.component.ok(),
                }
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
