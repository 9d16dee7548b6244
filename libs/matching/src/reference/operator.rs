//! Operator commands, for the reference exchange.

use super::{ReferenceExchange, matching, rules};
use types::{
    AccountSnapshot, CancelCause, Command, Event, InstrumentId, InstrumentSnapshot, InstrumentState, RejectReason, Side,
};

impl ReferenceExchange {
    pub(super) fn operate(&mut self, command: &Command, events: &mut Vec<Event>) -> Result<(), RejectReason> {
        match command {
            Command::DefineInstrument(definition) => {
                if let Some(other) =
                    self.state.instruments.iter().find(|other| other.definition.symbol == definition.symbol)
                {
                    let equal = other.definition == *definition;
                    return if equal { Ok(()) } else { Err(RejectReason::InstrumentExists) };
                }
                rules::check_instrument(definition)?;
                let instrument = (0..).zip(&self.state.instruments).map(|(n, _)| n + 1).last().unwrap_or(0);
                if instrument == 65_536 {
                    return Err(RejectReason::CapacityExhausted);
                }
                let state = definition.state;
                self.state.instruments.push(InstrumentSnapshot { definition: *definition, state, last_price: None });
                let instrument = InstrumentId(instrument);
                events.push(Event::InstrumentDefined { instrument, definition: *definition });
            }
            Command::SetInstrumentState(change) => {
                let Some(instrument) = self.state.instruments.get_mut(change.instrument.0 as usize) else {
                    return Err(RejectReason::UnknownInstrument);
                };
                if instrument.state == change.state {
                    return Ok(());
                }
                instrument.state = change.state;
                events.push(Event::InstrumentStateChanged(*change));
                if change.state == InstrumentState::Closed {
                    for side in [Side::Buy, Side::Sell] {
                        for order in matching::in_turn(&self.state.orders, change.instrument, side) {
                            self.take_off(&order, CancelCause::InstrumentClosed, events);
                        }
                    }
                }
            }
            Command::SetAccountLimit(limit) => {
                if limit.account.0 == 0 {
                    return Err(RejectReason::InvalidAccount);
                }
                let new = AccountSnapshot { account: limit.account, max_open_orders: limit.max_open_orders };
                if !self.state.accounts.contains(&new) {
                    self.state.accounts.retain(|other| other.account != limit.account);
                    self.state.accounts.push(new);
                    self.state.accounts.sort_by_key(|account| account.account);
                    events.push(Event::AccountLimitChanged(*limit));
                }
            }
            Command::SetRules(rules) => {
                if rules.idempotency_window_us == 0 || rules.idempotency_capacity == 0 {
                    return Err(RejectReason::InvalidRules);
                }
                if self.state.rules != *rules {
                    self.state.rules = *rules;
                    events.push(Event::RulesChanged(*rules));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
