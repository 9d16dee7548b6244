//! `admin memory`: how much memory every instance uses, whose it is, and where it was allocated.
//!
//! Deliberately absent: sampling itself; each instance does it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Subcommand;
use serde::Serialize;
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::memory_service_client::MemoryServiceClient;
use wire::transport::{Channel, PEER_MESSAGE_LIMIT};

use super::asked::{Asked, answered};
use super::ordered::Ordered;
use crate::cli::{EXIT_FAILURE, EXIT_OK};
use crate::output::line;
use admin_api::view::memory::InstanceView;

/// What can be asked and ordered.
#[derive(Debug, Subcommand)]
pub(crate) enum MemoryCommand {
    /// Shows the memory of every instance; while profiling is on, also which functions allocated what is in use.
    ///
    /// A leak is a site whose growth does not end. `start` first; a minute later the picture is clear.
    Profile {
        /// Only this instance; may be given several times.
        #[arg(long = "instance", value_name = "NAME")]
        instances: Vec<String>,
    },
    /// Begins to sample allocations, one in 512 KiB. The programs go on; what was allocated before is not seen.
    Start {
        /// Only this instance; may be given several times.
        #[arg(long = "instance", value_name = "NAME")]
        instances: Vec<String>,
        #[command(flatten)]
        order: Ordered,
    },
    /// Ends sampling and forgets the samples.
    Stop {
        /// Only this instance; may be given several times.
        #[arg(long = "instance", value_name = "NAME")]
        instances: Vec<String>,
        #[command(flatten)]
        order: Ordered,
    },
    /// Writes the heap profile of one instance to a file, for the tool pprof.
    Dump {
        /// Name of the instance; the asked one if not given.
        #[arg(long, value_name = "NAME")]
        instance: Option<String>,
        /// Where to; replaced if it exists.
        #[arg(long, value_name = "FILE", default_value = "heap.pb.gz")]
        file: PathBuf,
    },
}

type Client = MemoryServiceClient<Channel>;

pub(super) async fn run(command: MemoryCommand, asked: &Asked) -> Result<u8> {
    let client = &mut Client::new(asked.channel()?).max_decoding_message_size(PEER_MESSAGE_LIMIT);
    match command {
        MemoryCommand::Profile { instances } => profile(client, asked, instances).await,
        MemoryCommand::Start { instances, order } => switch(client, asked, instances, &order, true).await,
        MemoryCommand::Stop { instances, order } => switch(client, asked, instances, &order, false).await,
        MemoryCommand::Dump { instance, file } => dump(client, asked, instance, file).await,
    }
}

/// All instances; the code says whether each answered.
async fn profile(client: &mut Client, asked: &Asked, targets: Vec<String>) -> Result<u8> {
    let request = asked.request(pb::LookAtMemoryRequest { targets })?;
    let answer = answered(client.look_at_memory(request).await)?;
    let profile = Profile { instances: answer.instances.into_iter().map(InstanceView::from).collect() };
    asked.report(&profile, Profile::print)?;
    let all = profile.instances.iter().all(|instance| instance.answer.error.is_none());
    Ok(if all { EXIT_OK } else { EXIT_FAILURE })
}

async fn switch(
    client: &mut Client,
    asked: &Asked,
    targets: Vec<String>,
    order: &Ordered,
    enabled: bool,
) -> Result<u8> {
    let request = pb::SetMemoryProfilingRequest { order: Some(order.order()), enabled, targets };
    let answer = answered(client.set_memory_profiling(asked.request(request)?).await)?;
    let instances = answer.instances.into_iter().map(Change::from).collect();
    let switched = Switched { enable: enabled, dry_run: order.dry_run, instances };
    asked.report(&switched, Switched::print)?;
    let all = switched.instances.iter().all(|change| change.error.is_none());
    Ok(if all { EXIT_OK } else { EXIT_FAILURE })
}

async fn dump(client: &mut Client, asked: &Asked, instance: Option<String>, file: PathBuf) -> Result<u8> {
    let request = asked.request(pb::DumpHeapRequest { target: instance.unwrap_or_default() })?;
    let pb::DumpHeapResponse { node, pprof } = answered(client.dump_heap(request).await)?;
    std::fs::write(&file, &pprof).with_context(|| format!("cannot write {}", file.display()))?;
    let dumped = Dumped { instance: node, file, bytes: pprof.len() };
    asked.report(&dumped, Dumped::print)?;
    Ok(EXIT_OK)
}

#[derive(Serialize)]
struct Profile {
    instances: Vec<InstanceView>,
}

#[derive(Serialize)]
struct Switched {
    enable: bool,
    dry_run: bool,
    instances: Vec<Change>,
}

#[derive(Serialize)]
struct Change {
    instance: String,
    changed: bool,
    enabled: bool,
    error: Option<String>,
}

#[derive(Serialize)]
struct Dumped {
    instance: String,
    file: PathBuf,
    bytes: usize,
}

impl From<pb::MemoryProfilingChange> for Change {
    fn from(change: pb::MemoryProfilingChange) -> Self {
        let pb::NodeAnswer { target, error, node, .. } = change.answer.unwrap_or_default();
        let instance = if node.is_empty() { target } else { node };
        let error = if error.is_empty() { None } else { Some(error) };
        Self { instance, changed: change.changed, enabled: change.enabled, error }
    }
}

impl Profile {
    fn print(&self) {
        for instance in &self.instances {
            let name = instance.answer.instance.as_ref().unwrap_or(&instance.answer.target);
            let Some(memory) = &instance.memory else {
                line(&format!("{name}: no answer: {}", instance.answer.error.as_deref().unwrap_or("no reason given")));
                continue;
            };
            line(&format!("{name}: {} resident", mib(memory.rss)));
            if let Some(heap) = &memory.allocator {
                let (allocated, resident) = (mib(heap.allocated), mib(heap.resident));
                line(&format!("  {:<44} {allocated:>12} in use, {resident} held", heap.name));
            }
            for (component, bytes) in &memory.components {
                line(&format!("  {component:<44} {:>12}", mib(*bytes)));
            }
            if let Some(hint) = memory.hint {
                line(&format!("  {hint}"));
            }
            for site in &memory.top_sites {
                let growth = if site.growth_bytes < 0 { '-' } else { '+' };
                let moved = mib(site.growth_bytes.unsigned_abs());
                line(&format!("  {:>12} {growth}{moved:>11} a minute  {}", mib(site.bytes), site.function));
                if let Some(place) = &site.location {
                    line(&format!("{:38}at {place}", ""));
                }
            }
        }
    }
}

impl Switched {
    fn print(&self) {
        for Change { instance, changed, enabled, error } in &self.instances {
            let state = |on| if on { "on" } else { "off" };
            line(&match error {
                Some(error) => format!("{instance}: no answer: {error}"),
                None if !changed => format!("{instance}: no change: memory profiling is {}", state(*enabled)),
                None if self.dry_run => format!("{instance}: memory profiling would be {}", state(self.enable)),
                None => format!("{instance}: memory profiling is {}", state(*enabled)),
            });
        }
    }
}

impl Dumped {
    fn print(&self) {
        let Self { instance, file, bytes } = self;
        line(&format!("{}: {bytes} bytes, heap of {instance}; look at it with pprof", file.display()));
    }
}

/// With one decimal: exact enough for people, and JSON has the bytes.
fn mib(bytes: u64) -> String {
    let tenths = u128::from(bytes) * 10 / (1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}
