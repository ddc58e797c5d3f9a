//! Options of the sockets.

use crate::{Lane, TcpConfig};
use socket2::{SockRef, TcpKeepalive};
use std::net::Shutdown;
use std::time::Duration;
use tokio::net::TcpStream;

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
