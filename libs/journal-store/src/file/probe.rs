//! How long the disk takes to make a small write durable: the floor below every acknowledgement.

use std::path::Path;
use std::time::{Duration, Instant};

use rand::Rng;

use super::disk::{Disk, OsDisk, create_zeroed};
use crate::StoreError;

/// Bytes written before each sync: a small unit.
const WRITE_BYTES: usize = 512;
/// Length of the file, prewritten like a segment.
const FILE_BYTES: u64 = 4 << 20;
const NAME: &str = "probe.tmp";

/// Durations of one write of 512 bytes and its fdatasync, in a file prewritten like a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentiles {
    /// Half of the samples are at most this long.
    pub p50: Duration,
    /// 99 % are.
    pub p99: Duration,
    /// 99.9 % are.
    pub p999: Duration,
    /// All are.
    pub max: Duration,
}

/// Measures `samples` (at least one) syncs in `dir`, which is made if missing, one every `interval`, or one after the
/// other if that is zero. A paced disk is slower: processor and device have gone to rest in between. The file used is
/// removed.
///
/// # Errors
/// [`StoreError::Io`] or [`StoreError::Full`].
#[expect(clippy::disallowed_methods, reason = "paced like the load it stands for")]
pub fn probe_sync(dir: &Path, samples: usize, interval: Duration) -> Result<Percentiles, StoreError> {
    let failed = |source| super::segment::full_or_failed("probe", NAME, source);
    let disk = OsDisk::open(dir).map_err(failed)?;
    // A name of its own, so that a running journal or another probe is not disturbed.
    let name = format!("{:08x}-{NAME}", rand::rng().random::<u32>());
    let file = create_zeroed(&disk, &name, FILE_BYTES).map_err(failed)?;
    let mut durations = Vec::with_capacity(samples.max(1));
    let bytes = [0x5a; WRITE_BYTES];
    let mut due = Instant::now();
    let result = (0..samples.max(1)).try_for_each(|sample| {
        let offset = (sample * WRITE_BYTES) as u64 % FILE_BYTES;
        let start = Instant::now();
        file.write_at(&bytes, offset)?;
        file.sync()?;
        durations.push(start.elapsed());
        due += interval;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        Ok(())
    });
    disk.remove(&name).and(result).map_err(failed)?;
    durations.sort_unstable();
    let at = |per_mille: usize| durations[(durations.len() * per_mille / 1000).min(durations.len() - 1)];
    Ok(Percentiles { p50: at(500), p99: at(990), p999: at(999), max: at(1000) })
}
