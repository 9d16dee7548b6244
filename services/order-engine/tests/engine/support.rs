//! An engine with its surroundings in one process, and requests in few words.

mod consensus;
mod journal;
pub(crate) mod requests;
mod rig;

pub(crate) use consensus::Coordinator;
pub(crate) use journal::{Door, Voter};
pub(crate) use rig::{Engine, Rig};

use journal_core::{EntryKind, Tail, codec};
use matching::Exchange;
use types::{Place, Seq, ShardId};
use wire::status::{ApiError, ErrorCode};

/// The code of a refused call.
pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, tonic::Status>) -> ErrorCode {
    ApiError::from_status(&result.unwrap_err()).code
}

/// The state after the entries up to `seq`, as a projector has it.
pub(crate) fn replay(voter: &Voter, seq: Seq) -> (Tail, Exchange) {
    let mut exchange = Exchange::new(ShardId(0));
    let mut tail = Tail::default();
    for entry in voter.entries().iter().filter(|entry| entry.seq <= seq) {
        if entry.kind == EntryKind::Batch {
            let batch = codec::batch::BatchView::parse(&entry.payload).unwrap();
            for (index, command) in (0..).zip(batch.iter()) {
                let place = Place { log_id: entry.log_id, epoch: entry.epoch.number, seq: entry.seq, index };
                exchange.apply(place, entry.timestamp, &command, &mut Vec::new(), &mut Vec::new());
            }
        }
        tail = entry.tail();
    }
    (tail, exchange)
}
