//! How near the process is to the limit of its memory, and whether orders are refused to stay below it: refusing one
//! order is better than being killed with all of them.
//!
//! The limit is the configured one, or that of the control group and of the groups around it. What counts against it is
//! the larger of the resident set and what the group cannot give back (its use without the file cache that nobody
//! uses), as Kubernetes counts it. Deliberately absent: what is refused; the engine knows which commands need memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::Config;
use crate::config::Live;
use crate::{Component, Components, process};

/// Between two looks: a process that fills a gigabyte a second is seen before it has filled the tenth that is left of
/// three.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Refusing ends this far below the part of the limit at which it begins, percent of the limit; without a distance it
/// would begin and end with every order.
const CALM_BELOW: u64 = 5;

/// Memory against its limit. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Pressure(Arc<State>);

#[derive(Debug, Default)]
struct State {
    limit: AtomicU64,
    counted: AtomicU64,
    shedding: AtomicBool,
}

impl Pressure {
    /// Whether what needs more memory is refused now. Costs a load of a flag.
    #[must_use]
    pub fn is_shedding(&self) -> bool {
        // Relaxed, here and below: a flag and numbers that guard no other memory.
        self.0.shedding.load(Ordering::Relaxed)
    }

    /// What may be used, bytes; 0 without a limit.
    pub(super) fn limit(&self) -> u64 {
        self.0.limit.load(Ordering::Relaxed)
    }

    /// What counts against the limit, bytes; 0 without one.
    pub(super) fn counted(&self) -> u64 {
        self.0.counted.load(Ordering::Relaxed)
    }

    /// Looks for as long as it is polled.
    pub(super) async fn watch(self, config: Option<Live<Config>>, components: Components) {
        describe();
        let group = Group::own();
        let mut component = None;
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let config = config.as_ref().map(|config| (*config.now()).clone()).unwrap_or_default();
            let limit = if config.limit.bytes() > 0 { config.limit.bytes() } else { group.limit().unwrap_or(0) };
            let resident = process::resident_bytes().unwrap_or(0);
            let counted = if config.limit.bytes() > 0 { resident } else { resident.max(group.working_set()) };
            if let Some(shedding) = self.note(limit, counted, config.shed_at_percent) {
                tell(shedding, limit, counted, &components, &mut component);
            }
        }
    }

    /// Takes note of what was found; says what is new about shedding.
    fn note(&self, limit: u64, counted: u64, shed_at_percent: u64) -> Option<bool> {
        let counted = if limit == 0 { 0 } else { counted };
        self.0.limit.store(limit, Ordering::Relaxed);
        self.0.counted.store(counted, Ordering::Relaxed);
        let part = if limit == 0 { 0 } else { u128::from(counted) * 100 / u128::from(limit) };
        let before = self.is_shedding();
        let begin = u128::from(shed_at_percent);
        let shedding = limit > 0 && part >= if before { begin.saturating_sub(u128::from(CALM_BELOW)) } else { begin };
        self.0.shedding.store(shedding, Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
        let ratio = if limit == 0 { 0.0 } else { counted as f64 / limit as f64 };
        metrics::gauge!("memory_pressure_ratio").set(ratio);
        metrics::gauge!("memory_shedding").set(if shedding { 1.0 } else { 0.0 });
        (shedding != before).then_some(shedding)
    }
}

fn describe() {
    metrics::describe_gauge!(
        "memory_pressure_ratio",
        "Memory that counts against the limit, as a part of it; 0 without a limit."
    );
    metrics::describe_gauge!("memory_shedding", "Whether orders are refused to stay below the limit: 1 or 0.");
}

/// One line and one condition for each beginning and end.
fn tell(shedding: bool, limit: u64, counted: u64, components: &Components, component: &mut Option<Component>) {
    let component = component.get_or_insert_with(|| components.register_optional("memory"));
    if shedding {
        tracing::warn!(limit, counted, "memory pressure: near the limit, orders are refused until there is room");
        component.degraded("near the limit of its memory: orders are refused until there is room");
    } else {
        tracing::info!(limit, counted, "memory pressure is over");
        component.ok();
    }
}

/// The control groups of this process, the innermost first; none where there are none.
struct Group(Vec<PathBuf>);

impl Group {
    fn own() -> Self {
        let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::find(&text, Path::new("/sys/fs/cgroup"))
    }

    /// Of the second version `0::/path`, of the first `5:memory:/path`. In a container the path may be one of the host,
    /// and the root is the container's own group.
    fn find(text: &str, root: &Path) -> Self {
        let mut groups = Vec::new();
        for line in text.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            let base = match controllers {
                "" => root.to_owned(),
                controllers if controllers.split(',').any(|name| name == "memory") => root.join("memory"),
                _ => continue,
            };
            let below = base.join(path.trim_start_matches('/'));
            groups.extend(below.ancestors().take_while(|group| group.starts_with(&base)).map(Path::to_owned));
        }
        Self(groups)
    }

    /// The smallest limit of all; `None` if there is none.
    fn limit(&self) -> Option<u64> {
        // The first version writes "no limit" as a number close to 2^63.
        const NONE: u64 = 1 << 62;
        let limits =
            self.0.iter().flat_map(|group| ["memory.max", "memory.limit_in_bytes"].map(|name| group.join(name)));
        limits.filter_map(|path| number(&path)).filter(|limit| *limit < NONE).min()
    }

    /// What the innermost group uses and cannot give back; 0 where that is not told.
    fn working_set(&self) -> u64 {
        let told = |group: &PathBuf| {
            let used = ["memory.current", "memory.usage_in_bytes"].iter().find_map(|name| number(&group.join(name)))?;
            let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
            let field = |name: &str| {
                stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<u64>().ok())
            };
            let idle = field("total_inactive_file").or_else(|| field("inactive_file")).unwrap_or(0);
            Some(used.saturating_sub(idle))
        };
        // A limit further out counts what is in it; only the innermost is this process's own.
        let limited =
            |group: &&PathBuf| group.join("memory.max").exists() || group.join("memory.limit_in_bytes").exists();
        self.0.iter().find(limited).and_then(told).unwrap_or(0)
    }
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r78_shedding_begins_before_the_limit_and_ends_well_below_where_it_began() {
        let pressure = Pressure::default();
        assert_eq!(pressure.note(0, 1 << 40, 90), None, "no limit, no pressure");
        assert_eq!(pressure.note(1_000, 899, 90), None);
        assert_eq!(pressure.note(1_000, 900, 90), Some(true));
        assert_eq!((pressure.is_shedding(), pressure.limit(), pressure.counted()), (true, 1_000, 900));
        assert_eq!(pressure.note(1_000, 850, 90), None, "not at once");
        assert!(pressure.is_shedding());
        assert_eq!(pressure.note(1_000, 849, 90), Some(false));
        assert_eq!(pressure.note(1_000, 1_200, 90), Some(true));
        assert_eq!(pressure.note(0, 1_200, 90), Some(false), "the limit was taken away");
    }

    #[test]
    fn the_smallest_limit_around_the_process_counts() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let inner = root.path().join("kubepods").join("pod");
        fs::create_dir_all(&inner).expect("made");
        let write = |path: PathBuf, text: &str| fs::write(path, text).expect("written");
        write(inner.join("memory.max"), "max\n");
        write(root.path().join("kubepods").join("memory.max"), "1000\n");
        write(root.path().join("memory.max"), "9000\n");
        write(inner.join("memory.current"), "700\n");
        write(inner.join("memory.stat"), "anon 500\ninactive_file 150\n");
        let group = Group::find("0::/kubepods/pod\n", root.path());
        assert_eq!((group.limit(), group.working_set()), (Some(1_000), 550));
        // What the process is told is a path of the host: its own group is the root.
        assert_eq!(Group::find("0::/elsewhere/pod\n", root.path()).limit(), Some(9_000));
        assert_eq!(Group::find("", root.path()).limit(), None);

        let first = root.path().join("memory").join("pod");
        fs::create_dir_all(&first).expect("made");
        write(first.join("memory.limit_in_bytes"), "2000\n");
        write(root.path().join("memory").join("memory.limit_in_bytes"), "9223372036854771712\n");
        write(first.join("memory.usage_in_bytes"), "800\n");
        write(first.join("memory.stat"), "total_inactive_file 300\n");
        let group = Group::find("7:cpu,cpuacct:/pod\n5:memory:/pod\n", root.path());
        assert_eq!((group.limit(), group.working_set()), (Some(2_000), 500));
    }
}
