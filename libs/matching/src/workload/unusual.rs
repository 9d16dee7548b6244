//! What the generator asks that is not plain trading: retries, conflicts, nonsense, an operator's commands.
//!
//! Deliberately absent: when it asks which; the profile of the stream says so.

use super::Workload;
use rand::Rng;
use types::{
    AccountId, AccountLimit, Cancel, Command, InstrumentId, InstrumentState, InstrumentStateChange, OrderId,
    OrderTarget, OrderType, Price, Qty, Replace, Rules, TimeInForce,
};

impl Workload {
    fn remembered(&mut self) -> Option<Command> {
        (!self.remembered.is_empty()).then(|| {
            let at = self.random.random_range(0..self.remembered.len());
            self.remembered[at]
        })
    }

    pub(super) fn retry(&mut self) -> Command {
        self.remembered().unwrap_or_else(|| Command::Submit(self.submit()))
    }

    /// A new order under an id that was used.
    pub(super) fn conflict(&mut self) -> Command {
        let mut submit = self.submit();
        if let Some((account, client_order_id)) = self.remembered().and_then(|command| command.request()) {
            (submit.account, submit.client_order_id) = (account, client_order_id);
        }
        Command::Submit(submit)
    }

    /// Something that must be refused, or concerns what is long gone.
    pub(super) fn invalid(&mut self) -> Command {
        let mut submit = self.submit();
        match self.random.random_range(0..10) {
            0 => submit.price.0 = submit.price.0.wrapping_add(1),
            1 => submit.quantity.0 = submit.quantity.0.wrapping_add(1),
            2 => submit.quantity = Qty(self.pick(&[0, 1, u64::MAX])),
            3 => submit.price = Price(self.pick(&[i64::MIN, -1, 0, i64::MAX])),
            4 => submit.instrument = InstrumentId(self.pick(&[self.profile.instruments, u32::MAX])),
            5 => submit.account = AccountId(0),
            6 => {
                submit.post_only = true;
                submit.time_in_force = TimeInForce::ImmediateOrCancel;
            }
            7 => {
                submit.order_type = OrderType::Market;
                submit.time_in_force = TimeInForce::GoodTillCancel;
            }
            8 => {
                let id = OrderId(self.random.random_range(0..self.steps + 2));
                return Command::Cancel(Cancel {
                    account: submit.account,
                    client_order_id: submit.client_order_id,
                    instrument: submit.instrument,
                    target: OrderTarget::OrderId(id),
                });
            }
            _ => {
                let named = self.remembered().and_then(|command| command.request());
                let (account, id) = named.unwrap_or((submit.account, submit.client_order_id));
                return Command::Replace(Replace {
                    account,
                    client_order_id: submit.client_order_id,
                    instrument: submit.instrument,
                    target: OrderTarget::ClientOrderId(id),
                    price: submit.price,
                    quantity: submit.quantity,
                });
            }
        }
        Command::Submit(submit)
    }

    pub(super) fn operator(&mut self) -> Command {
        use InstrumentState::{CancelOnly, Closed, Continuous, Halted, PreOpen};
        match self.random.random_range(0..4) {
            0 if self.halted.is_none() => {
                let instrument = self.instrument();
                let state = self.pick(&[PreOpen, Continuous, Halted, CancelOnly, CancelOnly, Closed]);
                self.halted = Some(instrument);
                Command::SetInstrumentState(InstrumentStateChange { instrument, state })
            }
            1 => {
                let max_open_orders = self.pick(&[0, 10, 1000, 1000, 1000, 1000, 1000, 1000]);
                Command::SetAccountLimit(AccountLimit { account: self.account(), max_open_orders })
            }
            2 => {
                self.narrowed = !self.narrowed;
                let mut rules = self.profile.rules;
                if self.narrowed {
                    rules = Rules { idempotency_capacity: 1 + rules.idempotency_capacity / 4, ..rules };
                }
                Command::SetRules(rules)
            }
            _ => {
                let mut again = self.profile.setup();
                let at = self.random.random_range(0..again.len());
                again.swap_remove(at)
            }
        }
    }
}
