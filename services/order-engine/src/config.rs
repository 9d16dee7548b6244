//! What an operator may set about the engine, with the defaults a single machine needs.
//!
//! Deliberately absent: reading files and the environment (service-kit does), and anything the journal carries:
//! instruments and rules stand here only to fill an empty log.

mod instruments;

use serde::{Deserialize, Serialize};
use std::time::Duration;
use types::{Rules, SHARDS_MAX, ShardId};
use wire::transport::Address;

pub use instruments::InstrumentConfig;

/// Most commands in one batch. 256 orders are about 30 KiB: what one `fdatasync` carries at the price of one order.
pub const BATCH_COMMANDS_MAX: u32 = 256;

/// Longest memory of outcomes, seconds: ten years, more than any log is kept.
const WINDOW_S_MAX: u64 = 10 * 366 * 86_400;

/// Settings of the order engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name of this engine among the others, 1 to 64 characters.
    pub name: String,
    /// Address under which clients and peers reach this engine's gRPC, `http://host:port`. Clients of another engine
    /// are sent here while this one leads.
    pub advertised_address: String,
    /// Shards there are, 1 to [`SHARDS_MAX`]; the engine works on all of them. Not a key: whoever composes the process
    /// knows.
    #[serde(skip)]
    pub shards: u32,
    /// Commands of one shard accepted and not yet answered, over all clients; beyond it RESOURCE_EXHAUSTED. As many
    /// more, over all shards, may be handed on to other engines and not yet answered there. 1 to 1,000,000.
    /// The default is four full batches for each of eight appends in flight.
    pub unanswered_max: u32,
    /// Commands of one session accepted and not yet answered; beyond it RESOURCE_EXHAUSTED. 1 to 1,000,000.
    pub session_unanswered_max: u32,
    /// Commands in one journal entry at the most, 1 to 256.
    pub batch_commands_max: u32,
    /// Entries on their way to the journal at one time, 1 to 64. Commands that arrive while there is room go out at
    /// once and wait at the voter for its next disk write; the others are gathered into the next entry.
    pub appends_in_flight_max: u32,
    /// A command without an answer for so long is answered UNKNOWN (its outcome will be found by sending it again),
    /// milliseconds, at least 100.
    pub answer_timeout_ms: u64,
    /// Entries between two digests of the state in the log, by which replicas are compared. 0 writes none.
    pub state_hash_interval: u64,
    /// Changes of one book a subscriber may lag behind before its stream is ended, 16 to 1,000,000.
    pub book_feed_capacity: u32,
    /// Trades a subscriber may lag behind before its stream is ended, 16 to 1,000,000.
    pub trade_feed_capacity: u32,
    /// Limits of the shard that an empty log starts with.
    pub rules: RulesConfig,
    /// Instruments that are added when the log does not have them.
    pub instruments: Vec<InstrumentConfig>,
}

/// Limits of the shard. Journaled once, when the log is empty; changing them here later changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RulesConfig {
    /// Open orders an account may have unless it has a limit of its own.
    pub open_orders_max: u32,
    /// How long, in log time, an outcome is kept for retries, seconds.
    pub idempotency_window_s: u64,
    /// How many outcomes are kept at the most.
    pub idempotency_capacity: u32,
}

/// A setting that contradicts itself.
#[derive(Debug, thiserror::Error)]
#[error("order_engine.{key} {problem}")]
pub struct ConfigError {
    /// Which setting.
    pub key: String,
    /// What is wrong with it and what is allowed.
    pub problem: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "engine-0".to_owned(),
            advertised_address: "http://127.0.0.1:8080".to_owned(),
            shards: 1,
            unanswered_max: 8_192,
            session_unanswered_max: 4_096,
            batch_commands_max: BATCH_COMMANDS_MAX,
            appends_in_flight_max: 8,
            answer_timeout_ms: 2_000,
            state_hash_interval: 10_000,
            book_feed_capacity: 4_096,
            trade_feed_capacity: 16_384,
            rules: RulesConfig::default(),
            instruments: InstrumentConfig::examples(),
        }
    }
}

impl Default for RulesConfig {
    fn default() -> Self {
        let rules = Rules::default();
        Self {
            open_orders_max: rules.max_open_orders,
            idempotency_window_s: rules.idempotency_window_us / 1_000_000,
            idempotency_capacity: rules.idempotency_capacity,
        }
    }
}

impl From<RulesConfig> for Rules {
    fn from(config: RulesConfig) -> Self {
        Self {
            max_open_orders: config.open_orders_max,
            idempotency_window_us: config.idempotency_window_s.saturating_mul(1_000_000),
            idempotency_capacity: config.idempotency_capacity,
        }
    }
}

impl Config {
    /// Keys that may change while the process runs; all others need a restart.
    pub const HOT: &'static [&'static str] = &[];

    /// Checks every range; the error names the first key that is outside its own.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, problem: String| Err(ConfigError { key: key.to_owned(), problem });
        let within = |key: &str, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                wrong(key, format!("is {value}, allowed are {low} to {high}"))
            }
        };
        if self.name.is_empty() || self.name.len() > 64 {
            return wrong("name", "must be 1 to 64 characters long".to_owned());
        }
        within("shards", self.shards.into(), 1, SHARDS_MAX.into())?;
        within("unanswered_max", self.unanswered_max.into(), 1, 1_000_000)?;
        within("session_unanswered_max", self.session_unanswered_max.into(), 1, 1_000_000)?;
        within("batch_commands_max", self.batch_commands_max.into(), 1, BATCH_COMMANDS_MAX.into())?;
        within("appends_in_flight_max", self.appends_in_flight_max.into(), 1, 64)?;
        within("answer_timeout_ms", self.answer_timeout_ms, 100, 3_600_000)?;
        within("book_feed_capacity", self.book_feed_capacity.into(), 16, 1_000_000)?;
        within("trade_feed_capacity", self.trade_feed_capacity.into(), 16, 1_000_000)?;
        within("rules.open_orders_max", self.rules.open_orders_max.into(), 1, u32::MAX.into())?;
        // Without a memory of outcomes a retry would be executed again.
        within("rules.idempotency_window_s", self.rules.idempotency_window_s, 1, WINDOW_S_MAX)?;
        within("rules.idempotency_capacity", self.rules.idempotency_capacity.into(), 1, u32::MAX.into())?;
        if let Err(problem) = self.advertised_address.parse::<Address>() {
            return wrong("advertised_address", format!("cannot be used: {problem}"));
        }
        for (at, instrument) in self.instruments.iter().enumerate() {
            instrument
                .to_instrument()
                .map_err(|e| ConfigError { key: format!("instruments[{at}].{}", e.key), problem: e.problem })?;
            if let Some(shard) = instrument.shard {
                let last = u64::from(self.shards) - 1;
                within(&format!("instruments[{at}].shard"), shard.into(), 0, last)?;
            }
        }
        Ok(())
    }

    /// The same for one shard: with its instruments only.
    pub(crate) fn of_shard(&self, shard: ShardId) -> Self {
        let instruments =
            self.instruments.iter().filter(|instrument| instrument.shard_among(self.shards) == Some(shard));
        Self { instruments: instruments.cloned().collect(), ..self.clone() }
    }

    pub(crate) const fn answer_timeout(&self) -> Duration {
        Duration::from_millis(self.answer_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid() {
        Config::default().validate().expect("the default must be usable");
    }

    #[test]
    fn every_instrument_has_one_shard() {
        let mut config = Config { shards: 4, ..Config::default() };
        config.instruments[0].shard = Some(3);
        config.validate().expect("a usable configuration");
        let all = config.instruments.len();
        let shards: Vec<_> = (0..4).map(|shard| config.of_shard(ShardId(shard)).instruments).collect();
        assert_eq!(shards.iter().map(Vec::len).sum::<usize>(), all);
        assert!(shards[3].contains(&config.instruments[0]));
    }

    #[test]
    fn a_wrong_value_is_named() {
        let config = Config { batch_commands_max: 257, ..Config::default() };
        let error = config.validate().expect_err("too many");
        assert_eq!(error.to_string(), "order_engine.batch_commands_max is 257, allowed are 1 to 256");
        let key = |edit: fn(&mut Config)| {
            let mut config = Config::default();
            edit(&mut config);
            config.validate().expect_err("a wrong value").key
        };
        assert_eq!(key(|c| c.rules.idempotency_capacity = 0), "rules.idempotency_capacity");
        assert_eq!(key(|c| c.rules.idempotency_window_s = 0), "rules.idempotency_window_s");
        assert_eq!(key(|c| c.rules.open_orders_max = 0), "rules.open_orders_max");
        assert_eq!(key(|c| c.advertised_address = "here".to_owned()), "advertised_address");
        assert_eq!(key(|c| c.shards = 0), "shards");
        assert_eq!(key(|c| c.instruments[2].shard = Some(1)), "instruments[2].shard");
        let mut config = Config::default();
        config.instruments[1].symbol = "NO SPACE".to_owned();
        assert_eq!(config.validate().expect_err("a space").key, "instruments[1].symbol");
    }
}
