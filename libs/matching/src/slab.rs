//! Records at stable handles, in pages that are never moved: growing costs one page, not a copy of everything, and
//! a freed place is used again before a new one is taken. Handles never reach an output: they depend on history.

use std::ops::{Index, IndexMut};

/// No record.
pub(crate) const NONE: u32 = u32::MAX;

/// Records per page: large enough that pages are rare, small enough that making one is not felt (about 200 kB).
const PAGE_BITS: u32 = 10;
const PAGE: usize = 1 << PAGE_BITS;

/// A record that has a link to another one; free records are chained through it.
pub(crate) trait Linked: Copy {
    /// The link.
    fn next(&self) -> u32;
    /// Sets the link.
    fn set_next(&mut self, next: u32);
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    pages: Vec<Vec<T>>,
    free: u32,
    /// Places ever taken, the free ones included.
    taken: u32,
    len: u32,
}

impl<T: Linked> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { pages: Vec::new(), free: NONE, taken: 0, len: 0 }
    }

    /// Records in use.
    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    /// Places `value`. There is room for `u32::MAX` records; memory ends long before.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        if self.free != NONE {
            let handle = self.free;
            self.free = self[handle].next();
            self[handle] = value;
            return handle;
        }
        let handle = self.taken;
        assert!(handle != NONE, "a slab holds fewer than 2^32 - 1 records");
        if (handle as usize).is_multiple_of(PAGE) {
            self.pages.push(Vec::with_capacity(PAGE));
        }
        self.pages[handle as usize >> PAGE_BITS].push(value);
        self.taken += 1;
        handle
    }

    /// Gives the place of `handle` back.
    pub(crate) fn remove(&mut self, handle: u32) {
        let free = self.free;
        self[handle].set_next(free);
        self.free = handle;
        self.len -= 1;
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    #[inline]
    fn index(&self, handle: u32) -> &T {
        &self.pages[handle as usize >> PAGE_BITS][handle as usize & (PAGE - 1)]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, handle: u32) -> &mut T {
        &mut self.pages[handle as usize >> PAGE_BITS][handle as usize & (PAGE - 1)]
    }
}
