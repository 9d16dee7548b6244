//! Log lines at WARN or above that a fault makes a process say. Everything else it says there is a finding.
//!
//! One line for each: how the message begins, and which faults it belongs to (none for any fault at all). A line
//! belongs here only if an operator should be warned of it when that fault happens. No ERROR is expected of anybody.

use super::Fault;
use super::Fault::RestartPostgres;
use crate::cluster::LogLine;

/// What is expected, and because of what.
const EXPECTED: &[(&str, &[Fault])] = &[
    // An engine that opens a shard, or cannot write, is not ready; a coordinator without its store is in failsafe.
    ("component down", &[]),
    ("component degraded", &[]),
    // Requests under way when a leader is lost are answered UNKNOWN; those that a client has given up before they were
    // read are counted as INTERNAL by the gRPC library. A defect of ours is an ERROR besides.
    ("request failed", &[]),
    ("append stream to the journal", &[]),
    ("journal voter was not read", &[]),
    ("journal voter did not vote", &[]),
    ("Connection could not be recycled", &[RestartPostgres]),
    ("the journal does not answer, no new commands are taken", &[]),
    ("no coordinator takes signs of life, going on and reconnecting", &[]),
    ("cannot become leader yet, trying again", &[]),
    ("consensus: no leader, election open", &[]),
    ("consensus: leader deposed", &[]),
    ("consensus: the lease of the leader ran out", &[]),
    // Three members on one disk beside everything else take longer than a request may, now and then.
    ("consensus: store away", &[]),
    // Clients that give up on a process that is behind reset more streams than h2 keeps.
    ("recv_reset; remotely-reset pending-accept streams reached limit", &[]),
    ("Connection error", &[RestartPostgres]),
    ("history database not written, trying again", &[RestartPostgres]),
    ("journal database not seen, trying again", &[RestartPostgres]),
];

/// The lines that no fault of `deck` explains.
pub(super) fn unexpected(lines: Vec<LogLine>, deck: &[Fault]) -> Vec<LogLine> {
    let explained = |line: &LogLine| {
        EXPECTED.iter().any(|(message, faults)| {
            let could_be = faults.is_empty() || faults.iter().any(|fault| deck.contains(fault));
            could_be && line.level == "WARN" && line.message.starts_with(message)
        })
    };
    lines.into_iter().filter(|line| !explained(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_or_an_unknown_complaint_is_never_expected() {
        let line = |level: &str, message: &str| LogLine {
            process: "engine-1".to_owned(),
            level: level.to_owned(),
            message: message.to_owned(),
            line: message.to_owned(),
        };
        let lines = vec![line("", "thread 'main' panicked"), line("ERROR", "something else")];
        assert_eq!(unexpected(lines.clone(), &Fault::long_deck()), lines);
        let lines = vec![line("WARN", "history database not written, trying again"), line("ERROR", "component down")];
        assert_eq!(unexpected(lines.clone(), &[RestartPostgres]), lines[1..]);
        assert_eq!(unexpected(lines.clone(), &[Fault::KillLeader]), lines);
    }
}
