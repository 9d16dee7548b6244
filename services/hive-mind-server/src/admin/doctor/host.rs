//! What only the machine of the node knows: its disk and the mode of its key. Absent: other machines.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use service_kit::auth::local;

use super::Check;

/// Free space below which a disk is full in all but name, bytes: some journal segments and one snapshot. A journal that
/// cannot grow stops trading.
const FREE_LEAST: u64 = 1 << 30;

/// Free space, and share in percent, below both of which it will soon be.
const FREE_SOON: (u64, u64) = (10 << 30, 10);

/// Nothing if no node has its data here.
pub(super) fn checks(data_dir: &Path) -> Vec<Check> {
    if !data_dir.is_dir() {
        return Vec::new();
    }
    disk(data_dir).into_iter().chain(key(&data_dir.join(local::FILE))).collect()
}

fn disk(data_dir: &Path) -> Option<Check> {
    let volume = rustix::fs::statvfs(data_dir).ok()?;
    let free = volume.f_bavail.saturating_mul(volume.f_frsize);
    let all = volume.f_blocks.saturating_mul(volume.f_frsize).max(1);
    Some(space(free, all))
}

fn space(free: u64, all: u64) -> Check {
    let percent = free / (all / 100).max(1);
    let said = format!("{} GiB free, {percent} % of the disk of the data directory", free >> 30);
    let hint = "make room or enlarge the volume: the journal stops when the disk is full";
    if free < FREE_LEAST {
        Check::failed("host", "disk", said, hint)
    } else if free < FREE_SOON.0 && percent < FREE_SOON.1 {
        Check::warning("host", "disk", said, hint)
    } else {
        Check::ok("host", "disk", said)
    }
}

fn key(path: &Path) -> Option<Check> {
    let mode = std::fs::symlink_metadata(path).ok()?.mode() & 0o777;
    Some(if mode & 0o077 == 0 {
        Check::ok("host", "local key", "only its owner can read it")
    } else {
        let hint = format!("delete {} and restart the node: it makes a new one", path.display());
        Check::failed("host", "local key", format!("has mode {mode:o}: others can read it"), hint)
    })
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_disk_is_short_when_little_is_left() {
        assert_eq!(space(100 << 30, 500 << 30).verdict, Verdict::Ok);
        assert_eq!(space(17 << 30, 500 << 30).verdict, Verdict::Ok, "a small share of a large disk is enough");
        assert_eq!(space(9 << 30, 500 << 30).verdict, Verdict::Warning);
        assert_eq!(space(9 << 30, 20 << 30).verdict, Verdict::Ok);
        assert_eq!(space(1 << 29, 2 << 30).verdict, Verdict::Failed);
        assert_eq!(space(0, 0).verdict, Verdict::Failed);
    }
}
