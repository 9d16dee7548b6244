//! `admin audit tail --follow`: records as they come, and whose are missing. Absent: which records there are; the instances
//! tell.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use admin_api::view::audit::{RecordView, RecordsView};
use anyhow::{Context, Result};
use service_kit::clock;
use wire::pb::admin::v1 as pb;
use wire::status::{ApiError, ErrorCode};

use super::{found, print};
use crate::admin::asked::Asked;
use crate::cli::{EXIT_OK, Output};
use crate::output;

/// Between two looks for new records.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// New records that one look may bring.
const MOST: u32 = 1_000;
/// How far a look goes back behind the last record: enough for clocks that differ.
const BACK_US: u64 = 60_000_000;

/// What was shown, and who is silent.
#[derive(Default)]
struct Followed {
    /// Numbers of the records that were shown and may come again, by the instance that wrote them.
    seen: BTreeMap<String, BTreeSet<u64>>,
    /// Instances that do not answer, and from when on their records may be missing.
    silent: BTreeMap<String, u64>,
    /// Where the last look began.
    from_us: u64,
    /// Time of the first record that was shown: what is older was not asked for.
    begin_us: u64,
}

/// What a look brings.
#[derive(Debug, Default, PartialEq)]
struct News {
    records: Vec<RecordView>,
    /// For whoever watches; no records.
    told: Vec<String>,
}

impl Followed {
    /// Where the next look begins: behind nothing that an instance may have recorded while it was not heard.
    fn next_from(&self, view: &RecordsView, now_us: u64) -> u64 {
        let usual = view.records.first().map_or(now_us, at_us).saturating_sub(BACK_US).max(self.from_us);
        self.silent.values().copied().fold(usual, u64::min)
    }

    /// `view` has its records newest first.
    fn look(&mut self, view: RecordsView, now_us: u64) -> News {
        let mut news = News::default();
        let from_us = self.from_us;
        for instance in &view.instances {
            match (&instance.error, self.silent.contains_key(&instance.target)) {
                (Some(error), false) => {
                    news.told.push(lost(&instance.target, error));
                    self.silent.insert(instance.target.clone(), if from_us == 0 { now_us } else { from_us });
                }
                (None, true) => {
                    news.told.push(format!("{} answers again: what it recorded meanwhile follows", instance.target));
                    self.silent.remove(&instance.target);
                }
                _ => {}
            }
        }
        self.from_us = self.next_from(&view, now_us);
        if from_us == 0 {
            self.begin_us = view.records.last().map_or(0, at_us);
        }
        let is_new = |record: &RecordView| {
            let seen = self.seen.get(&record.node).is_some_and(|seen| seen.contains(&record.seq));
            !seen && at_us(record) >= self.begin_us
        };
        if from_us > 0 && view.records.len() >= MOST as usize && view.records.iter().all(is_new) {
            news.told.push(format!(
                "more than {MOST} records came at once: the older ones are not shown, `admin audit search` has them"
            ));
        }
        news.records = view.records.iter().rev().filter(|record| is_new(record)).cloned().collect();
        // Clocks of instances differ a little: what was seen is known by its number, not by its time. Of those that
        // answered, what did not come now will not come again.
        let answered: Vec<&str> = view.instances.iter().filter_map(|one| one.instance.as_deref()).collect();
        self.seen.retain(|node, _| !answered.contains(&node.as_str()));
        for record in view.records {
            self.seen.entry(record.node).or_default().insert(record.seq);
        }
        news
    }
}

fn at_us(record: &RecordView) -> u64 {
    record.at.as_deref().and_then(clock::parse_rfc3339).unwrap_or(0)
}

fn lost(whom: &str, error: &str) -> String {
    format!("{whom} does not answer, its records are missing until it does: {error}")
}

/// Whether the asked node may be asked again: it is away, or too busy to answer in time.
fn is_away(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<ApiError>().map(|error| error.code);
    code.is_some_and(|code| {
        matches!(code, ErrorCode::Unreachable | ErrorCode::DeadlineExceeded | ErrorCode::ShuttingDown)
    })
}

/// With JSON, prints one document a record.
pub(super) async fn follow(asked: &Asked, lines: u32) -> Result<u8> {
    let mut followed = Followed::default();
    let mut limit = lines;
    let mut away = false;
    loop {
        let filter = pb::AuditFilter { limit, from_us: followed.from_us, ..Default::default() };
        match found(asked, filter).await {
            Ok(view) => {
                if std::mem::take(&mut away) {
                    output::aside(&format!("{} answers again", asked.target()?));
                }
                show(&followed.look(view, clock::now_us()), asked.output)?;
                limit = MOST;
            }
            // Whoever cannot be asked at all is told once, as an error.
            Err(error) if is_away(&error) && limit == MOST => {
                if !std::mem::replace(&mut away, true) {
                    output::aside(&lost(&asked.target()?, &output::chain(&error)));
                }
            }
            Err(error) => return Err(error),
        }
        tokio::select! {
            // Records cannot be awaited over this interface, only asked for again.
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            signal = tokio::signal::ctrl_c() => {
                signal.context("cannot wait for Ctrl-C")?;
                return Ok(EXIT_OK);
            }
        }
    }
}

fn show(news: &News, output: Output) -> Result<()> {
    news.told.iter().for_each(|text| output::aside(text));
    for record in &news.records {
        match output {
            Output::Json => output::json(record)?,
            Output::Table => print(record),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000_000;

    /// Records of two instances, newest first, of which `b` answers or not.
    fn view(records: &[(&str, u64, u64)], b_answers: bool) -> RecordsView {
        let records = records.iter().map(|&(node, seq, at_us)| pb::AuditRecord {
            node: node.to_owned(),
            seq,
            at_us,
            ..Default::default()
        });
        let answer = |target: &str, answers: bool| pb::NodeAnswer {
            target: target.to_owned(),
            node: if answers { target.to_owned() } else { String::new() },
            error: if answers { String::new() } else { "no answer".to_owned() },
            ..Default::default()
        };
        let answers = vec![answer("a", true), answer("b", b_answers)];
        pb::SearchAuditResponse { records: records.collect(), answers }.into()
    }

    fn shown(news: &News) -> Vec<(&str, u64)> {
        news.records.iter().map(|record| (record.node.as_str(), record.seq)).collect()
    }

    #[test]
    fn who_is_silent_is_told_once_and_nothing_of_it_is_lost_or_shown_twice() {
        let mut followed = Followed::default();
        let first = followed.look(view(&[("b", 7, NOW), ("a", 3, NOW - 5)], true), NOW);
        let none = followed.look(view(&[("b", 7, NOW), ("a", 3, NOW - 5), ("a", 2, NOW - 9)], true), NOW);
        assert_eq!(none, News::default(), "what was not asked for at first does not come later");
        assert_eq!((shown(&first), first.told.len()), (vec![("a", 3), ("b", 7)], 0));
        let heard = followed.from_us;

        let gone = followed.look(view(&[("a", 4, NOW + 10), ("a", 3, NOW - 5)], false), NOW + 10);
        assert_eq!(shown(&gone), [("a", 4)]);
        assert!(gone.told.len() == 1 && gone.told[0].starts_with("b does not answer"), "{gone:?}");
        // Much later: what the silent one may have recorded since it was heard is still asked for.
        let later = NOW + 10 * BACK_US;
        let still = followed.look(view(&[("a", 5, later), ("a", 4, NOW + 10)], false), later);
        assert_eq!((shown(&still), still.told.len(), followed.from_us), (vec![("a", 5)], 0, heard));

        let back = followed.look(view(&[("a", 5, later), ("b", 8, NOW + 20), ("b", 7, NOW)], true), later);
        assert_eq!(shown(&back), [("b", 8)]);
        assert!(back.told.len() == 1 && back.told[0].starts_with("b answers again"), "{back:?}");
        assert_eq!(followed.from_us, later - BACK_US, "nobody is waited for any more");
    }

    #[test]
    fn more_than_one_look_can_bring_is_told() {
        let mut followed = Followed::default();
        followed.look(view(&[("a", 1, NOW)], true), NOW);
        let many: Vec<_> = (2..2 + u64::from(MOST)).rev().map(|seq| ("a", seq, NOW + seq)).collect();
        assert_eq!(followed.look(view(&many, true), NOW + 5_000).told.len(), 1);
        assert_eq!(followed.look(view(&many, true), NOW + 6_000), News::default());
    }
}
