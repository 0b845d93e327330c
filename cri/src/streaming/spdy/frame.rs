//! Frames as bytes: pure. <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/>, section 2.2.

use bytes::{BufMut, BytesMut};

use super::headers::{EmptyBlocks, Headers, Inflater};
use crate::streaming::channel::Out;

/// Bytes before each frame's payload.
pub const HEADER: usize = 8;
/// The payload of a control frame; what clients send has some 100 bytes.
pub const CONTROL_LIMIT: u32 = 16 * 1024;

const CONTROL: u8 = 0x80;
const VERSION: u16 = 3;
const FIN: u8 = 1;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const SETTINGS: u16 = 4;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const WINDOW_UPDATE: u16 = 9;

/// Reasons of RST_STREAM.
const REFUSED_STREAM: u32 = 3;
const CANCEL: u32 = 5;

/// What ends a connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum FrameError {
    #[error("version {0} of SPDY; 3 is served")]
    Version(u16),
    #[error("frame of unknown type {0}")]
    Type(u16),
    #[error("frame of type {kind} with {length} bytes")]
    Length { kind: u16, length: u32 },
    #[error("stream 0")]
    StreamZero,
    #[error("header block: {0}")]
    Headers(&'static str),
}

/// A frame's first eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// Bytes of a stream.
    Data {
        /// The stream.
        stream: u32,
        /// The last ones.
        fin: bool,
        /// How many follow.
        length: u32,
    },
    /// All else.
    Control {
        /// What.
        kind: u16,
        /// Its flags.
        flags: u8,
        /// Bytes that follow.
        length: u32,
    },
}

impl Header {
    /// Reads them.
    pub fn read(bytes: [u8; HEADER]) -> Result<Self, FrameError> {
        let [a, b, c, d, flags, x, y, z] = bytes;
        let length = u32::from_be_bytes([0, x, y, z]);
        if a & CONTROL == 0 {
            let stream = u32::from_be_bytes([a, b, c, d]);
            return match stream {
                0 => Err(FrameError::StreamZero),
                _ => Ok(Self::Data { stream, fin: flags & FIN != 0, length }),
            };
        }
        let version = u16::from_be_bytes([a & !CONTROL, b]);
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        let kind = u16::from_be_bytes([c, d]);
        if length > CONTROL_LIMIT {
            return Err(FrameError::Length { kind, length });
        }
        Ok(Self::Control { kind, flags, length })
    }
}

/// A control frame of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// A new stream.
    Open {
        /// Its number.
        stream: u32,
        /// No bytes come on it.
        fin: bool,
        /// Its headers.
        headers: Headers,
    },
    /// A stream is over, both ways.
    Reset {
        /// Which.
        stream: u32,
    },
    /// To be sent back.
    Ping {
        /// Its number; even ones would answer ours.
        id: u32,
    },
    /// No more streams will come.
    GoAway,
    /// Nothing to do: settings, windows (clients keep none), headers of a stream that is open already.
    Nothing,
}

impl Control {
    /// Reads the payload of a control frame. `inflater` sees every header block there is, in its order.
    pub fn read(kind: u16, flags: u8, payload: &[u8], inflater: &mut Inflater) -> Result<Self, FrameError> {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let wrong = FrameError::Length { kind, length };
        let number = |at: usize| {
            let bytes = payload.get(at..).and_then(|rest| rest.first_chunk::<4>());
            bytes.map(|bytes| u32::from_be_bytes(*bytes)).ok_or(wrong.clone())
        };
        let stream = || match number(0)? & 0x7fff_ffff {
            0 => Err(FrameError::StreamZero),
            stream => Ok(stream),
        };
        let exactly = |bytes: u32| if length == bytes { Ok(()) } else { Err(wrong.clone()) };
        match kind {
            SYN_STREAM => {
                let block = payload.get(10..).ok_or(wrong.clone())?;
                Ok(Self::Open { stream: stream()?, fin: flags & FIN != 0, headers: inflater.read(block)? })
            }
            SYN_REPLY | HEADERS => {
                stream()?;
                inflater.read(payload.get(4..).unwrap_or_default())?;
                Ok(Self::Nothing)
            }
            RST_STREAM => exactly(8).and_then(|()| Ok(Self::Reset { stream: stream()? })),
            PING => exactly(4).and_then(|()| Ok(Self::Ping { id: number(0)? })),
            GOAWAY => exactly(8).map(|()| Self::GoAway),
            WINDOW_UPDATE => exactly(8).map(|()| Self::Nothing),
            SETTINGS => match number(0)?.checked_mul(8).and_then(|bytes| bytes.checked_add(4)) {
                Some(bytes) if bytes == length => Ok(Self::Nothing),
                _ => Err(wrong.clone()),
            },
            other => Err(FrameError::Type(other)),
        }
    }
}

/// Writes a server's frames.
#[derive(Debug, Default)]
pub struct Writer {
    blocks: EmptyBlocks,
}

impl Writer {
    /// Adds a frame to what is to be sent.
    pub fn put(&mut self, to: &mut BytesMut, frame: &Out) {
        match frame {
            Out::Data { stream, data } => put_data(to, *stream, 0, data),
            Out::End { stream } => put_data(to, *stream, FIN, &[]),
            Out::Accept { stream } => {
                let block = self.blocks.next();
                put_control(to, SYN_REPLY, 4 + block.len() as u32);
                to.put_u32(*stream);
                to.put_slice(block);
            }
            Out::Refuse { stream } => put_pair(to, RST_STREAM, *stream, REFUSED_STREAM),
            Out::Reset { stream } => put_pair(to, RST_STREAM, *stream, CANCEL),
            Out::Ping { id } => {
                put_control(to, PING, 4);
                to.put_u32(*id);
            }
            // Its last stream is for clients that would try later ones again; there are none.
            Out::Close { failed } => put_pair(to, GOAWAY, 0, u32::from(*failed)),
        }
    }
}

fn put_data(to: &mut BytesMut, stream: u32, flags: u8, data: &[u8]) {
    to.put_u32(stream);
    // Pieces have at most some KiB: 24 bits.
    to.put_u32(u32::from(flags) << 24 | data.len() as u32);
    to.put_slice(data);
}

fn put_control(to: &mut BytesMut, kind: u16, length: u32) {
    to.put_u16(u16::from(CONTROL) << 8 | VERSION);
    to.put_u16(kind);
    to.put_u32(length);
}

fn put_pair(to: &mut BytesMut, kind: u16, first: u32, second: u32) {
    put_control(to, kind, 8);
    to.put_u32(first);
    to.put_u32(second);
}

#[cfg(test)]
pub mod tests;
