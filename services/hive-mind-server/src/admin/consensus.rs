//! `admin consensus`: the calls.

use anyhow::Result;
use clap::Subcommand;
use wire::pb::consensus::v1 as pb;
use wire::pb::consensus::v1::consensus_service_client::ConsensusServiceClient;
use wire::transport::Channel;

use super::asked::{Asked, answered};
use super::ordered::Ordered;
use super::view::{Drained, Elected, Policy, Restarted, State};
use crate::cli::{EXIT_FAILURE, EXIT_OK};

/// What can be ordered.
#[derive(Debug, Subcommand)]
pub(crate) enum ConsensusCommand {
    /// Moves the leadership of shards to another engine and waits until it leads.
    ///
    /// Safe at any moment: what was accepted is finished first, clients see a short pause. Refused, and nothing is
    /// changed, when no other live engine could lead or the store of leaderships does not answer. Shards are spread
    /// again a few seconds later, if engines then differ by two or more; `pause` keeps them where they are.
    ForceElection {
        /// Only this shard; all of them if not given.
        #[arg(long, value_name = "N", conflicts_with = "all")]
        shard: Option<u32>,
        /// All shards.
        #[arg(long)]
        all: bool,
        /// Name of the engine that shall lead; any other than the present leader if not given.
        #[arg(long, value_name = "ENGINE")]
        to: Option<String>,
        #[command(flatten)]
        order: Ordered,
    },
    /// Makes sessions, watches and streams of the asked node's coordinator anew; process and leaders stay.
    Restart {
        #[command(flatten)]
        order: Ordered,
    },
    /// Shows leaders, engines, what is ordered, and the store.
    Status,
    /// Pauses automatic elections: a leader that holds on stays, a dead one stays dead.
    Pause {
        #[command(flatten)]
        order: Ordered,
    },
    /// Ends a pause.
    Resume {
        #[command(flatten)]
        order: Ordered,
    },
    /// Takes all leaderships from an engine and gives it none, until `undrain`.
    Drain {
        /// Its name.
        engine: String,
        #[command(flatten)]
        order: Ordered,
    },
    /// Lets an engine lead again.
    Undrain {
        /// Its name.
        engine: String,
        #[command(flatten)]
        order: Ordered,
    },
}

pub(super) async fn run(command: ConsensusCommand, asked: &Asked) -> Result<u8> {
    let client = &mut ConsensusServiceClient::new(asked.channel()?);
    match command {
        ConsensusCommand::ForceElection { shard, to, order, all: _ } => {
            let to_engine = to.unwrap_or_default();
            return force(client, asked, shard, &to_engine, &order).await;
        }
        ConsensusCommand::Restart { order } => {
            let request = pb::RestartConsensusRequest { order: Some(order.order()) };
            let answer = answered(client.restart_consensus(asked.request(request)?).await)?;
            asked.report(&Restarted::new(answer, order.dry_run), Restarted::print)?;
        }
        ConsensusCommand::Status => {
            asked.report(&State::from(status(client, asked).await?), State::print)?;
        }
        ConsensusCommand::Pause { order } => set(client, asked, &order, true).await?,
        ConsensusCommand::Resume { order } => set(client, asked, &order, false).await?,
        ConsensusCommand::Drain { engine, order } => return drain(client, asked, &order, engine, true).await,
        ConsensusCommand::Undrain { engine, order } => return drain(client, asked, &order, engine, false).await,
    }
    Ok(EXIT_OK)
}

type Client = ConsensusServiceClient<Channel>;

async fn status(client: &mut Client, asked: &Asked) -> Result<pb::GetConsensusStatusResponse> {
    answered(client.get_consensus_status(asked.request(pb::GetConsensusStatusRequest {})?).await)
}

/// One shard after another. Those before one that is refused have moved, and are shown.
async fn force(client: &mut Client, asked: &Asked, shard: Option<u32>, to_engine: &str, order: &Ordered) -> Result<u8> {
    let shards = match shard {
        Some(shard) => vec![(shard, None)],
        None => {
            let leaders = status(client, asked).await?.leaders;
            leaders.into_iter().map(|leader| (leader.shard, leader.engine.map(|engine| engine.name))).collect()
        }
    };
    let several = shard.is_none() && shards.len() > 1;
    let id = order.order().request_id;
    let mut elected = Vec::new();
    let mut failed = None;
    for (shard, leader) in shards {
        if several && leader.is_some_and(|leader| leader == to_engine) {
            continue;
        }
        let request_id = if several { format!("{id}-{shard}") } else { id.clone() };
        let order = pb::Order { request_id, ..order.order() };
        let request = pb::ForceElectionRequest { order: Some(order), shard, to_engine: to_engine.to_owned() };
        match answered(client.force_election(asked.request(request)?).await) {
            Ok(answer) => elected.push(answer),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    if let Some(error) = failed {
        if !elected.is_empty() {
            let moved: Vec<String> =
                elected.iter().filter_map(|one| one.after.as_ref()).map(|l| l.shard.to_string()).collect();
            return Err(error.context(format!("shards {} were moved, then one was refused", moved.join(", "))));
        }
        return Err(error);
    }
    asked.report(&Elected::new(elected, order.dry_run), Elected::print)?;
    Ok(EXIT_OK)
}

async fn set(client: &mut Client, asked: &Asked, order: &Ordered, paused: bool) -> Result<()> {
    let request = pb::SetElectionsRequest { order: Some(order.order()), paused };
    let answer = answered(client.set_elections(asked.request(request)?).await)?;
    asked.report(&Policy::new(answer.policy, answer.changed, order.dry_run), Policy::print)
}

/// An engine that still leads when the wait is over was not drained.
async fn drain(client: &mut Client, asked: &Asked, order: &Ordered, engine: String, drain: bool) -> Result<u8> {
    let request = pb::DrainEngineRequest { order: Some(order.order()), engine: engine.clone(), drain };
    let answer = answered(client.drain_engine(asked.request(request)?).await)?;
    let drained = Drained::new(engine, drain, answer, order.dry_run);
    asked.report(&drained, Drained::print)?;
    Ok(if drain && !order.dry_run && !drained.still_leading.is_empty() { EXIT_FAILURE } else { EXIT_OK })
}
