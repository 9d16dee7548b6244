//! An engine with its surroundings in one process, and requests in few words.

mod consensus;
mod journal;
pub(crate) mod requests;
mod rig;

pub(crate) use consensus::Coordinator;
pub(crate) use journal::Voter;
pub(crate) use rig::{Engine, Rig};

use wire::status::{ApiError, ErrorCode};

/// The code of a refused call.
pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, tonic::Status>) -> ErrorCode {
    ApiError::from_status(&result.unwrap_err()).code
}
