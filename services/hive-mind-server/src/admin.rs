//! `admin`: what operators order of a running cluster, and what they see of it.
//!
//! Every command takes the arguments of [`asked::Asked`]; one that changes something also those of
//! [`ordered::Ordered`]. A command that can be undone, or leaves things as they were, does not ask before it acts.
//!
//! Deliberately absent: decisions. The commands are calls; the node refuses what makes no sense.

mod asked;
mod audit;
mod backup;
mod bundle;
mod config;
mod consensus;
mod database;
mod doctor;
mod incident;
mod keys;
mod memory;
mod notify;
mod ordered;
mod picture;
mod status;
mod top;
mod trading;
mod view;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::cli::EXIT_OK;
use crate::output;

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
    /// Shows the whole system on one screen.
    Status,
    /// Shows throughput, latencies and where the time goes, live.
    Top(top::Top),
    /// Says what is wrong, and what to do about it.
    Doctor(doctor::Doctor),
    /// Says in one word whether the system works; for probes.
    Healthcheck(status::Healthcheck),
    /// Collects everything that tells what was going on into a directory. Secrets are left out.
    SupportBundle(bundle::Bundle),
    /// Shows what is traded.
    Instruments,
    /// Stops trading: nothing but cancels is taken, orders stay in the books.
    Halt(trading::Halt),
    /// Ends a halt.
    Resume(trading::Halt),
    /// Cancels all orders and stops trading. What was cancelled does not come back.
    KillSwitch(trading::Kill),
    /// What is configured: in force, in a file, and the way from one to the other.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// What is logged: shows it, or changes it until it is taken back.
    LogLevel(config::LogLevelArguments),
    /// Leaders of shards: who they are, and who shall be.
    #[command(subcommand)]
    Consensus(consensus::ConsensusCommand),
    /// Connection pools: how they are, and what is done with them.
    #[command(subcommand)]
    Database(database::DatabaseCommand),
    /// Prints what a shell needs to complete these commands: `source <(hive-mind-server admin completion bash)`.
    Completion {
        /// Which shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Backups: made while the node trades, checked by replaying them, restored into a stopped node.
    #[command(subcommand)]
    Backup(backup::BackupCommand),
    /// Memory of every instance: how much, whose, and where it was allocated.
    #[command(subcommand)]
    Memory(memory::MemoryCommand),
    /// Who did what: the last records, a search, and whether any was tampered with.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// What people outside are told: the security team, the status page, stakeholders.
    #[command(subcommand)]
    Notify(notify::NotifyCommand),
    /// What happened in a time, from what is on record.
    #[command(subcommand)]
    Incident(incident::IncidentCommand),
    /// API keys: which are in force, and how one is replaced or taken away.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
}

/// Runs a command and prints its result.
pub(crate) async fn run(AdminArguments { asked, command }: AdminArguments) -> Result<u8> {
    match command {
        AdminCommand::Status => status::status(&asked).await,
        AdminCommand::Top(top) => top::run(top, &asked).await,
        AdminCommand::Doctor(doctor) => doctor::run(doctor, &asked).await,
        AdminCommand::Healthcheck(healthcheck) => status::healthcheck(healthcheck, &asked).await,
        AdminCommand::SupportBundle(bundle) => bundle::run(bundle, &asked).await,
        AdminCommand::Instruments => trading::instruments(&asked).await,
        AdminCommand::Halt(halt) => trading::halt(halt, &asked).await,
        AdminCommand::Resume(halt) => trading::resume(halt, &asked).await,
        AdminCommand::KillSwitch(kill) => trading::kill(kill, &asked).await,
        AdminCommand::Config(command) => config::run(command, &asked).await,
        AdminCommand::LogLevel(arguments) => config::log_level(arguments, &asked).await,
        AdminCommand::Consensus(command) => consensus::run(command, &asked).await,
        AdminCommand::Database(command) => database::run(command, &asked).await,
        AdminCommand::Completion { shell } => {
            output::completion(shell);
            Ok(EXIT_OK)
        }
        AdminCommand::Backup(command) => backup::run(command, &asked).await,
        AdminCommand::Memory(command) => memory::run(command, &asked).await,
        AdminCommand::Audit(command) => audit::run(command, &asked).await,
        AdminCommand::Notify(command) => notify::run(command, &asked).await,
        AdminCommand::Incident(command) => incident::run(command, &asked).await,
        AdminCommand::Keys(command) => keys::run(command, &asked).await,
    }
}
