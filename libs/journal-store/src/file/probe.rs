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

/// What a disk gives to small durable writes, in a file prewritten like a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probed {
    /// One write of 512 bytes and its fdatasync.
    pub sync: Percentiles,
    /// From the moment a request was due until it was durable, with one write at a time that carries all that are due:
    /// no journal with one write under way answers sooner.
    pub commit: Percentiles,
}

/// How durations are distributed.
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

impl Percentiles {
    fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        let at = |per_mille: usize| durations[(durations.len() * per_mille / 1000).min(durations.len() - 1)];
        Self { p50: at(500), p99: at(990), p999: at(999), max: at(1000) }
    }
}

/// Measures in `dir`, which is made if missing, with `requests` (at least one), one due every `interval`; if that is
/// zero, each when the one before it is durable. A paced disk is slower: processor and device have gone to rest in
/// between. The file used is removed.
///
/// # Errors
/// [`StoreError::Io`] or [`StoreError::Full`].
#[expect(clippy::disallowed_methods, reason = "paced like the load it stands for")]
pub fn probe_sync(dir: &Path, requests: usize, interval: Duration) -> Result<Probed, StoreError> {
    let failed = |source| super::segment::full_or_failed("probe", NAME, source);
    let disk = OsDisk::open(dir).map_err(failed)?;
    // A name of its own, so that a running journal or another probe is not disturbed.
    let name = format!("{:08x}-{NAME}", rand::rng().random::<u32>());
    let file = create_zeroed(&disk, &name, FILE_BYTES).map_err(failed)?;
    let requests = requests.max(1);
    let (mut syncs, mut commits) = (Vec::with_capacity(requests), Vec::with_capacity(requests));
    let mut write = |number: usize| -> std::io::Result<Instant> {
        let start = Instant::now();
        file.write_at(&[0x5a; WRITE_BYTES], (number * WRITE_BYTES) as u64 % FILE_BYTES)?;
        file.sync()?;
        syncs.push(start.elapsed());
        Ok(start)
    };
    let mut due = Instant::now();
    let result = (|| -> std::io::Result<()> {
        while commits.len() < requests {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let start = write(commits.len())?;
            let end = Instant::now();
            if interval.is_zero() {
                commits.push(end - start);
                due = end;
            }
            while !interval.is_zero() && due <= start && commits.len() < requests {
                commits.push(end - due);
                due += interval;
            }
        }
        Ok(())
    })();
    disk.remove(&name).and(result).map_err(failed)?;
    Ok(Probed { sync: Percentiles::of(syncs), commit: Percentiles::of(commits) })
}
