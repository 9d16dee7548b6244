//! Keys that an operator revoked, by their hashes: one a line in the data directory, so that they stay revoked over a
//! restart although the files of a mounted secret still list them.
//!
//! Deliberately absent: forgetting. A hash has 71 characters, and keys are not revoked by the thousand.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::key::KeyHash;

/// Its name in the data directory.
const FILE: &str = "revoked-keys";

/// See the module.
#[derive(Default)]
pub(super) struct Revoked {
    /// Without one, nothing is kept.
    path: Option<PathBuf>,
    hashes: Mutex<HashSet<KeyHash>>,
}

impl Revoked {
    /// Reads what was revoked.
    pub(super) fn open(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let hashes = text.lines().map(str::parse).collect::<Result<_, _>>();
        let hashes = hashes.map_err(|_| {
            let message = format!("{} is damaged: every line is a hash of a key", path.display());
            io::Error::new(io::ErrorKind::InvalidData, message)
        })?;
        Ok(Self { path: Some(path), hashes: Mutex::new(hashes) })
    }

    pub(super) fn hashes(&self) -> HashSet<KeyHash> {
        self.hashes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Durable when it has returned.
    pub(super) fn add(&self, new: &HashSet<KeyHash>) -> io::Result<()> {
        let mut hashes = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
        let all: HashSet<KeyHash> = hashes.union(new).copied().collect();
        if let Some(path) = &self.path {
            let temporary = path.with_extension("new");
            let mut file = File::create(&temporary)?;
            for hash in &all {
                writeln!(file, "{hash}")?;
            }
            file.sync_all()?;
            fs::rename(&temporary, path)?;
            path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())?;
        }
        *hashes = all;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::key;

    #[test]
    fn what_was_revoked_stays_so_and_damage_is_no_pardon() {
        let directory = tempfile::tempdir().expect("a directory");
        let hash = KeyHash::of(&key::generate("one").expect("an id"));
        let revoked = Revoked::open(directory.path()).expect("nothing there");
        assert!(revoked.hashes().is_empty());
        revoked.add(&[hash].into()).expect("written");
        assert_eq!(Revoked::open(directory.path()).expect("read").hashes(), [hash].into());
        fs::write(directory.path().join(FILE), "blake3:00\n").expect("damaged");
        assert!(Revoked::open(directory.path()).is_err());
    }
}
