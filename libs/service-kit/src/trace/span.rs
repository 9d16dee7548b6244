//! One span: what a part of the work on a request was, and when. Absent: how it is sent.

use std::borrow::Cow;
use std::time::Instant;

use wire::trace::{SpanId, TraceContext};

/// On which side of a call the work was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On none: within a process.
    Internal,
    /// A request was answered.
    Server,
    /// A request was made.
    Client,
    /// Something was handled later, when nobody waited for it any more.
    Consumer,
}

/// A value that tells something about the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A word.
    Text(Cow<'static, str>),
    /// A number.
    Number(u64),
}

/// The beginning of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// What is done below it.
    pub context: TraceContext,
    /// The span that it is a part of; none at the beginning of a trace.
    pub parent: Option<SpanId>,
    /// When it began.
    pub started: Instant,
}

/// A span that has ended.
#[derive(Clone, Debug)]
pub struct Span {
    pub(super) scope: &'static str,
    pub(super) name: Cow<'static, str>,
    pub(super) kind: Kind,
    pub(super) open: Open,
    pub(super) ended: Instant,
    pub(super) values: Vec<(&'static str, Value)>,
    pub(super) failure: Option<Cow<'static, str>>,
}

impl Open {
    /// A part of what stands at `parent`, begun at `started`.
    #[must_use]
    pub fn below(parent: TraceContext, started: Instant) -> Self {
        let context = TraceContext { span: SpanId(random()), ..parent };
        Self { context, parent: Some(parent.span), started }
    }

    /// Ends it: `scope` is the crate that did the work.
    #[must_use]
    pub fn end(self, scope: &'static str, name: impl Into<Cow<'static, str>>, kind: Kind, ended: Instant) -> Span {
        Span { scope, name: name.into(), kind, open: self, ended, values: Vec::new(), failure: None }
    }
}

impl Span {
    /// Tells something about the work.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.values.push((key, value.into()));
        self
    }

    /// It failed, if there is a reason.
    #[must_use]
    pub fn failed(mut self, reason: Option<impl Into<Cow<'static, str>>>) -> Self {
        self.failure = reason.map(Into::into);
        self
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

/// A number for a trace or a span; 0 is none.
pub(super) fn random() -> u64 {
    rand::random::<u64>().max(1)
}
