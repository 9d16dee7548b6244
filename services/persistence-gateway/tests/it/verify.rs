//! The verifier finds what was changed behind the gateway's back.

use std::path::Path;

use persistence_gateway::{EXIT_JOURNAL_DAMAGED, VerifyError, VerifyOptions, VerifyReport, verify};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use crate::support::{Gateway, Leader, START, commands, config, flip_journal_bit};

/// A data directory with a history of everything that can happen.
async fn data_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(config(), dir.path()).await;
    let mut leader = Leader::elect(&gateway, 1, START).await;
    leader.apply(&commands(31, 1_000)).await;
    gateway.stop().await;
    dir
}

fn check(dir: &Path) -> Result<VerifyReport, VerifyError> {
    verify(VerifyOptions { config: config(), data_dir: dir.to_owned() })
}

async fn sql(dir: &Path, statement: &str) {
    let url = format!("sqlite://{}", dir.join("history.sqlite").display());
    let mut database = SqliteConnection::connect(&url).await.unwrap();
    let changed = sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut database).await.unwrap();
    assert!(changed.rows_affected() > 0, "{statement} changed nothing");
    database.close().await.unwrap();
}

#[tokio::test]
async fn every_kind_of_tampering_is_found_and_named() {
    let dir = data_dir().await;
    let clean = check(dir.path()).unwrap();
    assert!(clean.ok, "{clean:#?}");
    assert!(clean.shards[0].trades > 10 && clean.shards[0].instruments == 4, "{clean:#?}");

    const ONE: &str = "(SELECT MAX(created_us) FROM orders WHERE order_id <> 0)";
    const TRADE: &str = "(SELECT MIN(trade_id) FROM trades)";
    let cases = [
        ("UPDATE orders SET leaves = leaves + 1 WHERE created_us = ", ONE, "leaves is"),
        ("UPDATE orders SET status = 3 - status % 2 WHERE created_us = ", ONE, "status is"),
        ("DELETE FROM orders WHERE created_us = ", ONE, "is missing"),
        ("UPDATE trades SET price = price + 1 WHERE trade_id = ", TRADE, "price is"),
        ("DELETE FROM trades WHERE trade_id = ", TRADE, "is missing"),
        ("DELETE FROM executions WHERE kind = 2 AND trade_id = ", TRADE, "is missing"),
        ("UPDATE executions SET account_id = account_id + 1 WHERE trade_id = ", TRADE, "account_id is"),
        ("UPDATE instruments SET state = 5 WHERE instrument = ", "0", "state is"),
    ];
    let file = dir.path().join("history.sqlite");
    let good = std::fs::read(&file).unwrap();
    for (statement, which, expected) in cases {
        sql(dir.path(), &format!("{statement}{which}")).await;
        let report = check(dir.path()).unwrap();
        assert!(!report.ok, "{statement}");
        let first = &report.shards[0].first_differences[0];
        assert!(first.contains(expected), "{statement}: {first}");
        restore(dir.path(), &good);
    }
}

fn restore(dir: &Path, good: &[u8]) {
    for file in ["history.sqlite-wal", "history.sqlite-shm"] {
        let _ = std::fs::remove_file(dir.join(file));
    }
    std::fs::write(dir.join("history.sqlite"), good).unwrap();
}

#[tokio::test]
async fn rows_that_nobody_caused_are_found_wherever_they_stand() {
    let dir = data_dir().await;
    let good = std::fs::read(dir.path().join("history.sqlite")).unwrap();
    // Before, within and after the log's times.
    for at in ["1", "(SELECT MAX(transact_us) - 1 FROM executions)", "(SELECT MAX(transact_us) + 5 FROM executions)"] {
        let statement = format!(
            "INSERT INTO executions SELECT shard, log_id, epoch, seq, idx, {at}, number, kind, order_id, account_id, \
             client_order_id, symbol, side, price, quantity, cumulative, leaves, trade_id, reject_reason \
             FROM executions LIMIT 1"
        );
        sql(dir.path(), &statement).await;
        let report = check(dir.path()).unwrap();
        assert_eq!(report.shards[0].differences, 1, "{report:#?}");
        assert!(report.shards[0].first_differences[0].contains("not in the journal"), "{report:#?}");
        restore(dir.path(), &good);
    }
    let statement = "INSERT INTO orders SELECT shard, log_id, epoch, seq, idx + 9, created_us, updated_us, \
                     9223372036854775807, account_id, client_order_id, symbol, side, order_type, time_in_force, price, \
                     quantity, cumulative, leaves, status, reject_reason FROM orders WHERE order_id <> 0 LIMIT 1";
    sql(dir.path(), statement).await;
    let report = check(dir.path()).unwrap();
    assert!(report.shards[0].first_differences[0].contains("not in the journal"), "{report:#?}");
}

#[tokio::test]
async fn a_history_that_is_not_a_prefix_of_the_journal_is_found() {
    let dir = data_dir().await;
    let good = std::fs::read(dir.path().join("history.sqlite")).unwrap();
    for (change, expected) in [
        ("UPDATE projection SET chain = zeroblob(16)", "chain hash"),
        ("UPDATE projection SET seq = seq + 3", "the journal ends at"),
        ("UPDATE projection SET log_id = zeroblob(16)", "follows log"),
        ("UPDATE projection SET seq = seq - 30", "not in the journal"),
    ] {
        sql(dir.path(), change).await;
        let report = check(dir.path()).unwrap();
        let found = report.shards[0].first_differences.iter().any(|what| what.contains(expected));
        assert!(found, "{change}: {report:#?}");
        restore(dir.path(), &good);
    }
}

#[tokio::test]
async fn a_flipped_bit_of_the_journal_is_found() {
    let dir = data_dir().await;
    flip_journal_bit(dir.path());
    let error = check(dir.path()).unwrap_err();
    assert_eq!(error.exit_code(), EXIT_JOURNAL_DAMAGED, "{error}");
    assert!(error.to_string().contains("corrupt"), "{error}");
}

#[tokio::test]
async fn a_directory_without_a_journal_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(check(dir.path()), Err(VerifyError::NoJournal(_))));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_missing_history_is_named_and_not_made() {
    let dir = data_dir().await;
    let file = dir.path().join("history.sqlite");
    restore(dir.path(), b"");
    std::fs::remove_file(&file).unwrap();
    let error = check(dir.path()).unwrap_err().to_string();
    assert!(error.contains(file.to_str().unwrap()) && error.contains("start the node"), "{error}");
    assert!(!file.exists());
}

#[tokio::test]
async fn a_node_whose_journal_is_gone_does_not_begin_anew_beside_its_history() {
    let dir = data_dir().await;
    std::fs::remove_dir_all(dir.path().join("journal")).unwrap();
    let context = service_kit::NodeContext::new("g0", Vec::new(), dir.path());
    // The second start finds the empty journal that the first one made.
    for _ in 0..2 {
        let error = persistence_gateway::build(config(), &context).await.unwrap_err();
        assert_eq!(error.exit_code(), EXIT_JOURNAL_DAMAGED, "{error}");
        assert!(error.to_string().contains("is empty, but the history holds log"), "{error}");
    }
}
