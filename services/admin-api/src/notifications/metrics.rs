//! What is measured of notifications. Absent: what they say.

use metrics::{counter, describe_counter, describe_gauge, gauge};

use super::Kind;

pub(super) fn describe() {
    describe_counter!("notification_attempts_total", "Attempts to deliver a notification, by kind and outcome.");
    describe_counter!("notifications_given_up_total", "Notifications that could not be delivered, by kind.");
    describe_gauge!("notifications_waiting", "Notifications that wait for their delivery.");
    for kind in Kind::ALL {
        for outcome in ["delivered", "failed"] {
            counter!("notification_attempts_total", "kind" => kind.as_str(), "outcome" => outcome).absolute(0);
        }
        counter!("notifications_given_up_total", "kind" => kind.as_str()).absolute(0);
    }
}

pub(super) fn attempt(kind: Kind, delivered: bool) {
    let outcome = if delivered { "delivered" } else { "failed" };
    counter!("notification_attempts_total", "kind" => kind.as_str(), "outcome" => outcome).increment(1);
}

pub(super) fn given_up(kind: Kind) {
    counter!("notifications_given_up_total", "kind" => kind.as_str()).increment(1);
}

pub(super) fn waiting(number: usize) {
    gauge!("notifications_waiting").set(number as f64);
}
