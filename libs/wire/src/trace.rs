//! Where a request stands in a trace, as W3C Trace Context writes it in the header `traceparent`: taken from what comes
//! in, kept beside the task that works on it, and shown with every call that the task makes.
//!
//! Deliberately absent: spans and their export (`service-kit`), and the header `tracestate`: no room of ours has
//! anything to say there, and an order's way ends here.

use std::fmt;
use std::future::Future;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header and metadata key.
pub const HEADER: HeaderName = HeaderName::from_static("traceparent");

/// Length of the header in the version of the format that is written here.
const LENGTH: usize = 55;

/// The flag that says that the trace is recorded.
const SAMPLED: u8 = 1;

/// A version that no header may have.
const VERSION_INVALID: u8 = 0xff;

tokio::task_local! {
    static CURRENT: Option<TraceContext>;
}

/// A trace; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(pub u128);

/// A span of a trace; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(pub u64);

/// A place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Which trace.
    pub trace: TraceId,
    /// The span that what follows belongs to.
    pub span: SpanId,
    /// Whether whoever came before records the trace.
    pub sampled: bool,
}

impl TraceContext {
    /// Reads a header; `None` for one that is not understood, which is as good as none.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (head, rest) = text.split_at_checked(LENGTH)?;
        let [b'0'..=b'9' | b'a'..=b'f', b'0'..=b'9' | b'a'..=b'f', b'-', ..] = head else { return None };
        if head[35] != b'-' || head[52] != b'-' {
            return None;
        }
        let version = u8::try_from(hexadecimal(&head[..2])?).ok()?;
        // What a later version adds begins with another hyphen.
        let fits = if version == 0 { rest.is_empty() } else { rest.first().is_none_or(|byte| *byte == b'-') };
        if version == VERSION_INVALID || !fits {
            return None;
        }
        let (trace, span) = (hexadecimal(&head[3..35])?, u64::try_from(hexadecimal(&head[36..52])?).ok()?);
        let flags = u8::try_from(hexadecimal(&head[53..])?).ok()?;
        let good = trace != 0 && span != 0;
        good.then_some(Self { trace: TraceId(trace), span: SpanId(span), sampled: flags & SAMPLED != 0 })
    }

    /// What the headers of a request say.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get(&HEADER)?.as_bytes())
    }

    /// Shows it with a request.
    pub fn show(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::try_from(self.to_string()) {
            headers.insert(HEADER, value);
        }
    }
}

/// The number that these lower-case digits write, at most 32 of them.
fn hexadecimal(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

impl fmt::Display for TraceContext {
    /// As the header has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Works at this place of a trace, or at none: calls that are made meanwhile show it.
pub fn within<T>(context: Option<TraceContext>, work: impl Future<Output = T>) -> impl Future<Output = T> {
    CURRENT.scope(context, work)
}

/// The place at which this task works, if there is one.
#[must_use]
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(|context| *context).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_header_reads_as_it_is_written() {
        let context = TraceContext::parse(GIVEN.as_bytes()).expect("a header");
        assert_eq!(context.trace, TraceId(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736));
        assert_eq!((context.span, context.sampled), (SpanId(0x00f0_67aa_0ba9_02b7), true));
        assert_eq!(context.to_string(), GIVEN);
        let other = TraceContext { span: SpanId(1), sampled: false, ..context };
        assert_eq!(TraceContext::parse(other.to_string().as_bytes()), Some(other));
        let mut headers = HeaderMap::new();
        assert_eq!(TraceContext::of(&headers), None);
        other.show(&mut headers);
        assert_eq!(TraceContext::of(&headers), Some(other));
    }

    #[test]
    fn what_is_no_header_is_no_place() {
        let flags = |flags| TraceContext::parse(GIVEN.replace("-01", flags).as_bytes());
        assert_eq!(flags("-02").map(|context| context.sampled), Some(false), "another flag");
        assert_eq!(flags("-03").map(|context| context.sampled), Some(true), "and this one");
        let later = format!("cc{}-what-comes-later", &GIVEN[2..]);
        assert!(TraceContext::parse(later.as_bytes()).is_some(), "a later version begins as this one does");
        for bad in [
            String::new(),
            GIVEN[..54].to_owned(),
            format!("{GIVEN}-more"),
            format!("{GIVEN}0"),
            format!("cc{}x", &GIVEN[2..]),
            format!("ff{}", &GIVEN[2..]),
            GIVEN.to_uppercase(),
            GIVEN.replace('-', "_"),
            GIVEN.replacen("4bf9", "4bg9", 1),
            format!("00-{:032}-00f067aa0ba902b7-01", 0),
            format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{:016}-01", 0),
        ] {
            assert_eq!(TraceContext::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn work_knows_its_place_and_nothing_else_does() {
        let context = TraceContext::parse(GIVEN.as_bytes());
        assert_eq!(current(), None);
        within(context, async { assert_eq!(current(), context) }).await;
        within(None, async { assert_eq!(current(), None) }).await;
    }
}
