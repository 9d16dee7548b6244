//! How often the program has asked jemalloc for memory. Absent: how much; see [`super::jemalloc`].

use tikv_jemalloc_ctl::{Access, AsName, epoch};

/// Allocations since the start of the process. Each thread adds its own every few thousand; `None` where jemalloc is
/// not the allocator, or keeps no statistics.
#[must_use]
pub(crate) fn allocations() -> Option<u64> {
    epoch::advance().ok()?;
    // 4096 stands for all arenas together (MALLCTL_ARENAS_ALL).
    let small: u64 = b"stats.arenas.4096.small.nrequests\0".name().read().ok()?;
    let large: u64 = b"stats.arenas.4096.large.nrequests\0".name().read().ok()?;
    Some(small + large).filter(|sum| *sum > 0)
}
