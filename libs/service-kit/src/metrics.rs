//! Metrics of the process in Prometheus' text format, and in that of OpenMetrics for whoever asks for it: the recorder
//! behind the `metrics` macros, its buckets, and what the kernel knows of the process. Absent: the metrics of services;
//! each has its own `metrics.rs`, with a description for every name.

mod exemplars;
mod open_metrics;

use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use wire::pb::admin::v1::{ConfigResult, Pool};

use crate::{memory, process};

pub use exemplars::Latency;
pub(crate) use open_metrics::Format;

/// Buckets of every `*_seconds` histogram. From the cost of one matched command to the longest wait that is not a
/// timeout; 0.001 exactly, since the objective for orders is one millisecond.
const SECONDS: [f64; 25] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_15, 0.000_2, 0.000_3, 0.000_4, 0.000_5, 0.000_75, 0.001, 0.001_5,
    0.002, 0.003, 0.005, 0.007_5, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// Buckets of every other histogram: counts and bytes, in powers of four up to 16 Mi.
const COUNTS: [f64; 13] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
];

/// How often samples are moved into buckets, which would pile up in memory between two scrapes otherwise, and pools are
/// looked at.
pub(crate) const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// Renders the metrics of the process.
#[derive(Clone)]
pub struct Exporter(PrometheusHandle);

/// Why metrics cannot be recorded.
#[derive(Debug, thiserror::Error)]
#[error("cannot install the metrics recorder: {0}")]
pub struct MetricsError(#[from] metrics_exporter_prometheus::BuildError);

impl Exporter {
    /// Installs the recorder of the process. A second call gives the same one. Names recorded before are lost.
    ///
    /// # Errors
    /// When another kind of recorder is installed.
    pub fn install() -> Result<Self, MetricsError> {
        let mut installed = INSTALLED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(handle) = &*installed {
            return Ok(Self(handle.clone()));
        }
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
            .set_buckets(&COUNTS)?
            .install_recorder()?;
        *installed = Some(handle.clone());
        Ok(Self(handle))
    }

    /// All metrics in Prometheus' text format 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = self.0.render();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        render_process(&mut text);
        text
    }

    /// All metrics in this format.
    pub(crate) fn render_as(&self, format: Format) -> String {
        match format {
            Format::Text => self.render(),
            Format::OpenMetrics => open_metrics::from_text(&self.render()),
        }
    }

    pub(crate) fn run_upkeep(&self) {
        self.0.run_upkeep();
    }
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exporter")
    }
}

/// The kernel's numbers are read when asked for, not recorded: they are never out of date, and processor time keeps
/// its fractions, which a counter of whole numbers would lose.
fn render_process(text: &mut String) {
    let usage = process::usage();
    let whole = |number: u64| number as f64;
    let numbers = [
        ("process_resident_memory_bytes", "gauge", "Resident memory.", process::resident_bytes().map(whole)),
        ("process_virtual_memory_bytes", "gauge", "Virtual memory.", usage.map(|u| whole(u.virtual_bytes))),
        ("process_cpu_seconds_total", "counter", "Processor time, user and kernel.", usage.map(|u| u.cpu_seconds)),
        (
            "process_allocations_total",
            "counter",
            "Requests for memory to the allocator; each thread adds its own now and then.",
            memory::allocations().map(whole),
        ),
        ("process_threads", "gauge", "Threads.", usage.map(|u| whole(u.threads))),
        ("process_open_fds", "gauge", "Open file descriptors.", process::open_fds().map(whole)),
        ("process_max_fds", "gauge", "Most file descriptors that may be open.", process::max_fds().map(whole)),
        (
            "process_start_time_seconds",
            "gauge",
            "Start of the process, seconds since the Unix epoch.",
            process::start_time_seconds(),
        ),
    ];
    for (name, kind, help, value) in numbers {
        if let Some(value) = value {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        }
    }
}

/// Records what cannot change: name and roles of the instance, version of the program.
pub(crate) fn record_build_info(version: &'static str, roles: &[String]) {
    metrics::describe_gauge!("hive_mind_build_info", "Always 1; its labels tell version and roles.");
    metrics::gauge!("hive_mind_build_info", "version" => version, "role" => roles.join(",")).set(1.0);
}

/// Records the condition of a component.
pub(crate) fn record_component(name: &str, condition: crate::Condition) {
    let value = match condition {
        crate::Condition::Ok => 1.0,
        crate::Condition::Degraded => 0.5,
        crate::Condition::Down => 0.0,
    };
    metrics::gauge!("hive_mind_component_health", "component" => name.to_owned()).set(value);
}

/// Records whether the instance takes work.
pub(crate) fn record_ready(ready: bool) {
    metrics::gauge!("hive_mind_ready").set(if ready { 1.0 } else { 0.0 });
}

/// Records the configuration as it stands, and what became of a reload if there was one.
pub(crate) fn record_config(result: Option<ConfigResult>, generation: u64, refused: bool, pending: usize) {
    let flag = |set: bool| if set { 1.0 } else { 0.0 };
    metrics::gauge!("config_generation").set(generation as f64);
    metrics::gauge!("config_reload_failed").set(flag(refused));
    metrics::gauge!("config_keys_pending_restart").set(pending as f64);
    for (kind, name) in [
        (ConfigResult::Accepted, "accepted"),
        (ConfigResult::Unchanged, "unchanged"),
        (ConfigResult::Refused, "refused"),
    ] {
        metrics::counter!("config_reloads_total", "result" => name).increment((result == Some(kind)).into());
    }
}

/// Records how the pools of database connections are.
pub(crate) fn record_pools(pools: &[Pool]) {
    for pool in pools {
        let name = || pool.name.clone();
        metrics::gauge!("database_pool_connections_max", "pool" => name()).set(f64::from(pool.max_size));
        metrics::gauge!("database_pool_connections_open", "pool" => name()).set(f64::from(pool.size));
        metrics::gauge!("database_pool_connections_idle", "pool" => name()).set(f64::from(pool.idle));
        metrics::gauge!("database_pool_connections_in_use", "pool" => name()).set(f64::from(pool.in_use));
        metrics::gauge!("database_pool_callers_waiting", "pool" => name()).set(f64::from(pool.waiters));
        metrics::counter!("database_pool_timeouts_total", "pool" => name()).absolute(pool.timeouts_total);
    }
}

/// Records whether a feature that can be switched is in use.
pub fn record_feature(feature: &'static str, enabled: bool) {
    metrics::describe_gauge!("feature_enabled", "Whether a feature is in use: 1 or 0, by feature.");
    metrics::gauge!("feature_enabled", "feature" => feature).set(if enabled { 1.0 } else { 0.0 });
}

/// Describes what this crate records.
pub(crate) fn describe() {
    metrics::describe_gauge!(
        "config_generation",
        "Counts the configurations accepted that differed from the one before; 1 from the start on."
    );
    metrics::describe_gauge!(
        "config_reload_failed",
        "Whether the configuration file, as last read, cannot be used: 1 or 0. The last good one stays in force."
    );
    metrics::describe_gauge!(
        "config_keys_pending_restart",
        "Keys of the accepted configuration that only a restart brings into force."
    );
    metrics::describe_counter!("config_reloads_total", "Times the configuration was loaded again, by result.");
    metrics::describe_gauge!("hive_mind_component_health", "Condition of a component: 1 ok, 0.5 degraded, 0 down.");
    metrics::describe_gauge!("hive_mind_ready", "Whether the instance takes work: 1 or 0.");
    for (name, help) in [
        ("database_pool_connections_max", "Most connections to a database that a pool may open."),
        ("database_pool_connections_open", "Connections to a database that are open, by pool."),
        ("database_pool_connections_idle", "Connections that are open and not in use, by pool."),
        ("database_pool_connections_in_use", "Connections in use, by pool."),
        ("database_pool_callers_waiting", "Callers that wait for a connection, by pool."),
    ] {
        metrics::describe_gauge!(name, help);
    }
    metrics::describe_counter!("database_pool_timeouts_total", "Callers that got no connection in time, by pool.");
}
