//! Failures: the exit code of each, and how it is printed: a line for people on standard error, and with
//! `--output json` also one document on standard output,
//! `{"error": {"code": …, "message": …, "field": …, "exit_code": …}}`.
//!
//! Deliberately absent: what failed; every part describes its own errors.

use std::process::ExitCode;

use persistence_gateway::backup::BackupError;
use persistence_gateway::{BuildError, VerifyError};
use serde_json::json;
use service_kit::node::NodeError;
use wire::status::{ApiError, ErrorCode};

use crate::admin::Unconfirmed;
use crate::cli::{
    EXIT_CONFIGURATION, EXIT_DIFFERENCE, EXIT_FAILURE, EXIT_REFUSED, EXIT_UNREACHABLE, EXIT_USAGE, Output,
};
use crate::config::Misconfigured;
use crate::output;

/// Prints an error; returns the code to end with.
pub(crate) fn tell(error: &anyhow::Error, output: Output) -> ExitCode {
    let exit_code = exit_code(error);
    if output == Output::Json {
        let api = error.downcast_ref::<ApiError>();
        let code = api.map_or_else(|| word(exit_code), |api| api.code.reason());
        let field = api.and_then(|api| api.field.as_deref());
        let message = output::chain(error);
        document(code, &message, field, exit_code);
    }
    output::error(error);
    ExitCode::from(exit_code)
}

/// Prints what is wrong with the command line, or the help or the version if that was asked for.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let json = arguments.iter().any(|argument| argument == "--output=json")
        || arguments.windows(2).any(|pair| pair == ["--output", "json"]);
    if error.use_stderr() && json {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        document(word(EXIT_USAGE), message, None, EXIT_USAGE);
    }
    // Where nothing can be printed, nothing can be said about it either.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(EXIT_USAGE))
}

fn document(code: &str, message: &str, field: Option<&str>, exit_code: u8) {
    let error = json!({"code": code, "message": message, "field": field, "exit_code": exit_code});
    // A value of strings and numbers always becomes text.
    output::json(&json!({ "error": error })).unwrap_or(());
}

/// The code of the part that failed, where it has one: whoever restarts the process must tell a damaged journal from
/// a port that is taken.
fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(api) = error.downcast_ref::<ApiError>() {
        api_exit_code(api)
    } else if let Some(unconfirmed) = error.downcast_ref::<Unconfirmed>() {
        match unconfirmed {
            Unconfirmed::Unasked { .. } => EXIT_USAGE,
            Unconfirmed::Declined => EXIT_REFUSED,
        }
    } else if let Some(node) = error.downcast_ref::<NodeError>() {
        node.exit_code()
    } else if let Some(gateway) = error.downcast_ref::<BuildError>() {
        gateway.exit_code()
    } else if let Some(verification) = error.downcast_ref::<VerifyError>() {
        verification.exit_code()
    } else if let Some(backup) = error.downcast_ref::<BackupError>() {
        backup_exit_code(backup)
    } else if error.is::<Misconfigured>() {
        EXIT_CONFIGURATION
    } else {
        EXIT_FAILURE
    }
}

/// A backup that is not what it says is a difference; what cannot be done with a good one is refused.
fn backup_exit_code(error: &BackupError) -> u8 {
    match error {
        BackupError::Damaged { .. } | BackupError::Inconsistent { .. } => EXIT_DIFFERENCE,
        BackupError::Unknown { .. } | BackupError::Busy | BackupError::Target(_) => EXIT_REFUSED,
        BackupError::Unfinished(cause) => backup_exit_code(cause),
        _ => EXIT_FAILURE,
    }
}

/// Refused means: nothing was changed.
fn api_exit_code(error: &ApiError) -> u8 {
    match error.code {
        ErrorCode::Unreachable | ErrorCode::DeadlineExceeded | ErrorCode::Canceled => EXIT_UNREACHABLE,
        code if code.changed_nothing() => EXIT_REFUSED,
        _ => EXIT_FAILURE,
    }
}

/// The stable word for an exit code, where the error has none of its own.
const fn word(exit_code: u8) -> &'static str {
    match exit_code {
        EXIT_USAGE => "USAGE",
        EXIT_CONFIGURATION => "CONFIGURATION",
        EXIT_DIFFERENCE => "DIFFERENCE",
        EXIT_REFUSED => "REFUSED",
        EXIT_UNREACHABLE => "UNREACHABLE",
        10 => "JOURNAL_DAMAGED",
        11 => "JOURNAL_WRITE_FAILED",
        _ => "FAILURE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_and_silence_have_codes_of_their_own() {
        let code = |code| exit_code(&ApiError::new(code, "").into());
        assert_eq!(code(ErrorCode::PreconditionFailed), EXIT_REFUSED);
        assert_eq!(code(ErrorCode::NotReady), EXIT_REFUSED);
        assert_eq!(code(ErrorCode::Unauthenticated), EXIT_REFUSED);
        assert_eq!(code(ErrorCode::Unreachable), EXIT_UNREACHABLE);
        assert_eq!(code(ErrorCode::Internal), EXIT_FAILURE);
        assert_eq!(exit_code(&Unconfirmed::Declined.into()), EXIT_REFUSED);
        let wrapped = anyhow::Error::new(ApiError::precondition("no")).context("shard 1 was moved before");
        assert_eq!(exit_code(&wrapped), EXIT_REFUSED, "whatever is said about it");
    }
}
