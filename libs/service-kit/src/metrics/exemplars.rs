//! Exemplars: for each bucket of a latency histogram, the trace of the request that fell into it last. Only requests
//! whose traces are recorded leave one, so that whoever follows it finds something.
//!
//! Kept beside the recorder, which knows of none. Absent: how they are written; see [`super::open_metrics`].

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use metrics::{Histogram, histogram};
use wire::trace::TraceId;

use super::SECONDS;

/// What fell into a bucket last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Exemplar {
    pub(super) trace: TraceId,
    /// Seconds.
    pub(super) value: f64,
    pub(super) at: SystemTime,
}

/// Of one series: the buckets of [`SECONDS`] and one for all above. Empty until the first.
type Buckets = Mutex<Vec<Option<Exemplar>>>;

/// By what a line of a bucket begins with, up to its bound.
static ALL: LazyLock<RwLock<HashMap<String, Arc<Buckets>>>> = LazyLock::new(RwLock::default);

/// A histogram of durations, in seconds, that leaves exemplars.
#[derive(Clone)]
pub struct Latency {
    histogram: Histogram,
    buckets: Arc<Buckets>,
}

impl Latency {
    /// The series of this name, which ends in `_seconds`, and these labels.
    #[must_use]
    pub fn new(name: &'static str, labels: &[(&'static str, String)]) -> Self {
        let mut line = format!("{name}_bucket{{");
        for (label, value) in labels {
            // Writing to a string cannot fail.
            let _ = write!(line, "{label}=\"{value}\",");
        }
        let mut all = ALL.write().unwrap_or_else(PoisonError::into_inner);
        let buckets = Arc::clone(all.entry(line).or_default());
        Self { histogram: histogram!(name, labels), buckets }
    }

    /// Records a duration, of a request with a recorded trace if there is one.
    pub fn record(&self, took: Duration, trace: Option<TraceId>) {
        self.histogram.record(took);
        if let Some(trace) = trace {
            self.keep(Exemplar { trace, value: took.as_secs_f64(), at: SystemTime::now() });
        }
    }

    fn keep(&self, exemplar: Exemplar) {
        // Whoever finds it locked goes on: there will be another one.
        let Ok(mut buckets) = self.buckets.try_lock() else { return };
        buckets.resize(SECONDS.len() + 1, None);
        buckets[bucket(exemplar.value)] = Some(exemplar);
    }
}

impl std::fmt::Debug for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Latency")
    }
}

/// The first bucket that a value fits in.
fn bucket(value: f64) -> usize {
    SECONDS.iter().position(|bound| value <= *bound).unwrap_or(SECONDS.len())
}

/// The exemplar of a bucket: `line` is what its line begins with, `bound` its upper one as the line has it.
pub(super) fn of(line: &str, bound: &str) -> Option<Exemplar> {
    let buckets = Arc::clone(ALL.read().unwrap_or_else(PoisonError::into_inner).get(line)?);
    let at = if bound == "+Inf" { SECONDS.len() } else { bucket(bound.parse().ok()?) };
    // Nothing is left half-done under the lock.
    buckets.lock().unwrap_or_else(PoisonError::into_inner).get(at).copied().flatten()
}
