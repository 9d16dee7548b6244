//! Which requests are recorded, and what becomes of spans that nobody takes.

use super::*;
use crate::config::Live;

const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn given(sampled: bool) -> Option<TraceContext> {
    TraceContext::parse(GIVEN.as_bytes()).map(|context| TraceContext { sampled, ..context })
}

/// Nobody sends what it records.
fn tracer(endpoint: &str, sample_ratio: f64) -> (Tracer, impl Future<Output = ()>) {
    let resource = Resource { service: "test".to_owned(), instance: "0".to_owned(), version: "0" };
    Tracer::new(Live::fixed(Config { endpoint: endpoint.to_owned(), sample_ratio }), resource, None)
}

#[test]
fn what_comes_with_a_trace_is_recorded_if_it_says_so() {
    let (tracer, _task) = tracer("http://127.0.0.1:4317", 0.0);
    let entered = tracer.enter(given(true), || true);
    let (context, span) = (entered.context.expect("a place"), entered.span.expect("a span"));
    let parent = given(true).expect("a place");
    assert_eq!((context.trace, span.parent), (parent.trace, Some(parent.span)));
    assert!(context.sampled && context.span != parent.span && span.context == context);
    let refused = tracer.enter(given(false), || true);
    assert!(refused.span.is_none());
    assert_eq!(refused.context, given(false), "it goes on as it came");
    assert!(tracer.enter(None, || false).context.is_none(), "not every request begins a trace");
}

#[test]
fn a_part_of_what_comes_without_one_is_recorded() {
    let recorded = |ratio| {
        let (tracer, _task) = tracer("http://127.0.0.1:4317", ratio);
        let entered = (0..10_000).map(|_| tracer.enter(None, || true));
        entered
            .filter(|entered| {
                let context = entered.context.expect("each has a place");
                assert_eq!(entered.span.is_some(), context.sampled, "whoever is called after decides the same");
                assert!(entered.span.is_none_or(|span| span.parent.is_none()));
                context.sampled
            })
            .count()
    };
    assert_eq!((recorded(0.0), recorded(1.0)), (0, 10_000));
    // Ten standard deviations to both sides.
    assert!((2_067..2_933).contains(&recorded(0.25)), "a quarter");
}

#[test]
fn what_is_off_records_nothing_and_hands_on_what_it_is_given() {
    for tracer in [Tracer::off(), tracer("", 1.0).0] {
        for place in [given(true), given(false), None] {
            let entered = tracer.enter(place, || true);
            assert_eq!(entered.context, place);
            assert!(entered.span.is_none() && tracer.open(place).is_none());
        }
    }
}

#[test]
fn a_full_queue_takes_nothing_and_holds_up_nobody() {
    let (tracer, _task) = tracer("http://127.0.0.1:4317", 1.0);
    let open = tracer.open(given(true)).expect("recorded");
    for _ in 0..QUEUE + 10 {
        tracer.record(open.end("test", "span", Kind::Internal, Instant::now()));
    }
    assert_eq!(tracer.0.spans.capacity(), 0);
}

#[test]
fn a_configuration_that_cannot_be_used_says_so() {
    let error = |endpoint: &str, sample_ratio| {
        let config = Config { endpoint: endpoint.to_owned(), sample_ratio };
        config.validate().err().map(|error| error.to_string())
    };
    assert_eq!(error("", 0.01), None);
    assert_eq!(error("http://otel:4317", 1.0), None);
    let said = error("http://otel:4317/v1/traces", 1.0).expect("no address");
    assert!(said.contains("tracing.endpoint") && said.contains("http://host:port"), "{said}");
    for ratio in [-0.1, 1.1, f64::NAN] {
        assert!(error("", ratio).expect("no ratio").contains("0 to 1"));
    }
}
