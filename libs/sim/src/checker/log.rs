//! The log itself: whole, the same everywhere, and its epochs in order. Rules 7 and 9.

use std::collections::BTreeMap;

use journal_core::{ChainHash, Entry, EntryKind};
use types::Incarnation;

use super::{Copy, Rule, Verdict};

/// Rule 7.
pub(super) fn copies(copies: &[Copy], verdict: &mut Verdict) {
    for copy in copies {
        whole(copy, verdict);
    }
    let Some((first, others)) = copies.split_first() else { return };
    for other in others {
        // Equal chain hashes of whole logs are equal logs, but a copy may be broken anywhere.
        let differs = first.entries.iter().zip(&other.entries).find(|(a, b)| a != b);
        if let Some((a, b)) = differs {
            let subject = format!("seq {} of {}", b.seq, other.gateway);
            let expected = format!("{} as {} has it", a.chain, first.gateway);
            verdict.violation(Rule::Copies, subject, expected, b.chain.to_string());
        }
    }
}

/// Every entry follows the one before and has the hash of its content.
fn whole(copy: &Copy, verdict: &mut Verdict) {
    let (mut chain, mut seq, mut time) = (ChainHash::ZERO, 0, None);
    let log_id = super::log_id(&copy.entries);
    for entry in &copy.entries {
        seq += 1;
        let subject = || format!("seq {seq} of {}", copy.gateway);
        if entry.seq.0 != seq {
            verdict.violation(Rule::Copies, subject(), "no gap", format!("seq {}", entry.seq));
            seq = entry.seq.0;
        } else if entry.prev_chain != chain || !entry.verify() || entry.log_id != log_id {
            verdict.violation(Rule::Copies, subject(), format!("an entry after {chain}"), format!("{entry:?}"));
        } else if time.is_some_and(|time| entry.timestamp <= time) {
            verdict.violation(Rule::Copies, subject(), "a later log time", entry.timestamp.to_string());
        }
        chain = entry.chain;
        time = Some(entry.timestamp);
    }
}

/// Rule 9.
pub(super) fn epochs(entries: &[Entry], verdict: &mut Verdict) {
    let mut owners: BTreeMap<u64, Incarnation> = BTreeMap::new();
    let mut current = 0;
    for entry in entries {
        let subject = || format!("seq {}", entry.seq);
        let epoch = entry.epoch;
        if entry.kind == EntryKind::EpochStart {
            if epoch.number <= current {
                verdict.violation(
                    Rule::Epochs,
                    subject(),
                    format!("an epoch above {current}"),
                    format!("the start of {}", epoch.number),
                );
            }
        } else if epoch.number != current {
            let expected = format!("an entry of epoch {current}, or a start");
            verdict.violation(Rule::Epochs, subject(), expected, format!("an entry of {}", epoch.number));
        }
        let owner = *owners.entry(epoch.number).or_insert(epoch.owner);
        if owner != epoch.owner {
            let expected = format!("epoch {} is {owner}'s", epoch.number);
            verdict.violation(Rule::Epochs, subject(), expected, format!("one of {}", epoch.owner));
        }
        current = epoch.number;
    }
    verdict.epochs = owners.len();
}
