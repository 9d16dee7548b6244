//! What every storage must do, as one suite: the three implementations of this crate run it, another one would.
//!
//! Deliberately absent: faults, which every medium has in its own form.

mod cases;
mod samples;

pub use samples::{batch, control, epoch, extend, truncating, unit};

use crate::Storage;

/// What a factory is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// An empty storage that was never used.
    Fresh,
    /// The storage of the call before, which is closed by now, as after a restart.
    Again,
}

/// Runs every case on storages made by `make`.
///
/// # Panics
/// When the storage does not do what it must; the message names the case.
pub fn run(mut make: impl FnMut(Opening) -> Box<dyn Storage>) {
    for (name, case) in cases::ALL {
        // Shown by the test runner only when a case fails; a panic alone would not say which.
        tracing::info!(case = name, "conformance");
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case(&mut make)));
        if let Err(panic) = outcome {
            let reason = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("see above");
            panic!("conformance case '{name}' failed: {reason}");
        }
    }
}
