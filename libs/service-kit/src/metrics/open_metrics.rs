//! The format of OpenMetrics, made of Prometheus' text format: counters are named without their suffix where they are
//! described, there are no empty lines, there is an end, and buckets have exemplars.
//!
//! Samples, bounds of buckets included, are written as in the other format, so that a series is the same whichever way
//! it was read. Absent: units and times of creation.

use std::fmt::Write;
use std::time::UNIX_EPOCH;

use super::exemplars::{self, Exemplar};

/// In which format metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The one that is wanted most by whoever accepts these media types; text unless the other is asked for by name.
    pub(crate) fn wanted<'a>(accepted: impl Iterator<Item = &'a str>) -> Self {
        let (mut text, mut open_metrics) = (0.0, 0.0);
        for item in accepted {
            let mut parts = item.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse);
            let quality: f64 = quality.unwrap_or(0.0);
            match kind {
                "application/openmetrics-text" => open_metrics = quality.max(open_metrics),
                "text/plain" => text = quality.max(text),
                _ => {}
            }
        }
        if open_metrics > 0.0 && open_metrics >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// Its media type.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Metrics in the text format, in this one.
pub(super) fn from_text(text: &str) -> String {
    // Exemplars are few.
    let mut out = String::with_capacity(text.len());
    let mut help = None;
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(described) = line.strip_prefix("# HELP ") {
            // The name that stands here depends on the type, which stands in the next line.
            help = described.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|typed| typed.split_once(' ')) {
            let (family, kind) = match (kind, name.strip_suffix("_total")) {
                ("counter", Some(family)) => (family, kind),
                ("counter", None) => (name, "unknown"),
                _ => (name, kind),
            };
            push(&mut out, format_args!("# TYPE {family} {kind}"));
            if let Some((_, text)) = help.take().filter(|(described, _)| *described == name) {
                push(&mut out, format_args!("# HELP {family} {}", text.replace('"', "\\\"")));
            }
        } else {
            match exemplar(line) {
                Some(exemplar) => push(&mut out, format_args!("{line}{}", written(&exemplar))),
                None => push(&mut out, format_args!("{line}")),
            }
        }
    }
    out.push_str("# EOF\n");
    out
}

fn push(out: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{line}");
}

/// The exemplar of a line, if it is that of a bucket that has one.
fn exemplar(line: &str) -> Option<Exemplar> {
    // The bound stands last; other labels may end in the same letters.
    let (series, bound) = line.rsplit_once("le=\"")?;
    let (bound, _) = bound.split_once('"')?;
    exemplars::of(series, bound)
}

fn written(exemplar: &Exemplar) -> String {
    let at = exemplar.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!(" # {{trace_id=\"{}\"}} {} {}.{:03}", exemplar.trace, exemplar.value, at.as_secs(), at.subsec_millis())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wire::trace::TraceId;

    use super::*;
    use crate::metrics::{Exporter, Latency};

    #[test]
    fn the_format_is_the_one_asked_for() {
        let wanted = |accepted: &'static str| Format::wanted(accepted.split(','));
        for text in ["", "*/*", "text/plain", "text/html, */*;q=0.1", "application/openmetrics-text;q=0"] {
            assert_eq!(wanted(text), Format::Text, "{text}");
        }
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for open in
            [prometheus, "application/openmetrics-text", "text/plain;q=0.9, application/openmetrics-text; q=0.9"]
        {
            assert_eq!(wanted(open), Format::OpenMetrics, "{open}");
        }
        assert_eq!(wanted("text/plain, application/openmetrics-text;q=0.5"), Format::Text);
    }

    #[test]
    fn counters_lose_their_suffix_where_they_are_described() {
        let text = "# HELP a_total The \"a\".\n# TYPE a_total counter\na_total{x=\"1\"} 2\n\n\
                    # TYPE b counter\nb 3\n\n# HELP c_seconds How long.\n# TYPE c_seconds gauge\nc_seconds 0.5\n\n";
        let expected = "# TYPE a counter\n# HELP a The \\\"a\\\".\na_total{x=\"1\"} 2\n\
                        # TYPE b unknown\nb 3\n# TYPE c_seconds gauge\n# HELP c_seconds How long.\nc_seconds 0.5\n# EOF\n";
        assert_eq!(from_text(text), expected);
    }

    #[test]
    fn the_bucket_of_a_traced_request_names_its_trace() {
        let exporter = Exporter::install().expect("a recorder");
        let labels = [("stage", "journal".to_owned()), ("role", "leader".to_owned())];
        let latency = Latency::new("exemplar_test_seconds", &labels);
        latency.record(Duration::from_micros(700), None);
        latency.record(Duration::from_micros(800), Some(TraceId(0xabc)));
        latency.record(Duration::from_micros(900), Some(TraceId(0xdef)));
        latency.record(Duration::from_secs(11), Some(TraceId(0x123)));
        let text = exporter.render_as(Format::OpenMetrics);
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with("exemplar_test_seconds_bucket")).collect();
        let traced: Vec<_> = lines.iter().filter_map(|line| line.split_once(" # ")).collect();
        let [(millisecond, last), (above, slow)] = traced[..] else { panic!("two exemplars: {lines:#?}") };
        assert_eq!(millisecond, "exemplar_test_seconds_bucket{stage=\"journal\",role=\"leader\",le=\"0.001\"} 3");
        assert!(last.starts_with(&format!("{{trace_id=\"{:032x}\"}} 0.0009 ", 0xdef)), "{last}");
        assert!(above.ends_with("le=\"+Inf\"} 4") && slow.contains("} 11 "), "{above}{slow}");
        assert!(!exporter.render_as(Format::Text).contains(" # {"), "the other format has none");
    }
}
