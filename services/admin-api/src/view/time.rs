//! Times as text. Absent: reading them, other zones than UTC, leap seconds (Unix time has none).

/// Microseconds since the Unix epoch in RFC 3339, UTC, with microseconds; `None` for 0, "never".
pub(super) fn rfc3339(us: u64) -> Option<String> {
    if us == 0 {
        return None;
    }
    let (seconds, micros) = (us / 1_000_000, us % 1_000_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z"))
}

/// The date that many days after 1970-01-01. Counts whole years from March on, so that the leap day is the last.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_PER_400_YEARS: u64 = 146_097;
    // From 0000-03-01.
    let days = days + 719_468;
    let (era, day_of_era) = (days / DAYS_PER_400_YEARS, days % DAYS_PER_400_YEARS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March: 31, 30, 31, 30, 31 days, repeated; 153 days each.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (400 * era + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_that_are_easily_missed() {
        for (seconds, text) in [
            (1, "1970-01-01T00:00:01"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (951_868_800, "2000-03-01T00:00:00"),
            (1_735_689_599, "2024-12-31T23:59:59"),
            (1_709_164_800, "2024-02-29T00:00:00"),
            (4_107_542_400, "2100-03-01T00:00:00"),
            (4_107_456_000, "2100-02-28T00:00:00"),
        ] {
            assert_eq!(rfc3339(seconds * 1_000_000 + 7), Some(format!("{text}.000007Z")));
        }
        assert_eq!(rfc3339(0), None);
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut before = date(0);
        for day in 1..200_000 {
            let (year, month, dom) = date(day);
            let next_day = (year, month) == (before.0, before.1) && dom == before.2 + 1;
            let next_month = dom == 1 && before.2 >= 28 && (month == before.1 + 1 || (month == 1 && before.1 == 12));
            assert!(next_day || next_month, "{before:?} and then {:?}", (year, month, dom));
            before = (year, month, dom);
        }
    }
}
