//! `GET /admin/memory-profile`: memory of every instance. The first is the one that answers; its numbers are also at
//! the top.

use std::collections::BTreeMap;

use serde::Serialize;
use wire::pb::admin::v1 as pb;

use super::rfc3339;
use super::{AnswerView, given};

/// What to do to see allocation sites.
const PROFILING_HINT: &str =
    "allocation sites are not sampled; `hive-mind-server admin memory start` samples them from then on";

/// The whole answer, bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryView {
    /// The instance that answers.
    #[serde(flatten)]
    pub own: ProfileView,
    /// All instances, also those that did not answer.
    pub instances: Vec<InstanceView>,
}

/// An instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InstanceView {
    /// Whether it answered.
    #[serde(flatten)]
    pub answer: AnswerView,
    /// Its memory; null if it did not answer.
    pub memory: Option<ProfileView>,
}

/// Memory of one process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ProfileView {
    /// Resident set, as the kernel counts it.
    pub rss: u64,
    /// What the allocator says; null if it says nothing.
    pub allocator: Option<AllocatorView>,
    /// What components account for themselves, by name.
    pub components: BTreeMap<String, u64>,
    /// Whether allocation sites are being sampled.
    pub profiling_enabled: bool,
    /// How to have them sampled; null if they are.
    pub hint: Option<&'static str>,
    /// Since when they are sampled; null while they are not.
    pub profiling_since: Option<String>,
    /// Where most of the memory in use was allocated since then, the most first.
    pub top_sites: Vec<SiteView>,
    /// When that was looked at; null before the first look.
    pub sites_at: Option<String>,
    /// What the process may use; null if there is no limit.
    pub limit: Option<u64>,
    /// What counts against the limit; null without one.
    pub counted: Option<u64>,
    /// Whether orders are refused to stay below the limit.
    pub shedding: bool,
}

/// A place that allocated memory which is still in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SiteView {
    /// The innermost function that is the program's own.
    pub function: String,
    /// Where in the source; null if that is not known.
    pub location: Option<String>,
    /// In use, estimated from samples.
    pub bytes: u64,
    /// How much more than a minute before.
    pub growth_bytes: i64,
    /// The functions that led there, innermost first.
    pub stack: Vec<String>,
}

/// What an allocator says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AllocatorView {
    /// Its name.
    pub name: String,
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
}

impl MemoryView {
    pub(crate) fn new(response: pb::GetMemoryProfileResponse) -> Self {
        let instances: Vec<InstanceView> = response.instances.into_iter().map(InstanceView::from).collect();
        let own = instances.first().and_then(|instance| instance.memory.clone()).unwrap_or_default();
        Self { own, instances }
    }
}

impl From<pb::InstanceMemory> for InstanceView {
    fn from(instance: pb::InstanceMemory) -> Self {
        Self { answer: instance.answer.into(), memory: instance.memory.map(ProfileView::from) }
    }
}

impl From<pb::Memory> for ProfileView {
    fn from(memory: pb::Memory) -> Self {
        let pb::Memory { rss, allocated, active, resident, mapped, retained, .. } = memory;
        let allocator =
            given(memory.allocator).map(|name| AllocatorView { name, allocated, active, resident, mapped, retained });
        let hint = if memory.profiling_enabled { None } else { Some(PROFILING_HINT) };
        let (limit, counted) = if memory.limit > 0 { (Some(memory.limit), Some(memory.counted)) } else { (None, None) };
        Self {
            rss,
            allocator,
            components: memory.components.into_iter().collect(),
            profiling_enabled: memory.profiling_enabled,
            hint,
            profiling_since: rfc3339(memory.profiling_since_us),
            top_sites: memory.sites.into_iter().map(SiteView::from).collect(),
            sites_at: rfc3339(memory.sites_at_us),
            limit,
            counted,
            shedding: memory.shedding,
        }
    }
}

impl From<pb::AllocationSite> for SiteView {
    fn from(site: pb::AllocationSite) -> Self {
        let pb::AllocationSite { function, location, bytes, growth, stack } = site;
        Self { function, location: given(location), bytes, growth_bytes: growth, stack }
    }
}
