//! What jemalloc says of itself. Absent: choosing it; the binary does that with `#[global_allocator]`.

use tikv_jemalloc_ctl::{Access, AsName, epoch, profiling, stats};

use super::AllocatorStats;

/// Asks jemalloc, for [`super::MemoryAccounts::set_allocator`]. Numbers that it does not give are 0.
///
/// Sampling is on only if it was switched on at the start of the process (`opt.prof`) and has not been switched off
/// since (`prof.active`).
#[must_use]
pub fn jemalloc() -> AllocatorStats {
    // The statistics are a copy that only advancing the epoch renews.
    if epoch::advance().is_err() {
        return AllocatorStats::default();
    }
    let bytes = |number: tikv_jemalloc_ctl::Result<usize>| number.map_or(0, |n| n as u64);
    let possible = profiling::prof::read().unwrap_or(false);
    let active = || b"prof.active\0".name().read().unwrap_or(false);
    AllocatorStats {
        allocator: "jemalloc",
        allocated: bytes(stats::allocated::read()),
        active: bytes(stats::active::read()),
        resident: bytes(stats::resident::read()),
        mapped: bytes(stats::mapped::read()),
        retained: bytes(stats::retained::read()),
        profiling_enabled: possible && active(),
    }
}
