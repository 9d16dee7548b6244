//! What engines and journal voters say to each other, both ways. Only the form is checked here; whether entries
//! continue a log, and whether their hashes are right, is the acceptor's to say.

use journal_core::{
    AppendMismatch, AppendOk, AppendReply, AppendRequest, ChainHash, Entry, EpochStart, FenceGranted, FenceReply,
    FenceRequest, MAX_PAYLOAD_BYTES, Tail,
};
use types::{Epoch, LogId, Seq, ShardId, Timestamp};

use super::consensus::{epoch, epoch_to_pb, voter, voter_config, voter_config_to_pb, voter_to_pb};
use super::field::{self, bytes16, id16_to_pb, within};
use super::shared;
use crate::pb::journal::v1 as pb;
use crate::status::ApiError;
use crate::trace::TraceContext;

/// A fence.
pub fn fence_request(given: &pb::FenceRequest) -> Result<FenceRequest, ApiError> {
    Ok(FenceRequest {
        log_id: log_id("log_id", &given.log_id)?,
        shard: field::shard(given.shard)?,
        epoch: set_epoch("epoch", given.epoch.as_ref())?,
        config: voter_config("config", given.config.as_ref())?,
    })
}

/// A fence.
#[must_use]
pub fn fence_request_to_pb(request: &FenceRequest) -> pb::FenceRequest {
    pb::FenceRequest {
        log_id: log_id_to_pb(request.log_id),
        shard: request.shard.0,
        epoch: Some(epoch_to_pb(request.epoch)),
        config: Some(voter_config_to_pb(&request.config)),
    }
}

/// A vote.
pub fn fence_reply(given: &pb::FenceResponse) -> Result<FenceReply, ApiError> {
    use pb::fence_response::Result as Sent;
    Ok(match field::message("result", given.result.as_ref())? {
        Sent::Granted(granted) => FenceReply::Granted(fence_granted(granted)?),
        Sent::Refused(refused) => {
            FenceReply::Refused { promised: set_epoch("refused.promised", refused.promised.as_ref())? }
        }
        Sent::ConfigNewer(config) => FenceReply::ConfigNewer(voter_config("config_newer", Some(config))?),
        Sent::LogRetired(retired) => {
            FenceReply::LogRetired { active: log_id("log_retired.active_log_id", &retired.active_log_id)? }
        }
        Sent::NotVoter(pb::NotVoter {}) => FenceReply::NotVoter,
        Sent::Failed(failed) => FenceReply::Failed { message: failed.message.clone() },
    })
}

/// A vote.
#[must_use]
pub fn fence_reply_to_pb(reply: FenceReply) -> pb::FenceResponse {
    use pb::fence_response::Result as Sent;
    let result = match reply {
        FenceReply::Granted(granted) => Sent::Granted(fence_granted_to_pb(&granted)),
        FenceReply::Refused { promised } => Sent::Refused(pb::Refused { promised: Some(epoch_to_pb(promised)) }),
        FenceReply::ConfigNewer(config) => Sent::ConfigNewer(voter_config_to_pb(&config)),
        FenceReply::LogRetired { active } => Sent::LogRetired(pb::LogRetired { active_log_id: log_id_to_pb(active) }),
        FenceReply::NotVoter => Sent::NotVoter(pb::NotVoter {}),
        FenceReply::Failed { message } => Sent::Failed(pb::AppendFailed { message }),
    };
    pb::FenceResponse { result: Some(result) }
}

/// An append. The payloads are not copied.
pub fn append_request(given: pb::AppendRequest) -> Result<AppendRequest, ApiError> {
    let log_id = log_id("log_id", &given.log_id)?;
    Ok(AppendRequest {
        log_id,
        shard: field::shard(given.shard)?,
        epoch: set_epoch("epoch", given.epoch.as_ref())?,
        config_generation: given.config_generation,
        prev_seq: Seq(given.prev_seq),
        prev_chain: chain("prev_chain", &given.prev_chain)?,
        entries: entries(log_id, given.entries)?,
        commit: Seq(given.commit_seq),
        head_trim: Seq(given.head_trim),
        round: given.round,
    })
}

/// An append. The payloads are not copied.
#[must_use]
pub fn append_request_to_pb(request: AppendRequest) -> pb::AppendRequest {
    pb::AppendRequest {
        log_id: log_id_to_pb(request.log_id),
        shard: request.shard.0,
        epoch: Some(epoch_to_pb(request.epoch)),
        config_generation: request.config_generation,
        prev_seq: request.prev_seq.0,
        prev_chain: chain_to_pb(request.prev_chain),
        entries: request.entries.into_iter().map(entry_to_pb).collect(),
        commit_seq: request.commit.0,
        head_trim: request.head_trim.0,
        round: request.round,
        traces: Vec::new(),
    }
}

/// Where commands of entries stand in traces; what is not understood there is left out.
#[must_use]
pub fn entry_traces(given: &[pb::EntryTrace]) -> Vec<(Seq, TraceContext)> {
    let place = |given: &pb::EntryTrace| Some((Seq(given.seq), TraceContext::parse(given.traceparent.as_bytes())?));
    given.iter().filter_map(place).collect()
}

/// Where a command of an entry stands in a trace.
#[must_use]
pub fn entry_trace_to_pb(seq: Seq, context: &TraceContext) -> pb::EntryTrace {
    pb::EntryTrace { seq: seq.0, traceparent: context.to_string() }
}

/// The answer to an append.
pub fn append_reply(given: &pb::AppendResponse) -> Result<AppendReply, ApiError> {
    use pb::append_response::Result as Sent;
    Ok(match field::message("result", given.result.as_ref())? {
        Sent::Ok(ok) => AppendReply::Ok(AppendOk {
            epoch: set_epoch("ok.epoch", ok.epoch.as_ref())?,
            match_seq: Seq(ok.match_seq),
            synced: ok.sync_us > 0,
            round: ok.round,
        }),
        Sent::Refused(refused) => {
            AppendReply::Refused { promised: set_epoch("refused.promised", refused.promised.as_ref())? }
        }
        Sent::Mismatch(mismatch) => AppendReply::Mismatch(AppendMismatch {
            last: tail("mismatch.last", mismatch.last.as_ref())?,
            epochs: epoch_starts(&mismatch.epochs),
        }),
        Sent::ConfigNewer(config) => AppendReply::ConfigNewer(voter_config("config_newer", Some(config))?),
        Sent::LogRetired(retired) => {
            AppendReply::LogRetired { active: log_id("log_retired.active_log_id", &retired.active_log_id)? }
        }
        Sent::Failed(failed) => AppendReply::Failed { message: failed.message.clone() },
    })
}

/// The answer to an append. `sync_us` is the time the disk took; what was synced says so with at least 1. `volatile`
/// entries are not where they belong yet.
#[must_use]
pub fn append_reply_to_pb(reply: AppendReply, sync_us: u64, volatile: bool) -> pb::AppendResponse {
    use pb::append_response::Result as Sent;
    let result = match reply {
        AppendReply::Ok(ok) => Sent::Ok(pb::AppendOk {
            epoch: Some(epoch_to_pb(ok.epoch)),
            match_seq: ok.match_seq.0,
            sync_us: if ok.synced { sync_us.max(1) } else { 0 },
            round: ok.round,
            volatile,
        }),
        AppendReply::Refused { promised } => Sent::Refused(pb::Refused { promised: Some(epoch_to_pb(promised)) }),
        AppendReply::Mismatch(mismatch) => Sent::Mismatch(pb::AppendMismatch {
            last: Some(tail_to_pb(&mismatch.last)),
            epochs: epoch_starts_to_pb(&mismatch.epochs),
        }),
        AppendReply::ConfigNewer(config) => Sent::ConfigNewer(voter_config_to_pb(&config)),
        AppendReply::LogRetired { active } => Sent::LogRetired(pb::LogRetired { active_log_id: log_id_to_pb(active) }),
        AppendReply::Failed { message } => Sent::Failed(pb::AppendFailed { message }),
    };
    pb::AppendResponse { result: Some(result) }
}

/// Entries of the history `log_id`, as an append or a read carries them. The payloads are not copied.
pub fn entries(log_id: LogId, given: Vec<pb::Entry>) -> Result<Vec<Entry>, ApiError> {
    given.into_iter().map(|given| entry(log_id, given)).collect()
}

/// An entry of the history `log_id`.
pub fn entry(log_id: LogId, given: pb::Entry) -> Result<Entry, ApiError> {
    if given.payload.len() > MAX_PAYLOAD_BYTES {
        return Err(ApiError::invalid("entries.payload", format_args!("is longer than {MAX_PAYLOAD_BYTES} bytes")));
    }
    if given.seq == 0 {
        return Err(ApiError::invalid("entries.seq", "must be at least 1"));
    }
    Ok(Entry {
        log_id,
        epoch: set_epoch("entries.epoch", given.epoch.as_ref())?,
        seq: Seq(given.seq),
        kind: field::required::<pb::EntryKind, _>("entries.kind", given.kind)?,
        timestamp: Timestamp(given.timestamp_us),
        prev_chain: chain("entries.prev_chain", &given.prev_chain)?,
        chain: chain("entries.chain", &given.chain)?,
        payload: given.payload,
    })
}

/// An entry; its history travels beside it.
#[must_use]
pub fn entry_to_pb(entry: Entry) -> pb::Entry {
    pb::Entry {
        epoch: Some(epoch_to_pb(entry.epoch)),
        seq: entry.seq.0,
        kind: pb::EntryKind::from(entry.kind).into(),
        timestamp_us: entry.timestamp.0,
        prev_chain: chain_to_pb(entry.prev_chain),
        chain: chain_to_pb(entry.chain),
        payload: entry.payload,
    }
}

/// The end of a log under the field `name`; none at all is that of an empty one.
pub fn tail(name: &str, given: Option<&pb::Tail>) -> Result<Tail, ApiError> {
    let Some(given) = given else { return Ok(Tail::default()) };
    Ok(Tail {
        epoch: epoch(&within(name, "epoch"), given.epoch.as_ref())?,
        seq: Seq(given.seq),
        chain: chain(&within(name, "chain"), &given.chain)?,
    })
}

/// The end of a log.
#[must_use]
pub fn tail_to_pb(tail: &Tail) -> pb::Tail {
    pb::Tail { epoch: Some(epoch_to_pb(tail.epoch)), seq: tail.seq.0, chain: chain_to_pb(tail.chain) }
}

/// Which history of which shard a read is about: `LogId(0)` for the active one.
pub fn log_of_shard(given: &bytes::Bytes, shard: u32) -> Result<(LogId, ShardId), ApiError> {
    Ok((log_id("log_id", given)?, field::shard(shard)?))
}

/// A history under the field `name`; no bytes at all are `LogId(0)`.
pub fn log_id(name: &str, given: &bytes::Bytes) -> Result<LogId, ApiError> {
    field::id16(name, given).map(LogId)
}

/// A history.
#[must_use]
pub fn log_id_to_pb(log_id: LogId) -> bytes::Bytes {
    id16_to_pb(log_id.0)
}

fn fence_granted(given: &pb::FenceGranted) -> Result<FenceGranted, ApiError> {
    // A voter that says neither is taken at its worse word.
    let dubious_from = match (given.clean, given.dubious_from) {
        (true, 0) => None,
        (false, 0) => Some(Seq(1)),
        (_, seq) => Some(Seq(seq)),
    };
    Ok(FenceGranted {
        epoch: epoch("granted.epoch", given.epoch.as_ref())?,
        last: tail("granted.last", given.last.as_ref())?,
        epochs: epoch_starts(&given.epochs),
        base: tail("granted.base", given.base.as_ref())?,
        commit: Seq(given.commit_seq),
        config: voter_config("granted.config", given.config.as_ref())?,
        dubious_from,
        log_id: log_id("granted.log_id", &given.log_id)?,
        voter: voter("granted.voter", field::message("granted.voter", given.voter.as_ref())?)?,
    })
}

fn fence_granted_to_pb(granted: &FenceGranted) -> pb::FenceGranted {
    pb::FenceGranted {
        epoch: Some(epoch_to_pb(granted.epoch)),
        last: Some(tail_to_pb(&granted.last)),
        epochs: epoch_starts_to_pb(&granted.epochs),
        base: Some(tail_to_pb(&granted.base)),
        commit_seq: granted.commit.0,
        config: Some(voter_config_to_pb(&granted.config)),
        clean: granted.clean(),
        dubious_from: granted.dubious_from.map_or(0, |seq| seq.0),
        log_id: log_id_to_pb(granted.log_id),
        voter: Some(voter_to_pb(&granted.voter)),
    }
}

fn epoch_starts(given: &[pb::EpochStart]) -> Vec<EpochStart> {
    given.iter().map(|start| EpochStart { epoch: start.epoch, seq: Seq(start.seq) }).collect()
}

fn epoch_starts_to_pb(starts: &[EpochStart]) -> Vec<pb::EpochStart> {
    starts.iter().map(|start| pb::EpochStart { epoch: start.epoch, seq: start.seq.0 }).collect()
}

/// An epoch that has to be a real one.
fn set_epoch(name: &str, given: Option<&pb::Epoch>) -> Result<Epoch, ApiError> {
    let epoch = epoch(name, given)?;
    if epoch.number == 0 {
        return Err(ApiError::invalid(within(name, "number"), "must be at least 1"));
    }
    Ok(epoch)
}

fn chain(name: &str, given: &bytes::Bytes) -> Result<ChainHash, ApiError> {
    bytes16(name, given).map(ChainHash)
}

fn chain_to_pb(chain: ChainHash) -> bytes::Bytes {
    shared::bytes16(&chain.0)
}
