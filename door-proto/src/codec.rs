//! How messages become bytes: as `tonic` does it, with smaller buffers.
//!
//! Each call has two, for as long as it lasts; a door follows each transfer by a call that lasts as long as the transfer,
//! and most messages have some hundred bytes. The usual 8 KiB at both ends would be most of what a slow transfer costs.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstDecoder, ProstEncoder};

/// What a buffer begins with, in bytes.
const FIRST_BYTES: usize = 1 << 10;
/// Messages that are ready are sent together up to so many bytes.
const TOGETHER_BYTES: usize = 32 << 10;

/// Protocol buffers by `prost`.
#[derive(Debug, Clone)]
pub struct SmallBuffers<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for SmallBuffers<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for SmallBuffers<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(BufferSettings::new(FIRST_BYTES, TOGETHER_BYTES))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::new(FIRST_BYTES, TOGETHER_BYTES))
    }
}
