//! The sessions of a journal that is kept in a database, shown and reset like a pool.
//!
//! Deliberately absent: a choice of their number; a shard has one writer, one reader, one for snapshots, and all shards
//! have one that looks after them.

use std::time::Duration;

use journal_store::postgres::SESSIONS;
use service_kit::{PoolStatus, async_trait};
use wire::pb::admin::v1::{Pool, PoolOptimization, PoolReset};

use crate::journal::{ShardSessions, Watch};

/// Sessions of a journal.
pub(crate) enum JournalSessions {
    /// Of a shard.
    Shard(ShardSessions),
    /// Of whoever looks after all shards.
    Watch(Watch),
}

#[async_trait]
impl PoolStatus for JournalSessions {
    fn status(&self) -> Pool {
        let (name, max_size, sessions) = match self {
            Self::Shard(journal) => (format!("journal-{}", journal.shard), SESSIONS, &journal.sessions),
            Self::Watch(watch) => ("journal-watch".to_owned(), 1, watch.sessions()),
        };
        let open = sessions.open();
        Pool {
            service: "persistence".to_owned(),
            name,
            database: "postgres".to_owned(),
            max_size,
            size: open,
            // Each belongs to a thread of its own, which never shares it.
            in_use: open,
            last_error: sessions.last_error(),
            ..Pool::default()
        }
    }

    async fn reset(&self, limit: Duration, dry_run: bool) -> PoolReset {
        let before = self.status();
        let mut done = PoolReset { closed: before.size, before: Some(before), ..PoolReset::default() };
        if !dry_run {
            let renewed = match self {
                Self::Shard(journal) => tokio::time::timeout(limit, journal.renew()).await,
                Self::Watch(watch) => {
                    watch.renew().await;
                    Ok(Ok(()))
                }
            };
            match renewed {
                Ok(Ok(())) => done.opened = 1,
                Ok(Err(error)) => done.error = error,
                Err(_) => done.error = format!("the journal was not done within {limit:?}; it goes on"),
            }
        }
        done.after = Some(self.status());
        done
    }

    async fn optimize(&self, _instances: u32, _limit: Duration, _dry_run: bool) -> PoolOptimization {
        let now = self.status();
        let note = "one session for each thread of the journal by design".to_owned();
        PoolOptimization { before: Some(now.clone()), after: Some(now), note, ..PoolOptimization::default() }
    }
}
