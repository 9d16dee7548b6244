//! How long things took.
//!
//! Deliberately absent: clocks. Callers say from when to when; for a load that is from the scheduled time, so that a
//! request that had to wait behind a stall counts with its wait (no coordinated omission).

use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest time told apart, nanoseconds: ten minutes, more than any run waits for an answer.
const LONGEST_NS: u64 = 600 * 1_000_000_000;

/// Decimal digits kept of every time.
const DIGITS: u8 = 3;

/// Collects times.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    histogram: Histogram<u64>,
}

/// Percentiles, whole microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct LatencyUs {
    /// Median.
    pub(crate) p50: u64,
    /// 99 of 100 were not slower.
    pub(crate) p99: u64,
    /// 999 of 1,000 were not slower.
    pub(crate) p999: u64,
    /// The slowest.
    pub(crate) max: u64,
}

impl Recorder {
    pub(crate) fn new() -> Result<Self> {
        let histogram = Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).context("cannot set up a histogram")?;
        Ok(Self { histogram })
    }

    pub(crate) fn record(&mut self, time: Duration) {
        self.histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        self.histogram.add(&other.histogram).context("histograms of one shape add up")
    }

    pub(crate) fn summary(&self) -> LatencyUs {
        let at = |quantile| self.histogram.value_at_quantile(quantile).div_ceil(1_000);
        if self.histogram.is_empty() {
            return LatencyUs::default();
        }
        LatencyUs { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: self.histogram.max().div_ceil(1_000) }
    }
}
