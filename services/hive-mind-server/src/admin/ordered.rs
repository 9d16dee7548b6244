//! By whom something is ordered, why, under which name, and whether it may be done without asking: what every command
//! that changes something has.
//!
//! Nothing here waits for a terminal that is not there: without one, what needs a consent is refused at once unless
//! `--yes` is given.
//!
//! Deliberately absent: which acts need a consent; each command knows that of itself.

use std::io::{BufRead, IsTerminal};

use clap::Args;
use uuid::Uuid;
use wire::pb::consensus::v1 as pb;

use crate::output;

/// Arguments of all commands that change something.
#[derive(Args, Clone, Debug)]
pub(crate) struct Ordered {
    /// Why; kept in the audit log.
    #[arg(long, value_name = "TEXT", default_value = "", help_heading = "The order")]
    reason: String,
    /// Who orders it; kept in the audit log. The user's name if not given.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown", help_heading = "The order")]
    actor: String,
    /// Id of the order, kept in the audit log. Under the same id elections, pools, backups and notifications are not
    /// done again: the answer is the first one. A random one if not given.
    #[arg(long, value_name = "ID", help_heading = "The order")]
    request_id: Option<String>,
    /// Only says what would be done; nothing is changed.
    #[arg(long, help_heading = "The order")]
    pub(super) dry_run: bool,
    /// Does not ask before an act that cannot be taken back.
    #[arg(long, help_heading = "The order")]
    yes: bool,
    /// Never asks, as if there were no terminal.
    #[arg(long, help_heading = "The order")]
    no_input: bool,
}

/// Why an act was not begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unconfirmed {
    /// Nobody can be asked.
    #[error("{act}: this needs a consent and there is no terminal to ask for it: repeat the command with {flag}")]
    Unasked {
        /// What would be done.
        act: String,
        /// What stands for the consent on the command line.
        flag: String,
    },
    /// Whoever was asked said no.
    #[error("not confirmed: nothing was changed")]
    Declined,
}

impl Ordered {
    /// The order as it is sent: the same id each time if one was given, else a new one.
    pub(super) fn order(&self) -> pb::Order {
        pb::Order {
            request_id: self.request_id.clone().unwrap_or_else(|| Uuid::new_v4().to_string()),
            actor: self.actor.clone(),
            reason: self.reason.clone(),
            dry_run: self.dry_run,
        }
    }

    /// Asks whether `act` shall be done; it is what will happen, as a statement. A dry run needs no consent.
    pub(super) fn confirm(&self, act: &str) -> Result<(), Unconfirmed> {
        if self.dry_run || self.yes {
            return Ok(());
        }
        self.ask(act, "y", "--yes")
    }

    /// For the severest acts, which `--yes` does not cover: whoever wants one writes the name of what it is done to, at
    /// the prompt or as `--confirm=NAME`.
    pub(super) fn confirm_by_name(&self, act: &str, name: &str, given: Option<&str>) -> Result<(), Unconfirmed> {
        match given {
            _ if self.dry_run => Ok(()),
            Some(given) if given == name => Ok(()),
            Some(_) => Err(Unconfirmed::Declined),
            None => self.ask(act, name, &format!("--confirm={name}")),
        }
    }

    fn ask(&self, act: &str, word: &str, flag: &str) -> Result<(), Unconfirmed> {
        let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        if self.no_input || !terminal {
            return Err(Unconfirmed::Unasked { act: act.to_owned(), flag: flag.to_owned() });
        }
        output::prompt(&format!("{act}.\nWrite {word} to go on: "));
        let mut answer = String::new();
        // Nothing else runs meanwhile; Ctrl-C ends the process before anything was begun.
        let read = std::io::stdin().lock().read_line(&mut answer);
        let yes = read.is_ok() && answer.trim().eq_ignore_ascii_case(word);
        if yes { Ok(()) } else { Err(Unconfirmed::Declined) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(dry_run: bool, yes: bool) -> Ordered {
        let (reason, actor) = (String::new(), "ann".to_owned());
        Ordered { reason, actor, request_id: None, dry_run, yes, no_input: true }
    }

    #[test]
    fn r56_nobody_waits_for_a_terminal_that_is_not_there() {
        let refused = ordered(false, false).confirm("all pools are replaced").expect_err("nobody was asked");
        assert!(refused.to_string().contains("--yes"), "{refused}");
        assert_eq!(ordered(false, true).confirm("all pools are replaced"), Ok(()));
        assert_eq!(ordered(true, false).confirm("all pools are replaced"), Ok(()));
    }

    #[test]
    fn r56_the_severest_acts_want_the_name_of_what_they_are_done_to() {
        let by_name = |dry_run, given| ordered(dry_run, true).confirm_by_name("all halt", "all", given);
        assert!(by_name(false, None).expect_err("--yes is not enough").to_string().contains("--confirm=all"));
        assert_eq!(by_name(false, Some("AAPL")), Err(Unconfirmed::Declined));
        assert_eq!(by_name(false, Some("all")), Ok(()));
        assert_eq!(by_name(true, None), Ok(()));
    }
}
