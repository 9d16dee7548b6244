//! The checksum a stored snapshot is verified by.

use journal_core::Tail;

/// BLAKE3 over a snapshot's position and content, numbers in little-endian order.
pub(crate) fn of_snapshot(at: &Tail, bytes: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&at.epoch.number.to_le_bytes());
    hasher.update(&at.epoch.owner.0.to_le_bytes());
    hasher.update(&at.seq.0.to_le_bytes());
    hasher.update(&at.chain.0);
    hasher.update(bytes);
    *hasher.finalize().as_bytes()
}
