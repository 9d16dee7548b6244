//! What the voters say about a leader that is suspected.
//!
//! Deliberately absent: whom to suspect, and what follows.

use std::time::Duration;

use futures::future::join_all;
use journal_core::placement::Verdict;
use tonic::Request;
use types::{Epoch, ShardId};
use wire::pb::journal::v1::journal_service_client::JournalServiceClient;
use wire::pb::journal::v1::{LeaderSeenRequest, LeaderSeenResponse};
use wire::transport::Channel;

/// How long a gateway may take: it answers from memory.
const ANSWER_LIMIT: Duration = Duration::from_millis(300);
/// Silence on an open stream after which a leader is taken for dead; it speaks every 100 ms (protocol, 3.3).
const SILENCE_MAX_MS: u64 = 600;

/// The ways to the voters.
#[derive(Clone, Debug)]
pub(crate) struct Voters {
    /// Gateways.
    pub(crate) gateways: Vec<Channel>,
    /// Whether all of them are ways to one voter.
    pub(crate) shared: bool,
}

impl Voters {
    /// Asks all gateways at once.
    pub(crate) async fn ask(&self, shard: ShardId, epoch: Epoch) -> Verdict {
        let answers = join_all(self.gateways.iter().map(|gateway| ask(gateway.clone(), shard))).await;
        let heard: Vec<Option<bool>> =
            answers.iter().map(|seen| seen.as_ref().map(|seen| hears(seen, epoch))).collect();
        judge(self.shared, &heard)
    }
}

async fn ask(gateway: Channel, shard: ShardId) -> Option<LeaderSeenResponse> {
    let mut request = Request::new(LeaderSeenRequest { log_id: vec![0; 16].into(), shard: shard.0 });
    request.set_timeout(ANSWER_LIMIT);
    let mut client = JournalServiceClient::new(gateway);
    match tokio::time::timeout(ANSWER_LIMIT, client.leader_seen(request)).await {
        Ok(Ok(seen)) => Some(seen.into_inner()),
        Ok(Err(status)) => {
            tracing::debug!(%shard, %status, "a gateway does not say whether it hears the leader");
            None
        }
        Err(_) => None,
    }
}

fn hears(seen: &LeaderSeenResponse, epoch: Epoch) -> bool {
    let same = seen.epoch.as_ref().is_some_and(|promised| promised.number == epoch.number);
    same && seen.stream_open && seen.silent_ms <= SILENCE_MAX_MS
}

/// One answer for each gateway. One voter behind several ways hears whom any of them hears; voters with disks of their
/// own decide by majority.
fn judge(shared: bool, heard: &[Option<bool>]) -> Verdict {
    let count = |wanted: Option<bool>| heard.iter().filter(|answer| **answer == wanted).count();
    let (yes, no) = (count(Some(true)), count(Some(false)));
    // Never nobody: without gateways nothing is known.
    let enough = if shared { 1 } else { heard.len() / 2 + 1 };
    if yes >= enough {
        Verdict::Alive
    } else if no >= enough {
        Verdict::Dead
    } else {
        Verdict::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_voter_behind_several_ways_and_several_voters() {
        use Verdict::{Alive, Dead, Unknown};
        let (yes, no, none) = (Some(true), Some(false), None);
        for (shared, heard, verdict) in [
            (true, &[yes, no][..], Alive),
            (true, &[no, no], Dead),
            (true, &[no, none], Dead),
            (true, &[none, none], Unknown),
            (true, &[], Unknown),
            (false, &[no], Dead),
            (false, &[yes], Alive),
            (false, &[yes, no, no], Dead),
            (false, &[yes, yes, no], Alive),
            (false, &[no, none, none], Unknown),
            (false, &[yes, no, none], Unknown),
            (false, &[], Unknown),
        ] {
            assert_eq!(judge(shared, heard), verdict, "{shared} {heard:?}");
        }
    }

    #[test]
    fn silence_closed_streams_and_other_epochs_are_not_heard() {
        let epoch = Epoch { number: 3, ..Epoch::default() };
        let seen = |number, stream_open, silent_ms| LeaderSeenResponse {
            epoch: Some(wire::convert::epoch_to_pb(Epoch { number, ..Epoch::default() })),
            stream_open,
            silent_ms,
            commit_seq: 0,
        };
        assert!(hears(&seen(3, true, 600), epoch));
        for seen in [seen(3, true, 601), seen(3, false, 0), seen(4, true, 0)] {
            assert!(!hears(&seen, epoch));
        }
    }
}
