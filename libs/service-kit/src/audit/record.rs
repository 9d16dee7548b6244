//! One line: a JSON object that ends with the hash of everything before it. The line names the hash of the line
//! before, so that the last hash stands for all. Absent: files.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Act;
use super::writer::Pending;
use crate::{clock, secrets};

/// Between what is hashed and the hash.
const HASH_FIELD: &str = ",\"hash\":\"";
/// Hexadecimal digits of a hash.
const HASH_DIGITS: usize = 64;
/// Keeps these hashes from being taken for any other.
const CONTEXT: &str = "hive-mind 2026 audit record v1";

/// A record, as it stands in its line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Number in the log of this instance, from 1, without gaps.
    pub seq: u64,
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// When, microseconds since the Unix epoch.
    pub at_us: u64,
    /// Instance that recorded it.
    pub node: String,
    /// What was done.
    pub action: String,
    /// What it was done to.
    pub target: String,
    /// Who called, as authenticated; "system" for what nobody ordered.
    pub subject: String,
    /// Role of the caller.
    pub role: String,
    /// From where; absent if not over the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    /// Who ordered it, as the caller says.
    pub actor: String,
    /// Why, as the caller says.
    pub reason: String,
    /// Id of the order, or of the request that was being handled.
    pub request_id: String,
    /// "ok", "refused" or "failed".
    pub result: String,
    /// Why refused, how failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// How it was asked for.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub parameters: Value,
    /// What it was before.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub before: Value,
    /// What it was afterwards.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub after: Value,
    /// Hash of the record before, hexadecimal.
    pub prev: String,
    /// Hash of this record, hexadecimal. Not part of what is hashed.
    #[serde(default, skip_serializing)]
    pub hash: String,
}

/// The end of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Number of the last record; 0 before the first.
    pub seq: u64,
    /// Its hash, hexadecimal.
    pub hash: String,
}

/// A line and its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The place.
    pub head: Head,
    /// The line, without its end.
    pub text: String,
}

impl Head {
    /// Before the first record.
    pub const GENESIS: Self = Self { seq: 0, hash: String::new() };

    /// Reads `seq:hash`, as `verify` prints it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (seq, hash) = text.split_once(':')?;
        let hash = hash.to_owned();
        let hexadecimal = hash.len() == HASH_DIGITS && hash.bytes().all(|digit| digit.is_ascii_hexdigit());
        seq.parse().ok().filter(|_| hexadecimal).map(|seq| Self { seq, hash })
    }
}

impl Line {
    /// Makes the record that follows `head`.
    pub(super) fn after(head: &Head, node: &str, pending: Pending) -> Self {
        let Pending { at_us, act, verbose } = pending;
        let Act { action, target, caller, actor, reason, request_id, parameters, before, after, result } = *act;
        let record = Record {
            seq: head.seq + 1,
            at: clock::rfc3339(at_us),
            at_us,
            node: node.to_owned(),
            action: action.to_owned(),
            target: secrets::text(target),
            subject: secrets::text(caller.subject),
            role: caller.role.as_str().to_owned(),
            peer: caller.peer,
            actor: secrets::text(actor),
            reason: secrets::text(reason),
            request_id: secrets::text(request_id),
            result: result.word().to_owned(),
            detail: secrets::text(result.detail().to_owned()),
            parameters: if verbose { secrets::redacted("", parameters) } else { Value::Null },
            before: secrets::redacted("", before),
            after: secrets::redacted("", after),
            prev: head.hash.clone(),
            hash: String::new(),
        };
        // The fields are texts, numbers and JSON: nothing that could not be written.
        let mut text = serde_json::to_string(&record).unwrap_or_default();
        text.pop();
        let hash = hash(text.as_bytes());
        text.push_str(HASH_FIELD);
        text.push_str(&hash);
        text.push_str("\"}");
        Self { head: Head { seq: record.seq, hash }, text }
    }
}

impl Record {
    /// Reads a line and checks its hash; the chain is for others to check.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn read(line: &str) -> Result<Self, &'static str> {
        let tail = HASH_FIELD.len() + HASH_DIGITS + "\"}".len();
        let hashed = line.len().checked_sub(tail).and_then(|end| line.get(..end)).ok_or("the line is too short")?;
        let record: Self = serde_json::from_str(line).map_err(|_| "the line is not a record")?;
        if hash(hashed.as_bytes()) == record.hash { Ok(record) } else { Err("the record was changed") }
    }

    /// Its place in the chain.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash.clone() }
    }
}

fn hash(bytes: &[u8]) -> String {
    blake3::Hasher::new_derive_key(CONTEXT).update(bytes).finalize().to_hex().to_string()
}
