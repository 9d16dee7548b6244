//! A disk in memory that loses what was not synced, tears writes and fails on command.
//!
//! It models what a file system may do, not what one usually does: unsynced sectors survive or not independently,
//! names survive in order, and a failed sync marks pages clean though the disk lacks them.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::file::disk::{Disk, DiskFile};

/// A sector is written whole or not at all.
const SECTOR: usize = 512;

/// What of the unsynced writes is found after a power loss.
#[derive(Clone, Copy, Debug)]
pub(super) enum Survivors {
    Nothing,
    Everything,
    /// Only the first bytes, in order of writing.
    First(usize),
    /// Only the last bytes, in order of writing.
    Last(usize),
    /// Every sector and the number of names by chance.
    Random(u64),
}

/// What happens at an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The call fails with this code; a write is half done, a sync loses everything.
    Errno(i32),
    /// From here on nothing answers.
    PowerLoss,
}

pub(super) const EIO: Fault = Fault::Errno(5);
pub(super) const ENOSPC: Fault = Fault::Errno(28);

#[derive(Clone, Default)]
struct Inode {
    durable: Vec<u8>,
    current: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

#[derive(Clone)]
enum NameChange {
    Set(String, usize),
    Rename(String, String),
    Remove(String),
}

#[derive(Clone, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    unsynced_names: Vec<NameChange>,
    operations: u64,
    log: Vec<String>,
    plan: Option<(u64, Fault)>,
    dead: bool,
}

#[derive(Clone)]
pub(super) struct SimDisk(Arc<Mutex<State>>);

struct SimFile(SimDisk, usize);

impl SimDisk {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while holding the disk")
    }

    /// Number of operations so far that change something or open a file.
    pub(super) fn operations(&self) -> u64 {
        self.state().operations
    }

    /// What they were.
    pub(super) fn log(&self) -> Vec<String> {
        self.state().log.clone()
    }

    /// Lets operation number `at` (from 0) fail.
    pub(super) fn fail_at(&self, at: u64, fault: Fault) {
        self.state().plan = Some((at, fault));
    }

    /// The same disk as a new process finds it after the old one was killed: the page cache is intact.
    pub(super) fn after_kill(&self) -> Self {
        let mut state = self.state().clone();
        (state.operations, state.plan, state.dead) = (0, None, false);
        state.log.clear();
        Self(Arc::new(Mutex::new(state)))
    }

    /// The same disk after the power was gone.
    pub(super) fn after_power_loss(&self, survivors: Survivors) -> Self {
        let disk = self.after_kill();
        let mut state = disk.state();
        let mut random = match survivors {
            Survivors::Random(seed) => seed,
            _ => 0,
        };
        let total: usize = state.inodes.iter().flat_map(|inode| &inode.unsynced).map(|(_, bytes)| bytes.len()).sum();
        let mut position = 0;
        for inode in &mut state.inodes {
            inode.current.clone_from(&inode.durable);
            for (offset, bytes) in std::mem::take(&mut inode.unsynced) {
                let end = offset + bytes.len();
                if inode.current.len() < end && !matches!(survivors, Survivors::Nothing) {
                    inode.current.resize(end, 0);
                }
                let mut at = offset;
                while at < end {
                    let piece_end = end.min((at / SECTOR + 1) * SECTOR);
                    let (first, last) = match survivors {
                        Survivors::Nothing => (at, at),
                        Survivors::Everything => (at, piece_end),
                        Survivors::First(n) => (at, piece_end.min(at + n.saturating_sub(position))),
                        Survivors::Last(n) => {
                            (at.max(at + (total - n.min(total)).saturating_sub(position)).min(piece_end), piece_end)
                        }
                        Survivors::Random(_) => {
                            if next_random(&mut random) & 1 == 0 {
                                (at, at)
                            } else {
                                (at, piece_end)
                            }
                        }
                    };
                    if first < last {
                        inode.current[first..last].copy_from_slice(&bytes[first - offset..last - offset]);
                    }
                    position += piece_end - at;
                    at = piece_end;
                }
            }
            inode.durable.clone_from(&inode.current);
        }
        let changes = std::mem::take(&mut state.unsynced_names);
        let kept = match survivors {
            Survivors::Nothing => 0,
            Survivors::Random(_) => usize::try_from(next_random(&mut random)).unwrap_or(0) % (changes.len() + 1),
            _ => changes.len(),
        };
        let mut names = state.durable_names.clone();
        for change in changes.into_iter().take(kept) {
            apply(&mut names, change);
        }
        state.names.clone_from(&names);
        state.durable_names = names;
        drop(state);
        disk
    }

    /// Changes stored bytes behind the journal's back.
    pub(super) fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let inode = state.names[name];
        let inode = &mut state.inodes[inode];
        change(&mut inode.current);
        inode.durable.clone_from(&inode.current);
    }

    /// Removes a file behind the journal's back.
    pub(super) fn remove_file(&self, name: &str) {
        let mut state = self.state();
        state.names.remove(name).expect("it is there");
        state.durable_names.remove(name);
    }

    pub(super) fn content(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.inodes[state.names[name]].current.clone()
    }

    /// The names, without the order of `list`.
    pub(super) fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    fn begin(&self, what: impl FnOnce() -> String) -> (MutexGuard<'_, State>, Option<io::Error>) {
        let mut state = self.state();
        let number = state.operations;
        state.operations += 1;
        let what = what();
        state.log.push(what);
        if state.plan.is_some_and(|(at, fault)| at == number && fault == Fault::PowerLoss) {
            state.dead = true;
        }
        let error = match state.plan {
            _ if state.dead => Some(io::Error::other("power lost")),
            Some((at, Fault::Errno(code))) if at == number => Some(io::Error::from_raw_os_error(code)),
            _ => None,
        };
        (state, error)
    }
}

fn next_random(state: &mut u64) -> u64 {
    // splitmix64
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn apply(names: &mut BTreeMap<String, usize>, change: NameChange) {
    match change {
        NameChange::Set(name, inode) => {
            names.insert(name, inode);
        }
        NameChange::Rename(from, to) => {
            if let Some(inode) = names.remove(&from) {
                names.insert(to, inode);
            }
        }
        NameChange::Remove(name) => {
            names.remove(&name);
        }
    }
}

impl State {
    fn change_names(&mut self, change: NameChange) {
        apply(&mut self.names, change.clone());
        self.unsynced_names.push(change);
    }
}

impl Inode {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        if self.current.len() < offset + bytes.len() {
            self.current.resize(offset + bytes.len(), 0);
        }
        self.current[offset..offset + bytes.len()].copy_from_slice(bytes);
        self.unsynced.push((offset, bytes.to_vec()));
    }

    fn sync(&mut self) {
        for (offset, bytes) in std::mem::take(&mut self.unsynced) {
            if self.durable.len() < offset + bytes.len() {
                self.durable.resize(offset + bytes.len(), 0);
            }
            self.durable[offset..offset + bytes.len()].copy_from_slice(&bytes);
        }
    }
}

fn missing() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl Disk for SimDisk {
    fn path(&self) -> &Path {
        Path::new("sim")
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let (state, error) = self.begin(|| format!("open {name}"));
        match error {
            Some(error) => Err(error),
            None => Ok(Arc::new(SimFile(self.clone(), *state.names.get(name).ok_or_else(missing)?))),
        }
    }

    fn create(&self, name: &str, _len: u64) -> io::Result<Arc<dyn DiskFile>> {
        let (mut state, error) = self.begin(|| format!("create {name}"));
        if let Some(error) = error {
            return Err(error);
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.change_names(NameChange::Set(name.to_owned(), inode));
        drop(state);
        Ok(Arc::new(SimFile(self.clone(), inode)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (mut state, error) = self.begin(|| format!("rename {from} {to}"));
        if let Some(error) = error {
            return Err(error);
        }
        if !state.names.contains_key(from) {
            return Err(missing());
        }
        state.change_names(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let (mut state, error) = self.begin(|| format!("remove {name}"));
        if let Some(error) = error {
            return Err(error);
        }
        if !state.names.contains_key(name) {
            return Err(missing());
        }
        state.change_names(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let (mut state, error) = self.begin(|| "sync_dir".to_owned());
        if let Some(error) = error {
            return Err(error);
        }
        state.unsynced_names.clear();
        state.durable_names = state.names.clone();
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.state().inodes[self.1].current.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.0.state();
        let offset = usize::try_from(offset).expect("small");
        let bytes = state.inodes[self.1]
            .current
            .get(offset..offset + buffer.len())
            .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (mut state, error) = self.0.begin(|| format!("write {} {offset}+{}", self.1, bytes.len()));
        let dead = state.dead;
        let inode = &mut state.inodes[self.1];
        let offset = usize::try_from(offset).expect("small");
        match error {
            None => {
                inode.write(bytes, offset);
                Ok(())
            }
            Some(error) => {
                if !dead {
                    inode.write(&bytes[..bytes.len() / 2], offset);
                }
                Err(error)
            }
        }
    }

    fn write_blocks(&self, blocks: &[u8], offset: u64) -> io::Result<()> {
        assert!(blocks.len().is_multiple_of(4096) && offset.is_multiple_of(4096), "direct I/O refuses this");
        self.write_at(blocks, offset)
    }

    fn sync(&self) -> io::Result<()> {
        let (mut state, error) = self.0.begin(|| format!("sync {}", self.1));
        let dead = state.dead;
        let inode = &mut state.inodes[self.1];
        match error {
            None => {
                inode.sync();
                Ok(())
            }
            Some(error) => {
                if !dead {
                    // The pages are clean now, and the disk does not have them.
                    inode.unsynced.clear();
                }
                Err(error)
            }
        }
    }

    fn drop_cache(&self) {
        let mut state = self.0.state();
        let inode = &mut state.inodes[self.1];
        if inode.unsynced.is_empty() {
            inode.current.clone_from(&inode.durable);
        }
    }
}
