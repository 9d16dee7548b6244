//! From the hash of a key to the handle of its record. The keys stay in the records.
//!
//! Split into many small tables, so that one that grows or is cleaned up holds nothing back for long: with four
//! million keys a single table would stand still for a tenth of a second. Never iterated.

use hashbrown::HashTable;

/// Number of tables; the upper byte of the hash chooses.
const TABLES: usize = 256;

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Lower half of the key's hash: spares most looks at the record, and all of them when a table grows.
    tag: u32,
    handle: u32,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Index {
    tables: Box<[HashTable<Slot>]>,
}

/// Spreads the tag over 64 bits; hashbrown looks at the lowest and the highest ones.
fn spread(tag: u32) -> u64 {
    u64::from(tag).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
fn split(hash: u64) -> (usize, u32) {
    ((hash >> 56) as usize, hash as u32)
}

impl Index {
    pub(crate) fn new() -> Self {
        Self { tables: (0..TABLES).map(|_| HashTable::new()).collect() }
    }

    /// The handle stored under `hash` that `matches`.
    pub(crate) fn find(&self, hash: u64, matches: impl Fn(u32) -> bool) -> Option<u32> {
        let (table, tag) = split(hash);
        self.tables[table].find(spread(tag), |slot| slot.tag == tag && matches(slot.handle)).map(|slot| slot.handle)
    }

    /// Adds a handle; its key must not be in yet.
    pub(crate) fn insert(&mut self, hash: u64, handle: u32) {
        let (table, tag) = split(hash);
        self.tables[table].insert_unique(spread(tag), Slot { tag, handle }, |slot| spread(slot.tag));
    }

    /// Removes a handle stored under `hash`; whether it was there.
    pub(crate) fn remove(&mut self, hash: u64, handle: u32) -> bool {
        let (table, tag) = split(hash);
        match self.tables[table].find_entry(spread(tag), |slot| slot.handle == handle) {
            Ok(found) => {
                found.remove();
                true
            }
            Err(_) => false,
        }
    }
}
