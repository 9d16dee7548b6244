//! What was read of the log and what was written since, so that reading it again costs only what others added.
//!
//! The hash of the last known entry stands for everything before it: where the log still has it, nothing before it has
//! changed. Deliberately absent: the content of entries; whoever reads an entry checks it.

use journal_core::{Control, EpochStart, Recovered, Tail, Unit};
use tokio_postgres::Transaction;
use types::Seq;

use super::reader::corrupt;
use super::records::{PLACES, control, place, signed, tail, voter};
use super::session::{Connection, Failure, Session, answer};
use crate::StoreError;

/// Rows read at once; each has some hundred bytes.
const ROWS: i64 = 4096;

/// A look at the log.
enum Look {
    /// It goes on from what is known.
    Goes(Box<Recovered>),
    /// It does not: everything has to be read.
    Differs,
}

/// Reads what was added to `known`; `None` if the log is no continuation of it.
pub(super) fn refresh(session: &mut Session, shard: i32, known: &Recovered) -> Result<Option<Recovered>, StoreError> {
    let limit = session.statement_limit();
    let look = session.run_long("read the log again", async |client, _| {
        let select_voter = answer(limit, client.prepared(voter!())).await?;
        let select = answer(limit, client.prepared(PLACES)).await?;
        // One view of the row and of the entries. No lock: a writer that is cut off holds up nobody here.
        let transaction = answer(limit, view(client)).await?;
        let row = answer(limit, transaction.query_one(&select_voter, &[&shard])).await?;
        let (control, end) = match (control(&row), tail(&row)) {
            (Ok(control), Ok(tail)) => (control, tail),
            (Err(reason), _) | (_, Err(reason)) => return Ok(Err(corrupt(Seq(0), reason))),
        };
        let Some(mut recovered) = rebased(known, control, end) else { return Ok(Ok(Look::Differs)) };
        let mut from = recovered.tail.seq;
        // The last known entry is compared, unless it is the base, which was.
        let mut first = from > recovered.control.base.seq;
        loop {
            let from_seq = if first { from } else { from.next() };
            let rows = answer(limit, transaction.query(&select, &[&shard, &signed(from_seq.0), &ROWS])).await?;
            for row in &rows {
                match place(row) {
                    Ok((at, ..)) if first => {
                        if at != recovered.tail {
                            return Ok(Ok(Look::Differs));
                        }
                        first = false;
                    }
                    Ok((at, prev, log_id)) => {
                        let fits = at.seq == recovered.tail.seq.next() && prev == recovered.tail.chain;
                        if !fits || log_id != recovered.control.log_id {
                            let reason = format!("entry {} does not continue the one before", at.seq);
                            return Ok(Err(corrupt(recovered.tail.seq.next(), reason)));
                        }
                        push(&mut recovered, at);
                    }
                    Err(reason) => return Ok(Err(corrupt(recovered.tail.seq.next(), reason))),
                }
                from = recovered.tail.seq;
            }
            if first {
                return Ok(Ok(Look::Differs));
            }
            if rows.len() < usize::try_from(ROWS).unwrap_or(usize::MAX) {
                break;
            }
        }
        answer(limit, transaction.commit()).await?;
        if recovered.tail == end {
            Ok::<_, Failure>(Ok(Look::Goes(Box::new(recovered))))
        } else {
            let reason = format!("entries are missing: the log should end at {}", end.seq);
            Ok(Err(corrupt(recovered.tail.seq.next(), reason)))
        }
    })??;
    Ok(match look {
        Look::Goes(recovered) => Some(*recovered),
        Look::Differs => None,
    })
}

/// Begins to read the tables as they are now, whatever is written meanwhile.
pub(super) async fn view(client: &mut Connection) -> Result<Transaction<'_>, tokio_postgres::Error> {
    let isolation = tokio_postgres::IsolationLevel::RepeatableRead;
    client.build_transaction().isolation_level(isolation).read_only(true).start().await
}

/// What is known, above the base of `control`; `None` if that cannot be a later state of the same log.
pub(super) fn rebased(known: &Recovered, control: Control, end: Tail) -> Option<Recovered> {
    let (old, base) = (known.control.base, control.base);
    let same = known.control.log_id == control.log_id && known.control.disk_id == control.disk_id;
    if !same || base.seq < old.seq || base.seq > known.tail.seq || end.seq < known.tail.seq {
        return None;
    }
    let mut recovered = Recovered { control, ..known.clone() };
    if base.seq > old.seq {
        let below = usize::try_from(base.seq.0 - old.seq.0).ok()?;
        if recovered.chains[below - 1] != base.chain {
            return None;
        }
        recovered.chains.drain(..below);
        recovered.epochs.retain(|start| start.seq > base.seq && start.epoch != base.epoch.number);
        recovered.epochs.insert(0, EpochStart { epoch: base.epoch.number, seq: base.seq });
        if base.seq == recovered.tail.seq && base != recovered.tail {
            return None;
        }
    }
    if recovered.tail.epoch.number > recovered.control.promised.number {
        recovered.control.promised = recovered.tail.epoch;
    }
    Some(recovered)
}

fn push(recovered: &mut Recovered, at: Tail) {
    if recovered.epochs.last().is_none_or(|last| last.epoch < at.epoch.number) {
        recovered.epochs.push(EpochStart { epoch: at.epoch.number, seq: at.seq });
    }
    recovered.chains.push(at.chain);
    recovered.tail = at;
    if at.epoch.number > recovered.control.promised.number {
        recovered.control.promised = at.epoch;
    }
}

/// Adds what was just written; `None` if that was more than an addition.
pub(super) fn extended(mut known: Recovered, unit: &Unit) -> Option<Recovered> {
    if unit.truncate_to.is_some_and(|to| to < known.tail.seq) {
        return None;
    }
    for entry in &unit.entries {
        push(&mut known, entry.tail());
    }
    Some(known)
}
