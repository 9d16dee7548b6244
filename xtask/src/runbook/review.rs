//! Whether docs/runbook.md was read through within a month: its first lines name the day. Only told, since a tree that
//! passes today has to pass tomorrow.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

const RUNBOOK: &str = "docs/runbook.md";

/// The longest month.
const DAYS: i64 = 31;

/// What to say if it is overdue.
pub(super) fn overdue(root: &Path) -> Result<Option<String>> {
    let text = fs::read_to_string(root.join(RUNBOOK)).context(RUNBOOK)?;
    let reviewed = reviewed(&text).with_context(|| format!("{RUNBOOK}: says no `reviewed YYYY-MM-DD` at its top"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
    let today = i64::try_from(now.as_secs() / 86_400).context("the clock is wrong")?;
    Ok(told(today - reviewed))
}

fn told(age: i64) -> Option<String> {
    let what = "read it through, mend it, and write the day at its top";
    (age > DAYS).then(|| format!("warning: {RUNBOOK} was reviewed {age} days ago: {what}"))
}

/// The day that the text names, in days since 1970-01-01.
fn reviewed(text: &str) -> Option<i64> {
    let (_, rest) = text.split_once("reviewed ")?;
    let mut parts = rest.get(..10)?.split('-').map(str::parse::<i64>);
    let (Some(Ok(year)), Some(Ok(month)), Some(Ok(day))) = (parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    ((1..=12).contains(&month) && (1..=31).contains(&day)).then(|| days(year, month, day))
}

/// Days since 1970-01-01 in the Gregorian calendar. Years begin in March here, so that a leap day is the last of its
/// year; 153 days are the five months from March on, and from August on again.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 1970-01-01 is day 719,468 of a calendar that begins with the first of March of the year 0.
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r97_a_review_that_is_overdue_is_told() {
        let day = |text| reviewed(&format!("# A\nVersion 1, reviewed {text}. More."));
        assert_eq!(day("1970-01-01"), Some(0));
        assert_eq!(day("2000-03-01"), Some(11_017));
        assert_eq!((day("2024-02-29"), day("2024-03-01")), (Some(19_782), Some(19_783)));
        assert_eq!(day("2026-11-23"), Some(20_780));
        assert_eq!((day("2026-13-01"), day("yesterday.")), (None, None));
        assert_eq!(told(31), None);
        assert!(told(32).is_some_and(|said| said.contains("32 days")));
    }

    #[test]
    fn r97_the_runbook_names_the_day_of_its_review() {
        overdue(&crate::workspace_root()).expect("a day");
    }
}
