//! Where the memory in use was allocated: jemalloc's samples, switched on and off at run time, by name of function.
//!
//! jemalloc keeps the stack of every sampled allocation until it is freed. What is found is therefore what was
//! allocated since sampling was switched on and is still in use: a leak stays and grows, everything else comes and
//! goes. The process must have been started with `prof:true`; while sampling is off that costs nothing.
//!
//! Deliberately absent: who may switch it, and the accounts of components.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jemalloc_pprof::{JemallocProfCtl, PROF_CTL, StackProfile};
use wire::pb::admin::v1::AllocationSite;

use super::Config;
use super::symbols::{Frame, Symbols};
use crate::config::Live;

/// Between two looks while sampling is on. A look reads a small file and resolves the addresses that are new.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How far back growth is told.
const GROWTH_OVER: Duration = Duration::from_secs(60);
/// Sites that are told: a leak that is not among them is not one to worry about.
const SITES_TOLD: usize = 20;
/// Functions of a stack that are told.
const FRAMES_TOLD: usize = 24;

/// Why allocation sites cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfilingError {
    /// The process was started without it.
    #[error("this process was started without heap profiling: start it without MALLOC_CONF, or with prof:true in it")]
    Impossible,
    /// There is nothing to tell.
    #[error("memory profiling is off: switch it on, wait a minute, ask again")]
    Off,
    /// The allocator, or the temporary file that its profile goes through.
    #[error("the heap profile cannot be taken: {0}; is there a temporary directory that can be written?")]
    Failed(String),
}

/// Samples of a process. Clones share them.
#[derive(Clone, Default)]
pub struct Profiler(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Held while somebody looks: one at a time.
    symbols: Mutex<Symbols>,
}

#[derive(Default)]
struct State {
    since: Option<SystemTime>,
    /// What was in use at each site, oldest look first.
    looks: VecDeque<(Instant, HashMap<String, u64>)>,
    told: Told,
}

/// What was found last.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Told {
    pub(super) sites: Vec<AllocationSite>,
    pub(super) at_us: u64,
    pub(super) since_us: u64,
}

/// All samples of one site.
struct Site<'a> {
    bytes: f64,
    /// Bytes of the heaviest stack.
    heaviest: f64,
    stack: Vec<&'a Frame>,
    own: &'a Frame,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn micros(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// Runs `work` with jemalloc's control. Blocks.
fn control<T>(work: impl FnOnce(&mut JemallocProfCtl) -> Result<T, ProfilingError>) -> Result<T, ProfilingError> {
    let control = PROF_CTL.as_ref().ok_or(ProfilingError::Impossible)?;
    work(&mut control.blocking_lock())
}

fn failed(error: impl std::fmt::Display) -> ProfilingError {
    ProfilingError::Failed(error.to_string())
}

impl Profiler {
    /// Switches sampling on or off; says whether that changed anything. Blocks for a moment; not for async code.
    ///
    /// # Errors
    /// [`ProfilingError::Impossible`] or [`ProfilingError::Failed`].
    pub fn switch(&self, on: bool) -> Result<bool, ProfilingError> {
        let changed = control(|control| {
            if control.activated() == on {
                return Ok(false);
            }
            if on { control.activate() } else { control.deactivate() }.map_err(failed)?;
            Ok(true)
        })?;
        if changed {
            // What was sampled before is forgotten by the allocator too.
            *lock(&self.0.state) = State { since: on.then(SystemTime::now), ..State::default() };
            *lock(&self.0.symbols) = Symbols::default();
            tracing::info!(enabled = on, "memory profiling switched");
        }
        Ok(changed)
    }

    /// Looks at the samples and remembers the sites. Blocks, the first time for a second or more: it reads the line
    /// tables of the program.
    ///
    /// # Errors
    /// [`ProfilingError`].
    pub fn look(&self) -> Result<(), ProfilingError> {
        let mut symbols = lock(&self.0.symbols);
        let profile = profile()?;
        symbols.resolve_all(profile.stacks.iter().flat_map(|(stack, _)| stack.addrs.iter().copied()));
        let sites = sites(&profile, &symbols);
        let bytes: HashMap<String, u64> = sites.iter().map(|(key, site)| (key.clone(), whole(site.bytes))).collect();
        let (now, mut state) = (Instant::now(), lock(&self.0.state));
        while state.looks.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= GROWTH_OVER) {
            state.looks.pop_front();
        }
        let before = state.looks.front().map(|(_, bytes)| bytes);
        let told = told(sites, before);
        state.looks.push_back((now, bytes));
        let since_us = state.since.map_or(0, micros);
        state.told = Told { sites: told, at_us: micros(SystemTime::now()), since_us };
        Ok(())
    }

    /// The heap profile for the tool pprof: gzip of a protobuf message. Blocks.
    ///
    /// # Errors
    /// [`ProfilingError`].
    pub fn pprof(&self) -> Result<Vec<u8>, ProfilingError> {
        let _one_at_a_time = lock(&self.0.symbols);
        Ok(profile()?.to_pprof(("inuse_space", "bytes"), ("space", "bytes"), None))
    }

    /// What was found last.
    pub(super) fn told(&self) -> Told {
        let state = lock(&self.0.state);
        Told { since_us: state.since.map_or(0, micros), ..state.told.clone() }
    }

    /// Does what is configured, at once and at each change, for as long as it is polled.
    pub(super) async fn follow(self, mut config: Live<Config>) {
        let mut configured = false;
        let mut wanted = config.now().enable_memory_profiling;
        loop {
            if wanted != configured {
                let profiler = self.clone();
                match tokio::task::spawn_blocking(move || profiler.switch(wanted)).await {
                    Ok(Ok(_)) => configured = wanted,
                    Ok(Err(error)) => tracing::warn!(%error, "memory.enable_memory_profiling is not followed"),
                    Err(error) => tracing::warn!(%error, "memory.enable_memory_profiling is not followed"),
                }
            }
            wanted = config.changed().await.enable_memory_profiling;
        }
    }

    /// Looks every few seconds while sampling is on, for as long as it is polled.
    pub(super) async fn watch(self) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if lock(&self.0.state).since.is_none() {
                continue;
            }
            let profiler = self.clone();
            match tokio::task::spawn_blocking(move || profiler.look()).await {
                // Off: it was switched off since.
                Ok(Ok(()) | Err(ProfilingError::Off)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "no look at allocation sites"),
                Err(error) => tracing::warn!(%error, "the look at allocation sites ended badly"),
            }
        }
    }
}

fn profile() -> Result<StackProfile, ProfilingError> {
    control(|control| {
        if !control.activated() {
            return Err(ProfilingError::Off);
        }
        control.dump_profile().map_err(failed)
    })
}

fn sites<'a>(profile: &StackProfile, symbols: &'a Symbols) -> HashMap<String, Site<'a>> {
    let mut sites: HashMap<String, Site<'a>> = HashMap::new();
    for (stack, _) in &profile.stacks {
        // The innermost comes last.
        let frames: Vec<&Frame> = stack.addrs.iter().rev().flat_map(|address| symbols.frames(*address)).collect();
        let Some(begin) = frames.iter().position(|frame| frame.is_own()).or_else(|| first_outside(&frames)) else {
            continue;
        };
        if frames.iter().any(|frame| frame.is_of_the_look()) {
            continue;
        }
        let own = frames[begin];
        let site = sites.entry(format!("{} {}", own.function, own.location)).or_insert_with(|| Site {
            bytes: 0.0,
            heaviest: 0.0,
            stack: Vec::new(),
            own,
        });
        site.bytes += stack.weight;
        if stack.weight > site.heaviest {
            (site.heaviest, site.stack) = (stack.weight, frames[begin..].to_vec());
        }
    }
    sites
}

/// The first frame that is not the allocator's or the standard library's.
fn first_outside(frames: &[&Frame]) -> Option<usize> {
    frames.iter().position(|frame| !frame.is_plumbing()).or(if frames.is_empty() { None } else { Some(0) })
}

fn told(sites: HashMap<String, Site<'_>>, before: Option<&HashMap<String, u64>>) -> Vec<AllocationSite> {
    let mut sites: Vec<_> = sites.into_iter().collect();
    sites.sort_by(|(_, a), (_, b)| b.bytes.total_cmp(&a.bytes));
    sites.truncate(SITES_TOLD);
    let tell = |(key, site): (String, Site<'_>)| {
        let bytes = whole(site.bytes);
        let then = before.and_then(|before| before.get(&key)).copied().unwrap_or(0);
        AllocationSite {
            function: site.own.function.clone(),
            location: site.own.location.clone(),
            bytes,
            growth: bytes.cast_signed().saturating_sub(then.cast_signed()),
            stack: site.stack.iter().take(FRAMES_TOLD).map(|frame| frame.to_string()).collect(),
        }
    };
    sites.into_iter().map(tell).collect()
}

fn whole(bytes: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate, below all memory")]
    let whole = bytes.max(0.0) as u64;
    whole
}
