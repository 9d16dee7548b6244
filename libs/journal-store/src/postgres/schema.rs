//! The tables, created once and checked by everybody who connects.
//!
//! `voter` has one row per shard: what the segment files keep in the control slots, and the end of the log, so that a
//! writer can claim both in one conditional update.

use super::session::Session;
use crate::StoreError;

/// Makes concurrent first starts wait for each other; the number only has to be this product's own.
const CREATION_LOCK: i64 = 0x6869_7665_6a72_6e6c;

const TABLES: &str = "
CREATE SCHEMA IF NOT EXISTS hivemind_journal;
CREATE TABLE IF NOT EXISTS hivemind_journal.voter (
    shard integer PRIMARY KEY,
    log_id bytea NOT NULL,
    disk_id bytea NOT NULL,
    promised_number bigint NOT NULL,
    promised_owner bytea NOT NULL,
    config_generation bigint NOT NULL,
    current_gateways text[] NOT NULL,
    current_disks bytea[] NOT NULL,
    pending_gateways text[] NOT NULL,
    pending_disks bytea[] NOT NULL,
    quarantined boolean NOT NULL,
    base_seq bigint NOT NULL,
    base_epoch bigint NOT NULL,
    base_owner bytea NOT NULL,
    base_chain bytea NOT NULL,
    tail_seq bigint NOT NULL,
    tail_epoch bigint NOT NULL,
    tail_owner bytea NOT NULL,
    tail_chain bytea NOT NULL
);
CREATE TABLE IF NOT EXISTS hivemind_journal.entry (
    shard integer NOT NULL,
    seq bigint NOT NULL,
    log_id bytea NOT NULL,
    epoch bigint NOT NULL,
    owner bytea NOT NULL,
    kind smallint NOT NULL,
    timestamp_us bigint NOT NULL,
    prev_chain bytea NOT NULL,
    chain bytea NOT NULL,
    payload bytea NOT NULL,
    PRIMARY KEY (shard, seq)
);
ALTER TABLE hivemind_journal.entry ALTER payload SET STORAGE EXTERNAL;
CREATE TABLE IF NOT EXISTS hivemind_journal.snapshot (
    shard integer NOT NULL,
    seq bigint NOT NULL,
    epoch bigint NOT NULL,
    owner bytea NOT NULL,
    chain bytea NOT NULL,
    digest bytea NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (shard, seq)
);
ALTER TABLE hivemind_journal.snapshot ALTER content SET STORAGE EXTERNAL;
";

pub(super) fn ensure(session: &mut Session) -> Result<(), StoreError> {
    session.run("create tables", async |client, _| {
        let present = client.query_one("SELECT to_regclass('hivemind_journal.snapshot') IS NOT NULL", &[]).await?;
        if present.get(0) {
            // A user without the right to create anything may still use them.
            return Ok(());
        }
        let transaction = client.transaction().await?;
        transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&CREATION_LOCK]).await?;
        transaction.batch_execute(TABLES).await?;
        transaction.commit().await?;
        Ok(())
    })
}
