//! What a node and those it knows say of themselves, asked all at once: what `status`, `top`, `doctor` and the support
//! bundle show. Absent: judging it.

use anyhow::Result;
use tonic::{Response, Status};
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::activity_service_client::ActivityServiceClient;
use wire::pb::admin::v1::admin_service_client::AdminServiceClient;
use wire::pb::consensus::v1 as consensus;
use wire::pb::consensus::v1::consensus_service_client::ConsensusServiceClient;
use wire::pb::marketdata::v1::market_data_service_client::MarketDataServiceClient;
use wire::pb::marketdata::v1::{InstrumentStatus, ListInstrumentsRequest};
use wire::status::ApiError;
use wire::transport::{Channel, PEER_MESSAGE_LIMIT};

use super::asked::{Asked, answered};

/// One moment. What a node does not offer, or could not answer, is there with its error.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub(super) health: pb::GetHealthResponse,
    pub(super) consensus: Result<consensus::GetConsensusStatusResponse, ApiError>,
    pub(super) pools: Result<pb::GetPoolStatusResponse, ApiError>,
    pub(super) memory: Result<pb::GetMemoryProfileResponse, ApiError>,
    pub(super) activity: Result<pb::GetActivityResponse, ApiError>,
    pub(super) instruments: Result<Vec<InstrumentStatus>, ApiError>,
}

impl Picture {
    /// Fails if the node does not even tell its health.
    pub(super) async fn take(asked: &Asked, channel: &Channel) -> Result<Self> {
        let admin = || AdminServiceClient::new(channel.clone());
        let health = asked.request(pb::GetHealthRequest { timeout_ms: 0 })?;
        let pools = asked.request(pb::GetPoolStatusRequest { timeout_ms: 0 })?;
        let memory = asked.request(pb::GetMemoryProfileRequest { timeout_ms: 0 })?;
        let activity = asked.request(pb::GetActivityRequest { timeout_ms: 0 })?;
        let leaders = asked.request(consensus::GetConsensusStatusRequest {})?;
        let instruments = asked.request(ListInstrumentsRequest { allow_stale: true, min_seq: 0 })?;
        let (mut first, mut second, mut third) = (admin(), admin(), admin());
        let mut activities = ActivityServiceClient::new(channel.clone()).max_decoding_message_size(PEER_MESSAGE_LIMIT);
        let mut coordinator = ConsensusServiceClient::new(channel.clone());
        let mut market = MarketDataServiceClient::new(channel.clone());
        let (health, pools, memory, activity, consensus, instruments) = tokio::join!(
            first.get_health(health),
            second.get_pool_status(pools),
            third.get_memory_profile(memory),
            activities.get_activity(activity),
            coordinator.get_consensus_status(leaders),
            market.list_instruments(instruments),
        );
        Ok(Self {
            health: answered(health)?,
            consensus: told(consensus),
            pools: told(pools),
            memory: told(memory),
            activity: told(activity),
            instruments: told(instruments).map(|answer| answer.instruments),
        })
    }
}

fn told<T>(answer: Result<Response<T>, Status>) -> Result<T, ApiError> {
    answer.map(Response::into_inner).map_err(|status| ApiError::from_status(&status))
}

/// Name of an instance: its own if it answered.
pub(super) fn name(answer: Option<&pb::NodeAnswer>) -> &str {
    answer.map_or("", |answer| if answer.node.is_empty() { &answer.target } else { &answer.node })
}
