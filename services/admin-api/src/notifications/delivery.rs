//! The task that delivers: one notification after the other, so that receivers see them in order. Absent: the queue.

use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use serde_json::json;
use service_kit::audit::{Act, Audit, Outcome};
use service_kit::config::Live;
use service_kit::{Component, clock, with_causes};

use super::{Config, Entry, Kind, Outbox, State, metrics};

/// First pause after a failure; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause: a receiver that is back is told within five minutes.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Longest error that is kept.
const ERROR_MAX: usize = 300;

/// Delivers what is in the outbox.
pub(crate) struct Delivery {
    outbox: Arc<Outbox>,
    config: Live<Config>,
    client: Client,
    audit: Audit,
    component: Component,
}

/// How an attempt failed.
struct Failure {
    error: String,
    /// The receiver will never take it.
    for_good: bool,
}

impl Delivery {
    /// # Errors
    /// When the system's certificates cannot be read.
    pub(crate) fn new(
        outbox: Arc<Outbox>,
        config: Live<Config>,
        audit: Audit,
        component: Component,
    ) -> reqwest::Result<Self> {
        metrics::describe();
        let agent = concat!("hive-mind/", env!("CARGO_PKG_VERSION"));
        // A redirect would turn the POST into a GET.
        let client = crate::client::builder().user_agent(agent).redirect(Policy::none()).build()?;
        Ok(Self { outbox, config, client, audit, component })
    }

    /// Delivers until it is dropped. What is under way then is tried again by the next process, under the same id.
    pub(crate) async fn run(self) {
        loop {
            self.tell_condition();
            let now = clock::now_us();
            match self.outbox.next(now) {
                Some(entry) if entry.due_us <= now => self.attempt(entry).await,
                Some(entry) => {
                    let pause = Duration::from_micros(entry.due_us - now);
                    // Whatever is put meanwhile is due at once.
                    _ = tokio::time::timeout(pause, self.outbox.news.notified()).await;
                }
                None => self.outbox.news.notified().await,
            }
        }
    }

    async fn attempt(&self, mut entry: Entry) {
        let config = self.config.now();
        let sent = self.send(&config, &entry).await;
        let now = clock::now_us();
        entry.attempts = entry.attempts.saturating_add(1);
        metrics::attempt(entry.kind, sent.is_ok());
        match sent {
            Ok(()) => {
                (entry.state, entry.due_us, entry.last_error) = (State::Delivered, now, String::new());
                self.note(&entry, "notification.delivered", Outcome::Ok);
            }
            Err(Failure { error, for_good }) => {
                let kind = entry.kind.as_str();
                let age = Duration::from_micros(now.saturating_sub(entry.created_us));
                entry.last_error = error;
                if for_good || age >= config.retry_for.0 {
                    (entry.state, entry.due_us) = (State::GivenUp, now);
                    metrics::given_up(entry.kind);
                    tracing::error!(kind, id = entry.id, error = entry.last_error, "notification given up");
                    self.note(&entry, "notification.given_up", Outcome::Failed(entry.last_error.clone()));
                } else {
                    let pause = pause(entry.attempts);
                    entry.due_us = now + u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
                    // The first failure is news; the others are in the metrics and in the list.
                    if entry.attempts == 1 {
                        tracing::warn!(kind, id = entry.id, error = entry.last_error, "notification not delivered yet");
                    }
                }
            }
        }
        let outbox = Arc::clone(&self.outbox);
        let id = entry.id.clone();
        match tokio::task::spawn_blocking(move || outbox.update(entry)).await {
            Ok(Ok(())) => {}
            failed => {
                tracing::error!(id, ?failed, "what became of a notification cannot be written down");
                // It stands in the outbox as before: not at once again.
                tokio::time::sleep(LONGEST_PAUSE).await;
            }
        }
    }

    async fn send(&self, config: &Config, entry: &Entry) -> Result<(), Failure> {
        let failure = |error: String| Failure { error: error.chars().take(ERROR_MAX).collect(), for_good: false };
        let Some(url) = config.url(entry.kind) else {
            return Err(failure(format!("notifications.{} is not set any more", config.key(entry.kind))));
        };
        let request = self.client.post(url).timeout(config.timeout.0);
        let request = request.header("content-type", "application/json").header("idempotency-key", &entry.id);
        // The address is a secret, also in errors.
        let answer = request.body(entry.body.clone()).send().await;
        let status = answer.map_err(|error| failure(with_causes(&error.without_url())))?.status();
        if status.is_success() {
            return Ok(());
        }
        let for_good = matches!(
            status,
            StatusCode::BAD_REQUEST
                | StatusCode::GONE
                | StatusCode::PAYLOAD_TOO_LARGE
                | StatusCode::UNPROCESSABLE_ENTITY
        );
        Err(Failure { for_good, ..failure(format!("the receiver answers {status}")) })
    }

    fn note(&self, entry: &Entry, action: &'static str, result: Outcome) {
        let Entry { id, kind, body, attempts, .. } = entry;
        let after = json!({ "id": id, "body": body, "attempts": attempts });
        let (target, request_id) = (kind.as_str().to_owned(), entry.request_id.clone());
        self.audit.record(Act { target, request_id, after, result, ..Act::system(action) });
    }

    fn tell_condition(&self) {
        metrics::waiting(self.outbox.waiting());
        let failing = |kind: &Kind| {
            let newest = self.outbox.newest(usize::MAX);
            newest.iter().any(|e| e.kind == *kind && e.state == State::Waiting && e.attempts > 0)
        };
        let failing: Vec<&str> = Kind::ALL.iter().filter(|kind| failing(kind)).map(|kind| kind.as_str()).collect();
        if failing.is_empty() {
            self.component.ok();
        } else {
            let kinds = failing.join(", ");
            self.component.degraded(format!("not delivered yet: {kinds}; see `admin notify list`"));
        }
    }
}

fn pause(attempts: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << attempts.saturating_sub(1).min(16));
    doubled.min(LONGEST_PAUSE)
}
