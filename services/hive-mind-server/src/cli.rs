//! The command line: what there is, and the exit codes.
//!
//! Deliberately absent: what the commands do.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use wire::api_key::{ApiKey, Credentials};
use wire::transport::{ClientOptions, ClientTls};

use crate::admin::AdminArguments;

/// Success.
pub(crate) const EXIT_OK: u8 = 0;
/// Something failed; the error says what.
pub(crate) const EXIT_FAILURE: u8 = 1;
/// The command line is wrong; clap's own code for it.
pub(crate) const EXIT_USAGE: u8 = 2;
/// The configuration is wrong.
pub(crate) const EXIT_CONFIGURATION: u8 = 3;
/// A check found something: `verify` a difference, `bench` or `replay` something acknowledged that is missing, `admin
/// doctor` or `admin healthcheck` something unhealthy.
pub(crate) const EXIT_DIFFERENCE: u8 = 4;
/// What was ordered was refused, by the node or at the prompt; nothing was changed.
pub(crate) const EXIT_REFUSED: u8 = 5;
/// The node did not answer.
pub(crate) const EXIT_UNREACHABLE: u8 = 6;

const AFTER_HELP: &str = "\
Exit codes: 0 success; 1 failure; 2 wrong usage; 3 wrong configuration; 4 a check found a difference
or something unhealthy; 5 an order was refused and nothing was changed; 6 the node did not answer;
10 the journal is damaged or missing; 11 the journal could not be written.
Every key of the configuration can be set by the environment: HIVE__LISTEN__GRPC=127.0.0.1:8080.";

/// An order engine: takes orders over gRPC, makes them durable, matches them, answers.
#[derive(Debug, Parser)]
#[command(name = "hive-mind-server", version, about, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs services, all four by default, until SIGTERM or Ctrl-C.
    Run(RunArguments),
    /// Shows a seeded market being traded on a node of its own.
    Demo(DemoArguments),
    /// Puts an open-loop load on a node and checks afterwards that nothing acknowledged is missing.
    Bench(BenchArguments),
    /// Drives real order flow in the LOBSTER format through a node and compares the books.
    Replay(ReplayArguments),
    /// Replays the journal of a stopped node and compares history row by row.
    Verify(VerifyArguments),
    /// Orders to a running cluster, and what it says of itself.
    Admin(AdminArguments),
    /// What is configured.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// What this program is.
    Version {
        /// How to print it.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
}

impl Command {
    /// How its result, and its error, is printed.
    pub(crate) const fn output(&self) -> Output {
        match self {
            Self::Run(_) | Self::Config(ConfigCommand::Validate(_)) => Output::Table,
            Self::Demo(arguments) => arguments.output,
            Self::Bench(arguments) => arguments.target.output,
            Self::Replay(arguments) => arguments.target.output,
            Self::Verify(arguments) => arguments.output,
            Self::Admin(arguments) => arguments.asked.output,
            Self::Config(ConfigCommand::Show { output, .. }) | Self::Version { output } => *output,
        }
    }
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Table,
    /// One JSON document on stdout and nothing else there.
    Json,
}

/// Where the configuration comes from.
#[derive(Args, Debug)]
pub(crate) struct ConfigFile {
    /// TOML file; without one, the defaults and the environment.
    #[arg(long, value_name = "FILE", env = "HIVE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    pub(crate) file: ConfigFile,
    /// Services to run, by commas: order-engine, consensus-coordinator, persistence-gateway, admin-api, or all.
    #[arg(long, value_name = "ROLES", default_value = "all")]
    pub(crate) roles: String,
    /// Directory for everything the node keeps; wins over the configuration.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// Which node a load goes to.
#[derive(Args, Debug, Default)]
pub(crate) struct Target {
    /// gRPC address of a running node, http://host:port; without one, a temporary node is started. With commas, several
    /// engines of one cluster: a bench then sends each request straight to the leader of its shard.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) target: Option<String>,
    /// API key for a running node that asks for one: of a trader of all accounts, or of an administrator.
    #[arg(long, value_name = "KEY", env = "HIVE_API_KEY", hide_env_values = true)]
    pub(crate) key: Option<ApiKey>,
    /// Certificates of the authorities that an https address is checked against, PEM.
    #[arg(long, value_name = "FILE", env = "HIVE_CA")]
    pub(crate) ca: Option<PathBuf>,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

impl Target {
    /// How the load connects.
    pub(crate) fn options(&self) -> Result<ClientOptions> {
        let credentials = Credentials::new(self.key.as_ref());
        Ok(ClientOptions { credentials, tls: client_tls(self.ca.as_deref())?, ..ClientOptions::default() })
    }
}

/// What an https address is checked against: the authorities in this file, or those of the system.
pub(crate) fn client_tls(authorities: Option<&Path>) -> Result<Option<ClientTls>> {
    let Some(path) = authorities else { return Ok(None) };
    let pem = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Some(ClientTls::new(&pem, None).with_context(|| format!("cannot use {}", path.display()))?))
}

#[derive(Args, Debug)]
pub(crate) struct DemoArguments {
    #[command(flatten)]
    pub(crate) demo: crate::demo::Arguments,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) output: Output,
    /// Leave the node running on the usual ports until Ctrl-C.
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Args, Debug)]
pub(crate) struct BenchArguments {
    #[command(flatten)]
    pub(crate) bench: crate::bench::Arguments,
    #[command(flatten)]
    pub(crate) target: Target,
    /// Directory on the disk to measure; a temporary node is started below it. The system's temporary directory if
    /// not given.
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct ReplayArguments {
    #[command(flatten)]
    pub(crate) replay: crate::replay::Arguments,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Args, Debug)]
pub(crate) struct VerifyArguments {
    #[command(flatten)]
    pub(crate) file: ConfigFile,
    /// Data directory of the stopped node; wins over the configuration.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Says whether a node would start with it.
    Validate(ConfigFile),
    /// Prints every key with its value and where that comes from.
    Show {
        #[command(flatten)]
        file: ConfigFile,
        /// How to print it.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
}
