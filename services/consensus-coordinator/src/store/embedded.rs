//! Epochs in one file, leases in memory: for a single coordinator on one machine.
//!
//! The file is replaced as a whole: written beside, synced, renamed, its directory synced. It begins with a checksum.
//! An epoch is in it before it is said. After a restart no lease is remembered: the leader before is welcome to go on
//! with its epoch at its next sign of life, unless somebody else asked first.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use journal_core::VoterConfig;
use serde::{Deserialize, Serialize};
use types::{Epoch, ShardId};
use wire::convert::Engine;

use super::text::{LeaderText, corrupt};
use super::{Acquire, Acquired, EndpointHealth, Kept, Leader, LeaseStore, Monotonic, ShardState, StoreError};

/// First word of the file; the number is the version of what follows.
const MAGIC: &str = "hivemind-epochs-1";

/// One file.
pub struct EmbeddedStore(Arc<Inner>);

struct Inner {
    path: PathBuf,
    ttl: Duration,
    clock: Monotonic,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    saved: BTreeMap<u32, Saved>,
    /// When the lease of a shard's saved leader ends; none is held by default.
    leases: BTreeMap<u32, Duration>,
    /// The file could not be replaced the last time: the disk is full or broken.
    unwritten: bool,
}

/// What is kept of a shard.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Saved {
    /// Number given out last.
    epoch: u64,
    /// To whom, unless it was given back.
    leader: Option<LeaderText>,
}

impl std::fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedStore").field("path", &self.0.path).finish_non_exhaustive()
    }
}

impl EmbeddedStore {
    /// Opens or creates `path`; its directory is made if needed. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the file is not as it was written; it must then be repaired by hand, since a forgotten
    /// epoch could be given out again. [`StoreError::Unavailable`] if it cannot be read or written.
    pub fn open(path: impl Into<PathBuf>, ttl: Duration, clock: Monotonic) -> Result<Self, StoreError> {
        let path = path.into();
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(|error| unavailable(&path, &error))?;
        }
        let saved = match fs::read(&path) {
            Ok(bytes) => decode(&bytes).map_err(|why| corrupt(&path.display().to_string(), &why))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(unavailable(&path, &error)),
        };
        let state = Mutex::new(State { saved, leases: BTreeMap::new(), unwritten: false });
        Ok(Self(Arc::new(Inner { path, ttl, clock, state })))
    }

    /// Runs `work` where it may wait for the disk.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.0);
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(result) => result,
            Err(error) => Err(StoreError::Unavailable(error.to_string())),
        }
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn acquire(&self, request: &Acquire) -> Result<Acquired, StoreError> {
        let now = (self.clock)();
        let mut state = self.lock();
        let shard = request.shard.0;
        if let Some(leader) = state.leader(shard, now)?
            && leader.engine.incarnation != request.engine.incarnation
        {
            return Err(StoreError::Held(Box::new(leader)));
        }
        let last = state.saved.get(&shard).map_or(0, |saved| saved.epoch);
        let number = super::next_number(last, request.highest_promised)?;
        let leader = Some(LeaderText::new(&request.engine, number, 0));
        self.save(&mut state, shard, Saved { epoch: number, leader })?;
        state.leases.insert(shard, now + self.ttl);
        let epoch = Epoch { number, owner: request.engine.incarnation };
        // One machine has one voter, which needs no list.
        Ok(Acquired { epoch, config: VoterConfig::default(), ttl: self.ttl })
    }

    fn keep_alive(&self, shard: u32, epoch: Epoch) -> Kept {
        let now = (self.clock)();
        let mut state = self.lock();
        let ours = state.saved.get(&shard).and_then(|saved| saved.leader.as_ref()).is_some_and(|l| l.is(epoch));
        // A lease that has run out stays out, as in etcd; one that this process never knew is taken up again.
        let ended = state.leases.get(&shard).is_some_and(|end| *end <= now);
        if !ours || ended {
            return Kept::Gone;
        }
        state.leases.insert(shard, now + self.ttl);
        Kept::Alive(self.ttl)
    }

    fn release(&self, shard: u32, epoch: Epoch) -> Result<bool, StoreError> {
        let now = (self.clock)();
        let mut state = self.lock();
        let held = state.leases.get(&shard).is_none_or(|end| *end > now);
        let Some(saved) = state.saved.get(&shard) else { return Ok(false) };
        if !saved.leader.as_ref().is_some_and(|leader| leader.is(epoch)) {
            return Ok(false);
        }
        let freed = Saved { epoch: saved.epoch, leader: None };
        self.save(&mut state, shard, freed)?;
        state.leases.remove(&shard);
        Ok(held)
    }

    /// Puts `saved` into the file, and only then into the memory.
    fn save(&self, state: &mut State, shard: u32, saved: Saved) -> Result<(), StoreError> {
        let mut all = state.saved.clone();
        all.insert(shard, saved);
        self.write(state, &all)?;
        state.saved = all;
        Ok(())
    }

    fn write(&self, state: &mut State, all: &BTreeMap<u32, Saved>) -> Result<(), StoreError> {
        let written = replace(&self.path, &encode(all)).map_err(|error| unavailable(&self.path, &error));
        state.unwritten = written.is_err();
        written
    }

    /// Answered from memory, but not while nothing can be written: a store that answers questions and refuses every
    /// election would be taken for back and away in turns.
    fn shards(&self) -> Result<Vec<ShardState>, StoreError> {
        let now = (self.clock)();
        let mut state = self.lock();
        if state.unwritten {
            let same = state.saved.clone();
            self.write(&mut state, &same)?;
        }
        let shard = |(shard, saved): (&u32, &Saved)| {
            Ok(ShardState { shard: ShardId(*shard), epoch: saved.epoch, leader: state.leader(*shard, now)? })
        };
        state.saved.iter().map(shard).collect()
    }
}

impl State {
    fn leader(&self, shard: u32, now: Duration) -> Result<Option<Leader>, StoreError> {
        let Some(text) = self.saved.get(&shard).and_then(|saved| saved.leader.as_ref()) else { return Ok(None) };
        let Some(ttl) = self.leases.get(&shard).and_then(|end| end.checked_sub(now)) else { return Ok(None) };
        let leader = Leader { engine: text.engine()?, epoch: text.epoch()?, ttl };
        Ok((!ttl.is_zero()).then_some(leader))
    }
}

#[async_trait]
impl LeaseStore for EmbeddedStore {
    fn kind(&self) -> &'static str {
        "embedded"
    }

    async fn acquire(&self, request: Acquire) -> Result<Acquired, StoreError> {
        self.blocking(move |inner| inner.acquire(&request)).await
    }

    async fn keep_alive(&self, shard: ShardId, _: &Engine, epoch: Epoch) -> Result<Kept, StoreError> {
        Ok(self.0.keep_alive(shard.0, epoch))
    }

    async fn release(&self, shard: ShardId, epoch: Epoch) -> Result<bool, StoreError> {
        self.blocking(move |inner| inner.release(shard.0, epoch)).await
    }

    async fn shards(&self) -> Result<Vec<ShardState>, StoreError> {
        self.blocking(Inner::shards).await
    }

    async fn endpoints(&self) -> Vec<EndpointHealth> {
        let address = self.0.path.display().to_string();
        let asked = Instant::now();
        let probe = self.blocking(|inner| {
            let directory = inner.path.parent().unwrap_or(Path::new("."));
            fs::metadata(directory).map_err(|error| unavailable(directory, &error))
        });
        let answer = probe.await.map(|_| asked.elapsed()).map_err(|error| error.to_string());
        vec![EndpointHealth { address, answer }]
    }
}

fn unavailable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}

fn encode(saved: &BTreeMap<u32, Saved>) -> Vec<u8> {
    let json = serde_json::to_string(saved).expect("texts and numbers are always JSON");
    format!("{MAGIC} {}\n{json}\n", blake3::hash(json.as_bytes())).into_bytes()
}

fn decode(bytes: &[u8]) -> Result<BTreeMap<u32, Saved>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let (head, json) = text.split_once('\n').ok_or("it has no first line")?;
    let sum =
        head.strip_prefix(MAGIC).and_then(|rest| rest.strip_prefix(' ')).ok_or("it is of another kind or version")?;
    let json = json.strip_suffix('\n').ok_or("it is cut short")?;
    if *blake3::hash(json.as_bytes()).to_hex() != *sum {
        return Err("it does not match its checksum; restore it from a backup, or write the highest epoch that \
                    any gateway has promised into a new one"
            .to_owned());
    }
    serde_json::from_str(json).map_err(|error| error.to_string())
}

/// Replaces a file so that a crash leaves the old one or the new one, and a return means that the new one stays.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_is_noticed() {
        let leader = Some(LeaderText {
            engine: "e1".into(),
            incarnation: "0f".into(),
            address: "http://h:1".into(),
            epoch: 3,
            lease: 0,
        });
        let good = encode(&BTreeMap::from([(0, Saved { epoch: 3, leader })]));
        assert_eq!(decode(&good).map(|saved| saved[&0].epoch), Ok(3));
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(decode(&bad).is_err(), "byte {at}, bit {bit}");
            }
            assert!(decode(&good[..at]).is_err(), "cut at {at}");
        }
    }

    #[tokio::test]
    async fn a_store_that_cannot_write_does_not_answer_until_it_can() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("epochs");
        let store = EmbeddedStore::open(&path, Duration::from_secs(5), Arc::new(|| Duration::ZERO)).expect("opens");
        let engine = Engine { name: "e1".into(), incarnation: types::Incarnation(1), address: "http://h:1".into() };
        let request = Acquire { shard: ShardId(0), engine, highest_promised: 0 };
        // Nothing can be written beside the file any more.
        let blocker = path.with_extension("new");
        fs::create_dir(&blocker).expect("a directory");
        assert!(matches!(store.acquire(request.clone()).await, Err(StoreError::Unavailable(_))));
        assert!(matches!(store.shards().await, Err(StoreError::Unavailable(_))), "it answers while it cannot write");
        fs::remove_dir(&blocker).expect("the directory goes");
        assert!(store.shards().await.expect("it answers again").is_empty(), "a refused election left a trace");
        assert_eq!(store.acquire(request).await.expect("it elects again").epoch.number, 1);
    }
}
