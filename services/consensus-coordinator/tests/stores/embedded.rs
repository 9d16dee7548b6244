//! The embedded store: the common suite, a restart, a damaged file.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::suite::{self, Fixture, TTL, engine, wish};
use async_trait::async_trait;
use consensus_coordinator::{EmbeddedStore, LeaseStore, Monotonic, Policy, StoreError};
use tempfile::TempDir;
use types::ShardId;

/// A directory, a clock that goes when it is told to, and the store that is open, since there is one at a time.
struct Machine {
    directory: TempDir,
    now_ms: Arc<AtomicU64>,
    open: Mutex<Vec<(String, Arc<dyn LeaseStore>)>>,
}

impl Machine {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory, now_ms: Arc::new(AtomicU64::new(0)), open: Mutex::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name.trim_start_matches('/')).join("epochs")
    }

    fn reopen(&self, name: &str) -> Result<EmbeddedStore, StoreError> {
        let now_ms = Arc::clone(&self.now_ms);
        let clock: Monotonic = Arc::new(move || Duration::from_millis(now_ms.load(Ordering::SeqCst)));
        EmbeddedStore::open(self.path(name), TTL, clock)
    }
}

#[async_trait]
impl Fixture for Machine {
    async fn store(&self, name: &str) -> Arc<dyn LeaseStore> {
        let mut open = self.open.lock().unwrap();
        if let Some((_, store)) = open.iter().find(|(other, _)| other == name) {
            return Arc::clone(store);
        }
        let store: Arc<dyn LeaseStore> = Arc::new(self.reopen(name).unwrap());
        open.push((name.to_owned(), Arc::clone(&store)));
        store
    }

    async fn pass(&self, time: Duration) {
        self.now_ms.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_what_every_store_keeps() {
    suite::run(&Machine::new()).await;
}

#[tokio::test]
async fn a_restart_forgets_leases_but_no_epoch() {
    let machine = Machine::new();
    let held = machine.reopen("a").unwrap().acquire(wish(0, 1)).await.unwrap();
    let policy = Policy { drained: ["engine-7".to_owned()].into(), ..Policy::default() };
    let store = machine.reopen("a").unwrap();
    assert_eq!(store.set_policy(&Policy::default(), &policy).await, Ok(true));
    let store = machine.reopen("a").unwrap();
    assert_eq!((suite::leader(&store, 0).await, store.read().await.unwrap().policy), (None, policy));
    // Nobody asked meanwhile: the leader goes on as it was.
    assert_eq!(store.restore(ShardId(0), &engine(1), held.epoch).await, Ok(true));
    assert!(matches!(store.acquire(wish(0, 2)).await, Err(StoreError::Held(_))));
    // Somebody asked first: it is deposed.
    let store = machine.reopen("a").unwrap();
    let next = store.acquire(wish(0, 2)).await.unwrap();
    assert_eq!(next.epoch.number, held.epoch.number + 1);
    assert_eq!(store.restore(ShardId(0), &engine(1), held.epoch).await, Ok(false));
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let machine = Machine::new();
    machine.reopen("a").unwrap().acquire(wish(0, 1)).await.unwrap();
    let good = std::fs::read(machine.path("a")).unwrap();
    let text = String::from_utf8(good).unwrap();
    std::fs::write(machine.path("a"), text.replacen("\"epoch\":1", "\"epoch\":0", 1)).unwrap();
    assert!(matches!(machine.reopen("a"), Err(StoreError::Corrupt(_))));
}

#[tokio::test]
async fn an_epoch_that_cannot_be_made_durable_is_not_given() {
    let machine = Machine::new();
    let store = machine.reopen("a").unwrap();
    let held = store.acquire(wish(0, 1)).await.unwrap();
    // The place of the file that is written beside is taken by a directory: nothing can be replaced.
    let beside = machine.path("a").with_extension("new");
    std::fs::create_dir(&beside).unwrap();
    assert!(matches!(store.acquire(wish(0, 1)).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.end(ShardId(0), held.epoch).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.read().await, Err(StoreError::Unavailable(_))));
    assert_eq!(store.keep(&engine(1), None).await, Ok(TTL), "sessions need no disk");
    std::fs::remove_dir(&beside).unwrap();
    assert_eq!(suite::leader(&store, 0).await, Some(held.epoch), "nothing changed");
    assert_eq!(store.acquire(wish(0, 1)).await.unwrap().epoch.number, held.epoch.number + 1);
}
