//! The images that a cluster without a registry needs: a base of Debian's packages, made once; on it the stand-in for
//! everything that is not ours, and the image of the server from a binary that was built here.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::cluster::Cluster;
use crate::testing::{check, command};
use crate::tools;

/// What both images stand on; the name in deploy/compose/offline.yml.
const BASE: &str = "hive-mind-base:local";

/// Debian's packages are fetched and unpacked, twice, over the network.
const LIMIT: &str = "900";

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
    let binary = binary(root, release)?;
    let place = root.join("target/image");
    fs::create_dir_all(&place).with_context(|| place.display().to_string())?;
    // The names of functions stay, for profiles; what only a debugger reads is most of the file.
    let mut strip = Command::new("strip");
    check(strip.arg("--strip-debug").arg("-o").arg(place.join("hive-mind-server")).arg(&binary))?;
    // One service of each image; the others use the same.
    quiet(&mut cluster.compose(LIMIT, &["build", "persistence-gateway", "etcd"]))
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
        anyhow::bail!(
            "{program} {} ended with {}:\n{}{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
