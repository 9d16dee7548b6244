//! `admin config`: what is in force in running nodes, what a file would change, loading it again; and `set`, which
//! changes keys of a file and leaves the rest of it alone.
//!
//! Deliberately absent: judging a configuration; nodes do that, and for a file at hand the same code here.

mod difference;
mod edit;
mod view;

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use service_kit::clock;
use service_kit::config::HumanDuration;
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::config_service_client::ConfigServiceClient;
use wire::transport::Channel;

use super::asked::{Asked, answered};
use super::ordered::Ordered;
use crate::cli::{EXIT_CONFIGURATION, EXIT_DIFFERENCE, EXIT_OK, EXIT_UNREACHABLE};
use view::{Levels, Outcomes, States, Written};

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Shows every value in force, where it comes from, and what waits for a restart. Secrets are hidden.
    Show {
        /// Only keys that begin with this: `log`, `persistence_gateway.database`.
        #[arg(value_name = "KEY", default_value = "")]
        keys: String,
        #[command(flatten)]
        instances: Instances,
    },
    /// Says whether running nodes could use a file; changes nothing. Exit code 3 if one could not.
    Validate(Candidate),
    /// Shows what a file would change in running nodes; changes nothing. Exit code 4 if it would change something.
    Diff(Candidate),
    /// Sets keys in the file given by --config and keeps everything else in it, comments too.
    ///
    /// With --config - it reads standard input and writes standard output, for a file that is kept elsewhere:
    /// kubectl get configmap … | hive-mind-server admin --config - config set … The result is checked first; what no
    /// node could use is not written. With --dry-run it shows the difference and writes nothing.
    Set {
        /// Keys and values: `log.level=debug`. A key's last part is enough where no other key has it.
        #[arg(value_name = "KEY=VALUE", required_unless_present = "from")]
        values: Vec<String>,
        /// TOML with further keys to set.
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
        /// Orders running nodes to load their files again afterwards. They do by themselves within two seconds.
        #[arg(long)]
        reload: bool,
        #[command(flatten)]
        order: Ordered,
    },
    /// Orders running nodes to load their files again, and says what was applied and what needs a restart.
    Reload {
        #[command(flatten)]
        instances: Instances,
        #[command(flatten)]
        order: Ordered,
    },
}

/// Shows what is logged, or orders another level.
#[derive(Args, Debug)]
pub(crate) struct LogLevelArguments {
    /// Least level, in general and by target: `debug`, `info,order_engine=debug`. Shows the level if not given.
    #[arg(value_name = "LEVEL", conflicts_with = "reset")]
    level: Option<String>,
    /// Takes an ordered level back: logs what is configured.
    #[arg(long)]
    reset: bool,
    /// How long it stands, at most 7d; until it is taken back if not given.
    #[arg(long = "for", value_name = "DURATION", requires = "level")]
    time: Option<HumanDuration>,
    #[command(flatten)]
    instances: Instances,
    #[command(flatten)]
    order: Ordered,
}

/// Which instances.
#[derive(Args, Clone, Debug)]
pub(crate) struct Instances {
    /// Only this instance, by the name or address that `show` tells; any number of times. All if not given.
    #[arg(long = "instance", value_name = "NAME")]
    names: Vec<String>,
}

/// A file that might come into force.
#[derive(Args, Debug)]
pub(crate) struct Candidate {
    /// The file, or - for standard input. If not given, each node's own file as it is now.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    instances: Instances,
}

/// The name that stands for standard input and output.
const STANDARD: &str = "-";

/// How long a node is given; below the second in which an answer is promised.
const NODE_TIMEOUT_MS: u32 = 900;

pub(super) async fn run(command: ConfigCommand, asked: &Asked) -> Result<u8> {
    match command {
        ConfigCommand::Show { keys, instances } => {
            let states = States::new(states(asked, instances).await?, &keys);
            asked.report(&states, States::print)?;
            Ok(if states.complete() { EXIT_OK } else { EXIT_UNREACHABLE })
        }
        ConfigCommand::Validate(candidate) => {
            let outcomes = check(asked, candidate).await?;
            asked.report(&outcomes, Outcomes::print_verdict)?;
            Ok(exit_code(&outcomes, EXIT_OK))
        }
        ConfigCommand::Diff(candidate) => {
            let outcomes = check(asked, candidate).await?;
            asked.report(&outcomes, Outcomes::print)?;
            Ok(exit_code(&outcomes, if outcomes.changes() { EXIT_DIFFERENCE } else { EXIT_OK }))
        }
        ConfigCommand::Set { values, from, reload, order } => {
            set(asked, &values, from.as_deref(), reload, &order).await
        }
        ConfigCommand::Reload { instances, order } => reload_all(asked, instances, &order).await,
    }
}

/// `admin log-level`.
pub(super) async fn log_level(arguments: LogLevelArguments, asked: &Asked) -> Result<u8> {
    let LogLevelArguments { level, reset, time, instances, order } = arguments;
    let level = match level {
        Some(level) if level.is_empty() => bail!("write a level, or --reset"),
        Some(level) => level,
        None if reset => String::new(),
        None => {
            let levels = Levels::shown(states(asked, instances).await?);
            asked.report(&levels, Levels::print)?;
            return Ok(if levels.complete() { EXIT_OK } else { EXIT_UNREACHABLE });
        }
    };
    let ordered = !level.is_empty();
    let duration_ms = time.map_or(0, |time| u64::try_from(time.0.as_millis()).unwrap_or(u64::MAX));
    let request = pb::SetLogLevelRequest {
        order: Some(order.order()),
        timeout_ms: NODE_TIMEOUT_MS,
        targets: instances.names,
        level,
        duration_ms,
    };
    let answer = answered(client(asked)?.set_log_level(asked.request(request)?).await)?;
    let until_us = if duration_ms == 0 { 0 } else { clock::now_us().saturating_add(duration_ms.saturating_mul(1_000)) };
    let levels = Levels::ordered(answer, order.dry_run, ordered.then_some(until_us));
    asked.report(&levels, Levels::print)?;
    Ok(if levels.complete() { EXIT_OK } else { EXIT_UNREACHABLE })
}

fn client(asked: &Asked) -> Result<ConfigServiceClient<Channel>> {
    Ok(ConfigServiceClient::new(asked.channel()?))
}

async fn states(asked: &Asked, instances: Instances) -> Result<pb::GetConfigResponse> {
    let request = pb::GetConfigRequest { timeout_ms: NODE_TIMEOUT_MS, targets: instances.names };
    answered(client(asked)?.get_config(asked.request(request)?).await)
}

async fn check(asked: &Asked, candidate: Candidate) -> Result<Outcomes> {
    let text = candidate.file.as_deref().map(read).transpose()?;
    let request = pb::CheckConfigRequest { timeout_ms: NODE_TIMEOUT_MS, targets: candidate.instances.names, text };
    let answer = answered(client(asked)?.check_config(asked.request(request)?).await)?;
    Ok(Outcomes::new(answer.instances, true))
}

async fn reload_all(asked: &Asked, instances: Instances, order: &Ordered) -> Result<u8> {
    let targets = instances.names;
    let request = pb::ReloadConfigRequest { order: Some(order.order()), timeout_ms: NODE_TIMEOUT_MS, targets };
    let answer = answered(client(asked)?.reload_config(asked.request(request)?).await)?;
    let outcomes = Outcomes::new(answer.instances, order.dry_run);
    asked.report(&outcomes, Outcomes::print)?;
    Ok(exit_code(&outcomes, EXIT_OK))
}

/// The gravest of what the nodes said.
fn exit_code(outcomes: &Outcomes, usable: u8) -> u8 {
    match (outcomes.usable(), outcomes.complete()) {
        (false, _) => EXIT_CONFIGURATION,
        (true, false) => EXIT_UNREACHABLE,
        (true, true) => usable,
    }
}

async fn set(asked: &Asked, values: &[String], from: Option<&Path>, reload: bool, order: &Ordered) -> Result<u8> {
    let file = asked.config().context("which file? Name it with --config, or - for standard input and output")?;
    let before = read(file)?;
    let mut edits = from.map(|from| edit::fragment(from, &read(from)?)).transpose()?.unwrap_or_default();
    edits.extend(values.iter().map(|pair| edit::pair(pair)).collect::<Result<Vec<_>>>()?);
    let after = edit::apply(file, &before, &edits)?;
    let standard = file == Path::new(STANDARD);
    if !order.dry_run && before != after && !standard {
        edit::write(file, &after)?;
    }
    if standard && !order.dry_run {
        crate::output::text(&after);
        return Ok(EXIT_OK);
    }
    let written = Written::new(file, &before, &after, order.dry_run)?;
    if reload && !order.dry_run {
        if asked.output == crate::cli::Output::Table {
            written.print();
        }
        return reload_all(asked, Instances { names: Vec::new() }, order).await;
    }
    asked.report(&written, Written::print)?;
    Ok(EXIT_OK)
}

fn read(file: &Path) -> Result<String> {
    if file != Path::new(STANDARD) {
        return std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()));
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    Ok(text)
}
