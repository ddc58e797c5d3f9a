//! The conformance list over every transport of the crate.

use quorate_transport::conformance::{self, Factory};
use quorate_transport::*;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

struct InMemory(MemoryNetwork);

impl Factory for InMemory {
    fn node(&self, identity: Identity) -> Arc<dyn Transport> {
        self.0.node(identity)
    }

    fn introduce(&self, _from: &dyn Transport, _to: NodeId) {}
}

struct OverTcp {
    runtime: tokio::runtime::Runtime,
    addresses: Mutex<BTreeMap<NodeId, SocketAddr>>,
}

impl Factory for OverTcp {
    fn node(&self, identity: Identity) -> Arc<dyn Transport> {
        let _guard = self.runtime.enter();
        // Generous: a loaded machine must not look like a dead peer.
        let long = Duration::from_secs(20);
        let config = TcpConfig::local().connect_timeout(long).handshake_timeout(long);
        let config = config.handover_max(long).drain_max(long).build().unwrap();
        let transport = TcpTransport::bind(identity, config).unwrap();
        let address = transport.local_addr().unwrap();
        self.addresses.lock().unwrap().insert(identity.node, address);
        transport
    }

    fn introduce(&self, from: &dyn Transport, to: NodeId) {
        let address = self.addresses.lock().unwrap()[&to];
        from.set_peer(to, &[address.into()]);
    }
}

#[test]
fn memory_conforms() {
    conformance::run(|| InMemory(MemoryNetwork::new()));
}

#[test]
fn tcp_conforms() {
    conformance::run(|| OverTcp {
        runtime: tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .enable_all()
            .build()
            .unwrap(),
        addresses: Mutex::default(),
    });
}
