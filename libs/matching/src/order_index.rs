//! From an order id to the entry of its submit. Orders are numbered one after another and their entries are dropped
//! in nearly the same order, so that the ids kept are nearly a window of the counter: a ring of handles, written and
//! cleared at its ends, read in one step. Ids from before the window, of orders that stay open longer than outcomes
//! are kept, and of orders that were there when the exchange was restored, are set aside in a hash index.

use crate::index::Index;
use crate::slab::NONE;
use std::collections::VecDeque;
use types::OrderId;

/// See the module.
#[derive(Debug)]
pub(crate) struct OrderIndex {
    /// Id that the front of the window stands for.
    first: u64,
    /// [`NONE`] where the order is not kept or set aside; never at the front.
    window: VecDeque<u32>,
    aside: Index,
}

const fn key(id: OrderId) -> u64 {
    let mixed = (id.0 ^ (id.0 >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

impl OrderIndex {
    /// Empty; the window begins at `next`.
    pub(crate) fn new(next: OrderId) -> Self {
        Self { first: next.0, window: VecDeque::new(), aside: Index::new(0) }
    }

    fn place(&self, id: OrderId) -> Option<usize> {
        usize::try_from(id.0.checked_sub(self.first)?).ok()
    }

    /// The handle of an order; `matches` says whether a handle is that order's.
    pub(crate) fn find(&self, id: OrderId, matches: impl Fn(u32) -> bool) -> Option<u32> {
        let slot = self.place(id).and_then(|place| self.window.get(place)).copied();
        match slot {
            Some(handle) if handle != NONE => Some(handle),
            _ => self.aside.find(key(id), matches),
        }
    }

    /// Begins to load where an order is, without waiting for it.
    pub(crate) fn touch(&self, id: OrderId) {
        std::hint::black_box(self.place(id).and_then(|place| self.window.get(place)).copied());
    }

    /// Adds an order: the next of the counter to the window, any other aside.
    pub(crate) fn insert(&mut self, id: OrderId, handle: u32) {
        if self.window.is_empty() && id.0 >= self.first {
            self.first = id.0;
        }
        if self.place(id) == Some(self.window.len()) {
            self.window.push_back(handle);
        } else {
            self.aside.insert(key(id), handle);
        }
    }

    /// Takes an order out.
    pub(crate) fn remove(&mut self, id: OrderId, handle: u32) {
        if !self.leave_window(id) {
            self.aside.remove(key(id), handle);
        }
    }

    /// Moves an order out of the way of the window's front.
    pub(crate) fn set_aside(&mut self, id: OrderId, handle: u32) {
        if self.leave_window(id) {
            self.aside.insert(key(id), handle);
        }
    }

    /// Whether it was in the window.
    fn leave_window(&mut self, id: OrderId) -> bool {
        let place = self.place(id);
        let Some(slot) = place.and_then(|place| self.window.get_mut(place)).filter(|slot| **slot != NONE) else {
            return false;
        };
        *slot = NONE;
        while self.window.front() == Some(&NONE) {
            self.window.pop_front();
            self.first += 1;
        }
        true
    }
}
