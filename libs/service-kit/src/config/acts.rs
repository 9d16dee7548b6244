//! What a node does about its configuration when it is asked: tells it, checks a file, loads it again, logs more or
//! less. Every act is recorded here, where it is done. Absent: other instances.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use wire::pb::admin::v1::{ConfigOutcome, NodeConfig};
use wire::pb::consensus::v1::Order;
use wire::status::{ApiError, ErrorCode};

use super::ConfigDoor;
use crate::audit::{Act, Outcome};
use crate::telemetry::ORDERED_MAX;
use crate::{Caller, NodeContext};

/// Longest text of a file that is checked, bytes. The largest real one has a few kilobytes.
pub const TEXT_MAX: usize = 1 << 20;

/// The configuration in force, and what is logged.
///
/// # Errors
/// When the instance has none that it could tell.
pub fn state(context: &NodeContext) -> Result<NodeConfig, ApiError> {
    let mut state = door(context)?.state();
    if let Some(level) = &context.log_level {
        let level = level.state();
        (state.log_level, state.log_level_ordered, state.log_level_until_us) =
            (level.level, level.ordered, level.until_us);
    }
    Ok(state)
}

/// What this text, or the instance's file if there is none, would change.
///
/// # Errors
/// When the text is too long or the instance has no configuration.
pub async fn check(context: &NodeContext, text: Option<String>) -> Result<ConfigOutcome, ApiError> {
    let door = door(context)?;
    if text.as_ref().is_some_and(|text| text.len() > TEXT_MAX) {
        return Err(ApiError::invalid("text", format!("must be at most {TEXT_MAX} bytes")));
    }
    blocking(move || door.check(text.as_deref())).await
}

/// Loads the configuration again, or only says what that would change.
///
/// # Errors
/// When the instance has no configuration. A file that cannot be used is an outcome.
pub async fn reload(context: &NodeContext, caller: Caller, order: Order) -> Result<ConfigOutcome, ApiError> {
    let door = door(context)?;
    if order.dry_run {
        return blocking(move || door.check(None)).await;
    }
    blocking(move || door.reload(Act::ordered("config.reload", caller, &order))).await
}

/// Logs at another level, until it is taken back by an empty one or its time, unless 0, is over. Returns the level
/// before and now.
///
/// # Errors
/// When level or time cannot be used, or the instance does not decide what is logged.
pub fn log_level(
    context: &NodeContext,
    caller: Caller,
    order: &Order,
    level: &str,
    duration_ms: u64,
) -> Result<(String, String), ApiError> {
    let Some(own) = &context.log_level else {
        return Err(ApiError::new(ErrorCode::Unsupported, "this instance does not decide what is logged"));
    };
    let time = Duration::from_millis(duration_ms);
    if time > ORDERED_MAX {
        return Err(ApiError::invalid("duration_ms", format!("must be at most {}", ORDERED_MAX.as_millis())));
    }
    let before = own.state().level;
    let after = if order.dry_run {
        own.would_be(level).map_err(|error| ApiError::invalid("level", error.to_string()))?
    } else {
        let result = own.order(level, time);
        let after = result.as_ref().map_or_else(|_| before.clone(), |state| state.level.clone());
        context.audit.record(Act {
            target: context.name.clone(),
            parameters: json!({"level": level, "duration_ms": duration_ms}),
            before: json!(before),
            after: json!(after),
            result: result.as_ref().map_or_else(|error| Outcome::Refused(error.to_string()), |_| Outcome::Ok),
            ..Act::ordered("config.log_level", caller, order)
        });
        result.map_err(|error| ApiError::invalid("level", error.to_string()))?.level
    };
    Ok((before, after))
}

fn door(context: &NodeContext) -> Result<Arc<dyn ConfigDoor>, ApiError> {
    let missing = || ApiError::new(ErrorCode::Unsupported, "this instance was started without a configuration");
    context.config.clone().ok_or_else(missing)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    // Fails only when the work panics, which ends the process.
    tokio::task::spawn_blocking(work).await.map_err(|_| ApiError::new(ErrorCode::Internal, "the reload failed"))
}
