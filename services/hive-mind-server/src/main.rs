//! The binary: reads the command line and hands over.
//!
//! Deliberately absent: logic. Services are composed in `run`, loads are in `demo`, `bench` and `replay`.

mod admin;
mod bench;
mod cli;
mod config;
mod demo;
mod failure;
mod load;
mod output;
mod replay;
mod run;
mod temporary;
mod verify;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use service_kit::Shutdown;
use service_kit::config::{Live, follow};
use service_kit::metrics::Exporter;
use service_kit::node::Listen;
use service_kit::telemetry::{self, LogConfig, LogFormat, LogLevel, LogOutput};
use tokio_util::task::AbortOnDropHandle;

use crate::cli::{
    BenchArguments, Cli, Command, ConfigCommand, DemoArguments, EXIT_DIFFERENCE, EXIT_OK, Output, ReplayArguments,
    RunArguments,
};
use crate::config::{Misconfigured, ServerConfig};
use crate::run::{Composed, Role};
use crate::temporary::{LoadTarget, TemporaryNode};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What jemalloc reads before anything else runs: heap profiling is possible, and off until it is asked for; a sample
/// every 512 KiB. `MALLOC_CONF` in the environment is read after it and wins.
#[expect(unsafe_code, reason = "an exported name must be unique in the program; jemalloc gives this one its meaning")]
#[unsafe(export_name = "malloc_conf")]
pub static MALLOC_CONF: &[u8; 46] = b"prof:true,prof_active:false,lg_prof_sample:19\0";

fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => return failure::usage(&error),
    };
    let output = command.output();
    dispatch(command).map_or_else(|error| failure::tell(&error, output), ExitCode::from)
}

fn dispatch(command: Command) -> Result<u8> {
    match command {
        Command::Run(arguments) => run_services(&arguments),
        Command::Demo(arguments) => load(demo_command(arguments)),
        Command::Bench(arguments) => load(bench_command(arguments)),
        Command::Replay(arguments) => load(replay_command(arguments)),
        Command::Verify(arguments) => {
            let loaded = ServerConfig::load(arguments.file.config.as_deref()).context(Misconfigured)?;
            verify::run(loaded.value, arguments.data_dir, arguments.output)
        }
        Command::Admin(arguments) => load(admin::run(arguments)),
        Command::Config(ConfigCommand::Validate(file)) => {
            ServerConfig::load(file.config.as_deref()).context(Misconfigured)?;
            output::line("the configuration can be used");
            Ok(EXIT_OK)
        }
        Command::Config(ConfigCommand::Show { file, output }) => {
            let loaded = ServerConfig::load(file.config.as_deref()).context(Misconfigured)?;
            output::configuration(&loaded, output)?;
            Ok(EXIT_OK)
        }
        Command::Version { output } => {
            output::version(output)?;
            Ok(EXIT_OK)
        }
    }
}

fn run_services(arguments: &RunArguments) -> Result<u8> {
    let (file, data_dir) = (arguments.file.config.clone(), arguments.data_dir.clone());
    let in_force = ServerConfig::in_force(file, data_dir).context(Misconfigured)?;
    let config = in_force.now();
    let roles = Role::parse(&arguments.roles).context(Misconfigured)?;
    let log_level = telemetry::init(&config.log, LogOutput::Stdout).context(Misconfigured)?;
    telemetry::abort_on_panic();
    let runtime = runtime(config.node.worker_threads)?;
    runtime.block_on(async {
        // The work runs on the runtime's own threads: the main thread would add a wake-up to everything it does.
        tokio::spawn(async move {
            let shutdown = Shutdown::new();
            shutdown.on_signals()?;
            // From the start on: a file that is replaced while the journal is opened is not missed.
            let _following = AbortOnDropHandle::new(tokio::spawn(follow(in_force.door())?));
            let _logging = AbortOnDropHandle::new(tokio::spawn(follow_log_level(
                in_force.part(|config| config.log.clone()),
                log_level.clone(),
            )));
            let name = config.node.name.clone();
            // On the heap, since it holds what every service needs while it is built.
            let composed = Composed::new(&in_force, &roles, Exporter::install()?, Some(log_level));
            let composed = Box::pin(composed).await?;
            let addresses = composed.addresses();
            tracing::info!(
                node = name,
                version = env!("CARGO_PKG_VERSION"),
                roles = arguments_roles(&roles),
                grpc = %addresses.grpc,
                admin = %addresses.admin,
                metrics = %addresses.metrics,
                "hive mind is starting"
            );
            composed.serve(shutdown).await?;
            tracing::info!("hive mind has stopped");
            Ok(EXIT_OK)
        })
        .await?
    })
}

/// Logs what is configured, as long as nobody orders otherwise.
async fn follow_log_level(mut config: Live<LogConfig>, log_level: LogLevel) {
    loop {
        let level = &config.changed().await.level;
        if let Err(error) = log_level.configure(level) {
            tracing::error!(%error, "the log level stays as it is");
        }
    }
}

fn arguments_roles(roles: &std::collections::BTreeSet<Role>) -> String {
    roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(",")
}

async fn demo_command(arguments: DemoArguments) -> Result<u8> {
    let listen = if arguments.keep { Listen::default() } else { Listen::any_port() };
    let node = TemporaryNode::start(listen, None).await?;
    let shown = until_interrupted(show_demo(&arguments, &node)).await;
    if arguments.keep && shown.is_ok() {
        node.serve_until_signal().await?;
    } else {
        node.stop().await?;
    }
    shown?;
    Ok(EXIT_OK)
}

async fn show_demo(arguments: &DemoArguments, node: &TemporaryNode) -> Result<()> {
    let report = Box::pin(demo::run(arguments.demo, node.channel()?)).await?;
    output::report(&report, arguments.output, demo::print_table)?;
    if arguments.output == Output::Table {
        output::ways_in(node.addresses, arguments.keep);
    }
    Ok(())
}

async fn bench_command(arguments: BenchArguments) -> Result<u8> {
    let target = LoadTarget::new(&arguments.target, arguments.directory.as_deref()).await?;
    let ran = until_interrupted(bench::run(arguments.bench, || target.cluster(), target.directory())).await;
    target.stop().await?;
    let report = ran?;
    output::report(&report, arguments.target.output, bench::print_table)?;
    Ok(if report.lost == 0 { EXIT_OK } else { EXIT_DIFFERENCE })
}

async fn replay_command(arguments: ReplayArguments) -> Result<u8> {
    let input = replay::prepare(&arguments.replay)?;
    let target = LoadTarget::new(&arguments.target, None).await?;
    let ran = match target.channel() {
        Ok(channel) => until_interrupted(replay::run(input, channel)).await,
        Err(error) => Err(error),
    };
    target.stop().await?;
    let report = ran?;
    output::report(&report, arguments.target.output, replay::print_table)?;
    Ok(if report.unexplained == 0 { EXIT_OK } else { EXIT_DIFFERENCE })
}

/// Runs a load; what of it still waits when it has ended, by Ctrl-C, is left behind.
fn load(command: impl Future<Output = Result<u8>>) -> Result<u8> {
    let runtime = load_runtime()?;
    let ended = runtime.block_on(command);
    runtime.shutdown_background();
    ended
}

/// A load, or its end by Ctrl-C: then its node is stopped and the directory removed as after any other error.
async fn until_interrupted<T>(load: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        done = Box::pin(load) => done,
        signal = tokio::signal::ctrl_c() => {
            signal.context("cannot wait for Ctrl-C")?;
            anyhow::bail!("interrupted")
        }
    }
}

/// For commands whose standard output is their result: logs go to standard error, warnings and worse only.
fn load_runtime() -> Result<tokio::runtime::Runtime> {
    let log = LogConfig { level: "warn".to_owned(), format: LogFormat::Human };
    telemetry::init(&log, LogOutput::Stderr)?;
    telemetry::abort_on_panic();
    runtime(0)
}

fn runtime(worker_threads: usize) -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if worker_threads > 0 {
        builder.worker_threads(worker_threads);
    }
    builder.enable_all().thread_name("worker").build().context("cannot start the runtime")
}
