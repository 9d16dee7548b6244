//! `admin`: what operators order of a running cluster, and what they see of it.
//!
//! Every command takes the arguments of [`asked::Asked`]; one that changes something also those of
//! [`ordered::Ordered`]. A command that can be undone, or leaves things as they were, does not ask before it acts.
//!
//! Deliberately absent: decisions. The commands are calls; the node refuses what makes no sense.

mod asked;
mod consensus;
mod database;
mod ordered;
mod view;

use anyhow::Result;
use clap::{Args, Subcommand};

pub(crate) use asked::Asked;
pub(crate) use ordered::Unconfirmed;

/// What is asked of whom.
#[derive(Args, Debug)]
pub(crate) struct AdminArguments {
    #[command(flatten)]
    pub(crate) asked: Asked,
    #[command(subcommand)]
    command: AdminCommand,
}

/// Commands for operators.
#[derive(Debug, Subcommand)]
enum AdminCommand {
    /// Leaders of shards: who they are, and who shall be.
    #[command(subcommand)]
    Consensus(consensus::ConsensusCommand),
    /// Connection pools: how they are, and what is done with them.
    #[command(subcommand)]
    Database(database::DatabaseCommand),
}

/// Runs a command and prints its result.
pub(crate) async fn run(AdminArguments { asked, command }: AdminArguments) -> Result<u8> {
    match command {
        AdminCommand::Consensus(command) => consensus::run(command, &asked).await,
        AdminCommand::Database(command) => database::run(command, &asked).await,
    }
}
