//! Byte streams: options and the ways they can end.

mod recv;
mod send;

pub use recv::RecvStream;
pub use send::SendStream;

use crate::SendError;
use std::time::Duration;

/// Longest piece of a stream in one frame, and longest head.
pub(crate) const CHUNK_MAX: usize = 64 * 1024;

/// How a stream is sent.
///
/// # Examples
/// ```
/// use quorate_transport::StreamOptions;
/// use std::time::Duration;
/// let options = StreamOptions::new().stall_max(Duration::from_secs(120));
/// # let _ = options;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct StreamOptions {
    pub(crate) stall_max: Duration,
}

impl StreamOptions {
    /// The defaults.
    pub const fn new() -> Self {
        Self { stall_max: Duration::from_secs(30) }
    }

    /// How long one `send` or `finish` waits without any progress before the stream is given up.
    /// Default 30 s · any · too small → a receiver that is busy with the last bytes is given up ·
    /// too large → a receiver that never reads holds the sender.
    pub const fn stall_max(mut self, d: Duration) -> Self {
        self.stall_max = d;
        self
    }
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a stream is over before its end.
///
/// # Examples
/// ```
/// use quorate_transport::StreamError;
/// assert!(StreamError::Overloaded.is_retryable());
/// assert!(!StreamError::MaybeReceived.is_definite());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// Effect: the receiver drops what it had. The transport refused a frame; retry as the inner
    /// error says.
    #[error("stream not sent: {0}")]
    NotSent(SendError),
    /// Effect: none. The receiver had no room for another stream, or its inbox was full: retry
    /// later.
    #[error("receiver is overloaded")]
    Overloaded,
    /// Effect: none. Nobody serves the channel there: retry helps once somebody does.
    #[error("nobody serves the channel")]
    NoHandler,
    /// Effect: the other application ended it with a code of its own; retry as that code says.
    #[error("stream reset with code {code}")]
    Reset {
        /// Its own number.
        code: u16,
    },
    /// Effect: the other side dropped its end unfinished. Retry may help.
    #[error("other side dropped the stream")]
    Abandoned,
    /// Effect: the receiver has not got the whole stream. A session ended, or the endpoint was shut
    /// down: a new stream helps.
    #[error("session ended before the end of the stream")]
    Disconnected,
    /// Effect: unknown: everything was sent, and whether the receiver accepted it is not known. Ask
    /// it before sending again.
    #[error("whether the receiver took the stream is not known")]
    MaybeReceived,
    /// Effect: what was received is incomplete and must not be used. A new stream helps.
    #[error("stream is cut: received {received:?} of {expected:?} bytes")]
    Truncated {
        /// What the sender said it sent, if it did.
        expected: Option<u64>,
        /// What came, if that is known here.
        received: Option<u64>,
    },
    /// Effect: what was received is wrong and must not be used. A new stream helps.
    #[error("checksum of the stream is wrong")]
    Checksum,
    /// Effect: the stream is over. One side broke the rules of credit or order; the same exchange
    /// fails again.
    #[error("rules of flow control were broken")]
    Flow,
    /// Effect: the stream is reset. It was accepted before its end came.
    #[error("stream was accepted before its end")]
    Unfinished,
    /// Effect: the stream is reset. Nothing moved for `stall_max`: retry later.
    #[error("nothing moved for too long")]
    Stalled,
}

impl StreamError {
    /// Whether it is sure that the receiver's application did not accept the stream.
    #[must_use]
    pub const fn is_definite(self) -> bool {
        !matches!(self, Self::MaybeReceived)
    }

    /// Whether a new stream with the same bytes is safe and can succeed.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::NotSent(error) => error.is_retryable(),
            Self::Overloaded
            | Self::NoHandler
            | Self::Abandoned
            | Self::Disconnected
            | Self::Truncated { .. }
            | Self::Checksum
            | Self::Stalled => true,
            Self::Reset { .. } | Self::MaybeReceived | Self::Flow | Self::Unfinished => false,
        }
    }

    /// Whether bytes were altered on the way.
    #[must_use]
    pub const fn is_corruption(self) -> bool {
        matches!(self, Self::Checksum)
    }
}
