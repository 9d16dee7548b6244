//! Traces of requests: which are recorded, their spans, and the way of the spans to a collector (OTLP over gRPC).
//!
//! A request that comes with a `traceparent` is recorded if it says so; one without begins a trace of its own, and a
//! part of those is recorded. Recording never waits and never fails: spans go through a bounded queue to a task of their
//! own, and what does not fit, or the collector does not take, is counted. Where nothing is recorded, a request costs
//! the look at one flag and at one header.
//!
//! A span is recorded when it has ended, by whoever knows both of its ends: no span is open on the way of an order.
//!
//! Deliberately absent: the libraries' own spans (`tracing` is for the log only), logs and metrics over OTLP.

mod export;
mod span;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use wire::transport::{Address, AddressError};

pub use export::Resource;
pub use span::{Kind, Open, Span, Value};
pub use wire::trace::{SpanId, TraceContext, TraceId, current, within};

use export::Export;
use span::random;

/// Spans that may wait for the collector: a thousand orders with all their spans, and some 2 MiB.
const QUEUE: usize = 8_192;

/// How long a process that ends waits for its last spans to be taken.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// Bits of a trace's number that decide whether it is recorded: those below the highest one of the lower half.
const DECIDING_BITS: u32 = 63;

/// What is traced, and where it goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address of the collector: OTLP over gRPC, `http://host:4317`, or `https` with the authorities of `security.tls`.
    /// Empty: nothing is recorded, which is the default.
    pub endpoint: String,
    /// Part of the orders without a `traceparent` that are recorded, 0 to 1. Default: 0.01.
    pub sample_ratio: f64,
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// It is no address.
    #[error("tracing.endpoint: {0}")]
    Endpoint(#[from] AddressError),
    /// It is no part of anything.
    #[error("tracing.sample_ratio is {given}; choose 0 to 1")]
    Ratio {
        /// As configured.
        given: f64,
    },
}

impl Default for Config {
    fn default() -> Self {
        Self { endpoint: String::new(), sample_ratio: 0.01 }
    }
}

impl Config {
    /// Keys below the section that are applied without a restart.
    pub const HOT: &'static [&'static str] = &["endpoint", "sample_ratio"];

    /// Whether it can be used.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            return Err(ConfigError::Ratio { given: self.sample_ratio });
        }
        self.collector().map(drop).map_err(ConfigError::Endpoint)
    }

    /// Where the collector is; `None` if nothing is recorded.
    fn collector(&self) -> Result<Option<Address>, AddressError> {
        if self.endpoint.is_empty() { Ok(None) } else { self.endpoint.parse().map(Some) }
    }

    /// Numbers below it are of traces that are recorded.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a ratio from 0 to 1 gives 0 to 2^63")]
    fn threshold(&self) -> u64 {
        (self.sample_ratio * (1_u64 << DECIDING_BITS) as f64) as u64
    }
}

/// Records spans. Clones share the queue.
#[derive(Clone)]
pub struct Tracer(Arc<Inner>);

struct Inner {
    on: AtomicBool,
    threshold: AtomicU64,
    spans: mpsc::Sender<Span>,
    flushes: mpsc::Sender<oneshot::Sender<()>>,
    queue_full: metrics::Counter,
}

/// A request at the door: where what is done for it stands, and the span of all of it, if it is recorded.
#[derive(Clone, Copy, Debug)]
pub struct Entered {
    /// Shown with calls and in the log.
    pub context: Option<TraceContext>,
    /// To be ended with the request.
    pub span: Option<Open>,
}

impl Tracer {
    /// One that records nothing, for an instance that was composed by a program.
    #[must_use]
    pub fn off() -> Self {
        let (spans, flushes) = (mpsc::channel(1).0, mpsc::channel(1).0);
        let queue_full = metrics::Counter::noop();
        Self(Arc::new(Inner { on: false.into(), threshold: 0.into(), spans, flushes, queue_full }))
    }

    /// One that records as configured, and the task that sends what it recorded.
    pub fn new(
        config: crate::config::Live<Config>,
        resource: Resource,
        tls: Option<wire::transport::ClientTls>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (spans, recorded) = mpsc::channel(QUEUE);
        // One process ends once; whoever asks twice waits for the first.
        let (flushes, flushing) = mpsc::channel(1);
        let counts = export::Counts::new();
        let queue_full = counts.queue_full.clone();
        let tracer = Self(Arc::new(Inner { on: false.into(), threshold: 0.into(), spans, flushes, queue_full }));
        tracer.configure(&config.now());
        let export = Export::new(tracer.clone(), recorded, flushing, counts, resource, tls);
        (tracer, export.run(config))
    }

    fn configure(&self, config: &Config) {
        // Relaxed, here and elsewhere: values that guard no other memory.
        self.0.threshold.store(config.threshold(), Ordering::Relaxed);
        self.0.on.store(!config.endpoint.is_empty(), Ordering::Relaxed);
    }

    /// Whether anything is recorded now.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.on.load(Ordering::Relaxed)
    }

    /// A request comes, from the place `given` of a trace. One from nowhere begins a trace if it `begins` one.
    #[must_use]
    pub fn enter(&self, given: Option<TraceContext>, begins: impl FnOnce() -> bool) -> Entered {
        let span = match given {
            _ if !self.is_on() => None,
            Some(_) => self.open(given),
            None if begins() => {
                let context = self.new_trace();
                let open = Open { context, parent: None, started: Instant::now() };
                // What is not recorded here is not recorded behind this door either.
                return Entered { context: Some(context), span: context.sampled.then_some(open) };
            }
            None => None,
        };
        Entered { context: span.map(|span| span.context).or(given), span }
    }

    /// A span below a place of a trace, if that is recorded.
    #[must_use]
    pub fn open(&self, parent: Option<TraceContext>) -> Option<Open> {
        let parent = parent.filter(|parent| parent.sampled && self.is_on())?;
        Some(Open::below(parent, Instant::now()))
    }

    fn new_trace(&self) -> TraceContext {
        let trace = u128::from(random()) << 64 | u128::from(random());
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
        let decides = (trace as u64) & (u64::MAX >> (u64::BITS - DECIDING_BITS));
        let sampled = decides < self.0.threshold.load(Ordering::Relaxed);
        TraceContext { trace: TraceId(trace), span: SpanId(random()), sampled }
    }

    /// Records a span that has ended. Never waits: one that finds no room is counted.
    pub fn record(&self, span: Span) {
        if self.0.spans.try_send(span).is_err() {
            self.0.queue_full.increment(1);
        }
    }

    /// Waits until what was recorded is sent, for a moment at most.
    pub async fn flush(&self) {
        if !self.is_on() {
            return;
        }
        let (done, sent) = oneshot::channel();
        if self.0.flushes.try_send(done).is_ok() {
            // Too late, or the task is gone: there is nobody left who could do anything about it.
            let _ = tokio::time::timeout(FLUSH_LIMIT, sent).await;
        }
    }
}

impl std::fmt::Debug for Tracer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tracer({})", if self.is_on() { "on" } else { "off" })
    }
}
