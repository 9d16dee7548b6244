//! Orders to all instances, or to those that are named: this one without a call, the others side by side. Absent: what
//! is ordered.

use std::future::Future;
use std::time::Duration;

use service_kit::Caller;
use tonic::{Response, Status};
use wire::pb::admin::v1::NodeAnswer;
use wire::pb::consensus::v1::Order;
use wire::status::ApiError;
use wire::transport::Channel;

use crate::gather::Gather;
use crate::metrics::Question;
use crate::targets::{Asked, explain};

/// Instances that one order may name.
const TARGETS_MAX: usize = 64;

/// The instances an order is for.
pub(crate) struct Chosen(Vec<String>);

impl Chosen {
    fn has(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|chosen| chosen == name)
    }
}

impl Gather {
    /// Those that are named; all if none is.
    pub(crate) fn choose(&self, targets: Vec<String>) -> Result<Chosen, ApiError> {
        if targets.len() > TARGETS_MAX {
            return Err(ApiError::invalid("targets", format!("at most {TARGETS_MAX}")));
        }
        let known: Vec<&str> = std::iter::once(&*self.context().name).chain(self.others().names()).collect();
        match targets.iter().find(|name| !known.contains(&name.as_str())) {
            Some(unknown) => {
                Err(ApiError::invalid("targets", format!("there is no {unknown:?}; there are {}", known.join(", "))))
            }
            None => Ok(Chosen(targets)),
        }
    }

    /// Gives an order: `own` to this instance, `give` to each of the others. Each has `limit`.
    pub(crate) async fn give<T, F>(
        &self,
        question: Question,
        limit: Duration,
        chosen: &Chosen,
        own: impl Future<Output = Result<Response<T>, Status>>,
        give: impl Fn(Channel) -> F,
    ) -> Vec<Asked<T>>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let own = async {
            if !chosen.has(&self.context().name) {
                return None;
            }
            let mut answer = self.own_answer();
            let value = match tokio::time::timeout(limit, own).await {
                Ok(Ok(value)) => Some(value.into_inner()),
                Ok(Err(status)) => {
                    answer.error = explain(&status);
                    None
                }
                Err(_) => {
                    answer.error = format!("not done within {} ms", limit.as_millis());
                    None
                }
            };
            Some(Asked { answer, value })
        };
        let others = self.others().ask_those(question, limit, |name| chosen.has(name), give);
        let (own, others) = tokio::join!(own, others);
        own.into_iter().chain(others).collect()
    }
}

/// Who answered: this instance knows its own name; of the others, each says it.
pub(crate) fn named(answer: NodeAnswer, node: String, roles: Vec<String>) -> NodeAnswer {
    if answer.node.is_empty() { NodeAnswer { node, roles, ..answer } } else { answer }
}

/// The others are called by this instance; in their records, too, it was whoever called here.
pub(crate) fn in_the_name_of(caller: &Caller, mut order: Order) -> Order {
    if order.actor.is_empty() {
        order.actor.clone_from(&caller.subject);
    }
    order
}
