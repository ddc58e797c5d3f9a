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
    #[cfg(feature = "tls")]
    authority: Option<Arc<crate::tls::Authority>>,
}

impl OverTcp {
    fn new() -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Self {
            runtime: builder.worker_threads(4).enable_all().build().unwrap(),
            addresses: Mutex::default(),
            #[cfg(feature = "tls")]
            authority: None,
        }
    }

    fn config(&self, identity: Identity) -> TcpConfigBuilder {
        #[cfg(feature = "tls")]
        if let Some(authority) = &self.authority {
            let tls = authority.identity_in(identity.cluster, identity.node.value());
            return TcpConfig::local().tls(tls);
        }
        let _ = identity;
        TcpConfig::local()
    }
}

impl Factory for OverTcp {
    fn node(&self, identity: Identity) -> Arc<dyn Transport> {
        let _guard = self.runtime.enter();
        // Generous: a loaded machine must not look like a dead peer.
        let long = Duration::from_secs(20);
        let config = self.config(identity).connect_timeout(long).handshake_timeout(long);
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

    fn address(&self, node: NodeId) -> Option<Address> {
        self.addresses.lock().unwrap().get(&node).map(|at| Address::from(*at))
    }
}

/// Faults around memory: the runtime is only for the delays.
struct Around {
    network: MemoryNetwork,
    runtime: tokio::runtime::Runtime,
    delays: u16,
}

impl Around {
    fn new(delays: u16) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(4).enable_all().build().unwrap();
        Self { network: MemoryNetwork::new(), runtime, delays }
    }
}

impl Factory for Around {
    fn node(&self, identity: Identity) -> Arc<dyn Transport> {
        let _guard = self.runtime.enter();
        let runtime = Arc::new(TokioRuntime::current());
        let seed = identity.node.value();
        let (faulty, control) = Faulty::new(self.network.node(identity), runtime, seed);
        control.set(Fault::Delay, self.delays);
        control.set(Fault::DatagramDelay, self.delays);
        control.set_delay(Duration::from_micros(1), Duration::from_micros(100));
        faulty
    }

    fn introduce(&self, _from: &dyn Transport, _to: NodeId) {}
}

/// Prints the line that says how much was passed.
fn report(transport: &str, passed: usize) {
    println!("{transport}: {passed} cases passed");
    assert_eq!(passed, conformance::CASES);
}

#[test]
fn memory_conforms() {
    report("memory", conformance::run(|| InMemory(MemoryNetwork::new())));
}

#[test]
fn faulty_conforms_with_and_without_delays() {
    let still = conformance::run(|| Around::new(0));
    assert_eq!(still, conformance::run(|| Around::new(300)));
    report("faulty", still);
}

#[test]
fn tcp_conforms() {
    report("tcp", conformance::run(OverTcp::new));
}

#[cfg(feature = "tls")]
#[test]
fn tls_conforms() {
    let authority = Arc::new(crate::tls::Authority::new());
    let passed = conformance::run(|| {
        let mut factory = OverTcp::new();
        factory.authority = Some(authority.clone());
        factory
    });
    report("tls", passed);
}
