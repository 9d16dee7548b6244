//! Reads of the log, on a connection of their own.

use std::sync::{Mutex, PoisonError};

use journal_core::{ChainHash, Entry};
use tokio_postgres::types::ToSql;
use types::Seq;

use super::records::{entries, entry, signed};
use super::session::{Failure, Session};
use crate::{LogReader, StoreError};

/// Rows whose sizes are looked up at once.
const SIZES_PER_QUERY: i64 = 1024;

pub(super) struct PostgresReader {
    pub(super) shard: i32,
    pub(super) session: Mutex<Session>,
}

/// What one consistent look at the log brought.
enum Look {
    Trimmed(u64),
    Entries(Vec<Result<Entry, String>>),
}

impl LogReader for PostgresReader {
    fn read(&self, from: Seq, to: Seq, max_bytes: usize) -> Result<Vec<Entry>, StoreError> {
        // The session reconnects after whatever a panic left behind.
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let shard = self.shard;
        let look = session.run("read entries", async |client, _| {
            let select_base = client.prepared("SELECT base_seq FROM hivemind_journal.voter WHERE shard = $1").await?;
            let select_sizes = client
                .prepared(
                    "SELECT seq, octet_length(payload) FROM hivemind_journal.entry
                     WHERE shard = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4",
                )
                .await?;
            let select = client.prepared(entries!("seq BETWEEN $2 AND $3 ORDER BY seq")).await?;
            let transaction = client
                .build_transaction()
                .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
                .read_only(true)
                .start()
                .await?;
            let base = transaction.query_opt(&select_base, &[&shard]).await?;
            let base = base.map_or(0, |row| row.get::<_, i64>(0));
            if signed(from.0) <= base {
                return Ok(Look::Trimmed(base.unsigned_abs()));
            }
            let (mut last, mut bytes, mut taken) = (signed(from.0) - 1, 0_usize, false);
            'sizes: loop {
                let parameters: [&(dyn ToSql + Sync); 4] = [&shard, &last, &signed(to.0), &SIZES_PER_QUERY];
                let sizes = transaction.query(&select_sizes, &parameters).await?;
                for row in &sizes {
                    bytes = bytes.saturating_add(usize::try_from(row.get::<_, i32>(1)).unwrap_or(0));
                    if bytes > max_bytes && taken {
                        break 'sizes;
                    }
                    (last, taken) = (row.get(0), true);
                }
                if sizes.len() < usize::try_from(SIZES_PER_QUERY).unwrap_or(usize::MAX) {
                    break;
                }
            }
            let rows = transaction.query(&select, &[&shard, &signed(from.0), &last]).await?;
            transaction.commit().await?;
            Ok::<_, Failure>(Look::Entries(rows.iter().map(entry).collect()))
        })?;
        let rows = match look {
            Look::Trimmed(base) => return Err(StoreError::Trimmed { base: Seq(base) }),
            Look::Entries(rows) => rows,
        };
        let mut expected: (Seq, Option<ChainHash>) = (from, None);
        rows.into_iter()
            .map(|row| {
                let entry = row.map_err(|reason| corrupt(expected.0, reason))?;
                if entry.seq != expected.0 || expected.1.is_some_and(|chain| chain != entry.prev_chain) {
                    return Err(corrupt(expected.0, format!("entry {} does not continue the one before", entry.seq)));
                }
                expected = (entry.seq.next(), Some(entry.chain));
                Ok(entry)
            })
            .collect()
    }
}

pub(super) fn corrupt(seq: Seq, reason: String) -> StoreError {
    StoreError::Corrupt { segment: "table hivemind_journal.entry".to_owned(), offset: 0, seq, reason }
}
