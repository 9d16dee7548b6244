//! InstrumentService: the operator's changes of what is traded, as commands like any other.
//!
//! Deliberately absent: who may do so; the node lets only loopback in.

use super::shards::Shards;
use crate::admission::Published;
use crate::metrics::Operation;
use tonic::{Request, Response, Status};
use wire::convert;
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
        let symbol = request.get_ref().instrument.as_ref().map_or("", |instrument| &instrument.symbol);
        let decode = |_: &Published| convert::define_instrument(request.get_ref());
        let report = self.shards.of_text(symbol).run(Operation::Instrument, decode).await?;
        Ok(Response::new(DefineInstrumentResponse { report: Some(report) }))
    }

    async fn set_instrument_state(
        &self,
        request: Request<SetInstrumentStateRequest>,
    ) -> Result<Response<SetInstrumentStateResponse>, Status> {
        let decode = |symbols: &Published| convert::set_instrument_state(request.get_ref(), symbols);
        let report = self.shards.of_text(&request.get_ref().symbol).run(Operation::Instrument, decode).await?;
        Ok(Response::new(SetInstrumentStateResponse { report: Some(report) }))
    }
}
