//! P8: a large snapshot to a new member over the memory transport, from a file to a file. The floor
//! is what a copy of that file takes with the same pieces: read, CRC-32, write, a sync at the end.

use crate::Bench;
use crate::group::{ELECTION, HEARTBEAT};
use crate::host::{Host, Threads};
use crate::tap::{Tap, Wire};
use quorate_benches::device::Place;
use quorate_benches::sheet::{Line, time};
use quorate_benches::turns::{Contender, take_turns};
use quorate_raft::{
    Batch, Config, MemoryLog, Node, Outcome, Replies, SnapshotDir, SnapshotSource, StateMachine,
};
use quorate_transport::{
    ClusterId, Endpoint, EndpointConfig, Identity, Incarnation, MemoryNetwork, NodeId,
};
use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

const FOUNDERS: [NodeId; 2] = [NodeId::new(1), NodeId::new(2)];
const CHUNK: u32 = 256 << 10;
const COPY: &str = "copy of the file";
const PIECE: usize = 64 << 10;

/// A state that is generated when it is written, and checked and dropped when it is read: three
/// replicas of it would not fit into memory, and are not what is measured.
struct Generated {
    bytes: u64,
    /// Bytes restored so far.
    restored: Arc<AtomicU64>,
}

/// A piece of it, each different from the others.
fn piece(of: &mut [u8; PIECE], number: u64) {
    of[..8].copy_from_slice(&number.to_le_bytes());
}

fn pattern() -> Box<[u8; PIECE]> {
    let mut word = 0x9e37_79b9_u32;
    let mut bytes = Box::new([0; PIECE]);
    bytes.iter_mut().for_each(|byte| {
        word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (word >> 24) as u8;
    });
    bytes
}

impl StateMachine for Generated {
    fn apply(&mut self, batch: Batch<'_>, out: &mut Replies) {
        batch.for_each(|_| out.push(""));
    }

    fn snapshot(&self) -> io::Result<Box<dyn SnapshotSource>> {
        let bytes = self.bytes;
        Ok(Box::new(move |w: &mut dyn Write| {
            let mut next = pattern();
            for number in 0..bytes / PIECE as u64 {
                piece(&mut next, number);
                w.write_all(&next[..])?;
            }
            Ok(())
        }))
    }

    fn restore(&mut self, r: &mut dyn Read) -> io::Result<()> {
        let (mut expected, mut found) = (pattern(), pattern());
        for number in 0..self.bytes / PIECE as u64 {
            piece(&mut expected, number);
            r.read_exact(&mut found[..])?;
            assert!(found == expected, "piece {number} is another");
        }
        assert_eq!(r.read(&mut found[..])?, 0, "more than the state");
        self.restored.fetch_add(self.bytes, Relaxed);
        Ok(())
    }
}

/// A node and its end of the network.
struct Member {
    node: Node<Generated>,
    endpoint: Endpoint,
}

/// Two founders; the first leads and sends.
struct Group {
    host: Host,
    place: Place,
    network: MemoryNetwork,
    wire: Arc<Wire>,
    members: Vec<Member>,
    bytes: u64,
    last_id: Cell<u64>,
}

impl Group {
    fn start(bytes: u64) -> Self {
        let network = MemoryNetwork::new();
        let mut group = Self {
            host: Host::new(Threads::Two),
            place: Place::new(),
            wire: Wire::new(network.clone(), FOUNDERS[0]),
            network,
            members: Vec::new(),
            bytes,
            last_id: Cell::new(FOUNDERS[1].value()),
        };
        for id in FOUNDERS {
            let member = group.run(id, &FOUNDERS, &Arc::default());
            group.members.push(member);
        }
        let node = group.sender().clone();
        group.host.run(async move {
            let applied = node.propose("begin").await;
            assert!(matches!(applied, Outcome::Applied { .. }), "{applied:?}");
            // The sender is the first; asking fails if it is that already.
            if node.state().leader != Some(FOUNDERS[0]) {
                panic!("another leads");
            }
            node.snapshot().await.expect("a snapshot");
        });
        group
    }

    fn sender(&self) -> &Node<Generated> {
        &self.members[0].node
    }

    fn dir(&self, id: NodeId) -> PathBuf {
        self.place.path(&format!("node {id}"))
    }

    fn run(&self, id: NodeId, founders: &'static [NodeId], restored: &Arc<AtomicU64>) -> Member {
        let me = Identity::new(ClusterId::new(7), id, Incarnation::new(1));
        let tap = Tap::new(self.network.node(me), self.wire.clone());
        let machine = Generated { bytes: self.bytes, restored: restored.clone() };
        // The first is elected: the others wait longer.
        let patience = if id == FOUNDERS[0] { 1 } else { 4 };
        let config = Config::lan()
            .election_timeout(ELECTION * patience)
            .heartbeat_interval(HEARTBEAT)
            .snapshot_chunk_bytes(CHUNK)
            .snapshot_rate(0)
            .build()
            .expect("in range");
        let dir = self.dir(id);
        self.host.run(async move {
            let endpoint = Endpoint::start(tap, EndpointConfig::default()).expect("first start");
            let builder = Node::<Generated>::builder(&endpoint)
                .founders(founders)
                .log(MemoryLog::new())
                .snapshots(SnapshotDir::open(dir).expect("a folder"))
                .config(config);
            let node = builder.start(machine).await.expect("an empty log");
            Member { node, endpoint }
        })
    }

    /// A new member takes the snapshot in; it is what is told of the transfer.
    fn transfer(&self, cut: bool) -> Transfer {
        let id = NodeId::new(self.last_id.get() + 1);
        self.last_id.set(id.value());
        let restored = Arc::new(AtomicU64::new(0));
        let member = self.run(id, &[], &restored);
        self.wire.begin(cut);
        let watched = Memory::watch();
        let (sender, newcomer) = (self.sender().clone(), member.node.clone());
        let (wire, network) = (self.wire.clone(), self.network.clone());
        let begun = std::time::Instant::now();
        self.host.run(async move {
            let added = sender.members().add_learner(id).await.expect("it answers");
            while cut && !wire.was_cut() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            network.heal(FOUNDERS[0], id);
            newcomer.watch().wait_for(|s| s.applied >= added).await.expect("it runs");
        });
        let whole = begun.elapsed();
        let growth = watched.end();
        assert_eq!(restored.load(Relaxed), self.bytes, "the whole state, once");
        let seen = self.wire.seen();
        let sent = seen.answered.expect("answered") - seen.begun.expect("begun");
        self.remove(id, member);
        Transfer { sent, whole, total: seen.total, again: seen.again, growth }
    }

    fn remove(&self, id: NodeId, member: Member) {
        let sender = self.sender().clone();
        self.host.run(async move {
            sender.members().remove(id).await.expect("removed");
            member.endpoint.shutdown().await.ok();
            drop(member.node);
        });
        std::fs::remove_dir_all(self.dir(id)).expect("its folder");
    }

    /// The file that is sent.
    fn file(&self) -> PathBuf {
        let files = std::fs::read_dir(self.dir(FOUNDERS[0])).expect("readable");
        let mut names = files.map(|file| file.expect("readable").path());
        names.find(|name| name.extension() == Some("qrsf".as_ref())).expect("a snapshot")
    }
}

#[derive(Clone, Copy)]
struct Transfer {
    /// From the first piece to the answer to the last.
    sent: Duration,
    /// From when it was asked for until the state was there.
    whole: Duration,
    total: u64,
    again: usize,
    growth: u64,
}

/// Memory of this process that is resident, sampled while something goes on.
struct Memory {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<u64>,
    before: u64,
}

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("a number") * 4_096
}

impl Memory {
    fn watch() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut most = 0;
            while !seen.load(Relaxed) {
                most = most.max(resident());
                std::thread::sleep(Duration::from_millis(2));
            }
            most
        });
        Self { stop, thread, before: resident() }
    }

    /// Most bytes more than in the beginning.
    fn end(self) -> u64 {
        self.stop.store(true, Relaxed);
        self.thread.join().expect("no panic").saturating_sub(self.before)
    }
}

/// Read, sum, write, sync.
fn copy(from: &std::path::Path, to: &std::path::Path) {
    let (mut from, mut to) = (File::open(from).expect("there"), File::create(to).expect("room"));
    let (mut buf, mut crc) = (vec![0; CHUNK as usize], crc32fast::Hasher::new());
    loop {
        let n = from.read(&mut buf).expect("readable");
        if n == 0 {
            break;
        }
        crc.update(&buf[..n]);
        to.write_all(&buf[..n]).expect("room");
    }
    std::hint::black_box(crc.finalize());
    to.sync_all().expect("synced");
}

/// P8.
pub(crate) fn lane(bench: &mut Bench) {
    let (bytes, rounds) = if bench.quick { (64 << 20, 1) } else { (1 << 30, 3) };
    let group = Group::start(bytes);
    let (last, growth) = (Cell::new(None), Cell::new(0));
    let ours = Contender::new("ours", || {
        let transfer = group.transfer(false);
        last.set(Some(transfer));
        growth.set(growth.get().max(transfer.growth));
        transfer.sent.as_secs_f64() * 1e9 / transfer.total as f64
    });
    let floor = Contender::new(COPY, || {
        let to = group.place.path("copy");
        let begun = std::time::Instant::now();
        copy(&group.file(), &to);
        let taken = begun.elapsed();
        std::fs::remove_file(&to).expect("it was written");
        taken.as_secs_f64() * 1e9 / bytes as f64
    });
    let measured = take_turns(vec![ours, floor], rounds);
    let (share, last) = (measured.ratio(COPY, "ours"), last.get().expect("a round"));
    let rate = |name: &str| format!("{:.2} GB/s", 1.0 / measured.ns(name));
    let most = 4 * u64::from(CHUNK) + (1 << 20);
    let cut = group.transfer(true);
    let line = Line::new(&format!("P8 snapshot of {} MiB", bytes >> 20))
        .value(&rate("ours"), 1.0 / measured.ns("ours"), "GB/s")
        .floor(&format!("{COPY} {}", rate(COPY)), measured.ratio("ours", COPY))
        .goal(&format!("≥ 80 % of the copy ({:.0} %)", share * 100.0), share >= 0.8)
        .goal(
            &format!("resident memory {} KiB more, ≤ {} KiB", growth.get() >> 10, most >> 10),
            growth.get() <= most,
        )
        .goal(&format!("cut at half: {} chunks sent again, ≤ 1", cut.again), cut.again <= 1)
        .note(&format!("with asking and restoring {}", time(last.whole.as_nanos() as f64)))
        .note(&group.place.device);
    bench.sheet.push(line);
}
