//! What the sender of a request may put into it: the doors see neither messages nor accounts, the handlers do.
//!
//! Deliberately absent: which methods it may call; the doors have checked that.

use std::fmt;
use std::sync::Arc;

use http::Extensions;
use wire::status::{ApiError, ErrorCode};

use super::ring::Entry;
use crate::Caller;

/// The key a request was sent with.
#[derive(Clone)]
pub(super) struct Shown(pub(super) Arc<Entry>);

/// For streams, whose messages come after the request.
#[derive(Clone, Default)]
pub struct Rights {
    caller: Option<Arc<Caller>>,
    key: Option<Arc<Entry>>,
}

impl Rights {
    /// Those of whoever sent the request with these extensions.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Self {
        let key = extensions.get::<Shown>().map(|shown| Arc::clone(&shown.0));
        Self { caller: extensions.get::<Arc<Caller>>().cloned(), key }
    }

    /// Whether a message about `account` may be sent now; takes it from what the key may send.
    ///
    /// # Errors
    /// PERMISSION_DENIED for somebody else's account, OVERLOADED for too many messages.
    pub fn message(&self, account: u64) -> Result<(), ApiError> {
        if let Some(key) = &self.key {
            key.limit.take().map_err(|wait| ApiError::overloaded("the allowance of this API key", wait))?;
        }
        self.caller.as_ref().map_or(Ok(()), |caller| check(caller, account))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rights").field("caller", &self.caller).finish_non_exhaustive()
    }
}

/// Whether whoever sent the request with these extensions may ask or order something for `account`; 0 stands for all.
///
/// # Errors
/// PERMISSION_DENIED.
pub fn permit(extensions: &Extensions, account: u64) -> Result<(), ApiError> {
    extensions.get::<Arc<Caller>>().map_or(Ok(()), |caller| check(caller, account))
}

fn check(caller: &Caller, account: u64) -> Result<(), ApiError> {
    if caller.accounts.contains(account) {
        return Ok(());
    }
    let subject = &caller.subject;
    let message = match account {
        0 => format!("{subject} may not ask for all accounts: name one of its own in account_id"),
        _ => format!("account {account} is not one of those of {subject}"),
    };
    Err(ApiError::new(ErrorCode::PermissionDenied, message))
}
