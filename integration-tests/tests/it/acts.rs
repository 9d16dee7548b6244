//! What operators do while orders come in fails no order and loses none. How long clients wait meanwhile is for
//! `cargo xtask acts` to measure.

use std::time::Duration;

use anyhow::Result;
use integration_tests::acts::{Act, Plan, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r36_r52_r53_r60_r66_r67_r79_no_act_of_an_operator_fails_or_loses_an_order() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let plan = Plan { rate: 100, accounts: 8, seed: 52, calm: Duration::from_secs(1) };
    let report = run(directory.path(), &plan, |line| println!("{line}")).await?;
    println!("{report}");
    assert_eq!(report.tally.failed(), 0, "an order failed");
    assert_eq!(report.tally.checked.violations, 0, "what clients were told is not what happened");
    let acts: Vec<Act> = report.acts.iter().map(|seen| seen.act).collect();
    assert_eq!(acts, Act::ALL);
    for seen in &report.acts {
        assert!(seen.during.answered > 0 && seen.after.answered > 0, "nobody sent anything: {seen:?}");
    }
    assert!(report.tally.checked.rows > 0 && report.tally.checked.acknowledged > 0, "everything was compared");
    Ok(())
}
