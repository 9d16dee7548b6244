//! InstrumentService: the operator's changes of what is traded, as commands like any other.
//!
//! Deliberately absent: who may do so; the node lets only loopback in.

use super::shards::Shards;
use crate::admission::Published;
use crate::metrics::Operation;
use tonic::{Request, Response, Status};
use wire::convert;
use wire::forwarding::marked;
use wire::pb::admin::v1::instrument_service_client::InstrumentServiceClient;
use wire::pb::admin::v1::instrument_service_server::InstrumentService;
use wire::pb::admin::v1::{
    DefineInstrumentRequest, DefineInstrumentResponse, SetInstrumentStateRequest, SetInstrumentStateResponse,
};

/// The handlers.
#[derive(Clone, Debug)]
pub(crate) struct Instruments {
    shards: Shards,
}

impl Instruments {
    pub(crate) const fn new(shards: Shards) -> Self {
        Self { shards }
    }
}

#[tonic::async_trait]
impl InstrumentService for Instruments {
    async fn define_instrument(
        &self,
        request: Request<DefineInstrumentRequest>,
    ) -> Result<Response<DefineInstrumentResponse>, Status> {
        let forwarded = marked(request.metadata());
        let request = request.into_inner();
        let door = self.shards.of_text(request.instrument.as_ref().map_or("", |instrument| &instrument.symbol));
        if let Some(way) = self.shards.elsewhere(door, forwarded) {
            let call = way.call(request, |to, request| async move {
                InstrumentServiceClient::new(to).define_instrument(request).await
            });
            return Ok(Response::new(door.handed_on(Operation::Instrument, call).await?));
        }
        let report = door.run(Operation::Instrument, |_| convert::define_instrument(&request)).await?;
        Ok(Response::new(DefineInstrumentResponse { report: Some(report) }))
    }

    async fn set_instrument_state(
        &self,
        request: Request<SetInstrumentStateRequest>,
    ) -> Result<Response<SetInstrumentStateResponse>, Status> {
        let forwarded = marked(request.metadata());
        let request = request.into_inner();
        let door = self.shards.of_text(&request.symbol);
        if let Some(way) = self.shards.elsewhere(door, forwarded) {
            let call = way.call(request, |to, request| async move {
                InstrumentServiceClient::new(to).set_instrument_state(request).await
            });
            return Ok(Response::new(door.handed_on(Operation::Instrument, call).await?));
        }
        let decode = |symbols: &Published| convert::set_instrument_state(&request, symbols);
        let report = door.run(Operation::Instrument, decode).await?;
        Ok(Response::new(SetInstrumentStateResponse { report: Some(report) }))
    }
}
