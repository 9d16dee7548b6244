//! The place where backups are kept: a directory, one directory in it for each backup.
//!
//! A file is written under another name, synced and renamed; the manifest comes last, after everything else is
//! durable. What has no manifest is left of an attempt that failed, and is not listed. Every file is read against the
//! hash in its manifest. Deliberately absent: what the files mean.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use super::BackupError;
use super::manifest::{FilePart, MANIFEST, MANIFEST_HASH, Manifest};

/// Word for the newest backup.
const LATEST: &str = "latest";

/// Where backups are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location(PathBuf);

/// The name of a backup, with what it says of itself or why nothing can be believed of it.
pub type Listed = (String, Result<Manifest, BackupError>);

/// A backup that is being written.
pub(super) struct Writing {
    directory: PathBuf,
    files: Vec<FilePart>,
}

/// A backup that is read.
#[derive(Debug)]
pub(super) struct Reading {
    directory: PathBuf,
    pub(super) manifest: Manifest,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Location {
    /// A directory; made when the first backup is.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into())
    }

    /// The configured place of a node.
    #[must_use]
    pub fn of(config: &crate::Config, data_dir: &Path) -> Self {
        Self(config.backup.location.clone().unwrap_or_else(|| data_dir.join("backups")))
    }

    fn failed(&self, error: &io::Error) -> BackupError {
        BackupError::Place { place: self.0.display().to_string(), reason: error.to_string() }
    }

    /// All backups, the newest last.
    ///
    /// # Errors
    /// [`BackupError::Place`] if the directory cannot be read. One that does not exist holds no backups.
    pub fn list(&self) -> Result<Vec<Listed>, BackupError> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.failed(&error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| self.failed(&error))?;
            if let Ok(name) = entry.file_name().into_string()
                && entry.path().join(MANIFEST).exists()
            {
                names.push(name);
            }
        }
        // Their names begin with their time.
        names.sort_unstable();
        Ok(names.into_iter().map(|name| (name.clone(), self.open(&name).map(|reading| reading.manifest))).collect())
    }

    /// The id that `id` means: itself, or that of the newest one for "latest".
    ///
    /// # Errors
    /// [`BackupError::Unknown`] if there is none at all.
    pub fn resolve(&self, id: &str) -> Result<String, BackupError> {
        if id != LATEST {
            return Ok(id.to_owned());
        }
        self.list()?.pop().map(|(id, _)| id).ok_or_else(|| self.unknown(id))
    }

    fn unknown(&self, id: &str) -> BackupError {
        BackupError::Unknown { id: id.to_owned(), place: self.0.display().to_string() }
    }

    pub(super) fn open(&self, id: &str) -> Result<Reading, BackupError> {
        let plain = Path::new(id).components().all(|part| matches!(part, Component::Normal(_))) && !id.contains('/');
        let directory = self.0.join(id);
        if id.is_empty() || !plain || !directory.is_dir() {
            return Err(self.unknown(id));
        }
        let read = |name: &str| match fs::read(directory.join(name)) {
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(BackupError::damaged(id, format!("{name} cannot be read ({error})"))),
        };
        let manifest = Manifest::decode(id, &read(MANIFEST)?, &read(MANIFEST_HASH)?)?;
        Ok(Reading { directory, manifest })
    }

    pub(super) fn begin(&self, id: &str) -> Result<Writing, BackupError> {
        let directory = self.0.join(id);
        fs::create_dir_all(&directory).map_err(|error| self.failed(&error))?;
        Ok(Writing { directory, files: Vec::new() })
    }
}

impl Writing {
    /// Writes a file, durably.
    pub(super) fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), BackupError> {
        self.write(name, bytes)?;
        let blake3 = blake3::hash(bytes).to_hex().to_string();
        self.files.push(FilePart { name: name.to_owned(), bytes: bytes.len() as u64, blake3 });
        Ok(())
    }

    /// Completes the backup.
    pub(super) fn finish(mut self, mut manifest: Manifest) -> Result<Manifest, BackupError> {
        manifest.files = std::mem::take(&mut self.files);
        let (text, hash) = manifest.encode()?;
        self.write(MANIFEST_HASH, &hash)?;
        self.write(MANIFEST, &text)?;
        // The name of the backup's own directory.
        self.directory.parent().map_or(Ok(()), sync_directory).map_err(|error| self.failed(&error))?;
        Ok(manifest)
    }

    /// Takes back what was written: it is no backup.
    pub(super) fn abandon(self) {
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            tracing::warn!(%error, directory = %self.directory.display(), "an unfinished backup was not removed");
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), BackupError> {
        let path = self.directory.join(name);
        write_durably(&path, bytes).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> BackupError {
        BackupError::Place { place: self.directory.display().to_string(), reason: error.to_string() }
    }
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or_else(|| io::Error::other("no directory"))?;
    fs::create_dir_all(directory)?;
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_directory(directory)
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

impl Reading {
    /// A file of the backup, whole and as it was written.
    pub(super) fn file(&self, name: &str) -> Result<Bytes, BackupError> {
        let id = &self.manifest.id;
        let known = self.manifest.files.iter().find(|file| file.name == name);
        let known = known.ok_or_else(|| BackupError::damaged(id, format!("its manifest does not list {name}")))?;
        let bytes = fs::read(self.directory.join(name))
            .map_err(|error| BackupError::damaged(id, format!("{name} cannot be read ({error})")))?;
        if bytes.len() as u64 != known.bytes || blake3::hash(&bytes).to_hex().as_str() != known.blake3 {
            return Err(BackupError::damaged(id, format!("{name} is not what was written")));
        }
        Ok(bytes.into())
    }
}
