//! From the hash of a key to the handle of its record. The keys stay in the records.
//!
//! Open addressing with linear probing: a look-up touches one cache line, where a general map touches two (its
//! control bytes and its slot), and with millions of kept outcomes every line comes from far away. Removing closes
//! the gap, so there are no tombstones and nothing is ever cleaned up. Split into many small tables, so that one that
//! grows holds nothing back for long: a single table of four million keys would stand still for a tenth of a second.
//! Never iterated.
//!
//! Hashes of requests are known to everybody, and clients choose what is hashed: without a secret they could choose ids
//! that all meet in one run, and every look-up there would walk along it. So each process scatters the hashes by a key of
//! its own. Where a handle lies decides how long it takes to find, and nothing else: which is found, the state and what
//! comes of a command are the same under any key.

use crate::slab::NONE;

/// Number of tables; the upper byte of the hash chooses.
const TABLES: usize = 256;
/// Slots of a table when it gets its first key: one cache line.
const SMALLEST: usize = 8;

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Lower half of the key's hash: spares most looks at the record, and all of them when slots move.
    tag: u32,
    /// [`NONE`] when the slot is free.
    handle: u32,
}

const FREE: Slot = Slot { tag: 0, handle: NONE };

#[derive(Clone, Debug, Default)]
struct Table {
    /// A power of two of them, at most five in eight taken; or none at all.
    slots: Vec<Slot>,
    len: usize,
}

impl Table {
    fn home(&self, tag: u32) -> usize {
        tag as usize & (self.slots.len() - 1)
    }

    fn next(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }

    /// Where the first slot is that `matches`, going on from the home of `tag` to the first free one.
    fn position(&self, tag: u32, matches: impl Fn(Slot) -> bool) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let mut at = self.home(tag);
        loop {
            let slot = self.slots[at];
            if slot.handle == NONE {
                return None;
            }
            if slot.tag == tag && matches(slot) {
                return Some(at);
            }
            at = self.next(at);
        }
    }

    fn insert(&mut self, slot: Slot) {
        if (self.len + 1) * 8 > self.slots.len() * 5 {
            let larger = (self.slots.len() * 2).max(SMALLEST);
            let before = std::mem::replace(&mut self.slots, vec![FREE; larger]);
            for slot in before.into_iter().filter(|slot| slot.handle != NONE) {
                self.place(slot);
            }
        }
        self.place(slot);
        self.len += 1;
    }

    fn place(&mut self, slot: Slot) {
        let mut at = self.home(slot.tag);
        while self.slots[at].handle != NONE {
            at = self.next(at);
        }
        self.slots[at] = slot;
    }

    /// Frees a slot, and moves the following ones up that would not be found behind a free one.
    fn remove(&mut self, mut gap: usize) {
        let mut at = gap;
        loop {
            at = self.next(at);
            let slot = self.slots[at];
            if slot.handle == NONE {
                break;
            }
            // How far a slot is from its home, and how far it is from the gap, both going round.
            let mask = self.slots.len() - 1;
            if at.wrapping_sub(self.home(slot.tag)) & mask >= at.wrapping_sub(gap) & mask {
                self.slots[gap] = slot;
                gap = at;
            }
        }
        self.slots[gap] = FREE;
        self.len -= 1;
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Index {
    tables: Box<[Table]>,
    /// Added to a hash, and multiplied with it; the second is odd.
    key: [u64; 2],
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
const fn low(wide: u128) -> u64 {
    wide as u64
}

impl Index {
    /// Empty, scattered by `key`; 0 leaves hashes as they are.
    pub(crate) fn new(key: u128) -> Self {
        let key = [low(key), low(key >> 64) | 1];
        Self { tables: vec![Table::default(); TABLES].into_boxed_slice(), key }
    }

    /// Table and tag of a hash. Both halves of the product count: each bit of the hash reaches each bit of the result.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
    const fn split(&self, hash: u64) -> (usize, u32) {
        let product = (hash ^ self.key[0]) as u128 * self.key[1] as u128;
        let scattered = low(product) ^ low(product >> 64);
        ((scattered >> 56) as usize, scattered as u32)
    }

    /// The handle stored under `hash` that `matches`.
    pub(crate) fn find(&self, hash: u64, matches: impl Fn(u32) -> bool) -> Option<u32> {
        let (table, tag) = self.split(hash);
        let table = &self.tables[table];
        table.position(tag, |slot| matches(slot.handle)).map(|at| table.slots[at].handle)
    }

    /// Begins to load where a key is, without waiting for it.
    pub(crate) fn touch(&self, hash: u64) {
        let (table, tag) = self.split(hash);
        let table = &self.tables[table];
        if !table.slots.is_empty() {
            std::hint::black_box(table.slots[table.home(tag)].handle);
        }
    }

    /// Adds a handle; its key must not be in yet.
    pub(crate) fn insert(&mut self, hash: u64, handle: u32) {
        let (table, tag) = self.split(hash);
        self.tables[table].insert(Slot { tag, handle });
    }

    /// Removes a handle stored under `hash`.
    pub(crate) fn remove(&mut self, hash: u64, handle: u32) {
        let (table, tag) = self.split(hash);
        let table = &mut self.tables[table];
        if let Some(at) = table.position(tag, |slot| slot.handle == handle) {
            table.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Few homes for many keys: long runs, runs that go round the end, gaps everywhere.
    #[test]
    fn holds_what_a_map_holds() {
        let mut index = Index::new(0);
        let mut model = BTreeMap::new();
        let mut state = 1_u64;
        for step in 0..200_000_u32 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = state >> 52;
            // Eight homes in three tables, and keys that differ in nothing but the record.
            let hash = ((key % 3) << 56) | ((key % 8) << 30) | (key % 8);
            match model.remove(&key) {
                Some(handle) => index.remove(hash, handle),
                None => {
                    model.insert(key, step);
                    index.insert(hash, step);
                }
            }
            if step % 64 == 0 {
                for key in 0..4096 {
                    let hash = ((key % 3) << 56) | ((key % 8) << 30) | (key % 8);
                    let expected = model.get(&key).copied();
                    assert_eq!(index.find(hash, |handle| Some(handle) == expected), expected, "key {key}");
                }
            }
        }
    }

    /// The longest run of taken slots: what a look-up walks along at worst.
    fn longest_run(index: &Index) -> usize {
        let of = |table: &Table| {
            let taken = |slot: &Slot| slot.handle != NONE;
            table.slots.split(|slot| !taken(slot)).map(<[Slot]>::len).max().unwrap_or(0)
        };
        index.tables.iter().map(of).max().unwrap_or(0)
    }

    /// Hashes chosen so that without a key all of them have the same table and the same home.
    #[test]
    fn whoever_chooses_hashes_cannot_choose_where_they_meet() {
        let chosen = || (0..20_000_u64).map(|number| (7 << 56) | (number << 32) | 5);
        let filled = |key| {
            let mut index = Index::new(key);
            for (handle, hash) in (0..).zip(chosen()) {
                index.insert(hash, handle);
            }
            assert!(
                (0..).zip(chosen()).all(|(handle, hash)| index.find(hash, |found| found == handle) == Some(handle))
            );
            longest_run(&index)
        };
        assert_eq!(filled(0), 20_000, "this is what the key is for");
        for key in [0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835, 0x0123_4567_89ab_cdef_fedc_ba98_7654_3211] {
            let run = filled(key);
            assert!(run < 200, "{run} slots in a row under {key:x}");
        }
    }
}
