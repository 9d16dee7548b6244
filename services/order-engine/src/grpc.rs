//! The services as clients see them: decode and check, hand to the shard, encode the answer.
//!
//! Deliberately absent: state of any kind. What a request may do is decided in the log's order, by the shard.

mod encode;
mod engines;
mod instruments;
mod market_data;
mod mass_cancel;
mod orders;
mod part;
mod relay;
mod session;
mod shards;
mod trading;

pub(crate) use instruments::Instruments;
pub(crate) use market_data::MarketData;
pub(crate) use orders::Orders;
pub(crate) use shards::Shards;
pub(crate) use trading::Trading;
