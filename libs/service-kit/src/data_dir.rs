//! One process per data directory: an advisory lock on a file that names its holder. The kernel releases it when the
//! process ends, however it ends, so there is no stale lock. Absent: what is kept in the directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Name of the lock file.
const LOCK_FILE: &str = "LOCK";

/// A locked data directory. The lock is held until this is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Why a data directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has it.
    #[error("data directory {} is in use by process {holder}; stop it or choose another data_dir", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Its process id, or "unknown".
        holder: String,
    },
    /// It cannot be created, or the lock file cannot be written.
    #[error("cannot use data directory {}; check that it exists and is writable", path.display())]
    Io {
        /// The directory, or the file in it.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

impl DataDir {
    /// Creates the directory if needed and locks it for this process.
    ///
    /// # Errors
    /// [`DataDirError::InUse`] naming the holder, or [`DataDirError::Io`].
    pub fn lock(path: impl Into<PathBuf>) -> Result<Self, DataDirError> {
        let path = path.into();
        let failed = |at: &Path| {
            let path = at.to_owned();
            move |source| DataDirError::Io { path, source }
        };
        fs::create_dir_all(&path).map_err(failed(&path))?;
        let file_path = path.join(LOCK_FILE);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&file_path)
            .map_err(failed(&file_path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(DataDirError::InUse { path, holder: holder(&mut file) }),
            Err(errno) => return Err(failed(&file_path)(errno.into())),
        }
        // Only for people and for the message above; the lock itself does not depend on it.
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(failed(&file_path))?;
        Ok(Self { path, _lock: file })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}
