//! P5 and P6: bulk in one byte stream, over TCP and over TLS. The floors copy the same blocks.

use crate::floors::connect;
use crate::oneway::{LOST, by};
use crate::ours::{CHANNEL, Pair, SERVER, open};
use crate::side::Sides;
use crate::{Bench, peers};
use bytes::Bytes;
use quorate_benches::sheet::Line;
use quorate_benches::turns::{Rounds, take_turns};
use quorate_transport::{
    Channel, ChannelId, ChannelReceiver, ChannelSender, Inbound, StreamOptions,
};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio_rustls::rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Bytes of a block.
pub(crate) const BLOCK: usize = 64 << 10;
/// Blocks of a turn: 64 MiB.
const BLOCKS: u64 = 1_024;
const RAW: &str = "raw TCP copy";
const TLS: &str = "raw tokio-rustls copy";
const TONIC: &str = "tonic client streaming";

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Blocks written on one side, read and counted on the other.
fn copy(sides: &Sides, to: Writer, mut from: Reader) -> impl FnMut(&Sides, u64) + use<> {
    let (tell, counted) = mpsc::channel();
    drop(sides.server.begin(async move {
        let (mut block, mut total) = (vec![0; BLOCK], 0_u64);
        while let Ok(read @ 1..) = from.read(&mut block).await {
            total += read as u64;
            tell.send(total).ok();
        }
    }));
    let (to, mut total) = (Arc::new(Mutex::new(to)), 0);
    move |sides, count| {
        let to = to.clone();
        total += count * BLOCK as u64;
        sides.client.run(async move {
            let (mut to, block) = (to.lock().await, vec![7; BLOCK]);
            for _ in 0..count {
                to.write_all(&block).await.expect("connected");
            }
            to.flush().await.expect("connected");
        });
        while counted.recv_timeout(LOST).expect("bytes were lost") < total {}
    }
}

fn raw(sides: &Sides) -> impl FnMut(&Sides, u64) + use<> {
    let (client, server) = connect(sides);
    copy(sides, Box::new(client), Box::new(server))
}

fn tls(sides: &Sides) -> impl FnMut(&Sides, u64) + use<> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let server = ServerConfig::builder_with_protocol_versions(&[&TLS13]).with_no_client_auth();
    let server = server.with_single_cert(vec![certificate.clone()], key.into());
    let acceptor = TlsAcceptor::from(Arc::new(server.expect("they belong together")));
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("it was just made");
    let client = ClientConfig::builder_with_protocol_versions(&[&TLS13]);
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(client));
    let (near, far) = connect(sides);
    let accepted = sides.server.begin(async move { acceptor.accept(far).await });
    let name = ServerName::try_from("localhost").expect("a name");
    let near = sides.client.run(async move { connector.connect(name, near).await });
    let far = accepted.recv().expect("no panic").expect("a handshake");
    copy(sides, Box::new(near.expect("a handshake")), Box::new(far))
}

/// Streams of a client to a server that takes them whole.
pub(crate) struct Streams {
    sender: ChannelSender,
    /// Bytes that the server's application took.
    taken: Arc<AtomicU64>,
    _open: ChannelReceiver,
}

impl Streams {
    pub(crate) fn new(sides: &Sides, pair: &Pair, id: ChannelId) -> Self {
        let taken = Arc::default();
        drop(sides.server.begin(take(open(&pair.server, id), Arc::clone(&taken))));
        let (sender, _open) = open(&pair.client, id).split();
        Self { sender, taken, _open }
    }

    fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// What `measure` gives while a stream runs all the time, and how many bytes a second of it
    /// were taken meanwhile.
    pub(crate) fn beside(&self, sides: &Sides, measure: impl FnOnce() -> f64) -> (f64, f64) {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, before) = (stop.clone(), self.taken());
        let blocks = std::iter::from_fn(move || (!stopped.load(Ordering::Relaxed)).then_some(()));
        let sent = sides.client.begin(send(self.sender.clone(), blocks));
        let asked = Instant::now();
        while self.taken() == before {
            assert!(asked.elapsed() < LOST, "the stream does not begin");
            std::thread::sleep(Duration::from_micros(100));
        }
        let (begun, before) = (Instant::now(), self.taken());
        let found = measure();
        let rate = (self.taken() - before) as f64 / begun.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        sent.recv_timeout(LOST).expect("the stream does not end");
        (found, rate)
    }
}

/// One stream of as many blocks as `blocks` has items; over when the receiver has accepted it.
async fn send<T>(sender: ChannelSender, blocks: impl Iterator<Item = T>) {
    let block = Bytes::from(vec![7; BLOCK]);
    let stream = sender.open_stream(SERVER, Bytes::new(), StreamOptions::new());
    let mut stream = stream.expect("room for a stream");
    for _ in blocks {
        stream.send(block.clone()).await.expect("the receiver reads");
    }
    stream.finish().await.expect("the receiver accepts");
}

/// Takes every stream of a channel whole, each in a task of its own.
async fn take(mut channel: Channel, taken: Arc<AtomicU64>) {
    while let Some(inbound) = channel.recv().await {
        let (Inbound::Stream { mut stream, .. }, taken) = (inbound, taken.clone()) else {
            continue;
        };
        drop(tokio::spawn(async move {
            while let Some(chunk) = stream.chunk().await? {
                taken.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            }
            stream.accept()
        }));
    }
}

/// A stream for each turn.
fn streams(sides: &Sides, pair: Pair) -> impl FnMut(&Sides, u64) + use<> {
    let streams = Streams::new(sides, &pair, CHANNEL);
    move |sides, count| {
        let (_kept, before) = (&pair, streams.taken());
        sides.client.run(send(streams.sender.clone(), 0..count));
        assert_eq!(streams.taken() - before, count * BLOCK as u64, "other bytes than were sent");
    }
}

/// Streams of ours alone, for a profiler; nanoseconds for a block.
pub(crate) fn alone(sides: &Sides, pair: Pair, time: Duration) -> f64 {
    let (mut turn, begun, mut count) = (streams(sides, pair), Instant::now(), 0);
    while begun.elapsed() < time {
        turn(sides, BLOCKS);
        count += BLOCKS;
    }
    begun.elapsed().as_secs_f64() * 1e9 / count as f64
}

fn rate(ns: f64) -> (String, f64) {
    let gigabytes = BLOCK as f64 / ns;
    (format!("{gigabytes:.2} GB/s"), gigabytes)
}

/// Rates of ours and of the floor; its ratio is one of rates, not of times.
fn rates(lane: &str, rounds: &Rounds, floor: &str) -> Line {
    let (mine, number) = rate(rounds.ns("ours"));
    let to_floor = rounds.ratio(floor, "ours");
    Line::new(lane)
        .value(&mine, number, "GB/s")
        .floor(&format!("{floor} {}", rate(rounds.ns(floor)).0), to_floor)
        .goal("≥ 0.9× floor", to_floor >= 0.9)
}

/// P5: a stream over TCP.
pub(crate) fn plain(bench: &mut Bench) {
    let sides = Sides::new();
    let contenders = vec![
        by(RAW, &sides, BLOCKS, raw(&sides)),
        by("ours", &sides, BLOCKS, streams(&sides, Pair::new(&sides))),
        by(TONIC, &sides, BLOCKS, peers::tonic::streams(&sides, BLOCK)),
    ];
    let rounds = take_turns(contenders, bench.rounds);
    let better = rounds.ratio(TONIC, "ours");
    let line = rates("P5 streams of 64 MiB, TCP", &rounds, RAW)
        .peer(TONIC, &rate(rounds.ns(TONIC)).0, better)
        .goal("≥ 1.5× tonic", better >= 1.5);
    bench.sheet.push(line);
}

/// P6: the same over TLS.
pub(crate) fn sealed(bench: &mut Bench) {
    let sides = Sides::new();
    let contenders = vec![
        by(TLS, &sides, BLOCKS, tls(&sides)),
        by("ours", &sides, BLOCKS, streams(&sides, Pair::sealed(&sides))),
    ];
    let rounds = take_turns(contenders, bench.rounds);
    bench.sheet.push(rates("P6 streams of 64 MiB, TLS 1.3", &rounds, TLS));
}
