//! A command on its way through one shard, wherever that is led.
//!
//! Deliberately absent: the choice of the way; whoever makes a part knows it.

use super::shards::Shards;
use super::trading::{Pending, Trading};
use futures::future::BoxFuture;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use wire::pb::orders::v1::OrderReport;
use wire::status::ApiError;

/// What one answer waits for.
pub(super) enum Part {
    /// A shard of this engine has the request.
    Here(Pending),
    /// Another engine has it, or will.
    There(BoxFuture<'static, Result<OrderReport, ApiError>>),
    /// It did not get anywhere.
    Refused(ApiError),
}

impl From<Result<Pending, ApiError>> for Part {
    fn from(started: Result<Pending, ApiError>) -> Self {
        match started {
            Ok(pending) => Self::Here(pending),
            Err(error) => Self::Refused(error),
        }
    }
}

impl Part {
    pub(super) fn poll(&mut self, shards: &Shards, cx: &mut Context<'_>) -> Poll<Result<OrderReport, ApiError>> {
        match self {
            Self::Here(pending) => {
                let answer = ready!(Pin::new(&mut pending.answer).poll(cx));
                let door: &Trading = shards.get(pending.shard).unwrap_or(&shards.all()[0]);
                Poll::Ready(door.finish(pending, answer))
            }
            Self::There(answer) => answer.as_mut().poll(cx),
            Self::Refused(error) => Poll::Ready(Err(error.clone())),
        }
    }
}
