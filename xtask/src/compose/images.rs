//! The images that a cluster without a registry needs: a base of Debian's packages, made once; on it the stand-in for
//! everything that is not ours, and the image of the server from a binary that was built here.

use std::ffi::OsStr;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::cluster::Cluster;
use super::daemon::NoContainers;
use crate::testing::{check, command};
use crate::tools;

/// What both images stand on; the name in deploy/compose/offline.yml.
const BASE: &str = "hive-mind-base:local";

/// Debian's packages are fetched and unpacked, twice, over the network.
const LIMIT: &str = "900";

/// Seconds for the smallest container.
const RUN_LIMIT: &str = "60";

/// What `docker run` ends with if the program was never started.
const REFUSED: RangeInclusive<i32> = 125..=127;

/// Builds what is not there. Docker builds again what has changed.
pub(super) fn ensure(cluster: &Cluster, release: bool) -> Result<()> {
    let root = cluster.root();
    let mut look = Command::new("docker");
    look.args(["image", "inspect", BASE]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if !look.envs(cluster.environment()).status().context("cannot start docker")?.success() {
        eprintln!("making {BASE} of Debian's packages");
        let mut base = command(root, &["timeout", LIMIT, "deploy/compose/offline/base.sh", BASE]);
        quiet(base.envs(cluster.environment()))?;
    }
    a_container_runs(cluster)?;
    let binary = binary(root, release)?;
    let place = root.join("target/image");
    fs::create_dir_all(&place).with_context(|| place.display().to_string())?;
    // The names of functions stay, for profiles; what only a debugger reads is most of the file.
    let mut strip = Command::new("strip");
    check(strip.arg("--strip-debug").arg("-o").arg(place.join("hive-mind-server")).arg(&binary))?;
    // One service of each image; the others use the same.
    quiet(&mut cluster.compose(LIMIT, &["build", "persistence-gateway", "etcd"]))
}

/// Whether this machine makes containers at all, with a network and a door of its own: a daemon may start where it cannot.
fn a_container_runs(cluster: &Cluster) -> Result<()> {
    let words = ["timeout", RUN_LIMIT, "docker", "run", "--rm", "--publish", "127.0.0.1::80", BASE, "true"];
    let run = command(cluster.root(), &words).envs(cluster.environment()).output().context("cannot start docker")?;
    let said = String::from_utf8_lossy(&run.stderr);
    match run.status.code() {
        Some(0) => Ok(()),
        Some(code) if REFUSED.contains(&code) => {
            bail!(NoContainers(format!("a Docker daemon answers, but: {}", said.trim())))
        }
        _ => bail!("{BASE} does not run `true`: {}; {}", run.status, said.trim()),
    }
}

/// The server, built as the tests or the measurements have it.
fn binary(root: &Path, release: bool) -> Result<PathBuf> {
    let target = tools::target_directory(root);
    if release {
        // Apart: built together with the tests, the server would get their features.
        check(&mut command(root, &["cargo", "build", "--locked", "--release", "--package", "hive-mind-server"]))?;
        return Ok(target.join("release/hive-mind-server"));
    }
    check(&mut command(root, &["cargo", "build", "--locked", "--workspace", "--bins"]))?;
    Ok(target.join("debug/hive-mind-server"))
}

/// Runs it and shows what it said only if it fails.
pub(super) fn quiet(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let arguments: Vec<_> = command.get_args().map(OsStr::to_string_lossy).map(String::from).collect();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        bail!(
            "{program} {} ended with {}:\n{}{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
