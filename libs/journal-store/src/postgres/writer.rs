//! The statements of the one writer. Each claims the shard's row under the conditions that make it legal, so that
//! SQL refuses a stale epoch and a log that is not the one this process knows, whatever it believes.

use journal_core::{ChainHash, Control, Entry, Recovered, Tail, Unit, Voter};
use tokio_postgres::types::ToSql;
use types::{Epoch, Seq};

use super::known;
use super::reader::corrupt;
use super::records::{control, entries, entry, signed, tail, voter};
use super::session::{Connection, Failure, Session, answer};
use crate::StoreError;
use crate::admission::{Position, excludes};
use crate::replay::Replay;

/// Rows read at once during recovery: few round trips, and at a megabyte each what a process can still hold.
const RECOVERY_ROWS: i64 = 256;

/// Rows deleted at once: some milliseconds of the server's time.
const SWEPT_ROWS: i64 = 2_000;

/// How a claim ended.
enum Claim {
    Done,
    /// The row as it is, and whether the log holds what was to be written.
    Refused {
        promised: Epoch,
        found: Tail,
        written: bool,
    },
}

/// Reads and checks the whole log as it stands. Writers go on meanwhile, and one that was cut off may commit yet: what
/// they added is to be read after [`wait_for_writers`].
pub(super) fn recover(session: &mut Session, shard: i32) -> Result<Recovered, StoreError> {
    let (log_id, disk_id): ([u8; 16], [u8; 16]) = (rand::random(), rand::random());
    let nobody = &[0_u8; 16][..];
    let limit = session.statement_limit();
    session.run_long("recover", async |client, _| {
        let identity: [&(dyn ToSql + Sync); 4] = [&shard, &&log_id[..], &&disk_id[..], &nobody];
        let insert = client.execute(
            "INSERT INTO hivemind_journal.voter VALUES
                 ($1, $2, $3, 0, $4, 0, '{}', '{}', '{}', '{}', false, 0, 0, $4, $4, 0, 0, $4, $4)
             ON CONFLICT (shard) DO NOTHING",
            &identity,
        );
        answer(limit, insert).await?;
        // One view of the row and of the entries. No lock: reading takes long, and a leader may be writing.
        let transaction = answer(limit, known::view(client)).await?;
        let row = answer(limit, transaction.query_one(voter!(), &[&shard])).await?;
        let (control, recorded) = match (control(&row), tail(&row)) {
            (Ok(control), Ok(tail)) => (control, tail),
            (Err(reason), _) | (_, Err(reason)) => return Ok(Err(corrupt(Seq(0), reason))),
        };
        let mut replay = Replay::new(control);
        let select = answer(limit, transaction.prepare(entries!("seq > $2 ORDER BY seq LIMIT $3"))).await?;
        let mut after = -1_i64;
        loop {
            let rows = answer(limit, transaction.query(&select, &[&shard, &after, &RECOVERY_ROWS])).await?;
            for row in &rows {
                let checked = entry(row).and_then(|entry| {
                    replay.promise(entry.epoch);
                    replay.push(&entry)?;
                    Ok(entry.seq)
                });
                match checked {
                    Ok(seq) => after = signed(seq.0),
                    Err(reason) => return Ok(Err(corrupt(replay.expected(), reason))),
                }
            }
            if rows.len() < usize::try_from(RECOVERY_ROWS).unwrap_or(usize::MAX) {
                break;
            }
        }
        answer(limit, transaction.commit()).await?;
        let expected = replay.expected();
        Ok(match replay.finish() {
            Ok(recovered) if recovered.tail == recorded => Ok(recovered),
            Ok(_) => Err(corrupt(expected, format!("entries are missing: the log should end at {}", recorded.seq))),
            Err(reason) => Err(corrupt(expected, reason)),
        })
    })?
}

/// Returns when the writes under way have ended, also one of a process that was cut off while it committed.
pub(super) fn wait_for_writers(session: &mut Session, shard: i32) -> Result<(), StoreError> {
    session.run("wait for writers", async |client, _| {
        // Every writer claims the row. It is let go with the statement.
        let select = client.prepared("SELECT 1 FROM hivemind_journal.voter WHERE shard = $1 FOR SHARE").await?;
        client.query_opt(&select, &[&shard]).await?;
        Ok(())
    })
}

/// Hash of an entry of the log.
pub(super) fn chain_at(session: &mut Session, shard: i32, seq: Seq) -> Result<Option<ChainHash>, StoreError> {
    let row = session.run("look up entry", async |client, _| {
        let select = "SELECT chain FROM hivemind_journal.entry WHERE shard = $1 AND seq = $2";
        Ok(client.query_opt(select, &[&shard, &signed(seq.0)]).await?)
    })?;
    Ok(row.and_then(|row| row.get::<_, &[u8]>(0).try_into().ok().map(ChainHash)))
}

/// Replaces the control columns, unless that would undo what others made newer. A base is only ever raised.
pub(super) fn persist_control(session: &mut Session, shard: i32, control: &Control) -> Result<(), StoreError> {
    const UPDATE: &str = "UPDATE hivemind_journal.voter SET log_id = $2, promised_number = $4, promised_owner = $5,
             config_generation = $6, current_gateways = $7, current_disks = $8, pending_gateways = $9,
             pending_disks = $10, quarantined = $11
         WHERE shard = $1 AND (promised_number < $4 OR (promised_number = $4 AND promised_owner = $5))
             AND config_generation <= $6 AND disk_id = $3 AND (log_id = $2 OR tail_seq = 0)";
    let gateways = |voters: &[Voter]| voters.iter().map(|voter| voter.gateway.clone()).collect::<Vec<_>>();
    let disks = |voters: &[Voter]| voters.iter().map(|voter| voter.disk_id.to_be_bytes().to_vec()).collect::<Vec<_>>();
    let Control { log_id, disk_id, promised, config, base: _, quarantined } = control;
    let claim = session.run("persist control", async |client, _| {
        let update = client.prepared(UPDATE).await?;
        let claimed = client
            .execute(
                &update,
                &[
                    &shard,
                    &&log_id.0.to_be_bytes()[..],
                    &&disk_id.to_be_bytes()[..],
                    &signed(promised.number),
                    &&promised.owner.0.to_be_bytes()[..],
                    &signed(config.generation),
                    &gateways(&config.current),
                    &disks(&config.current),
                    &gateways(&config.pending),
                    &disks(&config.pending),
                    &quarantined,
                ],
            )
            .await?;
        if claimed == 0 { refusal(client, shard, None).await } else { Ok(Claim::Done) }
    })?;
    match claim {
        Claim::Done => Ok(()),
        Claim::Refused { promised, found, .. } => Err(why(promised, found, control.promised)),
    }
}

/// Makes sure that `epoch` is promised still.
pub(super) fn confirm(session: &mut Session, shard: i32, epoch: Epoch) -> Result<(), StoreError> {
    let row = session.run("confirm epoch", async |client, _| {
        let select = client.prepared(voter!()).await?;
        Ok(client.query_opt(&select, &[&shard]).await?)
    })?;
    let row = row.ok_or_else(|| corrupt(Seq(0), "the shard's row is gone".to_owned()))?;
    let promised = control(&row).map_err(|reason| corrupt(Seq(0), reason))?.promised;
    if promised == epoch { Ok(()) } else { Err(StoreError::Fenced { promised }) }
}

/// Moves the base up to an entry of the log. The entries below stay until [`sweep`].
pub(super) fn trim(session: &mut Session, shard: i32, base: &Tail) -> Result<(), StoreError> {
    const UPDATE: &str = "UPDATE hivemind_journal.voter
         SET base_seq = $2, base_epoch = $3, base_owner = $4, base_chain = $5
         WHERE shard = $1 AND base_seq < $2 AND tail_seq >= $2 AND EXISTS (
             SELECT 1 FROM hivemind_journal.entry
             WHERE shard = $1 AND seq = $2 AND epoch = $3 AND owner = $4 AND chain = $5)";
    let seq = signed(base.seq.0);
    let trimmed = session.run("trim", async |client, _| {
        let update = client.prepared(UPDATE).await?;
        let owner = base.epoch.owner.0.to_be_bytes();
        let parameters: [&(dyn ToSql + Sync); 5] =
            [&shard, &seq, &signed(base.epoch.number), &&owner[..], &&base.chain.0[..]];
        if client.execute(&update, &parameters).await? == 1 {
            return Ok(true);
        }
        // Somebody else may have been faster.
        let select = client.prepared("SELECT base_seq >= $2 FROM hivemind_journal.voter WHERE shard = $1").await?;
        Ok(client.query_opt(&select, &[&shard, &seq]).await?.is_some_and(|row| row.get(0)))
    })?;
    if trimmed { Ok(()) } else { Err(StoreError::invalid(format!("base {} is not an entry of this log", base.seq))) }
}

/// Lets an empty log begin after `base`.
pub(super) fn begin_after(session: &mut Session, shard: i32, base: &Tail) -> Result<(), StoreError> {
    const UPDATE: &str = "UPDATE hivemind_journal.voter
         SET base_seq = $2, base_epoch = $3, base_owner = $4, base_chain = $5,
             tail_seq = $2, tail_epoch = $3, tail_owner = $4, tail_chain = $5
         WHERE shard = $1 AND base_seq = 0 AND tail_seq = 0";
    let begun = session.run("begin after a base", async |client, _| {
        let update = client.prepared(UPDATE).await?;
        let owner = base.epoch.owner.0.to_be_bytes();
        let parameters: [&(dyn ToSql + Sync); 5] =
            [&shard, &signed(base.seq.0), &signed(base.epoch.number), &&owner[..], &&base.chain.0[..]];
        Ok(client.execute(&update, &parameters).await? == 1)
    })?;
    // Somebody else was faster.
    if begun { Ok(()) } else { Err(StoreError::invalid("the log is not empty".to_owned())) }
}

/// Deletes what stands below the base, a little at a time: nobody reads it, and no writer waits for it.
pub(super) fn sweep(session: &mut Session, shard: i32) -> Result<(), StoreError> {
    const DELETE: &str = "DELETE FROM hivemind_journal.entry WHERE shard = $1
         AND seq <= (SELECT base_seq FROM hivemind_journal.voter WHERE shard = $1)
         AND seq < (SELECT min(seq) FROM hivemind_journal.entry WHERE shard = $1) + $2";
    loop {
        let gone = session.run("delete trimmed entries", async |client, _| {
            let delete = client.prepared(DELETE).await?;
            Ok(client.execute(&delete, &[&shard, &SWEPT_ROWS]).await?)
        })?;
        if gone == 0 {
            return Ok(());
        }
    }
}

/// Claims the end of the log for a unit, or does not.
macro_rules! claim {
    () => {
        "UPDATE hivemind_journal.voter SET promised_number = $2, promised_owner = $3,
             tail_seq = $4, tail_epoch = $5, tail_owner = $6, tail_chain = $7
         WHERE shard = $1 AND (promised_number < $2 OR (promised_number = $2 AND promised_owner = $3))
             AND log_id = $8 AND tail_seq = $9 AND tail_chain = $10"
    };
}

/// One statement, one way to the server and back, one transaction: without a claim there are no rows to add.
const WRITE: &str = concat!(
    "WITH claim AS (",
    claim!(),
    " RETURNING 1)
     INSERT INTO hivemind_journal.entry
         (shard, log_id, seq, epoch, owner, kind, timestamp_us, prev_chain, chain, payload)
     SELECT $1, $8, u.* FROM unnest($11::bigint[], $12::bigint[], $13::bytea[], $14::smallint[], $15::bigint[],
         $16::bytea[], $17::bytea[], $18::bytea[]) AS u
     WHERE EXISTS (SELECT 1 FROM claim)"
);

/// Adds rows that were claimed by a statement before.
const INSERT: &str = "INSERT INTO hivemind_journal.entry
         (shard, log_id, seq, epoch, owner, kind, timestamp_us, prev_chain, chain, payload)
     SELECT $1, $2, u.* FROM unnest($3::bigint[], $4::bigint[], $5::bytea[], $6::smallint[], $7::bigint[],
         $8::bytea[], $9::bytea[], $10::bytea[]) AS u";

/// Writes a unit in one transaction and returns the tail it leaves.
///
/// After a commit without an answer the next attempt's claim waits for the first to end and then fails if it
/// succeeded, because the end of the log has moved; the entries themselves tell which of the two happened.
pub(super) fn write(session: &mut Session, shard: i32, known: &Position, unit: &Unit) -> Result<Tail, StoreError> {
    let Some(tail) = unit.entries.last().map(Entry::tail) else {
        return Err(StoreError::invalid("a unit without entries"));
    };
    let columns = Columns::of(unit);
    let (owner, tail_owner) = (unit.epoch.owner.0.to_be_bytes(), tail.epoch.owner.0.to_be_bytes());
    let log_id = known.control.log_id.0.to_be_bytes();
    let claim = session.run("write unit", async |client, in_doubt| {
        let numbers = [unit.epoch.number, tail.seq.0, tail.epoch.number, known.tail.seq.0].map(signed);
        let slices: [&[u8]; 5] = [&owner, &tail_owner, &tail.chain.0, &log_id, &known.tail.chain.0];
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![
            &shard,
            &numbers[0],
            &slices[0],
            &numbers[1],
            &numbers[2],
            &slices[1],
            &slices[2],
            &slices[3],
            &numbers[3],
            &slices[4],
        ];
        let claimed = match unit.truncate_to {
            None => {
                parameters.extend(columns.parameters());
                let write = client.prepared(WRITE).await?;
                client.execute(&write, &parameters).await? > 0
            }
            // The rows to be replaced must be gone before the new ones come: two statements.
            Some(to) => {
                let transaction = client.transaction().await?;
                let claimed = transaction.execute(claim!(), &parameters).await? > 0;
                if claimed {
                    let delete = "DELETE FROM hivemind_journal.entry WHERE shard = $1 AND seq > $2";
                    transaction.execute(delete, &[&shard, &signed(to.0)]).await?;
                    let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&shard, &slices[3]];
                    parameters.extend(columns.parameters());
                    transaction.execute(INSERT, &parameters).await?;
                }
                transaction.commit().await?;
                claimed
            }
        };
        if claimed { Ok(Claim::Done) } else { refusal(client, shard, in_doubt.then_some(tail)).await }
    })?;
    match claim {
        Claim::Done | Claim::Refused { written: true, .. } => Ok(tail),
        Claim::Refused { promised, found, .. } => Err(why(promised, found, unit.epoch)),
    }
}

/// Looks why a claim was refused, and whether `wanted` stands in the log all the same.
async fn refusal(client: &mut Connection, shard: i32, wanted: Option<Tail>) -> Result<Claim, Failure> {
    let row = client.query_opt(voter!(), &[&shard]).await?;
    let row = row.ok_or_else(|| Failure::Final("the shard's row is gone".to_owned()))?;
    let (control, found) = control(&row).and_then(|control| Ok((control, tail(&row)?))).map_err(Failure::Final)?;
    let written = match wanted {
        None => false,
        Some(wanted) => {
            let select = "SELECT 1 FROM hivemind_journal.entry WHERE shard = $1 AND seq = $2 AND chain = $3";
            client.query_opt(select, &[&shard, &signed(wanted.seq.0), &&wanted.chain.0[..]]).await?.is_some()
        }
    };
    Ok(Claim::Refused { promised: control.promised, found, written })
}

fn why(promised: Epoch, found: Tail, epoch: Epoch) -> StoreError {
    if excludes(promised, epoch) { StoreError::Fenced { promised } } else { StoreError::Mismatch { found } }
}

/// A unit column by column.
struct Columns<'a> {
    seq: Vec<i64>,
    epoch: Vec<i64>,
    owner: Vec<Vec<u8>>,
    kind: Vec<i16>,
    timestamp: Vec<i64>,
    prev_chain: Vec<&'a [u8]>,
    chain: Vec<&'a [u8]>,
    payload: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn of(unit: &'a Unit) -> Self {
        let entries = &unit.entries;
        Self {
            seq: entries.iter().map(|entry| signed(entry.seq.0)).collect(),
            epoch: entries.iter().map(|entry| signed(entry.epoch.number)).collect(),
            owner: entries.iter().map(|entry| entry.epoch.owner.0.to_be_bytes().to_vec()).collect(),
            kind: entries.iter().map(|entry| i16::from(entry.kind.code())).collect(),
            timestamp: entries.iter().map(|entry| signed(entry.timestamp.0)).collect(),
            prev_chain: entries.iter().map(|entry| &entry.prev_chain.0[..]).collect(),
            chain: entries.iter().map(|entry| &entry.chain.0[..]).collect(),
            payload: entries.iter().map(|entry| &entry.payload[..]).collect(),
        }
    }

    fn parameters(&self) -> [&(dyn ToSql + Sync); 8] {
        [&self.seq, &self.epoch, &self.owner, &self.kind, &self.timestamp, &self.prev_chain, &self.chain, &self.payload]
    }
}
