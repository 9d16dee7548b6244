//! A leader whose packets are lost: no connection ends, nothing is refused, the kernel goes on sending again. The whole
//! test runs in a network of its own, so that no rule touches the machine's. Absent: cuts that a proxy can make.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::LOOK_AGAIN;
use integration_tests::chaos::Fault;

use super::{epochs, finish, leading, scene};

/// Set in the process that runs in a network of its own.
const APART: &str = "HIVE_TEST_APART";

/// Drops, or no longer drops, every packet between the ports and whoever is connected to them.
fn lose(ports: &[String], lost: bool) -> Result<()> {
    for port in ports {
        for side in ["--dport", "--sport"] {
            let change = if lost { "--append" } else { "--delete" };
            let rule = [change, "INPUT", "--in-interface", "lo", "--protocol", "tcp", side, port, "--jump", "DROP"];
            let status = Command::new("iptables").arg("--wait").args(rule).status().context("iptables")?;
            ensure!(status.success(), "iptables {rule:?} ended with {status}");
        }
    }
    Ok(())
}

async fn another_leads() -> Result<()> {
    let (directory, scene) = scene("lost-packets").await?;
    let leader = leading(&scene).await?;
    let links = &scene.cluster.links[leader];
    let addresses = links.coordinators.iter().chain(&links.gateways).map(|proxy| &proxy.address);
    let ports: Vec<String> =
        addresses.filter_map(|address| address.rsplit_once(':')).map(|(_, port)| port.to_owned()).collect();
    lose(&ports, true)?;
    scene.acknowledged("the loss of the leader's packets").await?;
    ensure!(leading(&scene).await? != leader, "it is answered, but by whom?");
    // Once packets arrive again, what the old leader had sent is refused, and it says so.
    lose(&ports, false)?;
    scene.acknowledged("the return of the packets").await?;
    let begin = std::time::Instant::now();
    while !scene.cluster.engines[leader].log().contains("\"message\":\"not leading\"") {
        ensure!(begin.elapsed() < Duration::from_secs(30), "the old leader has not noticed");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let aftermath = finish(directory, scene, &[Fault::CutCoordinators, Fault::CutGateways]).await?;
    assert_eq!(epochs(&aftermath), 2, "one leader before, one after");
    Ok(())
}

#[test]
fn r99_a_leader_whose_packets_are_lost_is_followed_by_another() -> Result<()> {
    if std::env::var_os(APART).is_none() {
        let mut apart = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            apart.args(["--user", "--map-current-user", "--keep-caps"]);
        }
        let name = "failover::lost_packets::r99_a_leader_whose_packets_are_lost_is_followed_by_another";
        let script = "ip link set lo up && exec \"$@\"";
        apart.args(["--net", "--", "sh", "-c", script, "sh"]).arg(std::env::current_exe()?);
        apart.args(["--exact", name, "--nocapture"]).env(APART, "1").stdin(Stdio::null());
        let status = apart.status().context("unshare, of the package util-linux")?;
        ensure!(status.success(), "in a network of its own it ended with {status}, see above");
        return Ok(());
    }
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(another_leads())
}
