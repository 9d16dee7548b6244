//! Why projecting stands still, told by the projector to whoever asks. Absent: what follows from it.

use std::sync::{Arc, Mutex, PoisonError};

/// Why projecting stands still; empty while it does not. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Standstill(Arc<Mutex<String>>);

impl Standstill {
    /// The reason, if there is one.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        let reason = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (!reason.is_empty()).then(|| reason.clone())
    }

    /// It stands still because of this.
    pub(crate) fn set(&self, reason: &str) {
        reason.clone_into(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// It goes on.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
