//! `admin notify`: what people outside are told. Absent: delivery; the node does that, also after a restart.

use admin_api::view::notifications::{NotificationView, NotificationsView, SentView};
use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::notification_service_client::NotificationServiceClient;

use super::asked::{Asked, answered};
use super::ordered::Ordered;
use crate::cli::EXIT_OK;
use crate::output::line;

/// What is told to whom. The receivers are configured in [notifications]; each command returns when the notification
/// is on the node's disk, and the node delivers it from there.
#[derive(Debug, Subcommand)]
pub(crate) enum NotifyCommand {
    /// Tells the security team of an incident.
    Security {
        /// What happened, in a word.
        #[arg(long, value_name = "WORD", default_value = "security_breach")]
        incident: String,
        /// How severe it is: P1 to P4.
        #[arg(long, value_name = "P1..P4", default_value = "P1")]
        severity: String,
        #[command(flatten)]
        more: More,
    },
    /// Changes the status page. "operational" is refused while the system is not, unless --unverified.
    Status {
        /// What to show.
        #[arg(long, value_enum)]
        status: PageStatus,
        /// In words.
        message: String,
        /// Tell "operational" whatever the health of the system says.
        #[arg(long)]
        unverified: bool,
        #[command(flatten)]
        more: More,
    },
    /// Tells stakeholders something.
    Message {
        /// What.
        message: String,
        #[command(flatten)]
        more: More,
    },
    /// Ends an incident for everybody outside: the status page says operational, then stakeholders are told. Refused
    /// while the system is not operational.
    Resolved {
        /// For the status page.
        #[arg(long, value_name = "TEXT", default_value = "System restored")]
        status_message: String,
        /// For stakeholders.
        #[arg(long, value_name = "TEXT", default_value = "Hive Mind incident resolved")]
        message: String,
        #[command(flatten)]
        more: More,
    },
    /// Shows what waits, and what was delivered or given up lately, newest first.
    List {
        /// Most notifications.
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
    },
}

/// What every notification has.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct More {
    /// Whoever sends the same key again within notifications.dedupe_for sends nothing; the content itself if not given.
    #[arg(long, value_name = "KEY", default_value = "")]
    dedupe_key: String,
    #[command(flatten)]
    order: Ordered,
}

/// What a status page shows.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PageStatus {
    /// All is well.
    Operational,
    /// It works with restrictions.
    Degraded,
    /// It does not work.
    Outage,
    /// It is being worked on, as announced.
    Maintenance,
}

pub(super) async fn run(command: NotifyCommand, asked: &Asked) -> Result<u8> {
    use pb::NotificationKind as Kind;
    let requests = match command {
        NotifyCommand::List { limit } => return list(asked, limit).await,
        NotifyCommand::Security { incident, severity, more } => {
            vec![pb::SendNotificationRequest { incident, severity, ..request(Kind::Security, &more, "") }]
        }
        NotifyCommand::Status { status, message, unverified, more } => {
            let status = status.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
            let request = request(Kind::Status, &more, "");
            vec![pb::SendNotificationRequest { status, message, unverified, ..request }]
        }
        NotifyCommand::Message { message, more } => {
            vec![pb::SendNotificationRequest { message, ..request(Kind::Message, &more, "") }]
        }
        NotifyCommand::Resolved { status_message, message, more } => {
            let status = "operational".to_owned();
            let page = request(Kind::Status, &more, "-status");
            vec![
                pb::SendNotificationRequest { status, message: status_message, ..page },
                pb::SendNotificationRequest { message, ..request(Kind::Message, &more, "-message") },
            ]
        }
    };
    let mut client = NotificationServiceClient::new(asked.channel()?);
    let mut sent = Vec::new();
    // The next only after the one before was taken: nobody is told of an end that the status page refused.
    for request in requests {
        let dry_run = request.order.as_ref().is_some_and(|order| order.dry_run);
        let answer = answered(client.send_notification(asked.request(request)?).await)?;
        sent.push(SentView::new(answer, dry_run));
    }
    asked.report(&sent, |sent| {
        for SentView { notification, duplicate, dry_run } in sent {
            let NotificationView { kind, receiver, body, id, .. } = notification;
            let done = match (dry_run, duplicate) {
                (_, true) => "no change, it was sent before",
                (true, false) => "would be sent",
                (false, false) => "queued",
            };
            line(&format!("{kind} to {receiver}: {done} as {id}: {body}"));
        }
    })?;
    Ok(EXIT_OK)
}

/// `suffix` tells the ids of several notifications of one order apart.
fn request(kind: pb::NotificationKind, more: &More, suffix: &str) -> pb::SendNotificationRequest {
    let mut order = more.order.order();
    order.request_id.push_str(suffix);
    let dedupe_key = more.dedupe_key.clone();
    pb::SendNotificationRequest { order: Some(order), kind: kind.into(), dedupe_key, ..Default::default() }
}

async fn list(asked: &Asked, limit: u32) -> Result<u8> {
    let mut client = NotificationServiceClient::new(asked.channel()?);
    let request = asked.request(pb::ListNotificationsRequest { limit })?;
    let view = NotificationsView::from(answered(client.list_notifications(request).await)?);
    asked.report(&view, |view| {
        if view.notifications.is_empty() {
            line("no notifications");
        }
        for notification in &view.notifications {
            let NotificationView { id, kind, receiver, state, attempts, due, body, last_error, .. } = notification;
            let due = due.as_deref().unwrap_or("-");
            line(&format!("{id} {kind} to {receiver}: {state}, {attempts} attempts, {due}: {body}"));
            if let Some(error) = last_error {
                line(&format!("    {error}"));
            }
        }
    })?;
    Ok(EXIT_OK)
}
