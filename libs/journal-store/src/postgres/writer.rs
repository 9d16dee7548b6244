//! The statements of the one writer. Each claims the shard's row under the conditions that make it legal, so that
//! SQL refuses a stale epoch and a log that is not the one this process knows, whatever it believes.

use journal_core::{ChainHash, Control, Entry, Recovered, Tail, Unit, Voter};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;
use types::{Epoch, Seq};

use super::reader::corrupt;
use super::records::{ENTRY_COLUMNS, VOTER_COLUMNS, control, entry, signed, tail};
use super::session::{Failure, Session, answer};
use crate::StoreError;
use crate::admission::{Position, excludes};
use crate::replay::Replay;

/// Rows read at once during recovery: few round trips, and at a megabyte each what a process can still hold.
const RECOVERY_ROWS: i64 = 256;

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

/// Reads and checks the whole log. Holding the row keeps writers out, and waits for one that was cut off while it
/// committed: what is read here is final.
pub(super) fn recover(session: &mut Session, shard: i32) -> Result<Recovered, StoreError> {
    let (log_id, disk_id): ([u8; 16], [u8; 16]) = (rand::random(), rand::random());
    let nobody = &[0_u8; 16][..];
    let limit = session.statement_limit();
    session.run_long("recover", async |client, _| {
        let transaction = answer(limit, client.transaction()).await?;
        let identity: [&(dyn ToSql + Sync); 4] = [&shard, &&log_id[..], &&disk_id[..], &nobody];
        let insert = transaction.execute(
            "INSERT INTO hivemind_journal.voter VALUES
                 ($1, $2, $3, 0, $4, 0, '{}', '{}', '{}', '{}', false, 0, 0, $4, $4, 0, 0, $4, $4)
             ON CONFLICT (shard) DO NOTHING",
            &identity,
        );
        answer(limit, insert).await?;
        let select = format!("SELECT {VOTER_COLUMNS} FROM hivemind_journal.voter WHERE shard = $1 FOR UPDATE");
        let row = answer(limit, transaction.query_one(&select, &[&shard])).await?;
        let (control, recorded) = match (control(&row), tail(&row)) {
            (Ok(control), Ok(tail)) => (control, tail),
            (Err(reason), _) | (_, Err(reason)) => return Ok(Err(corrupt(Seq(0), reason))),
        };
        let mut replay = Replay::new(control);
        let select = format!(
            "SELECT {ENTRY_COLUMNS} FROM hivemind_journal.entry WHERE shard = $1 AND seq > $2 ORDER BY seq LIMIT $3"
        );
        let select = answer(limit, transaction.prepare(&select)).await?;
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

/// Hash of an entry of the log.
pub(super) fn chain_at(session: &mut Session, shard: i32, seq: Seq) -> Result<Option<ChainHash>, StoreError> {
    let row = session.run("look up entry", async |client, _| {
        let select = "SELECT chain FROM hivemind_journal.entry WHERE shard = $1 AND seq = $2";
        Ok(client.query_opt(select, &[&shard, &signed(seq.0)]).await?)
    })?;
    Ok(row.and_then(|row| row.get::<_, &[u8]>(0).try_into().ok().map(ChainHash)))
}

/// Replaces the control columns, and drops entries below the base.
pub(super) fn persist_control(
    session: &mut Session,
    shard: i32,
    known: &Position,
    control: &Control,
) -> Result<(), StoreError> {
    let gateways = |voters: &[Voter]| voters.iter().map(|voter| voter.gateway.clone()).collect::<Vec<_>>();
    let disks = |voters: &[Voter]| voters.iter().map(|voter| voter.disk_id.to_be_bytes().to_vec()).collect::<Vec<_>>();
    let Control { log_id, disk_id, promised, config, base, quarantined } = control;
    let claim = session.run("persist control", async |client, _| {
        let transaction = client.transaction().await?;
        let claimed = transaction
            .execute(
                "UPDATE hivemind_journal.voter SET log_id = $2, disk_id = $3, promised_number = $4, promised_owner = $5,
                     config_generation = $6, current_gateways = $7, current_disks = $8, pending_gateways = $9,
                     pending_disks = $10, quarantined = $11, base_seq = $12, base_epoch = $13, base_owner = $14,
                     base_chain = $15
                 WHERE shard = $1 AND (promised_number < $4 OR (promised_number = $4 AND promised_owner = $5))
                     AND tail_seq = $16 AND tail_chain = $17",
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
                    &signed(base.seq.0),
                    &signed(base.epoch.number),
                    &&base.epoch.owner.0.to_be_bytes()[..],
                    &&base.chain.0[..],
                    &signed(known.tail.seq.0),
                    &&known.tail.chain.0[..],
                ],
            )
            .await?;
        if claimed == 0 {
            transaction.rollback().await?;
            return refusal(client, shard, None).await;
        }
        if base.seq > known.control.base.seq {
            transaction
                .execute(
                    "DELETE FROM hivemind_journal.entry WHERE shard = $1 AND seq <= $2",
                    &[&shard, &signed(base.seq.0)],
                )
                .await?;
        }
        transaction.commit().await?;
        Ok(Claim::Done)
    })?;
    match claim {
        Claim::Done => Ok(()),
        Claim::Refused { promised, found, .. } => Err(why(promised, found, control.promised)),
    }
}

/// Writes a unit in one transaction and returns the tail it leaves.
///
/// After a commit without an answer the next attempt's claim waits for the first to end and then fails if it
/// succeeded, because the end of the log has moved; the entries themselves tell which of the two happened.
pub(super) fn write(session: &mut Session, shard: i32, known: &Position, unit: &Unit) -> Result<Tail, StoreError> {
    let Some(tail) = unit.entries.last().map(Entry::tail) else {
        return Err(StoreError::invalid("a unit without entries"));
    };
    let columns = Columns::of(unit);
    let claim = session.run("write unit", async |client, in_doubt| {
        let transaction = client.transaction().await?;
        let claimed = transaction
            .execute(
                "UPDATE hivemind_journal.voter SET promised_number = $2, promised_owner = $3,
                     tail_seq = $4, tail_epoch = $5, tail_owner = $6, tail_chain = $7
                 WHERE shard = $1 AND (promised_number < $2 OR (promised_number = $2 AND promised_owner = $3))
                     AND log_id = $8 AND tail_seq = $9 AND tail_chain = $10",
                &[
                    &shard,
                    &signed(unit.epoch.number),
                    &&unit.epoch.owner.0.to_be_bytes()[..],
                    &signed(tail.seq.0),
                    &signed(tail.epoch.number),
                    &&tail.epoch.owner.0.to_be_bytes()[..],
                    &&tail.chain.0[..],
                    &&known.control.log_id.0.to_be_bytes()[..],
                    &signed(known.tail.seq.0),
                    &&known.tail.chain.0[..],
                ],
            )
            .await?;
        if claimed == 0 {
            transaction.rollback().await?;
            return refusal(client, shard, in_doubt.then_some(tail)).await;
        }
        if let Some(to) = unit.truncate_to {
            transaction
                .execute("DELETE FROM hivemind_journal.entry WHERE shard = $1 AND seq > $2", &[&shard, &signed(to.0)])
                .await?;
        }
        let log_id = known.control.log_id.0.to_be_bytes();
        transaction
            .execute(
                "INSERT INTO hivemind_journal.entry
                     (shard, log_id, seq, epoch, owner, kind, timestamp_us, prev_chain, chain, payload)
                 SELECT $1, $2, u.* FROM unnest($3::bigint[], $4::bigint[], $5::bytea[], $6::smallint[], $7::bigint[],
                     $8::bytea[], $9::bytea[], $10::bytea[]) AS u",
                &columns.parameters(&shard, &&log_id[..]),
            )
            .await?;
        transaction.commit().await?;
        Ok(Claim::Done)
    })?;
    match claim {
        Claim::Done | Claim::Refused { written: true, .. } => Ok(tail),
        Claim::Refused { promised, found, .. } => Err(why(promised, found, unit.epoch)),
    }
}

/// Looks why a claim was refused, and whether `wanted` stands in the log all the same.
async fn refusal(client: &Client, shard: i32, wanted: Option<Tail>) -> Result<Claim, Failure> {
    let select = format!("SELECT {VOTER_COLUMNS} FROM hivemind_journal.voter WHERE shard = $1");
    let row = client.query_opt(&select, &[&shard]).await?;
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

    fn parameters<'b>(&'b self, shard: &'b i32, log_id: &'b &'b [u8]) -> [&'b (dyn ToSql + Sync); 10] {
        [
            shard,
            log_id,
            &self.seq,
            &self.epoch,
            &self.owner,
            &self.kind,
            &self.timestamp,
            &self.prev_chain,
            &self.chain,
            &self.payload,
        ]
    }
}
