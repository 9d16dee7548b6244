//! What engines apply: one balance, and the table of outcomes by which a command executes once.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use bytes::Bytes;
use journal_core::{Entry, EntryKind};

use super::message::{Command, Outcome};

#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    balance: u64,
    outcomes: BTreeMap<(u8, u32), Outcome>,
    digest: u64,
}

impl State {
    /// Applies an entry; what its commands did, or had done before.
    pub(crate) fn apply(&mut self, entry: &Entry) -> Vec<(Command, Outcome)> {
        let commands = if entry.kind == EntryKind::Batch { decode(&entry.payload) } else { Vec::new() };
        let mut answers = Vec::new();
        for (index, command) in commands.into_iter().enumerate() {
            let next = self.balance + u64::from(command.amount);
            let here = Outcome { seq: entry.seq.0, index, balance: next };
            let outcome = *self.outcomes.entry((command.client, command.id)).or_insert(here);
            if outcome == here {
                self.balance = next;
            }
            answers.push((command, outcome));
        }
        let mut hasher = DefaultHasher::new();
        (self.digest, self.balance, self.outcomes.len(), entry.chain).hash(&mut hasher);
        self.digest = hasher.finish();
        answers
    }

    pub(crate) fn hash(&self) -> u64 {
        self.digest
    }

    pub(crate) fn outcome(&self, client: u8, id: u32) -> Option<Outcome> {
        self.outcomes.get(&(client, id)).copied()
    }
}

pub(crate) fn encode(commands: &[Command]) -> Bytes {
    let bytes = commands.iter().flat_map(|command| {
        let [a, b, c, d] = command.id.to_le_bytes();
        [command.client, a, b, c, d, command.amount]
    });
    bytes.collect()
}

fn decode(payload: &[u8]) -> Vec<Command> {
    let command = |bytes: &[u8]| Command {
        client: bytes[0],
        id: u32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]),
        amount: bytes[5],
    };
    payload.chunks_exact(6).map(command).collect()
}
