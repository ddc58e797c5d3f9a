//! Options of the sockets.

use crate::{BindError, DatagramMode, Lane, TcpConfig};
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, UdpSocket};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Ports the operating system may offer until one is free for both protocols.
const PORTS_MAX: u32 = 16;

/// Bytes the kernel may hold unsent on the lanes that must stay quick.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_MAX: u32 = 128 * 1024;

/// Sets what can be set; a platform that refuses an option works without it.
pub(super) fn tune(stream: &TcpStream, lane: Lane, config: &TcpConfig) {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(5))
        .with_interval(Duration::from_secs(4))
        .with_retries(3);
    let _ = stream.set_nodelay(true); // H18
    let _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        // Half-open connections must not take minutes of data. // H17
        let _ = socket.set_tcp_user_timeout(Some(config.user_timeout));
        if lane != Lane::Bulk {
            let _ = socket.set_tcp_notsent_lowat(UNSENT_MAX); // H14
        }
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = (lane, config);
}

/// Ends one or both directions; the other end of the task notices.
pub(super) fn shutdown(stream: &TcpStream, how: Shutdown) {
    let _ = SockRef::from(stream).shutdown(how);
}

/// The listener, and the socket of datagrams on the same port number, as far as they are wanted.
pub(super) fn bind(
    config: &TcpConfig,
    listens: bool,
) -> Result<(Option<TcpListener>, Option<UdpSocket>), BindError> {
    let wants_udp = config.datagram_mode() == DatagramMode::Udp;
    let address = config.listen;
    let failed = |error: io::Error| BindError::Io { address, kind: error.kind() };
    if !listens {
        // Whoever only dials sends from any port, and is answered there.
        let any: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let udp = wants_udp.then(|| UdpSocket::bind((any, 0))).transpose().map_err(failed)?;
        return Ok((None, udp));
    }
    let mut tries = 0;
    loop {
        let listener = listen(address).map_err(failed)?;
        if !wants_udp {
            return Ok((Some(listener), None));
        }
        tries += 1;
        match listener.local_addr().and_then(UdpSocket::bind) {
            Ok(udp) => return Ok((Some(listener), Some(udp))),
            Err(_) if address.port() == 0 && tries < PORTS_MAX => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// H18, H17, H14: what the kernel was told of a connection.
    #[tokio::test]
    async fn h18_small_frames_leave_at_once_and_half_open_connections_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let config = TcpConfig::lan().user_timeout(Duration::from_secs(7)).build().unwrap();
        for lane in Lane::ALL {
            let stream = TcpStream::connect(at).await.unwrap();
            assert!(!stream.nodelay().unwrap(), "Nagle is on by default");
            tune(&stream, lane, &config);
            assert!(stream.nodelay().unwrap());
            let socket = SockRef::from(&stream);
            assert!(socket.keepalive().unwrap());
            #[cfg(target_os = "linux")]
            {
                let timeout = socket.tcp_user_timeout().unwrap();
                assert_eq!(timeout, Some(Duration::from_secs(7)));
                let bounded = socket.tcp_notsent_lowat().unwrap() == UNSENT_MAX;
                assert_eq!(bounded, lane != Lane::Bulk, "{lane}");
            }
        }
    }
}
