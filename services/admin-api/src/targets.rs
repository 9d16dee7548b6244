//! Asks many instances at once under one deadline. Absent: what is asked, and what the answers mean.

use std::future::Future;
use std::time::{Duration, Instant};

use futures::future::join_all;
use service_kit::flood::Flood;
use tonic::Status;
use wire::pb::admin::v1::NodeAnswer;
use wire::transport::Channel;

use crate::metrics::{Metrics, Question};

/// Lines a second about instances that do not answer. Health is asked for every few seconds; more says no more.
const FAILURES_LOGGED_PER_SECOND: u32 = 4;

/// An instance that is asked over gRPC.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) channel: Channel,
}

/// What one instance answered, or why it did not.
#[derive(Debug)]
pub(crate) struct Asked<T> {
    pub(crate) answer: NodeAnswer,
    pub(crate) value: Option<T>,
}

/// Instances that are asked together.
pub(crate) struct Targets {
    targets: Vec<Target>,
    metrics: Metrics,
    flood: Flood,
}

impl Targets {
    pub(crate) fn new(targets: Vec<Target>) -> Self {
        Self { targets, metrics: Metrics::new(), flood: Flood::new(FAILURES_LOGGED_PER_SECOND) }
    }

    /// Asks all of them, in parallel, and waits at most `limit`. The answers are in the order of the targets.
    pub(crate) async fn ask_all<T, F>(
        &self,
        question: Question,
        limit: Duration,
        ask: impl Fn(Channel) -> F,
    ) -> Vec<Asked<T>>
    where
        F: Future<Output = Result<T, Status>>,
    {
        self.ask_those(question, limit, |_| true, ask).await
    }

    /// Asks those whose names are wanted, as [`Self::ask_all`] does.
    pub(crate) async fn ask_those<T, F>(
        &self,
        question: Question,
        limit: Duration,
        wanted: impl Fn(&str) -> bool,
        ask: impl Fn(Channel) -> F,
    ) -> Vec<Asked<T>>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let started = Instant::now();
        let those = self.targets.iter().filter(|target| wanted(&target.name));
        let asked = join_all(those.map(|target| self.ask(question, limit, target, &ask))).await;
        self.metrics.duration(question).record(started.elapsed());
        asked
    }

    /// Their names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().map(|target| &*target.name)
    }

    /// Asks one, and waits at most `limit`. Giving up cancels the call at the asked instance too.
    pub(crate) async fn ask<T, F>(
        &self,
        question: Question,
        limit: Duration,
        target: &Target,
        ask: impl Fn(Channel) -> F,
    ) -> Asked<T>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let started = Instant::now();
        let result = match tokio::time::timeout(limit, ask(target.channel.clone())).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(status)) => Err(explain(&status)),
            Err(_) => Err(format!("no answer within {} ms", limit.as_millis())),
        };
        let mut answer = NodeAnswer {
            target: target.name.clone(),
            latency_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            ..NodeAnswer::default()
        };
        match result {
            Ok(value) => Asked { answer, value: Some(value) },
            Err(error) => {
                self.metrics.failures(question).increment(1);
                if let Some(suppressed) = self.flood.admit() {
                    let (target, question) = (&*target.name, question.as_str());
                    tracing::warn!(target_instance = target, question, error, suppressed, "instance does not answer");
                }
                answer.error = error;
                Asked { answer, value: None }
            }
        }
    }
}

/// The status in a line. Transport errors keep what lies below them, such as "connection refused", in their sources.
pub(crate) fn explain(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        let part = error.to_string();
        if !text.contains(&part) {
            text = if text.is_empty() { part } else { format!("{text}: {part}") };
        }
        source = error.source();
    }
    if text.is_empty() { format!("{:?}", status.code()) } else { format!("{:?}: {text}", status.code()) }
}
