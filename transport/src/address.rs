//! [`Address`]: where a node listens, as text that is resolved anew at every dial.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

/// `host:port` or `[v6]:port`, at most 255 bytes.
///
/// A name is resolved at each dial, so that a node that moved is found again. // H31
///
/// # Examples
/// ```
/// use quorate_transport::Address;
///
/// let a: Address = "db-1.internal:7400".parse()?;
/// assert_eq!(a.as_str(), "db-1.internal:7400");
/// assert!("db-1.internal".parse::<Address>().is_err());
/// assert!("::1:7400".parse::<Address>().is_err()); // IPv6 needs its brackets
/// # Ok::<(), quorate_transport::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Arc<str>);

/// Text that is not an [`Address`].
///
/// # Examples
/// ```
/// use quorate_transport::{Address, AddressError};
/// assert!(matches!("host:99999".parse::<Address>(), Err(AddressError::Port)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Effect: none. Retry never helps: longer than 255 bytes.
    #[error("address of {bytes} bytes exceeds 255")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Effect: none. Retry never helps: the host part is missing or has characters no host has.
    #[error("address has no valid host")]
    Host,
    /// Effect: none. Retry never helps: the port is missing or not a number up to 65,535.
    #[error("address has no valid port")]
    Port,
}

impl AddressError {
    /// Never: the same text fails again.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        false
    }
}

impl Address {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.len() > 255 {
            return Err(AddressError::TooLong { bytes: text.len() });
        }
        if text.parse::<SocketAddr>().is_ok() {
            return Ok(Self(text.into()));
        }
        let (host, port) = text.rsplit_once(':').ok_or(AddressError::Port)?;
        let in_host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        if host.is_empty() || !host.bytes().all(in_host) {
            return Err(AddressError::Host);
        }
        if !port.bytes().all(|b| b.is_ascii_digit()) || port.parse::<u16>().is_err() {
            return Err(AddressError::Port);
        }
        Ok(Self(text.into()))
    }
}

impl From<SocketAddr> for Address {
    fn from(a: SocketAddr) -> Self {
        Self(a.to_string().into())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
