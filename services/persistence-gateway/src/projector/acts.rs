//! Changes of orders for the audit log. At the verbose level each is a record; at any level, every ten seconds, one
//! record names the stretch of the journal that was projected, with the hash at its end: the journal is itself a chain,
//! and is bound into the audit log by it.
//!
//! Recorded before the transaction, so that nothing is missing after a crash; what was recorded and not yet written
//! then is recorded once more, with the same place. Absent: orders that never reached the journal.

use std::time::{Duration, Instant};

use serde_json::json;
use service_kit::audit::{Act, Audit};
use service_kit::{Caller, Role};
use types::{Seq, ShardId};

use crate::history::{Cursor, ExecutionKind, ExecutionRow, RowBatch};

/// Between two records of a stretch.
const STRETCH: Duration = Duration::from_secs(10);

/// What is recorded of one shard.
#[derive(Debug)]
pub(super) struct Acts {
    audit: Audit,
    shard: ShardId,
    /// Entries up to here were recorded.
    noted: Seq,
    /// The stretch that is not yet recorded: where it begins, since when, and how many changes.
    stretch: Option<(Seq, Instant, u64)>,
}

impl Acts {
    pub(super) fn new(audit: Audit, shard: ShardId) -> Self {
        Self { audit, shard, noted: Seq(0), stretch: None }
    }

    /// Records what is about to be written. The same entries again, after a failure, are recorded once.
    pub(super) fn note(&mut self, from: &Cursor, to: &Cursor, rows: &RowBatch) {
        if to.seq <= self.noted {
            return;
        }
        let noted = self.noted;
        let changes = rows.executions().iter().filter(|row| row.stamp.place.seq > noted);
        for row in changes.clone() {
            self.audit.record_verbose(|| act(row));
        }
        self.noted = to.seq;
        let begin = || (Seq(from.seq.0.max(noted.0) + 1), Instant::now(), 0);
        let (first, since, count) = self.stretch.get_or_insert_with(begin);
        *count += changes.count() as u64;
        if since.elapsed() >= STRETCH {
            let after = json!({
                "log_id": format!("{}", to.log_id), "from_seq": first.0, "to_seq": to.seq.0,
                "chain": format!("{}", to.chain), "order_changes": *count,
            });
            self.audit.record_quietly(Act {
                target: format!("shard {}", self.shard),
                after,
                ..Act::system("order.stretch")
            });
            self.stretch = None;
        }
    }
}

fn act(row: &ExecutionRow) -> Act {
    let action = match row.kind {
        ExecutionKind::New => "order.accepted",
        ExecutionKind::Trade => "order.traded",
        ExecutionKind::Canceled => "order.canceled",
        ExecutionKind::Replaced => "order.replaced",
        ExecutionKind::Decremented => "order.decremented",
        ExecutionKind::Rejected => "order.rejected",
    };
    let place = &row.stamp.place;
    let text = |value: Option<String>| value.unwrap_or_default();
    Act {
        target: format!("order {}", row.order_id.0),
        request_id: text(row.client_order_id.as_ref().map(ToString::to_string)),
        parameters: json!({
            "shard": row.stamp.shard.0, "log_id": place.log_id.to_string(), "epoch": place.epoch,
            "seq": place.seq.0, "index": place.index, "number": row.number,
        }),
        after: json!({
            "symbol": text(row.symbol.as_ref().map(ToString::to_string)),
            "side": row.side.map(|side| format!("{side:?}").to_lowercase()),
            "price": row.price.0, "quantity": row.quantity.0, "cumulative": row.cumulative.0, "leaves": row.leaves.0,
            "reject_reason": row.reject_reason.map(|reason| format!("{reason:?}")),
        }),
        ..Act::new(action, Caller::new(format!("account {}", row.account.0), Role::Trader, None))
    }
}
