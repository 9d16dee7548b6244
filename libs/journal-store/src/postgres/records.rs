//! Rows to values and back. A row that does not make sense is corruption, never a panic.

use bytes::Bytes;
use journal_core::{ChainHash, Control, Entry, EntryKind, Tail, Voter, VoterConfig};
use tokio_postgres::Row;
use types::{Epoch, Incarnation, LogId, Seq, Timestamp};

/// Selects the row of a shard in `voter`, with the columns in the order [`control`] and [`tail`] read them.
macro_rules! voter {
    ($($rest:literal)?) => {
        concat!(
            "SELECT log_id, disk_id, promised_number, promised_owner, config_generation, current_gateways, \
             current_disks, pending_gateways, pending_disks, quarantined, base_epoch, base_owner, base_seq, base_chain, \
             tail_epoch, tail_owner, tail_seq, tail_chain FROM hivemind_journal.voter WHERE shard = $1",
            $(" ", $rest)?
        )
    };
}
pub(super) use voter;

/// A number as the database stores it. Every number of the journal stays far below the sign bit.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> Result<u64, String> {
    u64::try_from(value).map_err(|_| format!("a negative number, {value}"))
}

fn array(row: &Row, index: usize) -> Result<[u8; 16], String> {
    let bytes: &[u8] = column(row, index)?;
    bytes.try_into().map_err(|_| format!("{} bytes where 16 belong", bytes.len()))
}

fn column<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, index: usize) -> Result<T, String> {
    row.try_get(index).map_err(|error| error.to_string())
}

fn id(row: &Row, index: usize) -> Result<u128, String> {
    array(row, index).map(u128::from_be_bytes)
}

fn number(row: &Row, index: usize) -> Result<u64, String> {
    unsigned(column(row, index)?)
}

fn epoch(row: &Row, index: usize) -> Result<Epoch, String> {
    Ok(Epoch { number: number(row, index)?, owner: Incarnation(id(row, index + 1)?) })
}

fn position(row: &Row, index: usize) -> Result<Tail, String> {
    Ok(Tail { epoch: epoch(row, index)?, seq: Seq(number(row, index + 2)?), chain: ChainHash(array(row, index + 3)?) })
}

fn voters(row: &Row, index: usize) -> Result<Vec<Voter>, String> {
    let gateways: Vec<String> = column(row, index)?;
    let disks: Vec<&[u8]> = column(row, index + 1)?;
    if gateways.len() != disks.len() {
        return Err("a voter without a disk".to_owned());
    }
    let voter = |(gateway, disk): (String, &[u8])| {
        let disk = disk.try_into().map_err(|_| "a disk identity of another length".to_owned())?;
        Ok(Voter { gateway, disk_id: u128::from_be_bytes(disk) })
    };
    gateways.into_iter().zip(disks).map(voter).collect()
}

pub(super) fn control(row: &Row) -> Result<Control, String> {
    Ok(Control {
        log_id: LogId(id(row, 0)?),
        disk_id: id(row, 1)?,
        promised: epoch(row, 2)?,
        config: VoterConfig { generation: number(row, 4)?, current: voters(row, 5)?, pending: voters(row, 7)? },
        quarantined: column(row, 9)?,
        base: position(row, 10)?,
    })
}

pub(super) fn tail(row: &Row) -> Result<Tail, String> {
    position(row, 14)
}

/// Selects entries of a shard, with the columns in the order [`entry`] reads them.
macro_rules! entries {
    ($rest:literal) => {
        concat!(
            "SELECT epoch, owner, seq, chain, prev_chain, log_id, kind, timestamp_us, payload
             FROM hivemind_journal.entry WHERE shard = $1 AND ",
            $rest
        )
    };
}
pub(super) use entries;

/// Selects what tells where entries stand, without their content, as [`place`] reads it.
pub(super) const PLACES: &str = "SELECT epoch, owner, seq, chain, prev_chain, log_id
     FROM hivemind_journal.entry WHERE shard = $1 AND seq >= $2 ORDER BY seq LIMIT $3";

/// Where an entry stands: itself, the hash before it, its history. Its content is not looked at.
pub(super) fn place(row: &Row) -> Result<(Tail, ChainHash, LogId), String> {
    Ok((position(row, 0)?, ChainHash(array(row, 4)?), LogId(id(row, 5)?)))
}

/// An entry, its own hash checked.
pub(super) fn entry(row: &Row) -> Result<Entry, String> {
    let at = position(row, 0)?;
    let kind: i16 = column(row, 6)?;
    let payload: &[u8] = column(row, 8)?;
    let entry = Entry {
        log_id: LogId(id(row, 5)?),
        epoch: at.epoch,
        seq: at.seq,
        kind: u8::try_from(kind)
            .ok()
            .and_then(EntryKind::from_code)
            .ok_or_else(|| format!("entry {} of unknown kind {kind}", at.seq))?,
        timestamp: Timestamp(number(row, 7)?),
        prev_chain: ChainHash(array(row, 4)?),
        chain: at.chain,
        payload: Bytes::copy_from_slice(payload),
    };
    if entry.verify() { Ok(entry) } else { Err(format!("entry {} does not match its hash", at.seq)) }
}

/// A row of `snapshot`: position, digest, content.
pub(super) fn snapshot(row: &Row) -> Result<(Tail, Vec<u8>, Bytes), String> {
    let digest: &[u8] = column(row, 4)?;
    let content: &[u8] = column(row, 5)?;
    Ok((position(row, 0)?, digest.to_vec(), Bytes::copy_from_slice(content)))
}
