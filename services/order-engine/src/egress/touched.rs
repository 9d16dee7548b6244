//! Which price levels a command may have changed, read off its events.
//!
//! Deliberately absent: what stands on the levels now; the book is asked for that once, after the command.

use types::{Event, InstrumentId, OrderId, Price, Side};

/// A price level that may be different from what it was before the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Touched {
    /// Whose book.
    pub(crate) instrument: InstrumentId,
    /// Which side of it.
    pub(crate) side: Side,
    /// Which price.
    pub(crate) price: Price,
}

/// Puts the levels touched by one command's `events` into `out`, ascending and each once.
pub(crate) fn collect(events: &[Event], out: &mut Vec<Touched>) {
    out.clear();
    // An order on its way in loses quantity without standing on any level.
    let mut incoming: Option<OrderId> = None;
    for event in events {
        match event {
            Event::Accepted { order_id, .. } => incoming = Some(*order_id),
            Event::Trade(trade) => out.push(Touched {
                instrument: trade.instrument,
                side: trade.taker_side.opposite(),
                price: trade.price,
            }),
            Event::Rested(rested) => {
                out.push(Touched { instrument: rested.instrument, side: rested.side, price: rested.price });
            }
            Event::Decremented { order_id, instrument, side, price, .. } if incoming != Some(*order_id) => {
                out.push(Touched { instrument: *instrument, side: *side, price: *price });
            }
            Event::Canceled { instrument, side, price, was_resting: true, .. } => {
                out.push(Touched { instrument: *instrument, side: *side, price: *price });
            }
            Event::Replaced(replaced) => {
                if !replaced.kept_priority {
                    incoming = Some(replaced.order_id);
                }
                out.push(Touched { instrument: replaced.instrument, side: replaced.side, price: replaced.old_price });
            }
            Event::Decremented { .. }
            | Event::Canceled { .. }
            | Event::Rejected { .. }
            | Event::InstrumentDefined { .. }
            | Event::InstrumentStateChanged(_)
            | Event::AccountLimitChanged(_)
            | Event::RulesChanged(_)
            | Event::Duplicate { .. } => {}
        }
    }
    out.sort_unstable();
    out.dedup();
}

#[cfg(test)]
mod tests;
