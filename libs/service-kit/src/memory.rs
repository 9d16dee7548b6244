//! Who uses how much memory: the kernel's count, the allocator's, and what components account for themselves.
//! Absent: the allocator. The binary chooses it and tells how to ask it, usually with [`jemalloc`].

mod jemalloc;
mod profiling;
mod symbols;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use wire::pb::admin::v1::Memory;

pub use jemalloc::jemalloc;
pub use profiling::{Profiler, ProfilingError};

type Gauge = Arc<dyn Fn() -> u64 + Send + Sync>;
type AllocatorHook = Arc<dyn Fn() -> AllocatorStats + Send + Sync>;

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
}

#[derive(Default)]
struct Accounts {
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
            ..Memory::default()
        }
    }

    /// Its allocation sites.
    #[must_use]
    pub fn profiler(&self) -> &Profiler {
        &self.profiler
    }

    /// Keeps what is known about memory up to date, for as long as it is polled.
    pub(crate) async fn watch(self) {
        self.profiler.watch().await;
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
