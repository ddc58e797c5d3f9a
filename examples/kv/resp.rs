//! RESP over TCP: takes requests off a connection, answers in their order. Consecutive writes of a
//! connection become one entry of the log, consecutive reads share one confirmation.

mod request;
mod session;

pub(crate) use request::{Requests, Taken};

use crate::machine::Machine;
use quorate_clocks::Clock;
use quorate_raft::Node;
use session::Session;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub(crate) const KEY_BYTES_MAX: usize = 64 << 10;
pub(crate) const VALUE_BYTES_MAX: usize = 8 << 20;

/// What the connections of a node share.
pub(crate) struct Server {
    pub(crate) node: Node<Machine>,
    pub(crate) clock: Arc<dyn Clock>,
    connections: AtomicUsize,
    last_id: AtomicU64,
    connections_max: usize,
}

impl Server {
    pub(crate) fn new(
        node: Node<Machine>,
        clock: Arc<dyn Clock>,
        connections_max: usize,
    ) -> Arc<Self> {
        let (connections, last_id) = (AtomicUsize::new(0), AtomicU64::new(0));
        Arc::new(Self { node, clock, connections, last_id, connections_max })
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Accepts until the task is aborted; connections end with it.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let mut tasks = JoinSet::new();
        loop {
            while tasks.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((stream, _)) => self.admit(stream, &mut tasks),
                // Out of descriptors, most likely: others will close theirs.
                Err(error) => {
                    tracing::warn!(%error, "accept");
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, mut stream: TcpStream, tasks: &mut JoinSet<()>) {
        let slot = Slot::take(self);
        let Some(slot) = slot else {
            tasks.spawn(async move {
                let _ = stream.write_all(b"-ERR max number of clients reached\r\n").await;
            });
            return;
        };
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let _ = stream.set_nodelay(true);
        tasks.spawn(async move {
            let mut session = Session::new(Arc::clone(&slot.0), id);
            if let Err(error) = session.run(stream).await {
                tracing::debug!(%error, id, "connection");
            }
            drop(slot);
        });
    }
}

/// One of the connections there may be.
struct Slot(Arc<Server>);

impl Slot {
    fn take(server: &Arc<Server>) -> Option<Self> {
        let before = server.connections.fetch_add(1, Ordering::Relaxed);
        let slot = Self(Arc::clone(server));
        (before < server.connections_max).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
