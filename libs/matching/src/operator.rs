//! Operator commands. They are idempotent by their content: what is in effect already is done, without an event.

use crate::digest;
use crate::exchange::{Exchange, MAX_INSTRUMENTS, Market, Output};
use crate::limits;
use types::{
    AccountLimit, CancelCause, Command, Event, Instrument, InstrumentId, InstrumentState, InstrumentStateChange,
    OrderId, OrderStatus, Outcome, Qty, RejectReason, Rules, Side,
};

impl Exchange {
    /// Applies an operator command; refuses nothing else, since nothing else comes here.
    pub(crate) fn operate(&mut self, command: &Command, output: &mut Output<'_>) -> Outcome {
        let result = match command {
            Command::DefineInstrument(definition) => self.define_instrument(definition, output),
            Command::SetInstrumentState(change) => self.set_instrument_state(*change, output),
            Command::SetAccountLimit(limit) => self.set_account_limit(*limit, output),
            Command::SetRules(rules) => self.set_rules(rules, output),
            Command::Submit(_) | Command::Cancel(_) | Command::Replace(_) | Command::MassCancel(_) => Ok(()),
        };
        if let Err(reason) = result {
            output.events.push(Event::Rejected { reason });
        }
        Outcome {
            status: if result.is_ok() { OrderStatus::Done } else { OrderStatus::Rejected },
            reason: result.err(),
            order_id: OrderId(0),
            cumulative: Qty::ZERO,
            leaves: Qty::ZERO,
            canceled_orders: 0,
            original: None,
        }
    }

    fn define_instrument(&mut self, definition: &Instrument, output: &mut Output<'_>) -> Result<(), RejectReason> {
        let place = match self.symbols.binary_search_by_key(&definition.symbol, |(symbol, _)| *symbol) {
            Ok(at) if self.market(self.symbols[at].1)?.definition == *definition => return Ok(()),
            Ok(_) => return Err(RejectReason::InstrumentExists),
            Err(place) => place,
        };
        limits::check_instrument(definition)?;
        if self.markets.len() >= MAX_INSTRUMENTS {
            return Err(RejectReason::CapacityExhausted);
        }
        let instrument = self.add_instrument(place, definition, definition.state, None);
        output.events.push(Event::InstrumentDefined { instrument, definition: *definition });
        Ok(())
    }

    /// Adds an instrument, `place` being that of its symbol among the others.
    pub(crate) fn add_instrument(
        &mut self,
        place: usize,
        definition: &Instrument,
        state: InstrumentState,
        last: Option<types::Price>,
    ) -> InstrumentId {
        #[expect(clippy::cast_possible_truncation, reason = "there are at most MAX_INSTRUMENTS")]
        let id = InstrumentId(self.markets.len() as u32);
        self.markets.push(Market { definition: *definition, state, last });
        self.symbols.insert(place, (definition.symbol, id));
        self.books.add_instrument();
        self.sums.instruments = self
            .sums
            .instruments
            .wrapping_add(digest::instrument(id, definition))
            .wrapping_add(digest::market(id, state, last));
        id
    }

    /// Any state may follow any other: closing is the end of a session, opening again the begin of the next.
    /// Closing cancels all orders: bids, then asks, each side in the order they would have traded.
    fn set_instrument_state(
        &mut self,
        change: InstrumentStateChange,
        output: &mut Output<'_>,
    ) -> Result<(), RejectReason> {
        let InstrumentStateChange { instrument, state } = change;
        let market = self.market(instrument)?;
        if market.state == state {
            return Ok(());
        }
        self.set_market(instrument, state, market.last);
        output.events.push(Event::InstrumentStateChanged(change));
        if state == InstrumentState::Closed {
            for side in [Side::Buy, Side::Sell] {
                while let Some((_, handle)) = self.books.best(instrument, side) {
                    self.cancel_resting(handle, CancelCause::InstrumentClosed, output);
                }
            }
        }
        Ok(())
    }

    fn set_account_limit(&mut self, limit: AccountLimit, output: &mut Output<'_>) -> Result<(), RejectReason> {
        if limit.account.0 == 0 {
            return Err(RejectReason::InvalidAccount);
        }
        if self.put_account_limit(limit) {
            output.events.push(Event::AccountLimitChanged(limit));
        }
        Ok(())
    }

    /// Whether it is another limit than before.
    pub(crate) fn put_account_limit(&mut self, limit: AccountLimit) -> bool {
        let AccountLimit { account, max_open_orders } = limit;
        let before = self.books.accounts.limits().get(&account).copied();
        if before == Some(max_open_orders) {
            return false;
        }
        if let Some(before) = before {
            let digest = digest::account_limit(AccountLimit { account, max_open_orders: before });
            self.sums.limits = self.sums.limits.wrapping_sub(digest);
        }
        self.books.accounts.set_limit(account, max_open_orders);
        self.sums.limits = self.sums.limits.wrapping_add(digest::account_limit(limit));
        true
    }

    fn set_rules(&mut self, rules: &Rules, output: &mut Output<'_>) -> Result<(), RejectReason> {
        limits::check_rules(rules)?;
        if self.rules != *rules {
            self.rules = *rules;
            output.events.push(Event::RulesChanged(*rules));
        }
        Ok(())
    }
}
