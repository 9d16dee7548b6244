//! Who leads: engines, epochs and voter configurations, both ways.

use journal_core::codec::control::{MAX_GATEWAY_BYTES, MAX_VOTERS};
use journal_core::{Voter, VoterConfig};
use types::{Epoch, Incarnation};

use super::field::{self, id16_to_pb, within};
use crate::pb::consensus::v1 as pb;
use crate::pb::journal::v1 as journal;
use crate::status::ApiError;

/// Longest name of an engine, characters.
const ENGINE_NAME_MAX: usize = 64;

/// Longest address, bytes: a host name has at most 253.
const ADDRESS_MAX: usize = 300;

/// One run of one engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// Its configured name.
    pub name: String,
    /// This run of it.
    pub incarnation: Incarnation,
    /// Its gRPC address; may be empty for an engine that nobody can call.
    pub address: String,
}

/// An engine that has to be there, under the field `name`.
pub fn engine(name: &str, given: Option<&pb::Engine>) -> Result<Engine, ApiError> {
    let given = field::message(name, given)?;
    let named = (1..=ENGINE_NAME_MAX).contains(&given.name.chars().count());
    if !named || given.name.chars().any(char::is_control) {
        let message = format_args!("must have 1 to {ENGINE_NAME_MAX} printable characters");
        return Err(ApiError::invalid(within(name, "name"), message));
    }
    if given.address.len() > ADDRESS_MAX {
        return Err(ApiError::invalid(within(name, "address"), format_args!("is longer than {ADDRESS_MAX} bytes")));
    }
    let incarnation = Incarnation(field::id16(&within(name, "incarnation"), &given.incarnation)?);
    if incarnation == Incarnation::default() {
        return Err(ApiError::invalid(within(name, "incarnation"), "must not be zero"));
    }
    Ok(Engine { name: given.name.clone(), incarnation, address: given.address.clone() })
}

/// An engine.
#[must_use]
pub fn engine_to_pb(engine: &Engine) -> pb::Engine {
    pb::Engine {
        name: engine.name.clone(),
        incarnation: id16_to_pb(engine.incarnation.0),
        address: engine.address.clone(),
    }
}

/// An epoch under the field `name`; none at all is the epoch 0.
pub fn epoch(name: &str, given: Option<&journal::Epoch>) -> Result<Epoch, ApiError> {
    let Some(given) = given else { return Ok(Epoch::default()) };
    Ok(Epoch { number: given.number, owner: Incarnation(field::id16(&within(name, "owner"), &given.owner)?) })
}

/// An epoch.
#[must_use]
pub fn epoch_to_pb(epoch: Epoch) -> journal::Epoch {
    journal::Epoch { number: epoch.number, owner: id16_to_pb(epoch.owner.0) }
}

/// A voter configuration under the field `name`; none at all is the empty one.
pub fn voter_config(name: &str, given: Option<&journal::VoterConfig>) -> Result<VoterConfig, ApiError> {
    let Some(given) = given else { return Ok(VoterConfig::default()) };
    Ok(VoterConfig {
        generation: given.generation,
        current: voters(&within(name, "current"), &given.current)?,
        pending: voters(&within(name, "pending"), &given.pending)?,
    })
}

/// A voter configuration.
#[must_use]
pub fn voter_config_to_pb(config: &VoterConfig) -> journal::VoterConfig {
    journal::VoterConfig {
        generation: config.generation,
        current: config.current.iter().map(voter_to_pb).collect(),
        pending: config.pending.iter().map(voter_to_pb).collect(),
    }
}

pub(super) fn voter(name: &str, given: &journal::Voter) -> Result<Voter, ApiError> {
    if given.gateway.len() > MAX_GATEWAY_BYTES {
        let message = format_args!("is longer than {MAX_GATEWAY_BYTES} bytes");
        return Err(ApiError::invalid(within(name, "gateway"), message));
    }
    Ok(Voter { gateway: given.gateway.clone(), disk_id: field::id16(&within(name, "disk_id"), &given.disk_id)? })
}

pub(super) fn voter_to_pb(voter: &Voter) -> journal::Voter {
    journal::Voter { gateway: voter.gateway.clone(), disk_id: id16_to_pb(voter.disk_id) }
}

fn voters(name: &str, given: &[journal::Voter]) -> Result<Vec<Voter>, ApiError> {
    if given.len() > MAX_VOTERS {
        return Err(ApiError::invalid(name, format_args!("has more than {MAX_VOTERS} voters")));
    }
    given.iter().map(|given| voter(name, given)).collect()
}
