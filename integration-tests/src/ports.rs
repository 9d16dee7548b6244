//! Ports for processes that are started again: never those that the kernel hands out, since a client that tries a dead
//! node again must find nobody there, not some other listener that was given its port meanwhile.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

/// First port used; below are those of well-known services.
const FIRST: u32 = 10_000;

/// How many there are; the kernel's own begin at 32,768.
const COUNT: u32 = 22_000;

/// Ports between those of one test process and the next: more than one test takes.
const STRIDE: u32 = 613;

/// A port on loopback that nobody uses and that no other test process is going to take soon.
///
/// # Errors
/// When all are in use.
pub fn take() -> Result<u16> {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(STRIDE);
    for _ in 0..COUNT {
        let at = start.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + at).context("the range ends below 65,536")?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no port from {FIRST} on is free on loopback")
}
