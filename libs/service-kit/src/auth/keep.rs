//! Taking keys away and making new ones while the node runs.
//!
//! Deliberately absent: writing into a mounted secret. Whoever has one puts new keys there (`admin keys new` prints what
//! to put) and revokes the former ones here.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use wire::api_key::{ApiKey, ApiKeyError};

use super::files::{self, Given};
use super::key::{self, KeyHash};
use super::ring::Entry;
use super::{Auth, KeyInfo};
use crate::caller::{Accounts, Role};

/// Why keys stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// No key of this id is in force.
    #[error("no key has the id {id:?}: `admin keys list` shows those that are in force")]
    Unknown {
        /// The id.
        id: String,
    },
    /// There is no directory, or it cannot be written.
    #[error(
        "a new key cannot be put into {directory} ({reason}): make one with `admin keys new`, put its entry into the \
         secret, and revoke the former one"
    )]
    ReadOnly {
        /// The directory.
        directory: String,
        /// The system's reason.
        reason: String,
    },
    /// What was revoked cannot be kept.
    #[error("cannot write down that the key was revoked, so it was not: {0}")]
    Revoked(io::Error),
}

/// A key that was made.
#[derive(Debug)]
pub struct Rotated {
    /// The key; none in a dry run.
    pub key: Option<ApiKey>,
    /// What it is for.
    pub info: KeyInfo,
    /// Keys that were revoked.
    pub revoked: usize,
}

impl KeyInfo {
    pub(super) fn of(entry: &Entry) -> Self {
        Self { loopback_only: entry.loopback_only, ..Self::given(&entry.given) }
    }

    pub(super) fn over(given: &Given) -> Self {
        Self { expired: true, ..Self::given(given) }
    }

    fn given(given: &Given) -> Self {
        let Given { id, role, accounts, hash, expires_us } = given.clone();
        let fingerprint = hash.fingerprint();
        Self { id, role, accounts, fingerprint, loopback_only: false, expires_us, expired: false }
    }
}

/// A new key, and the lines of a key file that list it.
///
/// # Errors
/// When `id` is none.
pub fn new_entry(id: &str, role: Role, accounts: Accounts) -> Result<(ApiKey, String), ApiKeyError> {
    new_entry_until(id, role, accounts, None)
}

/// The same for a key that is refused from some time on, microseconds since the Unix epoch.
///
/// # Errors
/// When `id` is none.
pub fn new_entry_until(
    id: &str,
    role: Role,
    accounts: Accounts,
    expires_us: Option<u64>,
) -> Result<(ApiKey, String), ApiKeyError> {
    let key = key::generate(id)?;
    let given = Given { id: id.to_owned(), role, accounts, hash: KeyHash::of(&key), expires_us };
    Ok((key, files::entry(&given)))
}

impl Auth {
    /// Revokes every key of this id, whatever the files list, or only those whose fingerprint begins with `fingerprint`,
    /// and says how many were in force. A later key of the same id is another one. A dry run changes nothing.
    ///
    /// # Errors
    /// [`KeepError::Revoked`].
    pub fn revoke(&self, id: &str, fingerprint: &str, dry_run: bool) -> Result<usize, KeepError> {
        let meant = self.listed(id).into_iter().map(|entry| entry.given.hash);
        let hashes: HashSet<KeyHash> = meant.filter(|hash| hash.fingerprint().starts_with(fingerprint)).collect();
        if !hashes.is_empty() && !dry_run {
            self.0.revoked.add(&hashes).map_err(KeepError::Revoked)?;
            self.read_again();
        }
        Ok(hashes.len())
    }

    /// Makes a new key like the one of this id, and revokes the former ones unless they are to be kept. It is good until
    /// `expires_us`, or as long as the former one if none is given. A dry run changes nothing.
    ///
    /// # Errors
    /// [`KeepError`].
    pub fn rotate(
        &self,
        id: &str,
        keep_former: bool,
        expires_us: Option<u64>,
        dry_run: bool,
    ) -> Result<Rotated, KeepError> {
        let unknown = || KeepError::Unknown { id: id.to_owned() };
        let former = self.listed(id);
        let pattern = former.first().ok_or_else(unknown)?.given.clone();
        let key = key::generate(id).map_err(|_| unknown())?;
        let expires_us = expires_us.or(pattern.expires_us);
        let given = Given { hash: KeyHash::of(&key), expires_us, ..pattern };
        let info = KeyInfo::given(&given);
        let revoked = if keep_former { 0 } else { former.len() };
        if dry_run {
            return Ok(Rotated { key: None, info, revoked });
        }
        let written = self.put(&given).map_err(|error| KeepError::ReadOnly {
            directory: self.0.keys_dir.display().to_string(),
            reason: error.to_string(),
        })?;
        if !keep_former {
            let hashes = former.iter().map(|entry| entry.given.hash).collect();
            self.0.revoked.add(&hashes).map_err(|error| {
                // A key that nobody was given must not come into force.
                fs::remove_file(&written).ok();
                KeepError::Revoked(error)
            })?;
        }
        self.read_again();
        Ok(Rotated { key: Some(key), info, revoked })
    }

    /// Listed keys of this id: neither the local one nor that of the processes.
    fn listed(&self, id: &str) -> Vec<Arc<Entry>> {
        self.0.ring.load().listed(id)
    }

    /// Where it was put.
    fn put(&self, given: &Given) -> io::Result<PathBuf> {
        let directory = &self.0.keys_dir;
        let name = format!("rotated-{}-{}.toml", given.id, given.hash.fingerprint());
        let (temporary, path) = (directory.join(format!(".{name}")), directory.join(&name));
        let write = || {
            // Whoever may read the directory may read hashes; nobody else should.
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(files::entry(given).as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        };
        write().inspect_err(|_| {
            fs::remove_file(&temporary).ok();
        })?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::audit::Audit;
    use crate::auth::config::Config;

    fn open(keys: &std::path::Path, data: &std::path::Path) -> Auth {
        let config = Config { keys_dir: keys.to_owned(), ..Config::default() };
        let local = key::generate("local-admin").expect("an id");
        Auth::new(&config, &local, data, Audit::none()).expect("readable")
    }

    #[test]
    fn a_key_is_replaced_or_taken_away_and_stays_so_over_a_restart() {
        let (data, keys) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let (first, entry) = new_entry("ann", Role::Trader, Accounts::Only([7].into())).expect("an id");
        fs::write(keys.path().join("keys.toml"), entry).expect("written");
        let auth = open(keys.path(), data.path());
        let good = |auth: &Auth, key: &ApiKey| auth.0.ring.load().find(key, Instant::now()).is_some();
        assert!(good(&auth, &first));
        assert!(matches!(auth.rotate("bob", false, None, false), Err(KeepError::Unknown { .. })));
        assert_eq!(auth.rotate("ann", false, None, true).expect("possible").revoked, 1);
        assert!(good(&auth, &first), "a dry run changes nothing");

        let rotated = auth.rotate("ann", false, None, false).expect("writable");
        let second = rotated.key.expect("a key");
        assert_eq!((rotated.info.role, rotated.info.accounts), (Role::Trader, Accounts::Only([7].into())));
        assert!(good(&auth, &second) && !good(&auth, &first));
        let third = auth.rotate("ann", true, None, false).expect("writable").key.expect("a key");
        assert!(good(&auth, &second) && good(&auth, &third));

        let fingerprint = KeyHash::of(&second).fingerprint();
        assert_eq!(auth.revoke("ann", &fingerprint, true).expect("possible"), 1);
        assert!(good(&auth, &second), "a dry run changes nothing");
        assert_eq!(auth.revoke("ann", &fingerprint, false).expect("writable"), 1);
        assert_eq!(auth.revoke("ann", &fingerprint, false).expect("again"), 0);
        let again = open(keys.path(), data.path());
        assert!(good(&again, &third) && !good(&again, &second) && !good(&again, &first), "kept over a restart");
        assert_eq!(again.revoke("ann", "", false).expect("writable"), 1);
        assert!(!good(&again, &third));
    }

    #[test]
    fn without_a_directory_to_write_to_the_remedy_is_named() {
        let data = tempfile::tempdir().expect("a directory");
        let keys = data.path().join("keys");
        fs::create_dir(&keys).expect("made");
        fs::write(keys.join("keys.toml"), new_entry("ann", Role::Viewer, Accounts::All).expect("an id").1)
            .expect("written");
        let auth = open(&keys, data.path());
        fs::remove_dir_all(&keys).expect("removed");
        let error = auth.rotate("ann", false, None, false).expect_err("nowhere to put it").to_string();
        assert!(error.contains("admin keys new"), "{error}");
    }
}
