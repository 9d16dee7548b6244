//! `NotificationService`: checks what is to be told and puts it into the outbox. Absent: delivery.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde::Serialize;
use serde_json::json;
use service_kit::audit::{Act, Outcome};
use service_kit::config::Live;
use service_kit::{Caller, Condition, clock};
use tonic::{Request, Response, Status};
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::notification_service_server::NotificationService;
use wire::status::{ApiError, ErrorCode};

use super::outbox::Put;
use super::{Config, Entry, Kind, Outbox, State};
use crate::gather::Gather;
use crate::verdict;

/// Name of the outbox among the components of a node's health.
pub(crate) const COMPONENT: &str = "notifications";

const MESSAGE_MAX: usize = 1_000;
const WORD_MAX: usize = 64;
const STATUSES: [&str; 4] = ["operational", "degraded", "outage", "maintenance"];
const SEVERITIES: [&str; 4] = ["P1", "P2", "P3", "P4"];
const LIST_USUAL: u32 = 50;
const LIST_MAX: u32 = 1_000;

/// Takes notifications.
#[derive(Clone)]
pub(crate) struct Notifications {
    gather: Arc<Gather>,
    outbox: Arc<Outbox>,
    config: Live<Config>,
    /// Tells notifications of one microsecond apart.
    number: Arc<AtomicU16>,
}

#[derive(Serialize)]
struct SecurityBody<'a> {
    incident: &'a str,
    severity: &'a str,
    system: &'a str,
}

#[derive(Serialize)]
struct StatusBody<'a> {
    status: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct MessageBody<'a> {
    message: &'a str,
}

impl Notifications {
    pub(crate) fn new(gather: Arc<Gather>, outbox: Arc<Outbox>, config: Live<Config>) -> Self {
        Self { gather, outbox, config, number: Arc::default() }
    }

    pub(crate) async fn send(
        &self,
        caller: Caller,
        request: pb::SendNotificationRequest,
    ) -> Result<pb::SendNotificationResponse, ApiError> {
        let order = request.order.clone().unwrap_or_default();
        let result = self.put(&request).await;
        if !order.dry_run {
            let target = kind(&request).map_or("", Kind::as_str).to_owned();
            let parameters = json!({ "unverified": request.unverified });
            let (after, known) = match &result {
                Ok(answer) => {
                    let told = answer.notification.as_ref();
                    let told = told.map_or(serde_json::Value::Null, |n| json!({ "id": n.id, "body": n.body }));
                    (told, answer.duplicate)
                }
                Err(_) => (serde_json::Value::Null, false),
            };
            // A duplicate is no act.
            if !known {
                let result = Outcome::of(&result);
                let act = Act::ordered("notification.send", caller, &order);
                self.gather.context().audit.record(Act { target, parameters, after, result, ..act });
            }
        }
        result
    }

    async fn put(&self, request: &pb::SendNotificationRequest) -> Result<pb::SendNotificationResponse, ApiError> {
        let config = self.config.now();
        let kind = kind(request)?;
        let body = body(&config, kind, request)?;
        if config.url(kind).is_none() {
            let key = config.key(kind);
            return Err(ApiError::precondition(format!("nobody is to be told: set notifications.{key}")));
        }
        if kind == Kind::Status && request.status == STATUSES[0] && !request.unverified {
            self.must_be_operational().await?;
        }
        let order = request.order.clone().unwrap_or_default();
        let now = clock::now_us();
        let dedupe_key = if request.dedupe_key.is_empty() { body.clone() } else { request.dedupe_key.clone() };
        let entry = Entry {
            id: format!("{now:020}-{:04x}", self.number.fetch_add(1, Ordering::Relaxed)),
            kind,
            body,
            dedupe_key,
            request_id: order.request_id,
            created_us: now,
            state: State::Waiting,
            attempts: 0,
            due_us: now,
            last_error: String::new(),
        };
        let since = now.saturating_sub(u64::try_from(config.dedupe_for.0.as_micros()).unwrap_or(u64::MAX));
        if order.dry_run {
            let known = self.outbox.duplicate(&entry, since);
            let duplicate = known.is_some();
            return Ok(answer(&known.unwrap_or(entry), &config, duplicate));
        }
        let outbox = Arc::clone(&self.outbox);
        let put = tokio::task::spawn_blocking(move || outbox.put(entry, since)).await;
        let put = put.map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()))?;
        match put.map_err(|error| ApiError::not_ready(format!("the outbox cannot be written: {error}")))? {
            Put::New(entry) => Ok(answer(&entry, &config, false)),
            Put::Known(entry) => Ok(answer(&entry, &config, true)),
            Put::Full => Err(ApiError::precondition("too many notifications wait already: see `admin notify list`")),
        }
    }

    /// Nobody outside is told that all is well while it is not. That notifications wait is no reason to wait.
    async fn must_be_operational(&self) -> Result<(), ApiError> {
        let mut health = self.gather.health(self.gather.default_timeout()).await;
        for health in health.instances.iter_mut().filter_map(|instance| instance.health.as_mut()) {
            health.components.retain(|component| component.name != COMPONENT);
        }
        let verdict = verdict::judge(&health);
        if verdict.condition == Condition::Ok {
            return Ok(());
        }
        let why = verdict.reasons.join("; ");
        Err(ApiError::precondition(format!("the system is {}: {why}", verdict.condition.as_str())))
    }
}

#[tonic::async_trait]
impl NotificationService for Notifications {
    async fn send_notification(
        &self,
        request: Request<pb::SendNotificationRequest>,
    ) -> Result<Response<pb::SendNotificationResponse>, Status> {
        let caller = Caller::of(request.extensions());
        Ok(Response::new(self.send(caller, request.into_inner()).await?))
    }

    async fn list_notifications(
        &self,
        request: Request<pb::ListNotificationsRequest>,
    ) -> Result<Response<pb::ListNotificationsResponse>, Status> {
        let limit = match request.get_ref().limit {
            0 => LIST_USUAL,
            limit if limit <= LIST_MAX => limit,
            _ => return Err(ApiError::invalid("limit", format!("must be 0 to {LIST_MAX}")).into()),
        };
        let config = self.config.now();
        let notifications = self.outbox.newest(limit as usize).iter().map(|entry| entry.to_pb(&config)).collect();
        Ok(Response::new(pb::ListNotificationsResponse { notifications }))
    }
}

fn answer(entry: &Entry, config: &Config, duplicate: bool) -> pb::SendNotificationResponse {
    pb::SendNotificationResponse { notification: Some(entry.to_pb(config)), duplicate }
}

fn kind(request: &pb::SendNotificationRequest) -> Result<Kind, ApiError> {
    match request.kind() {
        pb::NotificationKind::Security => Ok(Kind::Security),
        pb::NotificationKind::Status => Ok(Kind::Status),
        pb::NotificationKind::Message => Ok(Kind::Message),
        pb::NotificationKind::Unspecified => Err(ApiError::invalid("kind", "must be given")),
    }
}

/// Exactly what the receiver is told.
fn body(config: &Config, kind: Kind, request: &pb::SendNotificationRequest) -> Result<String, ApiError> {
    let pb::SendNotificationRequest { message, incident, severity, status, dedupe_key, .. } = request;
    if dedupe_key.chars().count() > WORD_MAX {
        return Err(ApiError::invalid("dedupe_key", format!("must have at most {WORD_MAX} characters")));
    }
    let said = || {
        let length = message.chars().count();
        let good = (1..=MESSAGE_MAX).contains(&length);
        good.then_some(())
            .ok_or_else(|| ApiError::invalid("message", format!("must have 1 to {MESSAGE_MAX} characters")))
    };
    let one_of = |field: &str, value: &str, words: &[&str]| {
        let good = words.contains(&value);
        good.then_some(()).ok_or_else(|| ApiError::invalid(field, format!("must be one of {}", words.join(", "))))
    };
    let body = match kind {
        Kind::Security => {
            let letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if !(1..=WORD_MAX).contains(&incident.len()) || !incident.chars().all(letter) {
                let words = format!("must be 1 to {WORD_MAX} letters, digits, - or _");
                return Err(ApiError::invalid("incident", words));
            }
            one_of("severity", severity, &SEVERITIES)?;
            serde_json::to_string(&SecurityBody { incident, severity, system: &config.system })
        }
        Kind::Status => {
            one_of("status", status, &STATUSES)?;
            said()?;
            serde_json::to_string(&StatusBody { status, message })
        }
        Kind::Message => {
            said()?;
            serde_json::to_string(&MessageBody { message })
        }
    };
    body.map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()))
}
