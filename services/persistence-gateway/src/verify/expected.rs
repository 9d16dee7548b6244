//! Orders as they should be at the end of the replay. Absent: executions and trades; those are compared as they come.

use std::collections::{BTreeMap, HashMap};

use types::{OrderId, Qty};

use crate::history::{FinalOrders, OrderChange, OrderRow, RowBatch};
use crate::projector::Ledger;

/// What the replay says about orders.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// Orders the replay created, in order of creation.
    created: Vec<OrderRow>,
    at: HashMap<OrderId, usize>,
    /// Orders from before the replay that it changed.
    changed: BTreeMap<OrderId, OrderChange>,
    /// Orders that were open when it began: executed and open quantity.
    open_before: BTreeMap<OrderId, (Qty, Qty)>,
}

impl Expected {
    pub(super) fn new(before: &Ledger) -> Self {
        let open_before = before.open_orders().map(|(id, cumulative, leaves)| (id, (cumulative, leaves))).collect();
        Self { open_before, ..Self::default() }
    }

    /// Takes in what the next entries did.
    pub(super) fn take(&mut self, rows: &RowBatch) {
        let FinalOrders { created, changed } = rows.final_orders();
        for row in created {
            if row.order_id != OrderId(0) {
                self.at.insert(row.order_id, self.created.len());
            }
            self.created.push(row);
        }
        for change in changed {
            match self.at.get(&change.order_id) {
                Some(at) => self.created[*at].take(&change),
                None => {
                    self.changed.insert(change.order_id, change);
                }
            }
        }
    }

    /// Orders the replay created, oldest first.
    pub(super) fn created(&self) -> &[OrderRow] {
        &self.created
    }

    /// Orders that were open when the replay began.
    pub(super) fn open_before(&self) -> impl Iterator<Item = OrderId> + '_ {
        self.open_before.keys().copied()
    }

    /// Describes what is wrong with the row of an order that was open when the replay began.
    pub(super) fn difference(&self, id: OrderId, found: &OrderRow) -> Option<String> {
        let mut expected = *found;
        if let Some(change) = self.changed.get(&id) {
            expected.take(change);
        } else if let Some((cumulative, leaves)) = self.open_before.get(&id) {
            (expected.cumulative, expected.leaves) = (*cumulative, *leaves);
        }
        crate::history::difference(&expected, found)
    }
}
