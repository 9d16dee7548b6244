//! Who uses how much memory: the kernel's count, the allocator's, and what components account for themselves.
//! Absent: the allocator. The binary chooses it and tells how to ask it, usually with [`jemalloc`].

mod allocations;
mod jemalloc;
mod pressure;
mod profiling;
mod symbols;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use wire::pb::admin::v1::Memory;

use crate::Components;
use crate::config::{ByteSize, Live};

pub(crate) use allocations::allocations;
pub use jemalloc::jemalloc;
pub use pressure::Pressure;
pub use profiling::{Profiler, ProfilingError};

type Gauge = Arc<dyn Fn() -> u64 + Send + Sync>;
type AllocatorHook = Arc<dyn Fn() -> AllocatorStats + Send + Sync>;

/// What is done about memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether allocation sites are sampled. An operator's order counts until this changes. Default: false.
    pub enable_memory_profiling: bool,
    /// What the process may use; "0B" for the limit of its control group, or none if that has none. Default: "0B".
    pub limit: ByteSize,
    /// New orders are refused from this part of the limit on, percent, 50 to 100; what gives memory back is not.
    /// Default: 90.
    pub shed_at_percent: u64,
}

/// Why a configuration is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Orders would be refused too early, or too late.
    #[error("memory.shed_at_percent is {given}; choose 50 to 100")]
    ShedAt {
        /// As configured.
        given: u64,
    },
}

impl Default for Config {
    fn default() -> Self {
        Self { enable_memory_profiling: false, limit: ByteSize(0), shed_at_percent: 90 }
    }
}

impl Config {
    /// Keys below the section that are applied without a restart.
    pub const HOT: &'static [&'static str] = &["enable_memory_profiling", "limit", "shed_at_percent"];

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let given = self.shed_at_percent;
        if (50..=100).contains(&given) { Ok(()) } else { Err(ConfigError::ShedAt { given }) }
    }
}

/// What an allocator says of itself, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllocatorStats {
    /// Which allocator: "jemalloc".
    pub allocator: &'static str,
    /// In use by the program.
    pub allocated: u64,
    /// In pages that hold something in use.
    pub active: u64,
    /// In physical pages.
    pub resident: u64,
    /// In mappings.
    pub mapped: u64,
    /// Mapped, but given back to the kernel's care.
    pub retained: u64,
    /// Whether allocation sites are sampled now.
    pub profiling_enabled: bool,
}

/// All memory accounts of a process. Clones share their state.
#[derive(Clone, Default)]
pub struct MemoryAccounts {
    accounts: Arc<Mutex<Accounts>>,
    profiler: Profiler,
    pressure: Pressure,
}

#[derive(Default)]
struct Accounts {
    config: Option<Live<Config>>,
    components: BTreeMap<String, Gauge>,
    allocator: Option<AllocatorHook>,
}

impl MemoryAccounts {
    /// Adds a component's own account: a closure giving bytes. It must not block. The last of a name counts.
    pub fn register(&self, component: impl Into<String>, bytes: impl Fn() -> u64 + Send + Sync + 'static) {
        self.lock().components.insert(component.into(), Arc::new(bytes));
    }

    /// Tells how to ask the allocator. Without it its numbers are 0.
    pub fn set_allocator(&self, hook: impl Fn() -> AllocatorStats + Send + Sync + 'static) {
        self.lock().allocator = Some(Arc::new(hook));
    }

    /// The memory of this process now.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let (components, allocator) = {
            let accounts = self.lock();
            (accounts.components.clone(), accounts.allocator.clone())
        };
        let stats = allocator.map(|hook| hook()).unwrap_or_default();
        let told = self.profiler.told();
        Memory {
            rss: crate::process::resident_bytes().unwrap_or(0),
            allocated: stats.allocated,
            active: stats.active,
            resident: stats.resident,
            mapped: stats.mapped,
            retained: stats.retained,
            profiling_enabled: stats.profiling_enabled,
            allocator: stats.allocator.to_owned(),
            components: components.iter().map(|(name, bytes)| (name.clone(), bytes())).collect(),
            sites: told.sites,
            sites_at_us: told.at_us,
            profiling_since_us: told.since_us,
            limit: self.pressure.limit(),
            counted: self.pressure.counted(),
            shedding: self.pressure.is_shedding(),
        }
    }

    /// Tells what is configured, and may change.
    pub fn configure(&self, config: Live<Config>) {
        self.lock().config = Some(config);
    }

    /// Its allocation sites.
    #[must_use]
    pub fn profiler(&self) -> &Profiler {
        &self.profiler
    }

    /// How near the process is to the limit of its memory.
    #[must_use]
    pub fn pressure(&self) -> &Pressure {
        &self.pressure
    }

    /// Keeps what is known about memory up to date, for as long as it is polled.
    pub(crate) async fn watch(self, components: Components) {
        let config = self.lock().config.clone();
        let (profiler, pressure) = (self.profiler.clone(), self.pressure.watch(config.clone(), components));
        let follow = async move {
            if let Some(config) = config {
                profiler.follow(config).await;
            }
        };
        tokio::join!(self.profiler.watch(), pressure, follow);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryAccounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryAccounts").field(&self.lock().components.keys()).finish()
    }
}
