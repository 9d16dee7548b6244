//! Checks of the structures against one another, by full walks: for tests, for replays, never on the way of an
//! order.

use crate::digest::{self, Sums};
use crate::exchange::Exchange;
use crate::table::Made;
use types::{AccountLimit, OrderStatus, Side, StateHash};

impl Exchange {
    /// The state hash by a walk over everything; equal to [`state_hash`](Self::state_hash) unless there is a bug.
    #[must_use]
    pub fn recompute_state_hash(&self) -> StateHash {
        let mut sums = Sums::new();
        for (id, definition, state, last) in self.instruments() {
            sums.instruments = sums
                .instruments
                .wrapping_add(digest::instrument(id, definition))
                .wrapping_add(digest::market(id, state, last));
            for side in [Side::Buy, Side::Sell] {
                for handle in self.books.in_turn(id, side) {
                    sums.orders = sums.orders.wrapping_add(digest::open_order(&self.books.order(handle).open));
                }
            }
        }
        for (account, limit) in self.books.accounts.limits() {
            let digest = digest::account_limit(AccountLimit { account: *account, max_open_orders: *limit });
            sums.limits = sums.limits.wrapping_add(digest);
        }
        for handle in self.table.handles() {
            let entry = self.table.get(handle);
            sums.outcomes.push_back(digest::kept_outcome(&entry.request(), self.table.fills(handle)));
            if let Made::Closed(closed) = &entry.made {
                let key = digest::request_key(entry.account, &entry.client_order_id);
                sums.closed = sums.closed.wrapping_add(digest::closed_order(key, closed));
            }
        }
        digest::state(&self.header(), &sums)
    }

    /// Whether the structures agree with one another.
    ///
    /// # Errors
    /// What does not, in words.
    pub fn check_invariants(&self) -> Result<(), String> {
        let mut orders = 0;
        for (instrument, ..) in self.instruments() {
            for side in [Side::Buy, Side::Sell] {
                orders += self.check_side(instrument, side)?;
            }
            let bid = self.depth(instrument, Side::Buy, 1).next();
            if bid.is_some_and(|bid| self.books.crosses(instrument, Side::Buy, bid.price)) {
                return Err(format!("the book of instrument {instrument} is crossed"));
            }
        }
        if orders != self.open_orders() {
            return Err(format!("{orders} orders stand in queues, {} are open", self.open_orders()));
        }
        self.check_table()?;
        if self.recompute_state_hash() != self.state_hash() {
            return Err("the state hash is not that of the state".into());
        }
        Ok(())
    }

    fn check_side(&self, instrument: types::InstrumentId, side: Side) -> Result<usize, String> {
        let mut orders = 0;
        let mut better = None;
        for rung in self.books.ladder(instrument, side).best_first() {
            let price = rung.rank.price(side);
            let at = format!("instrument {instrument}, {side:?} at {price}");
            if better.is_some_and(|better| better <= rung.rank) {
                return Err(format!("{at}: out of order"));
            }
            better = Some(rung.rank);
            let (mut total, mut count, mut priority) = (0, 0, 0);
            for handle in self.books.in_queue(rung) {
                let order = self.books.order(handle);
                let open = &order.open;
                if (open.instrument, open.side, open.price) != (instrument, side, price) || open.leaves.is_zero() {
                    return Err(format!("{at}: order {} does not belong there", open.id));
                }
                if open.priority <= priority {
                    return Err(format!("{at}: order {} stands before an earlier one", open.id));
                }
                let entry = self.table.get(order.entry);
                let linked = matches!(entry.made, Made::Open(made) if made == handle);
                if !linked || entry.account != open.account || entry.names() != Some(open.id) {
                    return Err(format!("{at}: the submit of order {} is lost", open.id));
                }
                priority = open.priority;
                total += u128::from(open.leaves.0);
                count += 1;
            }
            let queue = self.books.queue(rung.queue);
            if count == 0 || (queue.total, queue.count) != (total, count) {
                return Err(format!("{at}: holds {total} in {count}, says {} in {}", queue.total, queue.count));
            }
            orders += count as usize;
        }
        Ok(orders)
    }

    fn check_table(&self) -> Result<(), String> {
        let (mut entries, mut open) = (0, 0);
        for handle in self.table.handles() {
            let entry = self.table.get(handle);
            let key = digest::request_key(entry.account, &entry.client_order_id);
            let name = entry.client_order_id;
            if self.table.find(key, entry.account, &name) != Some(handle) {
                return Err(format!("outcome {name} of account {} is not found", entry.account));
            }
            if let Made::Open(order) = entry.made {
                let owner = self.books.of_account(entry.account);
                if self.books.order(order).entry != handle || !owner.into_iter().any(|other| other == order) {
                    return Err(format!("order of {name} is not one of account {}", entry.account));
                }
                open += 1;
            }
            let rejected = entry.request().outcome.status == OrderStatus::Rejected;
            let makes = !matches!(entry.made, Made::Nothing);
            let found = entry.names().is_some_and(|id| self.table.find_order(id) == Some(handle));
            if makes && (rejected || !found) {
                return Err(format!("the order of {name} is not found"));
            }
            entries += 1;
        }
        if entries != self.idempotency_entries() || open != self.open_orders() {
            return Err(format!("the table holds {entries} outcomes, {open} of open orders, and says otherwise"));
        }
        Ok(())
    }
}
