//! What only the machine of the node knows: its disk and the mode of its key. Absent: other machines.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use service_kit::auth::local;

use super::Check;

/// Free share of the disk below which it is short, percent. A journal that cannot grow stops trading.
const FREE_PERCENT: u64 = 10;

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
    if percent >= FREE_PERCENT {
        Check::ok("host", "disk", said)
    } else {
        let hint = "make room or enlarge the volume: the journal stops when the disk is full";
        Check::failed("host", "disk", said, hint)
    }
}

fn key(path: &Path) -> Option<Check> {
    let mode = std::fs::symlink_metadata(path).ok()?.mode() & 0o777;
    Some(if mode & 0o077 == 0 {
        Check::ok("host", "local key", "only its owner can read it")
    } else {
        let hint = format!("chmod 600 {}, and restart the node for a new one", path.display());
        Check::failed("host", "local key", format!("has mode {mode:o}: others can read it"), hint)
    })
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_disk_that_is_nearly_full_fails() {
        assert_eq!(space(100 << 30, 500 << 30).verdict, Verdict::Ok);
        assert_eq!(space(10 << 30, 500 << 30).verdict, Verdict::Failed);
        assert_eq!(space(0, 0).verdict, Verdict::Failed);
    }
}
