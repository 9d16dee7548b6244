//! What the kernel says of this process, read from `/proc/self`. Absent: what the allocator says; see
//! [`crate::memory`].

use std::fs;

/// Numbers of `/proc/self/stat` that we use.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Processor time in user and kernel mode, seconds.
    pub(crate) cpu_seconds: f64,
    /// Virtual memory, bytes.
    pub(crate) virtual_bytes: u64,
    /// Threads.
    pub(crate) threads: u64,
    /// Start, seconds since the machine was booted.
    started_after_boot: f64,
}

/// Resident set in bytes; `None` where there is no `/proc`.
pub(crate) fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * u64::try_from(rustix::param::page_size()).ok()?)
}

/// Processor time, virtual memory and threads; `None` where there is no `/proc`.
pub(crate) fn usage() -> Option<Usage> {
    parse_stat(&fs::read_to_string("/proc/self/stat").ok()?, rustix::param::clock_ticks_per_second())
}

fn parse_stat(stat: &str, ticks_per_second: u64) -> Option<Usage> {
    // The second field is the program's name in brackets and may hold anything, spaces and brackets included.
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    // proc(5) counts from 1 and the first of `rest` is field 3.
    let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<u64>().ok());
    let seconds = |ticks: u64| ticks as f64 / ticks_per_second as f64;
    Some(Usage {
        cpu_seconds: seconds(field(14)? + field(15)?),
        threads: field(20)?,
        started_after_boot: seconds(field(22)?),
        virtual_bytes: field(23)?,
    })
}

/// When the process was started, seconds since the Unix epoch.
pub(crate) fn start_time_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + usage()?.started_after_boot)
}

/// Open file descriptors; `None` where there is no `/proc`.
pub(crate) fn open_fds() -> Option<u64> {
    // The directory that is being read is one of them.
    Some(u64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()?.saturating_sub(1))
}

/// Most file descriptors the process may open.
pub(crate) fn max_fds() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 1000 4096 77 18446744073709551615";
        let usage = parse_stat(stat, 100).expect("parses");
        assert_eq!(usage, Usage { cpu_seconds: 3.0, virtual_bytes: 4096, threads: 9, started_after_boot: 10.0 });
    }

    #[test]
    fn the_kernel_answers_for_this_process() {
        assert!(resident_bytes().expect("linux") > 100_000);
        assert!(open_fds().expect("linux") >= 3);
        assert!(usage().expect("linux").threads >= 1);
        assert!(start_time_seconds().expect("linux") > 1.5e9);
    }
}
