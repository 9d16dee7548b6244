//! Orders that are given twice are carried out once; and each is written down.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::Message;
use service_kit::Caller;
use service_kit::audit::{Act, Outcome};
use wire::pb::consensus::v1 as pb;
use wire::status::{ApiError, ErrorCode};

use crate::coordinator::Coordinator;

/// How long an answer is kept.
const ANSWER_LASTS: Duration = Duration::from_secs(3_600);
/// How long an order counts as being carried out if nobody says how it went: its coordinator is gone.
const RUNNING_LASTS: Duration = Duration::from_secs(30);
/// How long the same order waits for the first to be carried out.
const RUNNING_WAITS: Duration = Duration::from_secs(10);
/// Between two looks whether it was.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// What is kept of an order that is being carried out.
const RUNNING: &str = "running";

const ID_MAX: usize = 64;
const ACTOR_MAX: usize = 64;
const REASON_MAX: usize = 256;

/// An order, for the record.
pub(crate) struct Audit<'a> {
    /// What is done, in a word.
    pub(crate) operation: &'static str,
    /// What it is done to.
    pub(crate) subject: String,
    pub(crate) order: &'a pb::Order,
    /// The same as `operation`, as it stands in the audit log.
    pub(crate) action: &'static str,
    pub(crate) caller: Caller,
}

/// Checks by whom and why.
pub(crate) fn check_order(order: Option<pb::Order>) -> Result<pb::Order, ApiError> {
    let order = order.unwrap_or_default();
    if order.request_id.len() > ID_MAX || !order.request_id.bytes().all(|byte| byte.is_ascii_graphic()) {
        let why = format_args!("must have at most {ID_MAX} printable ASCII characters");
        return Err(ApiError::invalid("order.request_id", why));
    }
    for (field, text, most) in [("actor", &order.actor, ACTOR_MAX), ("reason", &order.reason, REASON_MAX)] {
        if text.chars().count() > most || text.chars().any(char::is_control) {
            let why = format_args!("must have at most {most} printable characters");
            return Err(ApiError::invalid(format!("order.{field}"), why));
        }
    }
    Ok(order)
}

impl Coordinator {
    /// Carries an order out, or returns the answer to it that there is already. True if it is that. A dry run leaves no
    /// trace: neither its id nor a record.
    pub(crate) async fn once<A: Message + Default>(
        self: &Arc<Self>,
        audit: &Audit<'_>,
        work: impl Future<Output = Result<A, ApiError>>,
    ) -> Result<(A, bool), ApiError> {
        if audit.order.dry_run {
            return work.await.map(|answer| (answer, false));
        }
        let id = &audit.order.request_id;
        if id.is_empty() {
            return self.audited(audit, work).await.map(|answer| (answer, false));
        }
        let until = Instant::now() + RUNNING_WAITS;
        let running = format!("{RUNNING} {} {}", audit.operation, audit.subject);
        loop {
            let begun = self.store.begin(id, &running, RUNNING_LASTS).await;
            let Some(known) = begun.map_err(|error| ApiError::not_ready(error.to_string()))? else { break };
            if let Some(answer) = self.known(audit, &known)? {
                return Ok((answer, true));
            }
            if Instant::now() >= until {
                return Err(ApiError::not_ready("this order is still being carried out: ask again"));
            }
            // Its coordinator may be another one: it cannot be awaited, only asked for again.
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let result = self.audited(audit, work).await;
        let note = result.as_ref().ok().map(|answer| {
            let hex: String = answer.encode_to_vec().iter().map(|byte| format!("{byte:02x}")).collect();
            format!("done {} {} {hex}", audit.operation, audit.subject)
        });
        if let Err(error) = self.store.finish(id, note.as_deref(), ANSWER_LASTS).await {
            tracing::warn!(request_id = id, %error, "the answer to an order could not be kept");
        }
        result.map(|answer| (answer, false))
    }

    /// `None`: it is still being carried out.
    fn known<A: Message + Default>(&self, audit: &Audit<'_>, note: &str) -> Result<Option<A>, ApiError> {
        let same = format!("{} {}", audit.operation, audit.subject);
        if note.strip_prefix(RUNNING).is_some_and(|rest| rest.trim_start() == same) {
            return Ok(None);
        }
        let hex = note.strip_prefix("done ").and_then(|rest| rest.strip_prefix(&same)).map(str::trim_start);
        let Some(hex) = hex else {
            return Err(ApiError::invalid("order.request_id", "was used for another order: choose a new one"));
        };
        let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
        let answer = bytes.and_then(|bytes| A::decode(bytes.as_slice()).ok());
        answer.map(Some).ok_or_else(|| ApiError::new(ErrorCode::DataLoss, "the answer that was kept cannot be read"))
    }

    /// Carries an order out and writes it down, whatever comes of it.
    async fn audited<A: Message>(
        self: &Arc<Self>,
        audit: &Audit<'_>,
        work: impl Future<Output = Result<A, ApiError>>,
    ) -> Result<A, ApiError> {
        let before = self.summary();
        let result = work.await;
        let Audit { operation, subject, order, action, caller } = audit;
        self.audit.record(Act {
            target: subject.clone(),
            before: before.into(),
            after: self.summary().into(),
            result: Outcome::of(&result),
            ..Act::ordered(action, caller.clone(), order)
        });
        self.metrics.order(operation, result.is_ok());
        result
    }

    /// Who leads what and what is ordered, in a line.
    fn summary(&self) -> String {
        let leader = |leader: &pb::ShardLeader| {
            let name = leader.engine.as_ref().map_or("none", |engine| engine.name.as_str());
            format!("{}={name}/{}", leader.shard, leader.epoch.as_ref().map_or(0, |epoch| epoch.number))
        };
        let leaders: Vec<String> = self.leaders().iter().map(leader).collect();
        let policy = self.policy();
        let drained: Vec<String> = policy.drained.into_iter().collect();
        format!("leaders {}; paused {}; drained [{}]", leaders.join(" "), policy.paused, drained.join(" "))
    }
}
