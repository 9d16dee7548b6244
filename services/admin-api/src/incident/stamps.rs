//! Beginning, detection, response and end, from the events. A pure function. Absent: where the events come from.

use std::collections::BTreeMap;

use service_kit::clock;
use wire::pb::admin::v1 as pb;

/// The times of an incident, as far as the events tell them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stamps {
    pub(super) started: Option<u64>,
    pub(super) detected: Option<u64>,
    pub(super) responded: Option<u64>,
    pub(super) resolved: Option<u64>,
}

/// `events` in order of time. Says what is missing, and why.
pub(super) fn of(events: &[pb::IncidentEvent], missing: &mut Vec<String>) -> Stamps {
    let mut open: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut stamps = Stamps::default();
    let mut last_end = None;
    for event in events {
        let key = match event.source.as_str() {
            "health" => (event.node.as_str(), event.target.as_str()),
            // One alert may fire for several instances.
            "alert" => (event.target.as_str(), event.what.as_str()),
            _ => continue,
        };
        if ended(event) {
            if open.remove(&key).is_none() && event.source == "health" {
                let (at, (node, component)) = (clock::rfc3339(event.at_us), key);
                missing.push(format!("when {component} of {node} failed, which recovered at {at}: before the report"));
            }
            last_end = Some(event.at_us);
        } else {
            open.entry(key).or_insert(event.at_us);
            stamps.started.get_or_insert(event.at_us);
        }
        if event.source == "alert" {
            stamps.detected.get_or_insert(event.at_us);
        }
    }
    // Before anything went wrong, an operator's act is no response.
    let response = |event: &&pb::IncidentEvent| {
        event.source == "operator" && stamps.started.is_some_and(|started| event.at_us >= started)
    };
    stamps.responded = events.iter().find(response).map(|event| event.at_us);
    if open.is_empty() {
        stamps.resolved = last_end.filter(|_| stamps.started.is_some());
    }
    for (name, stamp, why) in [
        ("start", stamps.started, "no component failed and no alert fired in this time"),
        ("detection", stamps.detected, "no alert is known"),
        ("response", stamps.responded, "no operator's act is recorded after the start"),
    ] {
        if stamp.is_none() {
            missing.push(format!("{name}: {why}"));
        }
    }
    if stamps.resolved.is_none() && stamps.started.is_some() {
        let names: Vec<String> = open.keys().map(|(node, what)| format!("{node} {what}").trim().to_owned()).collect();
        missing.push(format!("resolution: not over at the end of the report: {}", names.join(", ")));
    }
    stamps
}

/// Whether it says that something is well again.
fn ended(event: &pb::IncidentEvent) -> bool {
    match event.source.as_str() {
        "alert" => event.detail.starts_with("resolved"),
        _ => event.detail.rsplit(" -> ").next().is_some_and(|after| after.contains("\"condition\":\"ok\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An event from words: time, source, node, target or alert, and "bad" or "ok".
    fn events(lines: &[&str]) -> Vec<pb::IncidentEvent> {
        let event = |line: &&str| {
            let words: Vec<&str> = line.split(' ').collect();
            let detail = match (words[1], words[4]) {
                ("alert", "ok") => "resolved".to_owned(),
                (_, word) => {
                    let word = if word == "bad" { "down" } else { word };
                    format!("{{}} -> {{\"condition\":\"{word}\"}}")
                }
            };
            pb::IncidentEvent {
                at_us: words[0].parse().expect("a number"),
                source: words[1].to_owned(),
                node: words[2].to_owned(),
                what: words[3].to_owned(),
                target: words[3].to_owned(),
                who: String::new(),
                detail,
            }
        };
        lines.iter().map(event).collect()
    }

    fn stamps(lines: &[&str]) -> ([Option<u64>; 4], Vec<String>) {
        let mut missing = Vec::new();
        let Stamps { started, detected, responded, resolved } = of(&events(lines), &mut missing);
        ([started, detected, responded, resolved], missing)
    }

    #[test]
    fn r92_an_incident_has_its_stamps() {
        let (found, missing) = stamps(&[
            "5 operator n1 config.reload -",
            "10 health n1 history bad",
            "12 alert - DatabaseDown bad",
            "20 operator n1 database.reset_pools -",
            "30 health n1 history ok",
            "40 alert - DatabaseDown ok",
        ]);
        assert_eq!(found, [Some(10), Some(12), Some(20), Some(40)]);
        assert_eq!(missing, Vec::<String>::new());
    }

    #[test]
    fn r92_an_alert_is_over_when_it_is_over_for_every_instance() {
        let alert = |at_us: u64, instance: &str, detail: &str| pb::IncidentEvent {
            at_us,
            source: "alert".to_owned(),
            what: "HiveMindInstanceDown".to_owned(),
            target: instance.to_owned(),
            detail: detail.to_owned(),
            ..Default::default()
        };
        let mut all =
            vec![alert(10, "a", "firing high P2"), alert(12, "b", "firing high P2"), alert(30, "a", "resolved")];
        let mut missing = Vec::new();
        assert_eq!(of(&all, &mut missing).resolved, None);
        assert!(missing.iter().any(|text| text.ends_with("b HiveMindInstanceDown")), "{missing:?}");
        all.push(alert(40, "b", "resolved"));
        assert_eq!(of(&all, &mut missing).resolved, Some(40));
    }

    #[test]
    fn r92_missing_stamps_are_told() {
        let (found, missing) =
            stamps(&["10 health n1 history bad", "11 health n2 history bad", "30 health n1 history ok"]);
        assert_eq!(found, [Some(10), None, None, None]);
        assert_eq!(missing.len(), 3, "{missing:?}");
        assert!(missing[2].contains("n2 history"), "{missing:?}");
        let (found, missing) = stamps(&["30 health n1 history ok"]);
        assert_eq!(found, [None; 4]);
        assert!(missing[0].contains("before the report"), "{missing:?}");
        assert_eq!(missing.len(), 4, "{missing:?}");
    }
}
