//! All shards of the engine: which one a request is for.
//!
//! Deliberately absent: which engine leads a shard; its door knows.

use super::trading::Trading;
use crate::config::Config;
use std::collections::HashMap;
use std::sync::Arc;
use types::{OrderId, ShardId, Symbol};

/// The doors of all shards. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Shards(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// By shard; at least one.
    doors: Vec<Trading>,
    /// Instruments whose shard the configuration names.
    named: HashMap<Symbol, ShardId>,
}

impl Shards {
    /// `doors` in the order of their shards, at least one.
    pub(crate) fn new(doors: Vec<Trading>, config: &Config) -> Self {
        let named = config
            .instruments
            .iter()
            .filter_map(|instrument| Some((Symbol::new(&instrument.symbol).ok()?, ShardId(instrument.shard?))));
        Self(Arc::new(Inner { named: named.collect(), doors }))
    }

    /// All of them, by shard.
    pub(crate) fn all(&self) -> &[Trading] {
        &self.0.doors
    }

    /// One of them, if there are so many.
    pub(crate) fn get(&self, shard: ShardId) -> Option<&Trading> {
        self.0.doors.get(shard.0 as usize)
    }

    /// The one that has an instrument, or would have it. A text that is no symbol is for the first one to refuse.
    pub(crate) fn of_text(&self, symbol: &str) -> &Trading {
        match (&*self.0.doors, Symbol::new(symbol)) {
            ([only], _) => only,
            (_, Ok(symbol)) => self.of_symbol(&symbol),
            (doors, Err(_)) => &doors[0],
        }
    }

    /// The one that has an instrument, or would have it.
    pub(crate) fn of_symbol(&self, symbol: &Symbol) -> &Trading {
        let doors = &self.0.doors;
        let shards = u32::try_from(doors.len()).unwrap_or(u32::MAX);
        let usual = self.0.named.get(symbol).copied().unwrap_or_else(|| types::shard_of(symbol, shards));
        let usual = &doors[usual.0 as usize];
        // Hash and configuration say where new instruments go; what was defined before the configuration stays.
        if usual.has(symbol) { usual } else { doors.iter().find(|door| door.has(symbol)).unwrap_or(usual) }
    }

    /// The one that gave an order its number.
    pub(crate) fn of_order(&self, order: OrderId) -> Option<&Trading> {
        self.get(order.shard())
    }
}
