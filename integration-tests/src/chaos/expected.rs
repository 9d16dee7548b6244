//! Log lines at WARN or above that a fault makes a process say. Everything else it says there is a finding.
//!
//! One line for each: which faults it belongs to (none for any), and how the message begins. A line belongs here only
//! if an operator should be warned of it when that fault happens.

use super::Fault;
use crate::cluster::LogLine;

/// What is expected of whom, and because of what.
const EXPECTED: &[(&[Fault], &str)] = &[];

/// The lines that no fault of `deck` explains.
pub(super) fn unexpected(lines: Vec<LogLine>, deck: &[Fault]) -> Vec<LogLine> {
    let explained = |line: &LogLine| {
        EXPECTED.iter().any(|(faults, message)| {
            let could_be = faults.is_empty() || faults.iter().any(|fault| deck.contains(fault));
            could_be && !line.level.is_empty() && line.message.starts_with(message)
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
    }
}
