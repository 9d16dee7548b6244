//! What the disk itself takes for what the journal does: a small write into a file of zeroes, and an fdatasync. No
//! answer can be faster.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::load::{LatencyUs, Recorder};

/// Size of a write: a batch of a few orders.
const WRITE: usize = 512;

/// Most writes; a p99.9 needs some thousands.
const WRITES: usize = 4_000;

/// Longest time spent on it, for slow disks.
const LONGEST: Duration = Duration::from_secs(5);

/// Writes and syncs in a file of its own below `directory`, and removes it.
pub(super) fn measure(directory: &Path) -> Result<LatencyUs> {
    let mut file = tempfile::tempfile_in(directory).context("cannot make a file to measure the disk with")?;
    file.write_all(&vec![0; WRITE * WRITES]).context("cannot write to the disk")?;
    file.sync_all().context("cannot sync the disk")?;
    file.seek(SeekFrom::Start(0)).context("cannot seek")?;
    let mut recorder = Recorder::new()?;
    let block = [0x5a; WRITE];
    let start = Instant::now();
    for _ in 0..WRITES {
        let before = Instant::now();
        file.write_all(&block).context("cannot write to the disk")?;
        file.sync_data().context("cannot sync the disk")?;
        recorder.record(before.elapsed());
        if start.elapsed() > LONGEST {
            break;
        }
    }
    Ok(recorder.summary())
}
