//! Ways of doing the same faster, each of which can be switched off to see what it is worth, or to rule it out.
//!
//! Deliberately absent: anything that changes a result.

use journal_core::codec::checksum;
use serde::{Deserialize, Serialize};
use service_kit::metrics::record_feature;
use wire::convert::share_buffers;

/// What is switched on. All of it needs a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Performance {
    /// Checksums of the journal with vector instructions, where the processor has them. Default: true.
    pub(crate) enable_simd: bool,
    /// Entries of the journal, and the ids and hashes in requests for them, in buffers that they share, instead of each
    /// in its own. Default: true.
    pub(crate) enable_zero_copy: bool,
}

impl Default for Performance {
    fn default() -> Self {
        Self { enable_simd: true, enable_zero_copy: true }
    }
}

impl Performance {
    /// Applies it to the process, and records what is in use.
    pub(crate) fn apply(&self) {
        let vectors = checksum::use_vectors(self.enable_simd);
        if self.enable_simd && !vectors {
            tracing::warn!(
                "performance.enable_simd is set, but this processor lacks the instructions; tables are used"
            );
        }
        record_feature("simd", vectors);
        share_buffers(self.enable_zero_copy);
        record_feature("zero_copy", self.enable_zero_copy);
    }
}
