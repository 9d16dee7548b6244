//! `admin doctor`: is anything wrong, and what is to be done about it. Absent: doing it.

mod checks;
mod host;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::asked::Asked;
use super::picture::Picture;
use crate::cli::{EXIT_DIFFERENCE, EXIT_OK, EXIT_UNREACHABLE};
use crate::output::{chain, line};

/// Between two examinations while waiting for health. A leader is found within seconds.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How patient it is.
#[derive(Args, Debug)]
pub(super) struct Doctor {
    /// Examines again until nothing fails, at most so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    wait: u64,
    /// Warnings count as failures.
    #[arg(long)]
    strict: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct Examination {
    healthy: bool,
    failed: usize,
    warnings: usize,
    checks: Vec<Check>,
}

/// One check. The JSON is the schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    /// What it is about: "connection", "instances", "leadership", "database", "trading", "memory", "host".
    category: &'static str,
    name: String,
    verdict: Verdict,
    /// What was seen.
    message: String,
    /// What to do about it; null if there is nothing to do.
    hint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warning,
    Failed,
}

pub(super) async fn run(doctor: Doctor, asked: &Asked) -> Result<u8> {
    let until = Instant::now() + Duration::from_secs(doctor.wait);
    loop {
        let (examination, reached) = examine(asked, doctor.strict).await?;
        let left = until.saturating_duration_since(Instant::now());
        if examination.healthy || left.is_zero() {
            asked.report(&examination, Examination::print)?;
            return Ok(match (examination.healthy, reached) {
                (true, _) => EXIT_OK,
                (false, true) => EXIT_DIFFERENCE,
                (false, false) => EXIT_UNREACHABLE,
            });
        }
        // What is not well yet can only be looked at again; the loop has an end.
        tokio::time::sleep(LOOK_AGAIN.min(left)).await;
    }
}

/// One examination, for the record.
pub(super) async fn examination(asked: &Asked) -> Result<Examination> {
    Ok(examine(asked, false).await?.0)
}

/// True if the node could be reached at all.
async fn examine(asked: &Asked, strict: bool) -> Result<(Examination, bool)> {
    let picture = Picture::take(asked, &asked.channel()?).await;
    let reached = picture.is_ok();
    let mut checks = match &picture {
        Ok(picture) => checks::of(picture),
        Err(error) => vec![unreached(&asked.target()?, error)],
    };
    if asked.is_here()? {
        checks.extend(host::checks(&asked.data_dir()));
    }
    Ok((Examination::new(checks, strict), reached))
}

fn unreached(target: &str, error: &anyhow::Error) -> Check {
    Check::failed(
        "connection",
        "node",
        format!("{target}: {}", chain(error)),
        "is it running there? its log says why it ended; --target and --data-dir name another one, --key or \
         HIVE_API_KEY the key it wants",
    )
}

impl Examination {
    fn new(checks: Vec<Check>, strict: bool) -> Self {
        let count = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
        let (failed, warnings) = (count(Verdict::Failed), count(Verdict::Warning));
        Self { healthy: failed == 0 && !(strict && warnings > 0), failed, warnings, checks }
    }

    fn print(&self) {
        let mut category = "";
        for check in &self.checks {
            if check.category != category {
                category = check.category;
                line(category);
            }
            let mark = match check.verdict {
                Verdict::Ok => "ok  ",
                Verdict::Warning => "WARN",
                Verdict::Failed => "FAIL",
            };
            line(&format!("  {mark}  {}: {}", check.name, check.message));
            if let Some(hint) = &check.hint {
                line(&format!("        -> {hint}"));
            }
        }
        line(&match (self.failed, self.warnings) {
            (0, 0) => format!("all {} checks passed", self.checks.len()),
            (failed, warnings) => format!("{failed} failed, {warnings} warnings, of {} checks", self.checks.len()),
        });
    }
}

impl Check {
    fn ok(category: &'static str, name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { category, name: name.into(), verdict: Verdict::Ok, message: message.into(), hint: None }
    }

    fn warning(
        category: &'static str,
        name: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let hint = Some(hint.into());
        Self { category, name: name.into(), verdict: Verdict::Warning, message: message.into(), hint }
    }

    fn failed(
        category: &'static str,
        name: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { verdict: Verdict::Failed, ..Self::warning(category, name, message, hint) }
    }
}
