//! The conformance suite over every implementation of this crate.

use journal_store::Storage;
use journal_store::conformance::{Opening, run};
use journal_store::file::{FileOptions, FileStorage};
use journal_store::memory::{MemoryDisk, MemoryStorage};
use journal_store::postgres::PostgresStorage;
use journal_store::testing::PostgresServer;
use types::ShardId;

#[test]
fn memory() {
    let mut disk = MemoryDisk::new();
    run(|opening| {
        if opening == Opening::Fresh {
            disk = MemoryDisk::new();
        }
        Box::new(MemoryStorage::open(&disk))
    });
}

fn files(segment_bytes: u64) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut number = 0;
    run(|opening| {
        number += u32::from(opening == Opening::Fresh);
        let dir = directory.path().join(number.to_string());
        Box::new(FileStorage::open(FileOptions { dir, segment_bytes }).expect("opens")) as Box<dyn Storage>
    });
}

#[test]
fn smallest_segments() {
    files(8 << 10);
}

#[test]
fn small_segments() {
    files(1 << 20);
}

#[test]
fn postgres() {
    let server = PostgresServer::shared();
    let mut url = String::new();
    let mut shard = 0;
    run(|opening| {
        if opening == Opening::Fresh {
            // Shards of one database must not see each other.
            shard += 1;
            if shard % 4 == 1 {
                url = server.database();
            }
        }
        Box::new(PostgresStorage::connect(&url, ShardId(shard)).expect("connects"))
    });
}
