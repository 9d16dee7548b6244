//! CRC-32C (Castagnoli) in two ways that give the same: with the processor's vector instructions, and with tables.
//!
//! Which of them is used is a matter of the process: it changes no result, and so nothing that could reach a log.
//! Deliberately absent: choosing among vector instructions; the library does that by what the processor has.

use std::sync::atomic::{AtomicBool, Ordering};

use crc::{CRC_32_ISCSI, Crc, Table};
use crc_fast::CrcAlgorithm;

/// Sixteen bytes a step; 16 KiB of tables.
static TABLES: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// Whether tables are to be used although there may be vector instructions.
static BY_TABLES: AtomicBool = AtomicBool::new(false);

/// Chooses for this process, and says whether vector instructions are used from now on: they are not where the
/// processor lacks them.
pub fn use_vectors(wanted: bool) -> bool {
    // Nothing else is read or written by it: any order will do.
    BY_TABLES.store(!wanted, Ordering::Relaxed);
    wanted && has_vectors()
}

/// Whether the processor has vector instructions for it.
#[must_use]
pub fn has_vectors() -> bool {
    !crc_fast::get_calculator_target(CrcAlgorithm::Crc32Iscsi).starts_with("software")
}

/// The checksum, as chosen. Finds every error of up to three bits in what we check with it, and every burst of 32.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    if BY_TABLES.load(Ordering::Relaxed) { by_tables(bytes) } else { by_vectors(bytes) }
}

/// The checksum with vector instructions, or with the library's own tables where there are none.
#[must_use]
pub fn by_vectors(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// The checksum with tables.
#[must_use]
pub fn by_tables(bytes: &[u8]) -> u32 {
    TABLES.checksum(bytes)
}

#[cfg(test)]
mod tests {
    use rand::{Rng, RngCore, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn r58_both_ways_give_the_same() {
        assert_eq!(
            [by_vectors(b"123456789"), by_tables(b"123456789")],
            [0xe306_9283; 2],
            "the check value of the catalogue"
        );
        let mut random = ChaCha8Rng::seed_from_u64(58);
        let mut bytes = vec![0; 70_000];
        random.fill_bytes(&mut bytes);
        // Every short length, where the vectors' remainders are, then long ones; at every alignment.
        let lengths = (0..1_100).chain((0..200).map(|_| random.random_range(1_100..65_536)));
        for (turn, length) in lengths.collect::<Vec<_>>().into_iter().enumerate() {
            let piece = &bytes[turn % 64..][..length];
            assert_eq!(by_vectors(piece), by_tables(piece), "{length} bytes at {}", turn % 64);
        }
    }

    #[test]
    fn r58_what_is_chosen_is_used() {
        assert!(!use_vectors(false));
        assert!(BY_TABLES.load(Ordering::Relaxed));
        assert_eq!(use_vectors(true), has_vectors());
        assert!(!BY_TABLES.load(Ordering::Relaxed));
    }
}
