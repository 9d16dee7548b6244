//! What is known of an account: its limit, how many orders it has open and which, ascending by order id.

use crate::index::Index;
use crate::slab::{Linked, NONE, Slab};
use std::collections::BTreeMap;
use types::AccountId;

/// An account that has an open order or a limit of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    pub(crate) id: AccountId,
    pub(crate) limit: Option<u32>,
    pub(crate) open_orders: u32,
    /// Its open orders: a chain through them, ascending by order id, since an order enters once and ids grow.
    pub(crate) first: u32,
    pub(crate) last: u32,
}

impl Linked for Account {
    fn next(&self) -> u32 {
        self.first
    }

    fn set_next(&mut self, next: u32) {
        self.first = next;
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Accounts {
    slab: Slab<Account>,
    index: Index,
    /// Limits of their own, in the order a snapshot shows them.
    limits: BTreeMap<AccountId, u32>,
}

const fn key(id: AccountId) -> u64 {
    let mixed = (id.0 ^ (id.0 >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

impl Accounts {
    pub(crate) fn new() -> Self {
        Self { slab: Slab::new(), index: Index::new(0), limits: BTreeMap::new() }
    }

    pub(crate) fn find(&self, id: AccountId) -> Option<u32> {
        self.index.find(key(id), |handle| self.slab[handle].id == id)
    }

    pub(crate) fn get(&self, handle: u32) -> &Account {
        &self.slab[handle]
    }

    pub(crate) fn get_mut(&mut self, handle: u32) -> &mut Account {
        &mut self.slab[handle]
    }

    pub(crate) fn find_or_add(&mut self, id: AccountId) -> u32 {
        self.find(id).unwrap_or_else(|| {
            let handle = self.slab.insert(Account { id, limit: None, open_orders: 0, first: NONE, last: NONE });
            self.index.insert(key(id), handle);
            handle
        })
    }

    /// Forgets an account of which nothing is known any more.
    pub(crate) fn release_if_idle(&mut self, handle: u32) {
        let account = &self.slab[handle];
        if account.open_orders == 0 && account.limit.is_none() {
            self.index.remove(key(account.id), handle);
            self.slab.remove(handle);
        }
    }

    /// Limits of their own, ascending by account.
    pub(crate) const fn limits(&self) -> &BTreeMap<AccountId, u32> {
        &self.limits
    }

    pub(crate) fn set_limit(&mut self, id: AccountId, limit: u32) {
        let handle = self.find_or_add(id);
        self.slab[handle].limit = Some(limit);
        self.limits.insert(id, limit);
    }
}
