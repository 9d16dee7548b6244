//! `GET /admin/notifications` and what sending one answers. The addresses of receivers are not here: they are secrets.

use serde::Serialize;
use wire::pb::admin::v1 as pb;

use super::{given, rfc3339};

/// Notifications, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotificationsView {
    /// The notifications.
    pub notifications: Vec<NotificationView>,
}

/// A notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotificationView {
    /// Its id, also told to the receiver as Idempotency-Key.
    pub id: String,
    /// "security", "status" or "message".
    pub kind: String,
    /// Host of the receiver.
    pub receiver: String,
    /// What is sent, to the letter.
    pub body: String,
    /// When it was queued.
    pub created: Option<String>,
    /// "waiting", "delivered" or "given_up".
    pub state: String,
    /// Attempts so far.
    pub attempts: u32,
    /// When it is tried again, or when it was settled.
    pub due: Option<String>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// What became of sending one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SentView {
    /// The notification.
    #[serde(flatten)]
    pub notification: NotificationView,
    /// Whether it was sent before.
    pub duplicate: bool,
    /// Whether it was only asked what would be sent.
    pub dry_run: bool,
}

impl SentView {
    /// From the answer to an order.
    #[must_use]
    pub fn new(answer: pb::SendNotificationResponse, dry_run: bool) -> Self {
        let notification = answer.notification.unwrap_or_default().into();
        Self { notification, duplicate: answer.duplicate, dry_run }
    }
}

impl From<pb::ListNotificationsResponse> for NotificationsView {
    fn from(response: pb::ListNotificationsResponse) -> Self {
        Self { notifications: response.notifications.into_iter().map(NotificationView::from).collect() }
    }
}

impl From<pb::Notification> for NotificationView {
    fn from(notification: pb::Notification) -> Self {
        let word = |name: &str, prefix: &str| name.trim_start_matches(prefix).to_lowercase();
        Self {
            kind: word(notification.kind().as_str_name(), "NOTIFICATION_KIND_"),
            state: word(notification.state().as_str_name(), "NOTIFICATION_STATE_"),
            id: notification.id,
            receiver: notification.receiver,
            body: notification.body,
            created: rfc3339(notification.created_us),
            attempts: notification.attempts,
            due: rfc3339(notification.due_us),
            last_error: given(notification.last_error),
        }
    }
}
