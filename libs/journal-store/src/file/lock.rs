//! One process per data directory: an advisory lock on a file that also names its holder.
//!
//! Deliberately absent: waiting. The second opener is told at once.

use std::fs;
use std::io::Write;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::StoreError;

const NAME: &str = "lock";

/// Held as long as it lives; the kernel releases it with the process, however that ends.
#[derive(Debug)]
pub(crate) struct DirectoryLock(fs::File);

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child that is just being started has it open too, for a moment.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl DirectoryLock {
    pub(crate) fn take(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(NAME);
        let failed = |operation, source| StoreError::io(operation, path.display().to_string(), source);
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|source| failed("open", source))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let pid = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
                return Err(StoreError::Locked { path: directory.to_owned(), pid });
            }
            Err(error) => return Err(failed("lock", error.into())),
        }
        // The number only serves the message above; losing it loses nothing.
        file.set_len(0)
            .and_then(|()| write!(file, "{}", std::process::id()))
            .map_err(|source| failed("write", source))?;
        Ok(Self(file))
    }
}
