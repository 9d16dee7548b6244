//! What is refused and under which field's name, what is taken and as what, and that nothing sent can make a
//! conversion panic.
#![allow(clippy::unwrap_used, reason = "tests")]

mod arbitrary;
mod enums;
mod journal;
mod market;
mod requests;

use types::{InstrumentId, Symbol};

use super::InstrumentLookup;

/// Knows one instrument, ACME, number 7.
struct OneInstrument;

impl InstrumentLookup for OneInstrument {
    fn instrument_id(&self, symbol: &Symbol) -> Option<InstrumentId> {
        (symbol.as_str() == "ACME").then_some(InstrumentId(7))
    }
}

/// A field, and how to make it wrong.
type Spoilt<M> = (&'static str, fn(&mut M));
