//! A look at all shards at once, by one short statement: where their logs end and what is promised, for those who wait
//! for what somebody else writes.
//!
//! Deliberately absent: entries; whoever wants them reads them.

use types::{Epoch, Incarnation, Seq, ShardId};

use super::session::{Session, Timeouts};
use super::sessions::Sessions;
use crate::StoreError;

/// What stands in the database about a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Which shard.
    pub shard: ShardId,
    /// The promise.
    pub promised: Epoch,
    /// End of the log.
    pub tail: Seq,
    /// Last entry that is no longer held.
    pub base: Seq,
    /// Whether this storage is the only voter, so that all of it is committed.
    pub single: bool,
}

/// A connection to look with. Its calls block.
pub struct PostgresLookout {
    session: Session,
    shards: Vec<i32>,
    sessions: Sessions,
}

impl PostgresLookout {
    /// Looks after `shards` in the database at `url`; connects with the first look.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a malformed URL or a shard number that is too high.
    pub fn new(url: &str, shards: impl IntoIterator<Item = ShardId>, timeouts: Timeouts) -> Result<Self, StoreError> {
        let number = |shard: ShardId| {
            i32::try_from(shard.0).map_err(|_| StoreError::invalid(format!("shard {shard} is too high")))
        };
        let shards = shards.into_iter().map(number).collect::<Result<_, _>>()?;
        let sessions = Sessions::default();
        Ok(Self { session: Session::new(url, timeouts, &sessions)?, shards, sessions })
    }

    /// Its session, for whoever wants it replaced.
    #[must_use]
    pub fn sessions(&self) -> Sessions {
        self.sessions.clone()
    }

    /// Whether a journal was ever opened there. Nothing is made.
    ///
    /// # Errors
    /// As for [`Self::look`].
    pub fn is_there(&mut self) -> Result<bool, StoreError> {
        self.session.run("look for the journal", async |client, _| {
            let there = "SELECT to_regclass('hivemind_journal.voter') IS NOT NULL";
            Ok(client.query_one(there, &[]).await?.get(0))
        })
    }

    /// What stands there now. Shards that were never opened are left out.
    ///
    /// # Errors
    /// [`StoreError::Database`] if the server does not answer in time.
    pub fn look(&mut self) -> Result<Vec<Sighting>, StoreError> {
        const SELECT: &str =
            "SELECT shard, promised_number, promised_owner, tail_seq, base_seq, tail_epoch, tail_owner,
                 cardinality(current_gateways) <= 1 AND cardinality(pending_gateways) = 0
             FROM hivemind_journal.voter WHERE shard = ANY ($1)";
        let shards = &self.shards;
        let rows = self.session.run("look at the log", async |client, _| {
            let select = client.prepared(SELECT).await?;
            Ok(client.query(&select, &[shards]).await?)
        })?;
        let sighting = |row: &tokio_postgres::Row| {
            let number = |at: usize| row.try_get::<_, i64>(at).ok().and_then(|number| u64::try_from(number).ok());
            let owner = |at: usize| row.try_get::<_, &[u8]>(at).ok()?.try_into().ok().map(u128::from_be_bytes);
            let epoch = |at: usize| Some(Epoch { number: number(at)?, owner: Incarnation(owner(at + 1)?) });
            let (promised, written) = (epoch(1)?, epoch(5)?);
            Some(Sighting {
                shard: ShardId(u32::try_from(row.try_get::<_, i32>(0).ok()?).ok()?),
                promised: if written.number > promised.number { written } else { promised },
                tail: Seq(number(3)?),
                base: Seq(number(4)?),
                single: row.try_get(7).ok()?,
            })
        };
        let read = |row| sighting(row).ok_or_else(|| super::reader::corrupt(Seq(0), "a row of table voter".to_owned()));
        rows.iter().map(read).collect()
    }
}
