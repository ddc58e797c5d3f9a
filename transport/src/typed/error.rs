//! What can become of typed sends and calls.

use crate::codec::CodecError;
use crate::{CallError, Reject, SendError};

/// A value that was not sent.
///
/// # Examples
/// ```
/// use quorate_transport::{SendError, TypedSendError};
/// let error = TypedSendError::from(SendError::Full);
/// assert!(error.is_retryable());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TypedSendError {
    /// Effect: nothing was sent. The same value fails again.
    #[error("not encoded: {0}")]
    Codec(#[from] CodecError),
    /// Effect: nothing was sent. Retry as the inner error says.
    #[error(transparent)]
    Send(#[from] SendError),
}

impl TypedSendError {
    /// Whether the same value can be sent later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::Codec(error) => error.is_retryable(),
            Self::Send(error) => error.is_retryable(),
        }
    }
}

/// A typed call without an answer that can be read.
///
/// # Examples
/// ```
/// use quorate_transport::{CallError, CodecError, Reject, TypedCallError};
/// assert!(TypedCallError::Request(CodecError::Encode).is_definite());
/// assert!(!TypedCallError::Answer(CodecError::Trailing { bytes: 1 }).is_definite());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TypedCallError {
    /// Effect: the handler had none: the request was not encoded. The same request fails again.
    #[error("request not encoded: {0}")]
    Request(CodecError),
    /// Effect: as the inner error says, retry too. A callee that cannot decode the request gives
    /// `Rejected(Application)` with the code [`CodecError::REJECT_CODE`]: not executed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Effect: the handler ran and answered; the answer cannot be read. The same call would be
    /// executed again, and fail again.
    #[error("answer not decoded: {0}")]
    Answer(CodecError),
}

impl TypedCallError {
    /// Whether it is sure that the handler had no effect.
    #[must_use]
    pub const fn is_definite(&self) -> bool {
        match self {
            Self::Request(_) => true,
            Self::Call(error) => error.is_definite(),
            Self::Answer(_) => false,
        }
    }

    /// Whether the same call is safe to make again and can succeed.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Call(error) => error.is_retryable(),
            Self::Request(_) | Self::Answer(_) => false,
        }
    }

    /// Whether the callee said that it could not decode the request.
    #[must_use]
    pub const fn is_undecodable_request(&self) -> bool {
        matches!(
            self,
            Self::Call(CallError::Rejected(Reject::Application { code, .. }))
                if *code == CodecError::REJECT_CODE
        )
    }
}
