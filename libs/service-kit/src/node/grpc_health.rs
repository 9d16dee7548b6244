//! Carries the conditions of components over to gRPC health and to the gauges. Absent: deciding them.

use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::health::Snapshot;
use crate::{Components, Condition, metrics};

/// Follows `components` until `end`. Watchers of gRPC health are told of changes only.
pub(super) async fn follow(components: Components, reporter: HealthReporter, end: CancellationToken) {
    let mut changes = components.changes();
    let mut last = None;
    loop {
        // Marked as seen before looking, so that a change in between is not missed.
        changes.borrow_and_update();
        let now = components.snapshot();
        apply(&reporter, last.as_ref(), &now).await;
        last = Some(now);
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = end.cancelled() => return,
        }
    }
}

/// Reports `now`, as far as it differs from `last`. The empty name stands for the whole instance: its readiness.
pub(super) async fn apply(reporter: &HealthReporter, last: Option<&Snapshot>, now: &Snapshot) {
    let before = last.map(statuses).unwrap_or_default();
    for (service, serving) in statuses(now) {
        if !before.contains(&(service, serving)) {
            let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
            reporter.set_service_status(service, status).await;
        }
    }
    metrics::record_ready(now.is_ready());
    for component in &now.components {
        metrics::record_component(&component.name, component.condition);
    }
}

fn statuses(snapshot: &Snapshot) -> Vec<(&'static str, bool)> {
    let mut all = vec![("", snapshot.is_ready())];
    for component in &snapshot.components {
        let serving = !snapshot.draining && component.condition != Condition::Down;
        all.extend(component.grpc_services.iter().map(|service| (*service, serving)));
    }
    all
}
