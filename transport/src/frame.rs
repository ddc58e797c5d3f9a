//! [`Frame`] and its 32-byte header on the wire (FORMAT.md, "Frame header").

use crate::{Body, ChannelId, Lane};
use bytes::Bytes;

/// Bytes of a header on the wire.
pub(crate) const HEADER: usize = 32;
/// Body CRC is absent and the field zero.
pub(crate) const NO_BODY_CRC: u8 = 1;
/// An unknown kind with this flag may be skipped.
pub(crate) const IGNORABLE: u8 = 2;
/// The call has an idempotency prefix.
pub(crate) const IDEMPOTENT: u8 = 4;
const KNOWN_FLAGS: u8 = NO_BODY_CRC | IGNORABLE | IDEMPOTENT;

/// What a frame is. The numbers are those on the wire.
///
/// # Examples
/// ```
/// use quorate_transport::Kind;
/// assert_eq!(Kind::from_byte(4), Some(Kind::Call));
/// assert_eq!(Kind::from_byte(17), None); // reserved
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// First frame of the dialer.
    Hello = 1,
    /// First frame of the acceptor.
    HelloAck = 2,
    /// One-way payload.
    Message = 3,
    /// Payload that wants an answer.
    Call = 4,
    /// The answer.
    Reply = 5,
    /// The call was not executed, or its outcome is unknown to the callee.
    Reject = 6,
    /// The caller gave up.
    Cancel = 7,
    /// Opens a byte stream.
    StreamOpen = 8,
    /// Bytes of a stream.
    StreamData = 9,
    /// Permission to send more of a stream.
    StreamCredit = 10,
    /// All bytes of a stream were sent.
    StreamEnd = 11,
    /// The receiver took the whole stream.
    StreamDone = 12,
    /// The stream is off.
    StreamReset = 13,
    /// Asks for a sign of life.
    Ping = 14,
    /// Gives it.
    Pong = 15,
    /// The connection ends on purpose.
    GoAway = 16,
}

impl Kind {
    /// All of them, by number.
    pub const ALL: [Self; 16] = [
        Self::Hello,
        Self::HelloAck,
        Self::Message,
        Self::Call,
        Self::Reply,
        Self::Reject,
        Self::Cancel,
        Self::StreamOpen,
        Self::StreamData,
        Self::StreamCredit,
        Self::StreamEnd,
        Self::StreamDone,
        Self::StreamReset,
        Self::Ping,
        Self::Pong,
        Self::GoAway,
    ];

    /// The kind with this number.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte).checked_sub(1)?).copied()
    }

    /// Whether the kind is part of an application's traffic (not handshake, ping or farewell).
    #[must_use]
    pub const fn is_application(self) -> bool {
        !matches!(self, Self::Hello | Self::HelloAck | Self::Ping | Self::Pong | Self::GoAway)
    }

    /// Whether the kind may travel on `lane` once the handshake is over.
    #[must_use]
    pub fn is_allowed_on(self, lane: Lane) -> bool {
        match self {
            Self::Hello | Self::HelloAck => false,
            Self::StreamOpen | Self::StreamData | Self::StreamEnd => lane == Lane::Bulk,
            Self::StreamCredit | Self::StreamDone => lane == Lane::Control,
            // The sender's on Bulk, the receiver's on Control.
            Self::StreamReset => lane != Lane::Data,
            _ => true,
        }
    }

    /// Kinds without a body.
    const fn is_bare(self) -> bool {
        matches!(
            self,
            Self::Cancel
                | Self::StreamCredit
                | Self::StreamDone
                | Self::StreamReset
                | Self::Ping
                | Self::Pong
                | Self::GoAway
        )
    }
}

/// A frame or handshake that is not what the format allows.
///
/// # Examples
/// ```
/// use quorate_transport::{Decoder, FrameError};
///
/// let mut decoder = Decoder::new(1024);
/// decoder.feed(&[0; 32]);
/// assert!(matches!(decoder.decode(), Err(FrameError::HeadCrc { .. })));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Effect: the frame is not delivered and its connection closes. Redialing helps.
    #[error("header crc is {found:08x}, expected {expected:08x}")]
    HeadCrc {
        /// Computed over the header.
        expected: u32,
        /// Read from it.
        found: u32,
    },
    /// Effect: the frame is not delivered and its connection closes. Redialing helps.
    #[error("body crc is {found:08x}, expected {expected:08x}")]
    BodyCrc {
        /// Read from the header.
        expected: u32,
        /// Computed over the body.
        found: u32,
    },
    /// Effect: nothing was allocated for it; its connection closes. The same frame fails again.
    #[error("body of {bytes} bytes exceeds {max}")]
    TooLarge {
        /// Length of the body.
        bytes: u64,
        /// The limit.
        max: u32,
    },
    /// Effect: the frame is not delivered and its connection closes. Redialing helps.
    #[error("sequence is {found}, expected {expected}")]
    Sequence {
        /// The next in order.
        expected: u32,
        /// Read from the header.
        found: u32,
    },
    /// Effect: the connection closes. The peer speaks a newer dialect; the same frame fails again.
    #[error("unknown kind {kind}")]
    UnknownKind {
        /// Read from the header.
        kind: u8,
    },
    /// Effect: the connection closes. The same frame fails again.
    #[error("malformed {what}")]
    Malformed {
        /// Which part.
        what: &'static str,
    },
}

impl FrameError {
    /// Whether the same exchange over a new connection can succeed.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::HeadCrc { .. } | Self::BodyCrc { .. } | Self::Sequence { .. })
    }

    /// Whether bytes were altered on the way.
    #[must_use]
    pub const fn is_corruption(self) -> bool {
        matches!(self, Self::HeadCrc { .. } | Self::BodyCrc { .. })
    }
}

/// One unit of transfer.
///
/// # Shape
/// 32 bytes of header plus the body; the body's length is at most the receiver's
/// [`Limits::frame_bytes_max`](crate::Limits).
///
/// # Examples
/// ```
/// use quorate_transport::{ChannelId, Decoder, Frame, Kind};
///
/// let frame = Frame::message(ChannelId::new(7), &b"hi"[..]);
/// let wire = frame.encode(0)?; // the first frame of a connection has sequence 0
/// let mut decoder = Decoder::new(1024);
/// decoder.feed(&wire);
/// assert_eq!(decoder.decode()?, Some(frame));
/// # Ok::<(), quorate_transport::FrameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// Bits: 1 no body CRC, 2 ignorable, 4 idempotent; others are refused.
    pub flags: u8,
    /// The component it is for.
    pub channel: ChannelId,
    /// Meaning by kind.
    pub aux: u32,
    /// Meaning by kind.
    pub id: u64,
    /// The payload.
    pub body: Body,
}

impl Frame {
    /// A frame of any kind with everything else zero.
    #[must_use]
    pub const fn new(kind: Kind, channel: ChannelId) -> Self {
        Self { kind, flags: 0, channel, aux: 0, id: 0, body: Body::empty() }
    }

    /// A one-way message.
    #[must_use]
    pub fn message(channel: ChannelId, body: impl Into<Body>) -> Self {
        Self { body: body.into(), ..Self::new(Kind::Message, channel) }
    }

    /// The same with another `id`.
    #[must_use]
    pub const fn with_id(mut self, id: u64) -> Self {
        self.id = id;
        self
    }

    /// The same with another `aux`.
    #[must_use]
    pub const fn with_aux(mut self, aux: u32) -> Self {
        self.aux = aux;
        self
    }

    /// The same with another body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// The same without a body CRC: the payload carries its own.
    #[must_use]
    pub const fn without_body_crc(mut self) -> Self {
        self.flags |= NO_BODY_CRC;
        self
    }

    /// Bytes on the wire and in a queue: header and body.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        HEADER.saturating_add(self.body.len())
    }

    /// The header as it goes before the body.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`] if the length does not fit its field. // H4
    pub fn encode_header(&self, sequence: u32) -> Result<[u8; 32], FrameError> {
        self.encode_header_as(sequence, false)
    }

    /// With `sealed`, the body (but that of a handshake) goes without its CRC: TLS protects it.
    pub(crate) fn encode_header_as(
        &self,
        sequence: u32,
        sealed: bool,
    ) -> Result<[u8; 32], FrameError> {
        let handshake = matches!(self.kind, Kind::Hello | Kind::HelloAck);
        let flags = if sealed && !handshake { self.flags | NO_BODY_CRC } else { self.flags };
        let bytes = self.body.len();
        let body_len = u32::try_from(bytes).map_err(|_| FrameError::TooLarge {
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
            max: u32::MAX,
        })?;
        let crc = if flags & NO_BODY_CRC == 0 { self.body.crc() } else { 0 };
        let mut out = [0; HEADER];
        out[0..4].copy_from_slice(&body_len.to_le_bytes());
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out[8] = self.kind as u8;
        out[9] = flags;
        out[10..12].copy_from_slice(&self.channel.value().to_le_bytes());
        out[12..16].copy_from_slice(&self.aux.to_le_bytes());
        out[16..24].copy_from_slice(&self.id.to_le_bytes());
        out[24..28].copy_from_slice(&sequence.to_le_bytes());
        let head_crc = crate::crc::crc(&out[..28]);
        out[28..32].copy_from_slice(&head_crc.to_le_bytes());
        Ok(out)
    }

    /// The whole frame in one buffer.
    ///
    /// # Errors
    /// As [`encode_header`](Self::encode_header).
    pub fn encode(&self, sequence: u32) -> Result<Vec<u8>, FrameError> {
        let header = self.encode_header(sequence)?;
        let mut out = Vec::with_capacity(self.wire_len());
        out.extend_from_slice(&header);
        for piece in self.body.pieces() {
            out.extend_from_slice(piece);
        }
        Ok(out)
    }
}

/// A header as read, CRC checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) body_len: u32,
    pub(crate) body_crc: u32,
    kind: u8,
    flags: u8,
    channel: u16,
    aux: u32,
    id: u64,
    pub(crate) sequence: u32,
}

impl Header {
    /// Header CRC before anything else is believed, the length above all. // H6
    pub(crate) fn decode(raw: &[u8; HEADER]) -> Result<Self, FrameError> {
        let word = |at: usize| u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]);
        let (expected, found) = (crate::crc::crc(&raw[..28]), word(28));
        if expected != found && !crate::mutant::on("head_crc_after_length") {
            return Err(FrameError::HeadCrc { expected, found });
        }
        Ok(Self {
            body_len: word(0),
            body_crc: word(4),
            kind: raw[8],
            flags: raw[9],
            channel: u16::from_le_bytes([raw[10], raw[11]]),
            aux: word(12),
            id: u64::from(word(16)) | u64::from(word(20)) << 32,
            sequence: word(24),
        })
    }

    /// What the format says of flags, kind and length, but not of the body.
    pub(crate) fn check(&self) -> Result<(), FrameError> {
        if self.flags & !KNOWN_FLAGS != 0 {
            return Err(FrameError::Malformed { what: "flags" });
        }
        if self.flags & NO_BODY_CRC != 0 && self.body_crc != 0 {
            return Err(FrameError::Malformed { what: "body crc field" });
        }
        let Some(kind) = Kind::from_byte(self.kind) else {
            let skip = self.flags & IGNORABLE != 0;
            return if skip { Ok(()) } else { Err(FrameError::UnknownKind { kind: self.kind }) };
        };
        let handshake = matches!(kind, Kind::Hello | Kind::HelloAck);
        if handshake && self.flags & NO_BODY_CRC != 0 {
            return Err(FrameError::Malformed { what: "handshake without body crc" });
        }
        if self.flags & IDEMPOTENT != 0 && kind != Kind::Call {
            return Err(FrameError::Malformed { what: "flags" });
        }
        if kind.is_bare() && self.body_len != 0 {
            return Err(FrameError::Malformed { what: "body of a kind that has none" });
        }
        if kind == Kind::Reject && self.body_len > crate::REJECT_DETAIL_MAX {
            return Err(FrameError::Malformed { what: "reject detail" });
        }
        Ok(())
    }

    /// The frame, or `None` for an unknown kind that may be skipped.
    pub(crate) fn into_frame(self, body: Bytes) -> Result<Option<Frame>, FrameError> {
        if self.flags & NO_BODY_CRC == 0 {
            let found = crate::crc::crc(&body);
            if found != self.body_crc {
                return Err(FrameError::BodyCrc { expected: self.body_crc, found });
            }
        }
        let Some(kind) = Kind::from_byte(self.kind) else { return Ok(None) };
        Ok(Some(Frame {
            kind,
            flags: self.flags,
            channel: ChannelId::new(self.channel),
            aux: self.aux,
            id: self.id,
            body: body.into(),
        }))
    }
}
