//! [`TlsIdentity`]: the certificates of one node, and whom it believes. TLS 1.3 only.

mod config;
mod names;

pub(crate) use config::reason_of;
pub(crate) use names::{names, server_name};

use config::Configs;
use rustls::{ClientConfig, ServerConfig};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// Certificates that cannot be used.
///
/// # Examples
/// ```
/// use quorate_transport::{TlsError, TlsIdentity};
/// let error = TlsIdentity::from_pem(b"", b"", b"").unwrap_err();
/// assert_eq!(error, TlsError::Empty { what: "ca" });
/// assert!(!error.is_retryable());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// Effect: none. Retry never helps: the text is not PEM.
    #[error("{what} is not pem: {reason}")]
    Pem {
        /// Which text.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Effect: none. Retry never helps: the text has no such section.
    #[error("{what} is empty")]
    Empty {
        /// Which text.
        what: &'static str,
    },
    /// Effect: none. Retry never helps: TLS does not take it, as a key that is not the
    /// certificate's.
    #[error("{what} is refused: {reason}")]
    Refused {
        /// Which part.
        what: &'static str,
        /// What TLS says of it.
        reason: String,
    },
}

impl TlsError {
    /// Never: the same texts fail again.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        false
    }
}

/// Whether dialers must show a certificate.
///
/// # Examples
/// ```
/// use quorate_transport::{ClientCertificates, TcpConfig};
/// let config = TcpConfig::lan().client_certificates(ClientCertificates::Optional).build()?;
/// # Ok::<(), quorate_transport::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientCertificates {
    /// Whoever has none is refused.
    Required,
    /// Whoever has none may join as a [`Role::Client`](crate::Role::Client) that is not
    /// authenticated. A certificate that is shown must be right.
    Optional,
}

/// The certificates of one node, and the authorities it believes; clones share them.
///
/// # Shape
/// The subject alternative names (DNS) of a node's certificate:
/// `n<node>.c<cluster, 32 hex digits>.quorate.internal` and
/// `c<cluster, 32 hex digits>.quorate.internal`. Both ends of a connection check the other's name
/// against what it says in the handshake. A certificate with extended key usages needs those of
/// client and server.
///
/// # Examples
/// ```no_run
/// use quorate_transport::{TcpConfig, TlsIdentity};
///
/// // no_run: it reads files that the reader has to make.
/// let pem = |name| std::fs::read(format!("/etc/node/{name}.pem"));
/// let identity = TlsIdentity::from_pem(&pem("ca")?, &pem("chain")?, &pem("key")?)?;
/// let config = TcpConfig::lan().tls(identity).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct TlsIdentity(Arc<Configs>);

impl TlsIdentity {
    /// From PEM: the authorities believed, the own certificate first in its chain, its key.
    ///
    /// # Errors
    /// [`TlsError`] if any of them cannot be used. Whether the names are those of this node is for
    /// its peers to say.
    pub fn from_pem(ca: &[u8], chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Configs::from_pem(ca, Some((chain, key))).map(|configs| Self(Arc::new(configs)))
    }

    /// From PEM, without an own certificate: for a [`Role::Client`](crate::Role::Client) where
    /// those are [`Optional`](ClientCertificates::Optional).
    ///
    /// # Errors
    /// [`TlsError`] if the authorities cannot be used.
    pub fn anonymous_from_pem(ca: &[u8]) -> Result<Self, TlsError> {
        Configs::from_pem(ca, None).map(|configs| Self(Arc::new(configs)))
    }

    /// Whether it has a certificate of its own: without one nobody can be let in.
    pub(crate) fn can_listen(&self) -> bool {
        self.0.required.is_some()
    }

    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        self.0.client.clone()
    }

    /// `None` without an own certificate.
    pub(crate) fn server(&self, demand: ClientCertificates) -> Option<Arc<ServerConfig>> {
        match demand {
            ClientCertificates::Required => self.0.required.clone(),
            ClientCertificates::Optional => self.0.optional.clone(),
        }
    }
}

/// The same certificates, not merely equal ones.
impl PartialEq for TlsIdentity {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for TlsIdentity {}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity").finish_non_exhaustive()
    }
}

/// Exchanges the certificates of a running transport; clones share it.
///
/// # Examples
/// ```
/// use quorate_transport::{TlsHandle, TlsIdentity};
/// fn renew(handle: &TlsHandle, ca: &[u8], chain: &[u8], key: &[u8]) -> bool {
///     TlsIdentity::from_pem(ca, chain, key).map(|new| handle.reload(new)).is_ok()
/// }
/// # let _ = renew;
/// ```
#[derive(Clone, Debug)]
pub struct TlsHandle(Arc<RwLock<TlsIdentity>>);

impl TlsHandle {
    pub(crate) fn new(identity: TlsIdentity) -> Self {
        Self(Arc::new(RwLock::new(identity)))
    }

    /// From here on, connections are dialed and accepted with these certificates. Those that stand
    /// stay; [`Transport::reset`](crate::Transport::reset) ends one. Nothing is resumed from
    /// before. // H40
    pub fn reload(&self, identity: TlsIdentity) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = identity;
    }

    /// One identity, whole: client and server side change together. // H40
    pub(crate) fn current(&self) -> TlsIdentity {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
