//! The protobuf codec of the generated stubs: tonic's own, but for what a message that cannot be decoded is called.
//! tonic says INTERNAL; here it is INVALID_ARGUMENT with the path of the bad field, since the sender is at fault.
//!
//! Deliberately absent: compression and buffer sizes (tonic's defaults), limits of size (set where services are
//! mounted).

use std::marker::PhantomData;

use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstDecoder, ProstEncoder};

use crate::status::ApiError;

/// Encodes `T`, decodes `U`.
#[derive(Clone, Copy, Debug)]
pub struct ProtobufCodec<T, U>(PhantomData<(T, U)>);

/// Decodes `U`.
#[derive(Clone, Debug)]
pub struct ProtobufDecoder<U>(ProstDecoder<U>);

impl<T, U> Default for ProtobufCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Message + Send + 'static, U: Message + Default + Send + 'static> Codec for ProtobufCodec<T, U> {
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProtobufDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProtobufDecoder(ProstDecoder::default())
    }
}

impl<U: Message + Default> Decoder for ProtobufDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        self.0.decode(buffer).map_err(|status| ApiError::invalid("", status.message()).into())
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}
