//! Why something was not done, as an error of the one table.

use journal_core::placement::Denial;
use types::ShardId;
use wire::pb::orders::v1::LeaderHint;
use wire::status::{ApiError, ErrorCode};

use crate::{Leader, Reading, StoreError};

/// An engine is not given a shard now.
pub(crate) fn denied(shard: ShardId, denial: Denial, reading: &Reading) -> ApiError {
    let refused = |why: String| ApiError::new(ErrorCode::LeadershipDenied, why);
    match denial {
        Denial::StoreAway => ApiError::not_ready("the store does not answer: no election is possible"),
        Denial::NoShard => ApiError::invalid("shard", "there is no such shard"),
        Denial::Held => match reading.shards.get(&shard).and_then(crate::ShardState::leader) {
            Some(leader) => ApiError::leadership_held(hint(shard, leader)),
            None => ApiError::not_ready(format!("the leader of shard {shard} is changing")),
        },
        Denial::Paused => refused(format!("elections are paused: shard {shard} stays as it is")),
        Denial::Drained => refused(format!("the engine is drained: shard {shard} is for another one")),
        Denial::HeadStart { incumbent } => refused(format!("shard {shard} waits a moment for {incumbent} to go on")),
        Denial::Meant { other } => refused(format!("shard {shard} is meant for {other}")),
    }
}

/// The store did not do it.
pub(crate) fn store(shard: ShardId, error: StoreError) -> ApiError {
    match error {
        StoreError::Held(leader) => ApiError::leadership_held(hint(shard, *leader)),
        StoreError::Unavailable(_) | StoreError::Contended => ApiError::not_ready(error.to_string()),
        StoreError::Corrupt(_) => ApiError::new(ErrorCode::DataLoss, error.to_string()),
        StoreError::Exhausted(_) => ApiError::invalid("highest_promised", error),
    }
}

fn hint(shard: ShardId, leader: Leader) -> LeaderHint {
    let Leader { engine, epoch, .. } = leader;
    LeaderHint { shard: shard.0, engine: engine.name, address: engine.address, epoch: epoch.number }
}
