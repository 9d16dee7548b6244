//! Epochs and policy in one file, sessions and leases in memory: for a single coordinator on one machine.
//!
//! An epoch is in the file before it is said. After a restart no lease is remembered: the leader before goes on under
//! its epoch at its next sign of life, unless somebody else asked first.

mod file;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use journal_core::VoterConfig;
use journal_core::placement::{Note, Target};
use tokio::sync::Notify;
use types::{Epoch, Incarnation, ShardId};
use wire::convert::Engine;

use super::text::LeaderText;
use super::{
    Acquire, Acquired, Aim, EndpointHealth, LeaseStore, Monotonic, Policy, Reading, Session, ShardState, StoreError,
};
use file::{Kept, Saved, unavailable};

/// One file.
pub struct EmbeddedStore(Arc<Inner>);

struct Inner {
    path: PathBuf,
    ttl: Duration,
    clock: Monotonic,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    kept: Kept,
    /// Engines, and when their sessions end.
    sessions: BTreeMap<Incarnation, (Session, Duration)>,
    /// Shards whose holder has a lease: that of its session.
    leased: BTreeMap<u32, Incarnation>,
    targets: BTreeMap<u32, (Target, Duration)>,
    rest: Duration,
    operations: BTreeMap<String, (String, Duration)>,
    revision: u64,
    /// The file could not be replaced the last time: the disk is full or broken.
    unwritten: bool,
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
        let state = Mutex::new(State { kept: file::open(&path)?, ..State::default() });
        Ok(Self(Arc::new(Inner { path, ttl, clock, state, changed: Notify::new() })))
    }

    /// Runs `work` where it may wait for the disk.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner, &mut State, Duration) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.0);
        match tokio::task::spawn_blocking(move || inner.at_once(work)).await {
            Ok(result) => result,
            Err(error) => Err(StoreError::Unavailable(error.to_string())),
        }
    }
}

impl Inner {
    /// One operation after another; what ended with time has ended before it.
    fn at_once<T>(
        &self,
        work: impl FnOnce(&Self, &mut State, Duration) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let now = (self.clock)();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.expire(now);
        let before = state.revision;
        let result = work(self, &mut state, now);
        if state.revision != before {
            self.changed.notify_one();
        }
        result
    }

    fn acquire(&self, state: &mut State, now: Duration, request: &Acquire) -> Result<Acquired, StoreError> {
        let shard = request.shard.0;
        if let Some(leader) = state.shard(shard, now)?.leader()
            && leader.engine.incarnation != request.engine.incarnation
        {
            return Err(StoreError::Held(Box::new(leader)));
        }
        let last = state.kept.shards.get(&shard).map_or(0, |saved| saved.epoch);
        let number = super::next_number(last, request.highest_promised)?;
        let leader = Some(LeaderText::new(&request.engine, number, 0));
        self.save(state, |kept| _ = kept.shards.insert(shard, Saved { epoch: number, leader }))?;
        let incarnation = request.engine.incarnation;
        state.session(&request.engine, None, now + self.ttl);
        state.leased.insert(shard, incarnation);
        state.targets.remove(&shard);
        // One machine has one voter, which needs no list.
        Ok(Acquired { epoch: Epoch { number, owner: incarnation }, config: VoterConfig::default(), ttl: self.ttl })
    }

    fn end(&self, state: &mut State, shard: u32, epoch: Epoch) -> Result<bool, StoreError> {
        let Some(saved) = state.kept.shards.get(&shard) else { return Ok(false) };
        let Some(text) = saved.leader.clone().filter(|leader| leader.is(epoch) && !leader.ended) else {
            return Ok(false);
        };
        let ended = Saved { epoch: saved.epoch, leader: Some(LeaderText { ended: true, ..text }) };
        self.save(state, |kept| _ = kept.shards.insert(shard, ended))?;
        Ok(state.leased.remove(&shard).is_some())
    }

    /// Puts a change into the file, and only then into the memory.
    fn save(&self, state: &mut State, change: impl FnOnce(&mut Kept)) -> Result<(), StoreError> {
        let mut kept = state.kept.clone();
        change(&mut kept);
        self.write(state, &kept)?;
        state.kept = kept;
        state.revision += 1;
        Ok(())
    }

    fn write(&self, state: &mut State, kept: &Kept) -> Result<(), StoreError> {
        let written = file::write(&self.path, kept);
        state.unwritten = written.is_err();
        written
    }

    /// Answered from memory, but not while nothing can be written: a store that answers questions and refuses every
    /// election would be taken for back and away in turns.
    fn read(&self, state: &mut State, now: Duration) -> Result<Reading, StoreError> {
        if state.unwritten {
            let same = state.kept.clone();
            self.write(state, &same)?;
        }
        let shards: Vec<u32> = state.kept.shards.keys().chain(state.targets.keys()).copied().collect();
        let shards = shards.into_iter().map(|shard| Ok((ShardId(shard), state.shard(shard, now)?)));
        Ok(Reading {
            revision: state.revision,
            engines: state.sessions.iter().map(|(engine, (session, _))| (*engine, session.clone())).collect(),
            shards: shards.collect::<Result<_, StoreError>>()?,
            policy: state.kept.policy.clone(),
            resting: state.rest > now,
        })
    }
}

impl State {
    fn expire(&mut self, now: Duration) {
        let before = (self.sessions.len(), self.targets.len());
        self.sessions.retain(|_, (_, end)| *end > now);
        let sessions = &self.sessions;
        self.leased.retain(|_, engine| sessions.contains_key(engine));
        self.targets.retain(|_, (_, end)| *end > now);
        self.operations.retain(|_, (_, end)| *end > now);
        if before != (self.sessions.len(), self.targets.len()) {
            self.revision += 1;
        }
    }

    fn session(&mut self, engine: &Engine, note: Option<&Note>, end: Duration) {
        let known = self.sessions.get(&engine.incarnation);
        let changed = known.is_none_or(|(session, _)| note.is_some_and(|note| session.note != *note));
        let kept = known.map(|(session, _)| session.note.clone()).unwrap_or_default();
        let session = Session { engine: engine.clone(), note: note.cloned().unwrap_or(kept) };
        self.sessions.insert(engine.incarnation, (session, end));
        self.revision += u64::from(changed);
    }

    fn shard(&self, shard: u32, now: Duration) -> Result<ShardState, StoreError> {
        let saved = self.kept.shards.get(&shard);
        let text = saved.and_then(|saved| saved.leader.as_ref());
        let session = self.leased.get(&shard).and_then(|engine| self.sessions.get(engine));
        Ok(ShardState {
            number: saved.map_or(0, |saved| saved.epoch),
            holder: text.map(LeaderText::holder).transpose()?,
            lease: session.map(|(_, end)| *end - now),
            target: self.targets.get(&shard).map(|(target, _)| *target),
        })
    }
}

#[async_trait]
impl LeaseStore for EmbeddedStore {
    fn kind(&self) -> &'static str {
        "embedded"
    }

    async fn keep(&self, engine: &Engine, note: Option<&Note>) -> Result<Duration, StoreError> {
        self.0.at_once(|inner, state, now| {
            state.session(engine, note, now + inner.ttl);
            Ok(inner.ttl)
        })
    }

    async fn leave(&self, engine: Incarnation) -> Result<(), StoreError> {
        self.0.at_once(|_, state, _| {
            if let Some((session, _)) = state.sessions.get_mut(&engine) {
                session.note.away = true;
                state.revision += 1;
            }
            Ok(())
        })
    }

    async fn acquire(&self, request: Acquire) -> Result<Acquired, StoreError> {
        self.blocking(move |inner, state, now| inner.acquire(state, now, &request)).await
    }

    async fn restore(&self, shard: ShardId, engine: &Engine, epoch: Epoch) -> Result<bool, StoreError> {
        self.0.at_once(|inner, state, now| {
            let found = state.shard(shard.0, now)?;
            let held = found.holder.as_ref().is_some_and(|holder| holder.epoch == epoch && !holder.ended);
            if !held || found.lease.is_some() {
                return Ok(false);
            }
            state.session(engine, None, now + inner.ttl);
            state.leased.insert(shard.0, engine.incarnation);
            state.revision += 1;
            Ok(true)
        })
    }

    async fn end(&self, shard: ShardId, epoch: Epoch) -> Result<bool, StoreError> {
        self.blocking(move |inner, state, _| inner.end(state, shard.0, epoch)).await
    }

    async fn aim(&self, aim: Aim) -> Result<bool, StoreError> {
        self.0.at_once(|_, state, now| {
            let led = state.shard(aim.shard.0, now)?.leader().map(|leader| leader.epoch);
            let busy = aim.rest.is_some() && (state.rest > now || state.targets.contains_key(&aim.shard.0));
            if led != aim.led || busy {
                return Ok(false);
            }
            state.targets.insert(aim.shard.0, (aim.target, now + aim.lasts));
            state.rest = aim.rest.map_or(state.rest, |rest| now + rest);
            state.revision += 1;
            Ok(true)
        })
    }

    async fn set_policy(&self, before: &Policy, after: &Policy) -> Result<bool, StoreError> {
        let (before, after) = (before.clone(), after.clone());
        self.blocking(move |inner, state, _| {
            if state.kept.policy != before {
                return Ok(false);
            }
            inner.save(state, |kept| kept.policy = after)?;
            Ok(true)
        })
        .await
    }

    async fn begin(&self, id: &str, note: &str, lasts: Duration) -> Result<Option<String>, StoreError> {
        self.0.at_once(|_, state, now| {
            if let Some((known, _)) = state.operations.get(id) {
                return Ok(Some(known.clone()));
            }
            state.operations.insert(id.to_owned(), (note.to_owned(), now + lasts));
            Ok(None)
        })
    }

    async fn finish(&self, id: &str, note: Option<&str>, lasts: Duration) -> Result<(), StoreError> {
        self.0.at_once(|_, state, now| {
            match note {
                Some(note) => _ = state.operations.insert(id.to_owned(), (note.to_owned(), now + lasts)),
                None => _ = state.operations.remove(id),
            }
            Ok(())
        })
    }

    async fn read(&self) -> Result<Reading, StoreError> {
        self.blocking(Inner::read).await
    }

    async fn changed(&self) {
        self.0.changed.notified().await;
    }

    async fn endpoints(&self) -> Vec<EndpointHealth> {
        let address = self.0.path.display().to_string();
        let asked = Instant::now();
        let probe = self.blocking(|inner, _, _| {
            let directory = inner.path.parent().unwrap_or(Path::new("."));
            fs::metadata(directory).map_err(|error| unavailable(directory, &error))
        });
        let answer = probe.await.map(|_| asked.elapsed()).map_err(|error| error.to_string());
        vec![EndpointHealth { address, answer }]
    }

    /// There is nothing to connect to.
    async fn renew(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_that_cannot_write_does_not_answer_until_it_can() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("epochs");
        let store = EmbeddedStore::open(&path, Duration::from_secs(5), Arc::new(|| Duration::ZERO)).expect("opens");
        let engine = Engine { name: "e1".into(), incarnation: Incarnation(1), address: "http://h:1".into() };
        let request = Acquire { shard: ShardId(0), engine, highest_promised: 0 };
        // Nothing can be written beside the file any more.
        let blocker = path.with_extension("new");
        fs::create_dir(&blocker).expect("a directory");
        assert!(matches!(store.acquire(request.clone()).await, Err(StoreError::Unavailable(_))));
        assert!(matches!(store.read().await, Err(StoreError::Unavailable(_))), "it answers while it cannot write");
        fs::remove_dir(&blocker).expect("the directory goes");
        assert!(store.read().await.expect("it answers again").shards.is_empty(), "a refused election left a trace");
        assert_eq!(store.acquire(request).await.expect("it elects again").epoch.number, 1);
    }
}
