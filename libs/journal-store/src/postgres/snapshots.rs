//! Snapshots as rows, on connections of their own: a large one must not hold up readers of the log, and whoever needs one
//! to start must not wait for the next one to be stored.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use journal_core::Tail;
use types::Seq;

use super::records::{signed, snapshot};
use super::session::Session;
use crate::{SnapshotStore, StoreError, digest};

pub(super) struct PostgresSnapshots {
    pub(super) shard: i32,
    pub(super) storing: Mutex<Session>,
    pub(super) loading: Mutex<Session>,
}

impl SnapshotStore for PostgresSnapshots {
    fn put(&self, at: &Tail, bytes: &[u8]) -> Result<(), StoreError> {
        let mut session = self.storing.lock().unwrap_or_else(PoisonError::into_inner);
        let shard = self.shard;
        let digest = digest::of_snapshot(at, bytes);
        session.run("store snapshot", async |client, _| {
            let transaction = client.transaction().await?;
            transaction
                .execute(
                    "INSERT INTO hivemind_journal.snapshot (shard, seq, epoch, owner, chain, digest, content)
                     VALUES ($1, $2, $3, $4, $5, $6, $7)
                     ON CONFLICT (shard, seq) DO UPDATE SET epoch = excluded.epoch, owner = excluded.owner,
                         chain = excluded.chain, digest = excluded.digest, content = excluded.content",
                    &[
                        &shard,
                        &signed(at.seq.0),
                        &signed(at.epoch.number),
                        &&at.epoch.owner.0.to_be_bytes()[..],
                        &&at.chain.0[..],
                        &&digest[..],
                        &bytes,
                    ],
                )
                .await?;
            transaction
                .execute(
                    "DELETE FROM hivemind_journal.snapshot WHERE shard = $1 AND seq < (
                         SELECT min(seq) FROM (SELECT seq FROM hivemind_journal.snapshot WHERE shard = $1
                                               ORDER BY seq DESC LIMIT 2) AS newest)",
                    &[&shard],
                )
                .await?;
            transaction.commit().await?;
            Ok(())
        })?;
        // What earlier snapshots made superfluous goes here, on a connection that nobody waits for.
        let swept = super::writer::sweep(&mut session, shard);
        session.disconnect();
        swept
    }

    fn latest(&self) -> Result<Option<(Tail, Bytes)>, StoreError> {
        let mut session = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let shard = self.shard;
        let mut damage = None;
        // One at a time: the older one is read only if the newest is damaged.
        for skip in 0_i64.. {
            let row = session.run("load snapshot", async |client, _| {
                Ok(client
                    .query_opt(
                        "SELECT epoch, owner, seq, chain, digest, content FROM hivemind_journal.snapshot
                         WHERE shard = $1 ORDER BY seq DESC LIMIT 1 OFFSET $2",
                        &[&shard, &skip],
                    )
                    .await?)
            })?;
            let Some(row) = row else { break };
            match snapshot(&row) {
                Ok((at, digest, content)) if digest[..] == digest::of_snapshot(&at, &content) => {
                    session.disconnect();
                    return Ok(Some((at, content)));
                }
                Ok((at, ..)) => damage = Some((at.seq, "the content does not match its digest".to_owned())),
                Err(reason) => damage = Some((Seq(0), reason)),
            }
            tracing::warn!(shard, ?damage, "a snapshot is damaged; trying the one before");
        }
        session.disconnect();
        match damage {
            None => Ok(None),
            Some((seq, reason)) => Err(StoreError::Corrupt {
                segment: "table hivemind_journal.snapshot".to_owned(),
                offset: 0,
                seq,
                reason,
            }),
        }
    }
}
