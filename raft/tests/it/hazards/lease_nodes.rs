//! Hazards of lease reads in whole nodes, on a clock that a test may let jump.

use crate::cluster::{Map, applied, guard};
use quorate_clocks::{Clock, Monotonic, SystemClock, Timer, WallTime};
use quorate_raft::{Config, MemoryLog, MemorySnapshots, Node, Read, ReadError, StartError};
use quorate_transport::{
    ClusterId, Endpoint, EndpointConfig, Identity, Incarnation, MemoryNetwork, NodeId, Runtime,
    Task, TokioRuntime,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The machine's clock, which a test may let jump as a suspend does.
struct Jumping {
    clock: SystemClock,
    ahead: Arc<AtomicU64>,
    suspend_aware: bool,
}

impl Clock for Jumping {
    fn monotonic(&self) -> Monotonic {
        let ahead = Duration::from_nanos(self.ahead.load(Ordering::SeqCst));
        self.clock.monotonic().saturating_add(ahead)
    }

    fn wall(&self) -> WallTime {
        self.clock.wall()
    }

    fn is_suspend_aware(&self) -> bool {
        self.suspend_aware
    }
}

struct JumpingRuntime {
    tokio: TokioRuntime,
    clock: Arc<dyn Clock>,
}

impl Runtime for JumpingRuntime {
    fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    fn spawn(&self, name: &'static str, task: Task) {
        self.tokio.spawn(name, task);
    }

    fn timer(&self) -> Box<dyn Timer> {
        self.tokio.timer()
    }

    fn seed(&self) -> u64 {
        self.tokio.seed()
    }
}

struct Leasing {
    nodes: Vec<(Node<Map>, Endpoint)>,
    ahead: Arc<AtomicU64>,
}

/// Three nodes with leases whose clocks jump together.
async fn leasing(suspend_aware: bool) -> Result<Leasing, StartError> {
    let (network, ids) = (MemoryNetwork::new(), [1, 2, 3].map(NodeId::new));
    let ahead = Arc::new(AtomicU64::new(0));
    let mut nodes = Vec::new();
    for id in ids {
        let clock = Jumping { clock: SystemClock::new(), ahead: Arc::clone(&ahead), suspend_aware };
        let runtime = JumpingRuntime { tokio: TokioRuntime::current(), clock: Arc::new(clock) };
        let identity = Identity::new(ClusterId::new(7), id, Incarnation::new(1));
        let endpoint = Endpoint::start_with(
            network.node(identity),
            Arc::new(runtime),
            EndpointConfig::default(),
        )
        .unwrap();
        let node = Node::<Map>::builder(&endpoint)
            .founders(&ids)
            .log(MemoryLog::new())
            .snapshots(MemorySnapshots::new())
            .config(Config::local().lease(true).build().unwrap())
            .start(Map::default())
            .await?;
        nodes.push((node, endpoint));
    }
    Ok(Leasing { nodes, ahead })
}

impl Leasing {
    async fn leader(&self) -> &Node<Map> {
        let mut watch = self.nodes[0].0.watch();
        let led = guard(watch.wait_for(|s| s.leader.is_some())).await.unwrap();
        let leader = led.leader.unwrap();
        &self.nodes.iter().find(|(n, _)| n.id() == leader).unwrap().0
    }
}

/// On one thread: between the state and the second look at the clock nothing else runs, so that no
/// heartbeat can renew the lease there.
#[tokio::test]
async fn h30_the_clock_is_read_again_after_the_state() {
    let group = leasing(true).await.unwrap();
    let leader = group.leader().await;
    applied(guard(leader.propose("k=1")).await);
    let get = |m: &Map| m.0.get("k").cloned();
    guard(async {
        while leader.stats().lease_reads == 0 {
            let value = leader.read(Read::Lease, get).await.unwrap();
            assert_eq!(value.as_deref(), Some("1"));
            tokio::task::yield_now().await;
        }
    })
    .await;
    // While it reads the state, the machine is suspended for a minute: what it has read may be old.
    let suspended = guard(leader.read(Read::Lease, |m| {
        group.ahead.fetch_add(60_000_000_000, Ordering::SeqCst);
        get(m)
    }))
    .await;
    assert_eq!(suspended, Err(ReadError::LeaseExpired));
    assert!(ReadError::LeaseExpired.is_retryable());
    // The next is a round, at whoever leads now.
    let value = guard(leader.read(Read::Lease, get)).await.unwrap();
    assert_eq!(value.as_deref(), Some("1"));
}

/// A suspend is time for the promise and for the lease: neither believes that none has passed.
#[tokio::test]
async fn h30_leases_need_a_clock_that_counts_a_suspend() {
    let refused = leasing(false).await.err();
    assert!(matches!(refused, Some(StartError::ClockStopsInSuspend)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lease_reads_see_what_was_acknowledged_anywhere() {
    let group = leasing(true).await.unwrap();
    let leader = group.leader().await.clone();
    let get = |m: &Map| m.0.get("k").cloned();
    for n in 0..300 {
        // Acknowledged by one node, read on another: forwarded writes are applied there first.
        let (writer, reader) = (&group.nodes[n % 3].0, &group.nodes[(n / 3) % 3].0);
        let written = guard(writer.propose(format!("k={n}"))).await;
        applied(written);
        for reader in [reader, &leader] {
            let value = match guard(reader.read(Read::Lease, get)).await {
                Err(ReadError::LeaseExpired) => continue,
                value => value.unwrap(),
            };
            assert_eq!(value, Some(n.to_string()));
        }
    }
    let stats = leader.stats();
    assert!(stats.lease_reads > 0, "{stats:?}");
    // A handle that outlives its node serves nothing.
    guard(leader.clone().shutdown()).await.unwrap();
    assert_eq!(guard(leader.read(Read::Lease, get)).await, Err(ReadError::Stopped));
}
