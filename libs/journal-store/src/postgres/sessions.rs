//! What is known of the sessions of a storage from outside of the threads that use them: how many are open, and that
//! those there are shall be replaced. Absent: the sessions.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Sessions that one storage may have open: its writer's, its reader's and, now and then, those that
/// store and load snapshots.
pub const SESSIONS: u32 = 4;

/// Name that all of them have on the server.
pub const APPLICATION_NAME: &str = "hivemind-journal";

/// Watches the sessions of one storage. Clones watch the same.
#[derive(Clone, Debug, Default)]
pub struct Sessions(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    open: AtomicU32,
    renewal: AtomicU64,
    last_error: Mutex<String>,
}

/// Counts a session for as long as it is open.
pub(super) struct Open {
    sessions: Sessions,
    /// Renewals that had been ordered when it was opened.
    renewal: u64,
}

impl Sessions {
    /// How many are open.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.0.open.load(Ordering::Relaxed)
    }

    /// What went wrong last; empty if nothing did.
    #[must_use]
    pub fn last_error(&self) -> String {
        self.0.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on every session that is open is replaced before it is used again.
    pub fn renew(&self) {
        // Relaxed: whoever uses a session reads it each time; nothing else hangs on it.
        self.0.renewal.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn opened(&self) -> Open {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        Open { sessions: self.clone(), renewal: self.0.renewal.load(Ordering::Relaxed) }
    }

    pub(super) fn failed(&self, reason: &str) {
        reason.clone_into(&mut self.0.last_error.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Open {
    /// Whether it is to be replaced.
    pub(super) fn is_outdated(&self) -> bool {
        self.renewal != self.sessions.0.renewal.load(Ordering::Relaxed)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.sessions.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
