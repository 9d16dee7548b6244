//! Signs of life: what an engine says becomes a sign for its session in the store and an input for the rules, and what
//! they say to that engine becomes the answer.
//!
//! Deliberately absent: the streams themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use journal_core::placement::{Effect, Input, Report, Role};
use tokio::sync::mpsc;
use types::{Incarnation, ShardId};
use wire::convert::Engine;
use wire::pb::consensus::v1 as pb;

use crate::coordinator::Coordinator;
use crate::metrics::Operation;

/// A session is not renewed more often than this, however often an engine speaks.
const RENEWAL_PAUSE: Duration = Duration::from_millis(300);

/// Something to tell an engine unasked.
pub(crate) type Push = pb::HeartbeatResponse;

/// An engine whose stream is here.
#[derive(Debug)]
pub(crate) struct KnownEngine {
    pub(crate) engine: Engine,
    pub(crate) stream: u64,
    pub(crate) push: mpsc::Sender<Push>,
    /// What it said of its shards last.
    pub(crate) beats: Vec<pb::ShardBeat>,
    /// Time of the lease, and when it was renewed.
    lease: Option<(Duration, Instant)>,
    renewing: bool,
}

/// One sign of life, checked.
pub(crate) struct Sign {
    pub(crate) stream: u64,
    pub(crate) push: mpsc::Sender<Push>,
    pub(crate) engine: Engine,
    pub(crate) number: u64,
    pub(crate) reports: BTreeMap<ShardId, Report>,
    pub(crate) beats: Vec<pb::ShardBeat>,
}

impl Coordinator {
    /// The answer to a sign of life. It does not wait for the store, unless this is the first.
    pub(crate) async fn alive(self: &Arc<Self>, sign: Sign) -> pb::HeartbeatResponse {
        let Sign { stream, push, engine, number, reports, beats } = sign;
        let incarnation = engine.incarnation;
        let (name, wait) = (engine.name.clone(), {
            let mut desk = self.desk();
            let before = desk.engines.remove(&incarnation);
            let lease = before.as_ref().and_then(|known| known.lease);
            let renewing = before.as_ref().is_some_and(|known| known.renewing);
            let known = KnownEngine { engine: engine.clone(), stream, push, beats, lease, renewing };
            desk.engines.insert(incarnation, known);
            lease.is_none() && desk.failsafe_since_us.is_none()
        });
        let effects = self.step(Input::Beat { engine: incarnation, name, stream, reports });
        if wait {
            self.renew(&engine).await;
        } else {
            let this = Arc::clone(self);
            tokio::spawn(async move { this.renew(&engine).await });
        }
        let mut response = pb::HeartbeatResponse { number, ttl_ms: self.ttl_ms(incarnation), ..Default::default() };
        let (own, others): (Vec<_>, Vec<_>) = effects.into_iter().partition(|effect| is_for(effect, incarnation));
        own.iter().for_each(|effect| self.say(effect, &mut response));
        self.carry_out(others);
        response.leaders = self.leaders();
        response
    }

    /// The stream of an engine has ended, and not because this coordinator ends.
    pub(crate) fn gone(self: &Arc<Self>, engine: Incarnation, stream: u64) {
        {
            let mut desk = self.desk();
            if desk.engines.get(&engine).is_none_or(|known| known.stream != stream) {
                return;
            }
            desk.engines.remove(&engine);
        }
        self.feed(Input::Ended { engine, stream });
    }

    /// Keeps the session of an engine that has just been heard, once at a time and not too often.
    async fn renew(self: &Arc<Self>, engine: &Engine) {
        let note = {
            let mut desk = self.desk();
            let note = desk.placement.note(engine.incarnation);
            let written = desk.reading.engines.get(&engine.incarnation).is_some_and(|session| session.note == note);
            let Some(known) = desk.engines.get_mut(&engine.incarnation) else { return };
            let fresh = known.lease.is_some_and(|(_, at)| at.elapsed() < RENEWAL_PAUSE);
            if known.renewing || fresh && written {
                return;
            }
            known.renewing = true;
            (!written).then_some(note)
        };
        let kept = self.timed(Operation::KeepAlive, self.store.keep(engine, note.as_ref())).await;
        if let Some(known) = self.desk().engines.get_mut(&engine.incarnation) {
            known.renewing = false;
            if let Ok(ttl) = kept {
                known.lease = Some((ttl, Instant::now()));
            }
        }
        if note.is_some() {
            self.refresh().await;
        }
    }

    fn ttl_ms(&self, engine: Incarnation) -> u64 {
        let lease = self.desk().engines.get(&engine).and_then(|known| known.lease);
        lease.map_or(0, |(ttl, at)| millis(ttl.saturating_sub(at.elapsed())))
    }
}

fn is_for(effect: &Effect, incarnation: Incarnation) -> bool {
    match effect {
        Effect::Offer { engine, .. } | Effect::Resign { engine, .. } | Effect::Deposed { engine, .. } => {
            *engine == incarnation
        }
        _ => false,
    }
}

pub(crate) fn role(role: pb::ShardRole) -> Role {
    match role {
        pb::ShardRole::Unspecified => Role::Unknown,
        pb::ShardRole::Loading => Role::Loading,
        pb::ShardRole::Standby => Role::Standby,
        pb::ShardRole::Opening => Role::Opening,
        pb::ShardRole::Leader => Role::Leader,
        pb::ShardRole::Draining => Role::Draining,
        pb::ShardRole::Diverged => Role::Diverged,
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
