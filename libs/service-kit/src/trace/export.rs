//! The way of spans to a collector: gathered for a moment, sent together, tried twice, counted when lost. Absent: any
//! part of it on the way of a request.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1 as resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{self as otlp, ResourceSpans, ScopeSpans};
use tokio::sync::{mpsc, oneshot};
use tonic::{Code, Request, Status};
use wire::transport::{Channel, ClientOptions, ClientTls, connect};

use super::span::{Kind, Span, Value};
use super::{Config, Tracer};
use crate::config::Live;

/// Spans sent together; some 150 KiB.
const BATCH: usize = 512;

/// How long the first span of a batch waits for others.
const LINGER: Duration = Duration::from_millis(200);

/// How long a collector may take for a batch.
const LIMIT: Duration = Duration::from_secs(5);

/// Times a batch is sent before it is given up: a collector that was just restarted gets it.
const TRIES: usize = 2;

/// Between two tries, and after a batch that was given up.
const PAUSE: Duration = Duration::from_secs(1);

/// Trace flags as the collector's protocol has them; the lowest byte is that of the header.
const SAMPLED: u32 = 1;

/// Who recorded, as the collector shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// What the process does.
    pub service: String,
    /// Its name among others that do the same.
    pub instance: String,
    /// Version of the program.
    pub version: &'static str,
}

/// What became of spans.
pub(super) struct Counts {
    exported: metrics::Counter,
    pub(super) queue_full: metrics::Counter,
    failed: metrics::Counter,
    refused: metrics::Counter,
}

impl Counts {
    pub(super) fn new() -> Self {
        metrics::describe_counter!("tracing_spans_exported_total", "Spans that the collector took.");
        metrics::describe_counter!(
            "tracing_spans_dropped_total",
            "Spans lost, by reason: queue_full, export_failed (the collector did not answer), refused (by the collector)."
        );
        let dropped = |reason: &'static str| metrics::counter!("tracing_spans_dropped_total", "reason" => reason);
        let counts = Self {
            exported: metrics::counter!("tracing_spans_exported_total"),
            queue_full: dropped("queue_full"),
            failed: dropped("export_failed"),
            refused: dropped("refused"),
        };
        for counter in [&counts.exported, &counts.queue_full, &counts.failed, &counts.refused] {
            counter.increment(0);
        }
        counts
    }
}

/// The task.
pub(super) struct Export {
    tracer: Tracer,
    recorded: mpsc::Receiver<Span>,
    flushing: mpsc::Receiver<oneshot::Sender<()>>,
    counts: Counts,
    resource: resource::Resource,
    tls: Option<ClientTls>,
    collector: Option<TraceServiceClient<Channel>>,
    /// Whether the last batch was lost: told once.
    failing: bool,
}

impl Export {
    pub(super) fn new(
        tracer: Tracer,
        recorded: mpsc::Receiver<Span>,
        flushing: mpsc::Receiver<oneshot::Sender<()>>,
        counts: Counts,
        resource: Resource,
        tls: Option<ClientTls>,
    ) -> Self {
        let Resource { service, instance, version } = resource;
        let attributes = vec![
            text("service.name", service),
            text("service.namespace", "hive-mind"),
            text("service.instance.id", instance),
            text("service.version", version),
        ];
        let resource = resource::Resource { attributes, ..Default::default() };
        Self { tracer, recorded, flushing, counts, resource, tls, collector: None, failing: false }
    }

    /// Sends what is recorded, for as long as the process lives.
    pub(super) async fn run(mut self, mut config: Live<Config>) {
        self.follow(&config.now());
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                changed = config.changed() => self.follow(&changed),
                Some(done) = self.flushing.recv() => {
                    while let Ok(span) = self.recorded.try_recv() {
                        batch.push(span);
                    }
                    self.send(&mut batch).await;
                    // Whoever waited may have given up.
                    let _ = done.send(());
                }
                _ = self.recorded.recv_many(&mut batch, BATCH) => {
                    if batch.len() < BATCH {
                        tokio::time::sleep(LINGER).await;
                        while batch.len() < BATCH && let Ok(span) = self.recorded.try_recv() {
                            batch.push(span);
                        }
                    }
                    self.send(&mut batch).await;
                }
            }
        }
    }

    fn follow(&mut self, config: &Config) {
        // The collector is nobody who may act here: it is shown no key.
        let options = ClientOptions { timeout: Some(LIMIT), tls: self.tls.clone(), ..ClientOptions::default() };
        // The address was checked with the rest of the configuration.
        let address = config.collector().ok().flatten();
        let before = self.collector.is_some();
        self.collector = address.map(|address| TraceServiceClient::new(connect(&address, &options)));
        self.failing = false;
        self.tracer.configure(config);
        if self.collector.is_some() {
            tracing::info!(endpoint = config.endpoint, sample_ratio = config.sample_ratio, "orders are traced");
        } else if before {
            tracing::info!("orders are traced no longer");
        }
    }

    /// Sends a batch, or counts it as lost; it is empty afterwards.
    async fn send(&mut self, batch: &mut Vec<Span>) {
        let count = batch.len() as u64;
        // What was recorded before it was switched off goes nowhere.
        let Some(collector) = self.collector.as_mut().filter(|_| count > 0) else { return batch.clear() };
        let request = request(&self.resource, batch);
        batch.clear();
        let mut lost = Status::ok("");
        for attempt in 1..=TRIES {
            match collector.export(Request::new(request.clone())).await {
                Ok(answer) => {
                    let partial = answer.into_inner().partial_success.unwrap_or_default();
                    let refused = u64::try_from(partial.rejected_spans).unwrap_or_default().min(count);
                    self.counts.refused.increment(refused);
                    self.counts.exported.increment(count - refused);
                    if std::mem::take(&mut self.failing) {
                        tracing::info!("the trace collector answers again");
                    }
                    return;
                }
                Err(status) => lost = status,
            }
            if !may_pass(lost.code()) {
                break;
            }
            if attempt < TRIES {
                tokio::time::sleep(PAUSE).await;
            }
        }
        self.counts.failed.increment(count);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(status = %lost, spans = count, "the trace collector does not take spans, they are lost");
        }
        // What is recorded meanwhile waits in the queue, as far as there is room.
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether the same batch may be taken later: the list of the protocol's specification.
const fn may_pass(code: Code) -> bool {
    matches!(
        code,
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
    )
}

fn request(resource: &resource::Resource, batch: &[Span]) -> ExportTraceServiceRequest {
    let clock = Clock { monotonic: Instant::now(), wall: SystemTime::now() };
    let mut scopes: Vec<ScopeSpans> = Vec::new();
    for span in batch {
        let of_scope = |scope: &&mut ScopeSpans| scope.scope.as_ref().is_some_and(|scope| scope.name == span.scope);
        let encoded = encode(span, &clock);
        match scopes.iter_mut().find(of_scope) {
            Some(scope) => scope.spans.push(encoded),
            None => {
                let scope = InstrumentationScope { name: span.scope.to_owned(), ..Default::default() };
                scopes.push(ScopeSpans { scope: Some(scope), spans: vec![encoded], ..Default::default() });
            }
        }
    }
    let spans = ResourceSpans { resource: Some(resource.clone()), scope_spans: scopes, ..Default::default() };
    ExportTraceServiceRequest { resource_spans: vec![spans] }
}

/// One moment on both clocks: spans are measured by the one that never jumps, and shown by the other.
struct Clock {
    monotonic: Instant,
    wall: SystemTime,
}

impl Clock {
    fn unix_nanos(&self, at: Instant) -> u64 {
        let ago = self.monotonic.saturating_duration_since(at);
        let since = self.wall.checked_sub(ago).and_then(|wall| wall.duration_since(UNIX_EPOCH).ok());
        since.and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or_default()
    }
}

fn encode(span: &Span, clock: &Clock) -> otlp::Span {
    let context = &span.open.context;
    let kind = match span.kind {
        Kind::Internal => SpanKind::Internal,
        Kind::Server => SpanKind::Server,
        Kind::Client => SpanKind::Client,
        Kind::Consumer => SpanKind::Consumer,
    };
    let failure = |message: &str| otlp::Status { message: message.to_owned(), code: StatusCode::Error.into() };
    let parent = span.open.parent.map(|parent| parent.0.to_be_bytes().to_vec());
    otlp::Span {
        trace_id: context.trace.0.to_be_bytes().to_vec(),
        span_id: context.span.0.to_be_bytes().to_vec(),
        parent_span_id: parent.unwrap_or_default(),
        flags: SAMPLED,
        name: span.name.clone().into_owned(),
        kind: kind.into(),
        start_time_unix_nano: clock.unix_nanos(span.open.started),
        end_time_unix_nano: clock.unix_nanos(span.ended),
        attributes: span.values.iter().map(|(key, value)| attribute(key, value)).collect(),
        status: span.failure.as_deref().map(failure),
        ..Default::default()
    }
}

fn attribute(key: &str, value: &Value) -> KeyValue {
    let value = match value {
        Value::Text(text) => Any::StringValue(text.clone().into_owned()),
        Value::Number(number) => Any::IntValue(i64::try_from(*number).unwrap_or(i64::MAX)),
    };
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, &Value::Text(value.into().into()))
}
