//! `GET /admin/memory-profile`: memory of every instance. The first is the one that answers; its numbers are also at
//! the top.

use std::collections::BTreeMap;

use serde::Serialize;
use wire::pb::admin::v1 as pb;

use super::{AnswerView, given};

/// What to do to see allocation sites.
const PROFILING_HINT: &str =
    "allocation sites are not sampled; start the process with MALLOC_CONF=prof:true to sample them";

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
        let view = |instance: pb::InstanceMemory| InstanceView {
            answer: instance.answer.into(),
            memory: instance.memory.map(ProfileView::from),
        };
        let instances: Vec<InstanceView> = response.instances.into_iter().map(view).collect();
        let own = instances.first().and_then(|instance| instance.memory.clone()).unwrap_or_default();
        Self { own, instances }
    }
}

impl From<pb::Memory> for ProfileView {
    fn from(memory: pb::Memory) -> Self {
        let pb::Memory { rss, allocated, active, resident, mapped, retained, profiling_enabled, components, allocator } =
            memory;
        let allocator =
            given(allocator).map(|name| AllocatorView { name, allocated, active, resident, mapped, retained });
        let hint = if profiling_enabled { None } else { Some(PROFILING_HINT) };
        Self { rss, allocator, components: components.into_iter().collect(), profiling_enabled, hint }
    }
}
