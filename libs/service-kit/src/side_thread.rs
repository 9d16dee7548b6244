//! A thread with a runtime of its own, for the few tasks that must go on when requests keep all the other threads busy.
//!
//! Deliberately absent: which tasks. They are few and short: there is one thread for all of them.

use std::io;

use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The thread. It ends, and drops its tasks, when this is dropped.
#[derive(Debug)]
pub struct SideThread {
    handle: Handle,
    _end: DropGuard,
}

impl SideThread {
    /// Starts it.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(name: &str) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (handle, end) = (runtime.handle().clone(), CancellationToken::new());
        let ended = end.clone();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(ended.cancelled()))?;
        Ok(Self { handle, _end: end.drop_guard() })
    }

    /// Where its tasks are spawned, and connections made that they use.
    #[must_use]
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn its_tasks_go_on_while_all_other_threads_are_busy_and_end_with_it() {
        let side = SideThread::start("side").unwrap();
        let busy = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (beat, beats) = std::sync::mpsc::sync_channel(1);
        side.handle().spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(1));
            loop {
                tick.tick().await;
                // Full: one is waiting to be heard.
                let _ = beat.try_send(std::thread::current().name().map(str::to_owned));
            }
        });
        // The only thread of this runtime waits, as it must not; the task of the other one is heard all the same.
        busy.block_on(async {
            for _ in 0..3 {
                assert_eq!(beats.recv_timeout(Duration::from_secs(60)).unwrap().as_deref(), Some("side"));
            }
        });
        drop(side);
        while beats.recv_timeout(Duration::from_secs(60)).is_ok() {}
        assert_eq!(beats.recv_timeout(Duration::ZERO), Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
    }
}
