//! All shards of the engine: which one a request is for, and whether another engine leads it.
//!
//! Deliberately absent: who leads; the door of a shard knows.

use super::engines::{Engines, Way};
use super::trading::Trading;
use crate::config::Config;
use service_kit::trace::Tracer;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::Notify;
use types::{OrderId, ShardId, Symbol};
use wire::convert::Engine;
use wire::pb::orders::v1::{GetTopologyResponse, InstrumentPlacement, LeaderHint};
use wire::transport::ClientOptions;

/// The doors of all shards. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Shards(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// By shard; at least one.
    doors: Vec<Trading>,
    /// Instruments whose shard the configuration names.
    named: HashMap<Symbol, ShardId>,
    /// This engine.
    own: Engine,
    engines: Engines,
}

impl Shards {
    /// `doors` in the order of their shards, at least one.
    pub(crate) fn new(
        doors: Vec<Trading>,
        config: &Config,
        own: &Engine,
        session: Arc<Notify>,
        to_peers: ClientOptions,
    ) -> Self {
        let named = config
            .instruments
            .iter()
            .filter_map(|instrument| Some((Symbol::new(&instrument.symbol).ok()?, ShardId(instrument.shard?))));
        let tracer = doors.first().map_or_else(Tracer::off, |door| door.tracer.clone());
        let engines = Engines::new(config.answer_timeout(), config.unanswered_max, session, to_peers, tracer);
        Self(Arc::new(Inner { named: named.collect(), doors, own: own.clone(), engines }))
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

    /// The ones that a request without an instrument is for: all, or the one for which another engine handed it on.
    pub(crate) fn asked(&self, forwarded: Option<ShardId>) -> &[Trading] {
        match forwarded.and_then(|shard| self.get(shard)) {
            Some(door) => std::slice::from_ref(door),
            None => self.all(),
        }
    }

    /// The way to the engine that leads a shard, if it is another one; `None` if the answer has to be found here, be it
    /// a refusal. What was handed on once stays.
    pub(super) fn elsewhere(&self, door: &Trading, forwarded: Option<ShardId>) -> Option<Way> {
        if forwarded.is_some() {
            return None;
        }
        let hint = door.admission.leader_elsewhere()?;
        self.0.engines.way(door.shard, &hint)
    }

    /// Who leads what.
    pub(crate) fn topology(&self) -> GetTopologyResponse {
        let doors = &self.0.doors;
        let shards = u32::try_from(doors.len()).unwrap_or(u32::MAX);
        let leaders = doors.iter().map(|door| self.leader(door)).collect();
        let mut placed: HashMap<Symbol, ShardId> = self.0.named.clone();
        for door in doors {
            placed.extend(door.symbols().into_iter().map(|symbol| (symbol, door.shard)));
        }
        let unusual = placed.into_iter().filter(|(symbol, shard)| types::shard_of(symbol, shards) != *shard);
        let placement =
            |(symbol, shard): (Symbol, ShardId)| InstrumentPlacement { symbol: symbol.to_string(), shard: shard.0 };
        GetTopologyResponse { shards, leaders, placed: unusual.map(placement).collect() }
    }

    fn leader(&self, door: &Trading) -> LeaderHint {
        let epoch = door.status.leading.load(Ordering::Relaxed);
        let own = &self.0.own;
        if epoch != 0 {
            return LeaderHint { shard: door.shard.0, engine: own.name.clone(), address: own.address.clone(), epoch };
        }
        let unknown = || LeaderHint { shard: door.shard.0, ..LeaderHint::default() };
        door.admission.leader_elsewhere().map_or_else(unknown, |hint| LeaderHint::clone(&hint))
    }
}
