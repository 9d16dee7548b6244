//! A voter whose storage others write to as well: several gateways in front of one database are one voter.
//!
//! What this process remembers may be old, so nothing is said by it alone: a fence is promised first and then read, an
//! acknowledgement without a write is confirmed by the storage, and an append that does not fit is compared again
//! after the storage was read. Deliberately absent: how the storage refuses what is stale; it does so in the
//! transaction that writes.

use super::{Acceptor, ClientId, Effect, State, reply_fence};
use crate::{FenceReply, FenceRequest, Recovered};

impl Acceptor {
    /// Says that others write to the storage too.
    #[must_use]
    pub fn sharing(mut self) -> Self {
        self.shared = true;
        self.commit_what_is_final();
        self
    }

    /// With a single voter whatever is durable is final: every later leader adopts this log, there is no other one to
    /// choose. Of a shared storage a gateway may know no more than that.
    pub(super) fn commit_what_is_final(&mut self) {
        if self.shared && self.control.config.is_single() {
            self.commit = self.durable.seq;
        }
    }

    pub(super) fn reload(&mut self, fence: Option<(ClientId, FenceRequest)>, out: &mut Vec<Effect>) {
        self.state = State::Reloading { fence };
        out.push(Effect::Reload);
    }

    /// The storage refused what was decided by an old view of it: the same requests are looked at again after the
    /// next one.
    pub(super) fn moved(&mut self, state: State, out: &mut Vec<Effect>) {
        assert!(self.shared, "only a shared storage is written by others");
        match state {
            State::Promising { fence: Some(fence), .. } => self.fences.push_front(fence),
            State::Writing { requests, .. } => {
                for (client, request) in requests.into_iter().rev() {
                    self.waiting_bytes += request.payload_bytes();
                    self.appends.push_front((client, request));
                }
            }
            _ => {}
        }
        self.reload(None, out);
    }

    pub(super) fn reloaded(&mut self, recovered: Recovered, out: &mut Vec<Effect>) {
        let fence = match &mut self.state {
            State::Reloading { fence } => fence.take(),
            _ => None,
        };
        self.abandon("the storage was read again before the write was confirmed", out);
        if let Some(loss) = self.lost_by(&recovered) {
            self.fences.extend(fence);
            return self.fail(&loss, out);
        }
        let same_history = recovered.control.log_id == self.control.log_id;
        let before = self.commit;
        self.load(recovered);
        if same_history {
            self.commit = self.commit.max(before);
        }
        if self.commit > before {
            out.push(Effect::Committed { seq: self.commit });
        }
        let Some((client, request)) = fence else { return };
        let granted = matches!(self.state, State::Idle)
            && self.control.promised == request.epoch
            && self.control.config.generation >= request.config.generation
            && self.control.config.is_voter(&self.me);
        if granted {
            reply_fence(client, FenceReply::Granted(self.grant()), out);
        } else {
            self.fences.push_front((client, request));
        }
    }

    /// What was acknowledged as volatile, promises too, may be undone, and was. Nothing of it is looked for.
    pub(super) fn superseded(&mut self, recovered: Recovered, out: &mut Vec<Effect>) {
        assert!(self.shared, "only in a shared storage another leadership can begin");
        self.abandon("another leadership superseded what was volatile here", out);
        self.load(recovered);
        out.push(Effect::Committed { seq: self.commit });
    }

    /// What the storage said once and does not say any more. It stays so however often it is read.
    fn lost_by(&self, recovered: &Recovered) -> Option<String> {
        let Recovered { control, tail, chains, .. } = recovered;
        if control.log_id != self.control.log_id {
            return None;
        }
        let commit = self.commit;
        let there = commit.0.checked_sub(control.base.seq.0).map(|offset| match usize::try_from(offset) {
            Ok(0) => Some(control.base.chain),
            Ok(offset) => chains.get(offset - 1).copied(),
            Err(_) => None,
        });
        let kept = there.is_none_or(|chain| commit <= tail.seq && chain == self.log.chain_at(commit));
        if !kept {
            return Some(format!("I12: the storage no longer holds what was committed up to {commit}"));
        }
        let promised = self.control.promised.number;
        let found = control.promised.number.max(tail.epoch.number);
        (found < promised).then(|| format!("I2: the storage forgot the promise of epoch {promised}"))
    }

    /// The storage cannot be read: nothing is known, so nothing waits for it.
    pub(super) fn reload_failed(&mut self, reason: String, out: &mut Vec<Effect>) {
        self.abandon(&reason, out);
        self.state = State::Broken { reason };
    }
}
