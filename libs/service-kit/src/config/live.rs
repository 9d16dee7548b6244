//! A value of the configuration that may change while the process runs. Absent: who changes it; see
//! [`super::InForce`].

use std::fmt;
use std::future;
use std::sync::Arc;

use tokio::sync::watch;

/// What is in force now, and word of every change. Clones are told of each change, each for itself.
///
/// Looking takes a lock for a moment: what is asked for with every order keeps a copy and follows the changes.
pub struct Live<T>(watch::Receiver<Arc<T>>);

impl<T> Live<T> {
    /// One that never changes.
    #[must_use]
    pub fn fixed(value: T) -> Self {
        Self(watch::channel(Arc::new(value)).1)
    }

    pub(super) const fn following(receiver: watch::Receiver<Arc<T>>) -> Self {
        Self(receiver)
    }

    /// What is in force.
    #[must_use]
    pub fn now(&self) -> Arc<T> {
        Arc::clone(&self.0.borrow())
    }

    /// Waits for a change after the last one that was told here, and returns what is in force then. Never returns
    /// where nothing can change any more. May be dropped while it waits; nothing is missed.
    pub async fn changed(&mut self) -> Arc<T> {
        match self.0.changed().await {
            Ok(()) => Arc::clone(&self.0.borrow_and_update()),
            Err(_) => future::pending().await,
        }
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> From<T> for Live<T> {
    fn from(value: T) -> Self {
        Self::fixed(value)
    }
}

impl<T: fmt::Debug> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Live").field(&*self.now()).finish()
    }
}
