//! Loads a configuration again when its file changes and on SIGHUP. Absent: what a reload does; see [`super::InForce`].
//!
//! The file is looked at, not watched: orchestrators put a new directory in the place of the old one (`..data`) and a
//! watch on the file would follow the one that is gone; network file systems tell no watch anything at all.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::ConfigDoor;
use crate::audit::Act;

/// How often the file is looked at. A change is loaded when it has looked the same twice, so that no half-written file
/// is read: one to two seconds after it was made.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What tells one state of a file from another.
#[derive(Clone, PartialEq, Eq)]
struct Look {
    /// Where all the links lead.
    target: PathBuf,
    device: u64,
    inode: u64,
    length: u64,
    modified_ns: (i64, i64),
}

/// Follows the file and the signal for as long as the returned future is polled.
///
/// # Errors
/// When the process cannot register for the signal. Needs a tokio runtime.
pub fn follow(door: Arc<dyn ConfigDoor>) -> io::Result<impl Future<Output = ()> + Send + use<>> {
    let hangup = signal(SignalKind::hangup())?;
    let first = door.file().and_then(look);
    Ok(run(door, hangup, first))
}

async fn run(door: Arc<dyn ConfigDoor>, mut hangup: Signal, mut loaded: Option<Look>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = loaded.clone();
    loop {
        let ordered = tokio::select! {
            _ = ticks.tick() => false,
            Some(()) = hangup.recv() => true,
        };
        let door = Arc::clone(&door);
        let before = (last.clone(), loaded.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let now = door.file().and_then(look);
            let settled = now == before.0 && now != before.1;
            if ordered || settled {
                door.reload(Act::system("config.reload"));
                (now.clone(), now)
            } else {
                (now, before.1)
            }
        });
        // Only a panic of the reload itself, which ends the process.
        let Ok(looked) = looked.await else { return };
        (last, loaded) = looked;
    }
}

/// `None` for a file that is not there: that is a state, too, and the reload says what is wrong.
fn look(path: &Path) -> Option<Look> {
    let target = fs::canonicalize(path).ok()?;
    let metadata = fs::metadata(&target).ok()?;
    Some(Look {
        target,
        device: metadata.dev(),
        inode: metadata.ino(),
        length: metadata.len(),
        modified_ns: (metadata.mtime(), metadata.mtime_nsec()),
    })
}
