//! What goes over the wire: the generated protobuf types and gRPC stubs, the conversions between them and the
//! system's own types with the complete check of everything a stranger may send, the one table of error codes, how
//! connections are set up on both sides, and clients that know how to retry.
//!
//! Deliberately absent: services (they are in `services/`), names and addresses of instances, authentication, and
//! the binary layout of the journal (`journal-core`).

pub mod access;
pub mod api_key;
pub mod client;
pub mod codec;
pub mod convert;
pub mod forwarding;
pub mod pb;
pub mod status;
pub mod trace;
pub mod transport;

/// Descriptors of all services and of what they import, encoded, as gRPC reflection serves them.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("hivemind");
