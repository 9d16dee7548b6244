//! Notifications on disk, a file each: they outlive the process. Absent: sending them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{Entry, State};

/// Directory of the files, below the data directory.
const DIRECTORY: &str = "outbox";
/// Settled notifications that are kept: to show, and to know duplicates by.
const SETTLED_KEPT: usize = 1_000;
/// Notifications that may wait. Far more than operators send; a loop of a script must not fill the disk.
const WAITING_MAX: usize = 1_000;

/// All notifications that are known.
#[derive(Debug)]
pub(crate) struct Outbox {
    directory: PathBuf,
    entries: Mutex<BTreeMap<String, Entry>>,
    /// One writer at a time, so that two of the same are not both new. Held while the disk is waited for, and so only
    /// by threads that may.
    writing: Mutex<()>,
    /// Told of everything that is put.
    pub(crate) news: Notify,
}

/// What became of a notification that was put.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// It is on disk.
    New(Entry),
    /// It was there already.
    Known(Entry),
    /// Too many wait.
    Full,
}

impl Outbox {
    /// Reads what is there. A file that cannot be read is left alone and told of.
    pub(crate) fn open(data_dir: &Path) -> io::Result<Self> {
        let directory = data_dir.join(DIRECTORY);
        let mut entries = BTreeMap::new();
        // The first notification makes the directory.
        let files = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            files => Some(files?),
        };
        for file in files.into_iter().flatten() {
            let path = file?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match serde_json::from_slice::<Entry>(&fs::read(&path)?) {
                Ok(entry) => _ = entries.insert(entry.id.clone(), entry),
                Err(error) => {
                    tracing::error!(file = %path.display(), %error, "a notification cannot be read and is not sent");
                }
            }
        }
        let (entries, writing) = (Mutex::new(entries), Mutex::default());
        Ok(Self { directory, entries, writing, news: Notify::new() })
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a notification on disk, unless it is a duplicate of one made since `since_us`. Waits for the disk.
    pub(crate) fn put(&self, entry: Entry, since_us: u64) -> io::Result<Put> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = self.duplicate(&entry, since_us) {
            return Ok(Put::Known(known));
        }
        if self.waiting() >= WAITING_MAX {
            return Ok(Put::Full);
        }
        self.write(&entry)?;
        self.entries().insert(entry.id.clone(), entry.clone());
        self.news.notify_one();
        Ok(Put::New(entry))
    }

    /// One of the same key, or of the same order, that was not given up.
    pub(crate) fn duplicate(&self, entry: &Entry, since_us: u64) -> Option<Entry> {
        let entries = self.entries();
        let same = |known: &&Entry| {
            let order = !entry.request_id.is_empty() && known.request_id == entry.request_id;
            let content = known.created_us >= since_us && known.dedupe_key == entry.dedupe_key;
            known.kind == entry.kind && known.state != State::GivenUp && (order || content)
        };
        entries.values().rev().find(same).cloned()
    }

    /// Writes what became of a notification. Waits for the disk.
    pub(crate) fn update(&self, entry: Entry) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(&entry)?;
        self.entries().insert(entry.id.clone(), entry);
        self.forget_old()
    }

    /// The one to deliver next: of the oldest of each kind, those that are due, the most urgent kind first; of others, the
    /// one that is due first. A newer one waits while an older one of its kind is tried again: receivers see a kind in
    /// order.
    pub(crate) fn next(&self, now_us: u64) -> Option<Entry> {
        let entries = self.entries();
        let mut kinds = BTreeSet::new();
        let waiting = entries.values().filter(|entry| entry.state == State::Waiting && kinds.insert(entry.kind));
        let order = |entry: &&Entry| {
            let due = entry.due_us <= now_us;
            (!due, if due { 0 } else { entry.due_us }, entry.kind, entry.id.clone())
        };
        waiting.min_by_key(order).cloned()
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.entries().values().filter(|entry| entry.state == State::Waiting).count()
    }

    /// The newest first.
    pub(crate) fn newest(&self, most: usize) -> Vec<Entry> {
        self.entries().values().rev().take(most).cloned().collect()
    }

    fn forget_old(&self) -> io::Result<()> {
        let old: Vec<String> = {
            let entries = self.entries();
            let settled = entries.values().rev().filter(|entry| entry.state != State::Waiting);
            settled.skip(SETTLED_KEPT).map(|entry| entry.id.clone()).collect()
        };
        for id in old {
            fs::remove_file(self.path(&id))?;
            self.entries().remove(&id);
        }
        Ok(())
    }

    fn path(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }

    /// In one step: a crash leaves the old file or the new one.
    fn write(&self, entry: &Entry) -> io::Result<()> {
        let path = self.path(&entry.id);
        let new = path.with_extension("new");
        fs::create_dir_all(&self.directory)?;
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(entry)?)?;
        file.sync_data()?;
        fs::rename(&new, &path)?;
        File::open(&self.directory)?.sync_all()
    }
}
