//! What the rules of placement want done: said to engines over their streams, asked of voters, written into the store.
//!
//! Each of it is done at most once at a time for one shard. None of it needs to succeed: the rules say it again.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use journal_core::placement::{Effect, Input, Target};
use types::{Epoch, Incarnation, ShardId};
use wire::pb::consensus::v1 as pb;

use crate::Aim;
use crate::coordinator::Coordinator;
use crate::metrics::Operation;

/// How long the wish to move a shard lasts: the leader drains, the other one opens.
const MOVE_LASTS: Duration = Duration::from_secs(3);

impl Coordinator {
    pub(crate) fn carry_out(self: &Arc<Self>, effects: Vec<Effect>) {
        let mut told: BTreeMap<Incarnation, pb::HeartbeatResponse> = BTreeMap::new();
        for effect in effects {
            match effect {
                Effect::Offer { engine, .. } | Effect::Resign { engine, .. } | Effect::Deposed { engine, .. } => {
                    self.say(&effect, told.entry(engine).or_default());
                }
                Effect::AskVoters { shard, epoch } => {
                    self.metrics.suspicions.increment(1);
                    let this = Arc::clone(self);
                    self.alone("ask", shard, epoch.owner, async move {
                        let verdict = this.voters.ask(shard, epoch).await;
                        this.feed(Input::Judged { shard, epoch, verdict });
                    });
                }
                Effect::Depose { shard, epoch, reason } => self.depose(shard, epoch, reason),
                Effect::Restore { shard, epoch } => self.restore(shard, epoch),
                Effect::Move { shard, epoch, to } => self.move_shard(shard, epoch, to),
                Effect::Away { engine } => {
                    let this = Arc::clone(self);
                    self.alone("away", ShardId(0), engine, async move {
                        // Its session ends by itself.
                        let _ = this.timed(Operation::Leave, this.store.leave(engine)).await;
                        this.refresh().await;
                    });
                }
            }
        }
        for (engine, mut response) in told {
            response.leaders = self.leaders();
            self.push(engine, response);
        }
    }

    /// Puts what is said to one engine into a message.
    pub(crate) fn say(&self, effect: &Effect, response: &mut pb::HeartbeatResponse) {
        match effect {
            Effect::Offer { shard, .. } => {
                self.metrics.offers.increment(1);
                response.offered_shards.push(shard.0);
            }
            Effect::Resign { shard, epoch, reason, engine } => {
                self.metrics.resigns.increment(1);
                tracing::info!(%shard, %engine, epoch = epoch.number, reason, "consensus: leader asked to resign");
                let reason = (*reason).to_owned();
                response.resigns.push(pb::Resign { shard: shard.0, epoch: epoch.number, reason });
            }
            Effect::Deposed { shard, epoch, engine } => {
                tracing::debug!(%shard, %engine, epoch = epoch.number, "consensus: engine told that it was deposed");
                response.deposed_shards.push(shard.0);
            }
            _ => {}
        }
    }

    fn depose(self: &Arc<Self>, shard: ShardId, epoch: Epoch, reason: &'static str) {
        let this = Arc::clone(self);
        self.alone("depose", shard, epoch.owner, async move {
            if let Ok(true) = this.timed(Operation::End, this.store.end(shard, epoch)).await {
                this.metrics.depositions.increment(1);
                let holder = this.desk().reading.shards.get(&shard).and_then(|state| state.holder.clone());
                let engine = holder.map(|holder| holder.engine.name).unwrap_or_default();
                let epoch = epoch.number;
                tracing::warn!(%shard, engine, epoch, reason, "consensus: leader deposed, election open");
            }
            this.ended(shard, epoch);
        });
    }

    fn restore(self: &Arc<Self>, shard: ShardId, epoch: Epoch) {
        let engine = self.desk().engines.get(&epoch.owner).map(|known| known.engine.clone());
        let Some(engine) = engine else { return };
        let this = Arc::clone(self);
        self.alone("restore", shard, epoch.owner, async move {
            if let Ok(true) = this.timed(Operation::Restore, this.store.restore(shard, &engine, epoch)).await {
                this.metrics.restored.increment(1);
                let (engine, epoch) = (engine.name, epoch.number);
                tracing::info!(%shard, engine, epoch, "consensus: lease had run out, leader goes on");
            }
            this.refresh().await;
        });
    }

    fn move_shard(self: &Arc<Self>, shard: ShardId, epoch: Epoch, to: Incarnation) {
        let this = Arc::clone(self);
        let rest = Some(self.timing.balance_pause);
        self.alone("move", shard, to, async move {
            let target = Target { engine: to, forced: false };
            let aim = Aim { shard, led: Some(epoch), target, lasts: MOVE_LASTS, rest };
            if let Ok(true) = this.timed(Operation::Aim, this.store.aim(aim)).await {
                this.metrics.moves.increment(1);
                tracing::info!(%shard, from = %epoch.owner, %to, "consensus: shard moves to spread leaderships");
            }
            this.refresh().await;
        });
    }

    /// Does it, unless the same is being done.
    fn alone(
        self: &Arc<Self>,
        what: &'static str,
        shard: ShardId,
        engine: Incarnation,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let mark = (what, shard, engine);
        if self.desk().busy.insert(mark) {
            let this = Arc::clone(self);
            tokio::spawn(async move {
                work.await;
                this.desk().busy.remove(&mark);
            });
        }
    }
}
