//! What needs a process of its own: signals, panics, the allocator's switches. The test runs itself again with
//! [`CHILD`] set and looks at how that ends.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use service_kit::telemetry::{self, LogConfig, LogOutput};
use service_kit::{AllocatorStats, MemoryAccounts, Shutdown};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Says in the child which part it plays.
const CHILD: &str = "SERVICE_KIT_TEST_CHILD";

/// Runs the test `name` again as a child.
fn child(name: &str, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture"]).env(CHILD, "1").envs(variables.iter().copied());
    command
}

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_panic_in_a_task_is_logged_and_ends_the_process() {
    if is_child() {
        telemetry::init(&LogConfig::default(), LogOutput::Stdout).unwrap();
        telemetry::abort_on_panic();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(async {
            let task = tokio::spawn(async { panic!("out of nowhere") });
            task.await.ok();
            println!("still alive");
        });
        return;
    }
    let output = child("a_panic_in_a_task_is_logged_and_ends_the_process", &[]).output().unwrap();
    let text = text(&output);
    assert!(!output.status.success() && !text.contains("still alive"), "{text}");
    let line = text.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("no log line in {text}"));
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["level"], &line["message"]), (&"ERROR".into(), &"panic: out of nowhere".into()));
    assert!(line["location"].as_str().unwrap().contains("process.rs"), "{line}");
}

#[test]
fn sigterm_drains() {
    if is_child() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let shutdown = Shutdown::new();
            shutdown.on_signals().unwrap();
            println!("waiting");
            shutdown.draining().await;
            println!("draining, stopped: {}", shutdown.is_stopped());
            // A child that is not told ends all the same.
            for _ in 0..300 {
                println!("again");
                if tokio::time::timeout(Duration::from_millis(100), shutdown.stopped()).await.is_ok() {
                    println!("stopped");
                    return;
                }
            }
        });
        return;
    }
    use std::io::{BufRead, BufReader};
    let mut process = child("sigterm_drains", &[]).stdout(Stdio::piped()).spawn().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(process.id()).unwrap()).unwrap();
    let mut seen = Vec::new();
    for line in BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok) {
        if line.ends_with("waiting") || line == "again" {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        }
        seen.push(line);
    }
    assert!(process.wait().unwrap().success());
    let seen = seen.join("\n");
    // The signal right behind the first one is the same request; one that comes later counts.
    assert!(seen.contains("draining, stopped: false\nagain\nagain\n") && seen.contains("again\nstopped"), "{seen}");
}

#[test]
fn the_allocator_tells_whether_it_samples() {
    if is_child() {
        let memory = MemoryAccounts::default();
        memory.set_allocator(service_kit::memory::jemalloc);
        let before = memory.memory();
        let block = std::hint::black_box(vec![1u8; 64 << 20]);
        let after = memory.memory();
        println!("\nanswer {} {} {}", after.allocator, after.profiling_enabled, after.allocated - before.allocated);
        assert!(after.rss > before.rss + (60 << 20), "{} bytes are resident", block.len());
        assert!(after.active >= after.allocated && after.mapped >= after.resident && after.resident > 0);
        return;
    }
    for (switches, expected) in [("", "false"), ("prof:true,prof_active:false", "false"), ("prof:true", "true")] {
        let variables = [("MALLOC_CONF", switches), ("_RJEM_MALLOC_CONF", switches)];
        let output = child("the_allocator_tells_whether_it_samples", &variables).output().unwrap();
        let text = text(&output);
        let line = text.lines().find_map(|line| line.strip_prefix("answer ")).unwrap_or_else(|| panic!("{text}"));
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[..2], ["jemalloc", expected], "{switches}");
        let grown: u64 = words[2].parse().unwrap();
        assert!(((64 << 20)..(80 << 20)).contains(&grown), "64 MiB more, {grown} counted");
    }
}

#[test]
fn without_an_allocator_hook_only_the_kernel_is_asked() {
    let memory = MemoryAccounts::default();
    assert!(memory.memory().rss > 0);
    assert_eq!(memory.memory().allocated, 0);
    memory.set_allocator(|| AllocatorStats { allocated: 7, ..AllocatorStats::default() });
    assert_eq!(memory.memory().allocated, 7);
}
