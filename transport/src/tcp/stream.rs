//! [`Stream`]: a connection before it has its tasks, plain or sealed by TLS.

use super::shared::Shared;
use super::wire::{Plain, Source, Wire};
use crate::{DownReason, NodeId, Role};
use bytes::BufMut;
use std::io::{self, IoSlice};
use std::task::{Context, Poll};
use tokio::net::TcpStream;
#[cfg(feature = "tls")]
use {
    crate::tls,
    std::{io::ErrorKind, pin::Pin, pin::pin},
    tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream},
};

/// Bytes TLS holds back at most, each direction of sealing. // H21
#[cfg(feature = "tls")]
const SEALED_MAX: usize = 256 * 1024;
/// Bytes read and dropped of whoever is refused in the middle of TLS.
#[cfg(feature = "tls")]
const LINGER_MAX: usize = 64 * 1024;

/// A stream under TLS: one task owns it and polls it in both directions.
#[cfg(feature = "tls")]
pub(super) type Sealed = Box<TlsStream<TcpStream>>;

pub(super) enum Stream {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Sealed(Sealed),
}

/// What a certificate says about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// There is no TLS, so nothing is proven and nothing demanded.
    Open,
    /// TLS without a certificate of the other side.
    #[cfg(feature = "tls")]
    Missing,
    /// A certificate of somebody else.
    #[cfg(feature = "tls")]
    Other,
    /// A certificate of this node of this cluster.
    #[cfg(feature = "tls")]
    Proven,
}

impl Proof {
    /// Whether whoever says to be somebody may: only clients without a certificate may, where the
    /// configuration let them through TLS. // H23
    pub(super) fn admits(self, role: Role) -> bool {
        let _ = role;
        match self {
            Self::Open => true,
            #[cfg(feature = "tls")]
            Self::Proven => true,
            #[cfg(feature = "tls")]
            Self::Missing => role == Role::Client,
            #[cfg(feature = "tls")]
            Self::Other => false,
        }
    }

    /// Whether there is TLS and whoever is there proved nothing.
    pub(super) fn is_anonymous(self) -> bool {
        !matches!(self, Self::Open) && !self.is_proven()
    }

    /// Whether a certificate names the node. // G10
    pub(super) fn is_proven(self) -> bool {
        self != Self::Open && self.admits(Role::Member)
    }
}

impl Stream {
    /// The dialer's side of TLS, if there is TLS: the server must prove to be `target`, or any node
    /// of the cluster.
    pub(super) async fn dial(
        shared: &Shared,
        tcp: TcpStream,
        target: Option<NodeId>,
    ) -> Result<Self, DownReason> {
        #[cfg(feature = "tls")]
        if let Some(handle) = &shared.tls {
            let name = tls::server_name(shared.identity.cluster, target)?;
            let connector = TlsConnector::from(handle.current().client());
            let dialed = connector.connect(name, tcp).await.map_err(|error| {
                shared.counters.tls_errors.add(1);
                tracing::debug!(%error, "tls refused");
                reason_of(&error)
            })?;
            return Ok(Self::seal(dialed.into()));
        }
        let _ = (shared, target);
        Ok(Self::Plain(tcp))
    }

    /// The acceptor's side of TLS, if there is TLS.
    pub(super) async fn accept(shared: &Shared, tcp: TcpStream) -> Result<Self, DownReason> {
        #[cfg(feature = "tls")]
        if let Some(handle) = &shared.tls {
            let config = handle.current().server(shared.config.client_certificates);
            let config = config.ok_or(DownReason::Identity)?;
            let accepting = TlsAcceptor::from(config).accept(tcp).into_fallible();
            return match accepting.await {
                Ok(accepted) => Ok(Self::seal(accepted.into())),
                Err((error, mut tcp)) => {
                    shared.counters.tls_errors.add(1);
                    let remote = tcp.peer_addr().ok();
                    if remote.is_none_or(|remote| shared.may_warn(remote.ip())) {
                        tracing::warn!(?remote, %error, "tls handshake refused");
                    }
                    linger(&mut tcp).await;
                    Err(reason_of(&error))
                }
            };
        }
        let _ = shared;
        Ok(Self::Plain(tcp))
    }

    #[cfg(feature = "tls")]
    fn seal(mut stream: TlsStream<TcpStream>) -> Self {
        match &mut stream {
            TlsStream::Client(stream) => stream.get_mut().1.set_buffer_limit(Some(SEALED_MAX)),
            TlsStream::Server(stream) => stream.get_mut().1.set_buffer_limit(Some(SEALED_MAX)),
        }
        Self::Sealed(Box::new(stream))
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            #[cfg(feature = "tls")]
            Self::Sealed(stream) => stream.get_ref().0,
        }
    }

    /// What the other side's certificate says about `node`. The chain was verified by TLS already.
    pub(super) fn proof(&self, shared: &Shared, node: NodeId) -> Proof {
        match self {
            Self::Plain(_) => {
                let _ = (shared, node);
                Proof::Open
            }
            #[cfg(feature = "tls")]
            Self::Sealed(stream) => {
                let chain = match &**stream {
                    TlsStream::Client(stream) => stream.get_ref().1.peer_certificates(),
                    TlsStream::Server(stream) => stream.get_ref().1.peer_certificates(),
                };
                match chain.and_then(<[_]>::first) {
                    None => Proof::Missing,
                    Some(leaf) if tls::names(leaf, shared.identity.cluster, node) => Proof::Proven,
                    Some(_) => Proof::Other,
                }
            }
        }
    }
}

/// A refusal must reach the other side: closing over bytes that were not read would make the kernel
/// take back the alert that says why. Bounded by the time of the handshake.
#[cfg(feature = "tls")]
async fn linger(tcp: &mut TcpStream) {
    let _ = tcp.shutdown().await;
    let (mut waste, mut read) = ([0; 1024], 0);
    while let Ok(n @ 1..) = tcp.read(&mut waste).await {
        read += n;
        if read > LINGER_MAX {
            return;
        }
    }
}

/// Why a stream failed: what TLS says of certificates is about identity.
pub(super) fn reason_of(error: &io::Error) -> DownReason {
    #[cfg(feature = "tls")]
    if let Some(reason) = tls::reason_of(error) {
        return reason;
    }
    DownReason::Io(error.kind())
}

impl Source for Stream {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        space: &mut dyn BufMut,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => Plain(tcp).poll_read(cx, space),
            #[cfg(feature = "tls")]
            Self::Sealed(stream) => stream.poll_read(cx, space),
        }
    }
}

impl Wire for Stream {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => Plain(tcp).poll_write(cx, slices),
            #[cfg(feature = "tls")]
            Self::Sealed(stream) => stream.poll_write(cx, slices),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Plain(tcp).poll_flush(cx),
            #[cfg(feature = "tls")]
            Self::Sealed(stream) => stream.poll_flush(cx),
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Plain(tcp) => Plain(tcp).poll_close(cx),
            #[cfg(feature = "tls")]
            Self::Sealed(stream) => stream.poll_close(cx),
        }
    }
}

#[cfg(feature = "tls")]
impl Source for Sealed {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        space: &mut dyn BufMut,
    ) -> Poll<io::Result<usize>> {
        // A future that takes nothing while it is pending: it may be made anew each time. // H1
        pin!((**self).read_buf(&mut &mut *space)).poll(cx)
    }
}

#[cfg(feature = "tls")]
impl Wire for Sealed {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut **self).poll_write_vectored(cx, slices)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut **self).poll_flush(cx) // H21
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut **self).poll_shutdown(cx).map(|outcome| match outcome {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotConnected => {}
            Err(error) => tracing::debug!(%error, "tls close failed"),
        })
    }
}
