//! `admin`: what operators order of a running cluster, and what they see of it.
//!
//! None of these commands asks before it acts: each can be undone or leaves things as they were, and none loses an
//! acknowledged order. So none waits for a terminal that is not there.
//!
//! Deliberately absent: decisions. The commands are calls; the coordinator refuses what makes no sense.

mod consensus;
mod view;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;
use wire::status::{ApiError, ErrorCode};
use wire::transport::{Address, Channel, ClientOptions, connect};

use crate::cli::{EXIT_FAILURE, EXIT_REFUSED, EXIT_UNREACHABLE, Output};
use crate::output;
use crate::run::ADDRESSES_FILE;

/// Where a node listens unless told otherwise.
const USUAL_TARGET: &str = "http://127.0.0.1:8080";

/// Commands for operators.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Leaders of shards: who they are, and who shall be.
    #[command(subcommand)]
    Consensus(consensus::ConsensusCommand),
}

/// Which node is asked, and how the answer is printed.
#[derive(Args, Clone, Debug)]
pub(crate) struct Asked {
    /// gRPC address of a node that runs a coordinator, http://host:port. Without one, that of the node in --data-dir;
    /// without that, http://127.0.0.1:8080.
    #[arg(long, value_name = "ADDRESS", env = "HIVE_TARGET")]
    target: Option<String>,
    /// Data directory of a running node; its node.json says where it listens.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Longest wait for an answer, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    timeout: u64,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// By whom, why, and under which name.
#[derive(Args, Clone, Debug)]
pub(crate) struct Ordered {
    /// Why; kept in the audit log.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Who orders it; kept in the audit log. The user's name if not given.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown")]
    actor: String,
    /// Id of the order: whoever repeats it under the same id gets the first answer, and nothing is done again.
    /// A random one if not given.
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
}

#[derive(Deserialize)]
struct NodeFile {
    grpc: String,
}

/// Runs a command; prints its result or, as JSON if asked for, its error.
pub(crate) async fn run(command: AdminCommand) -> Result<u8> {
    let AdminCommand::Consensus(command) = command;
    let asked = command.asked().clone();
    let done = async { consensus::run(command, &asked, asked.channel()?).await };
    match done.await {
        Ok(code) => Ok(code),
        Err(error) => match error.downcast_ref::<ApiError>() {
            Some(api) => {
                if asked.output == Output::Json {
                    let error = json!({"code": api.code.reason(), "message": api.message, "field": api.field});
                    output::json(&json!({ "error": error }))?;
                }
                output::error(&error);
                Ok(exit_code(api))
            }
            None => Err(error),
        },
    }
}

/// Refused means: nothing was changed.
fn exit_code(error: &ApiError) -> u8 {
    match error.code {
        ErrorCode::Unreachable | ErrorCode::DeadlineExceeded | ErrorCode::Canceled => EXIT_UNREACHABLE,
        ErrorCode::InvalidArgument
        | ErrorCode::NotFound
        | ErrorCode::PreconditionFailed
        | ErrorCode::LeadershipHeld
        | ErrorCode::LeadershipDenied
        | ErrorCode::NotReady
        | ErrorCode::Unsupported => EXIT_REFUSED,
        _ => EXIT_FAILURE,
    }
}

impl Asked {
    fn channel(&self) -> Result<Channel> {
        let text = match (&self.target, &self.data_dir) {
            (Some(target), _) => target.clone(),
            (None, Some(directory)) => listening(directory)?,
            (None, None) => USUAL_TARGET.to_owned(),
        };
        Ok(connect(&text.parse::<Address>()?, &ClientOptions::default()))
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

fn listening(directory: &Path) -> Result<String> {
    let path = directory.join(ADDRESSES_FILE);
    let text = std::fs::read(&path)
        .with_context(|| format!("cannot read {}: is a node running in that directory?", path.display()))?;
    let file: NodeFile = serde_json::from_slice(&text).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(format!("http://{}", file.grpc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_and_silence_have_codes_of_their_own() {
        let code = |code| exit_code(&ApiError::new(code, ""));
        assert_eq!(code(ErrorCode::PreconditionFailed), EXIT_REFUSED);
        assert_eq!(code(ErrorCode::NotReady), EXIT_REFUSED);
        assert_eq!(code(ErrorCode::Unreachable), EXIT_UNREACHABLE);
        assert_eq!(code(ErrorCode::Internal), EXIT_FAILURE);
    }

    #[test]
    fn a_node_is_found_by_its_directory() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let missing = listening(directory.path()).expect_err("nothing runs there");
        assert!(format!("{missing:#}").contains("is a node running in that directory?"));
        let file = json!({"pid": 1, "name": "n", "grpc": "127.0.0.1:4711", "admin": "", "metrics": ""});
        std::fs::write(directory.path().join(ADDRESSES_FILE), file.to_string()).expect("written");
        assert_eq!(listening(directory.path()).expect("there is one"), "http://127.0.0.1:4711");
    }
}
