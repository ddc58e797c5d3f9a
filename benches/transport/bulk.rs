//! P5 and P6: bulk. Streams are not built: large messages on Bulk stand in for them, reported and
//! not judged; the floors are those of the streams to come.

use crate::Bench;
use crate::floors::connect;
use crate::oneway::{LOST, by, messages};
use crate::ours::{Pair, SERVER, open};
use crate::side::Sides;
use bytes::Bytes;
use quorate_benches::sheet::Line;
use quorate_benches::turns::{Contender, take_turns};
use quorate_transport::{ChannelId, Inbound, Lane, SendError};
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio_rustls::rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Bytes of a chunk.
pub(crate) const CHUNK: usize = 64 << 10;
/// Chunks of a turn: 64 MiB.
const CHUNKS: u64 = 1_024;
const RAW: &str = "raw TCP copy";
const TLS: &str = "raw tokio-rustls copy";

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Blocks written on one side, read and counted on the other.
fn copy(sides: &Sides, to: Writer, mut from: Reader) -> impl FnMut(&Sides, u64) + use<> {
    let (tell, counted) = mpsc::channel();
    drop(sides.server.begin(async move {
        let (mut block, mut total) = (vec![0; CHUNK], 0_u64);
        while let Ok(read @ 1..) = from.read(&mut block).await {
            total += read as u64;
            tell.send(total).ok();
        }
    }));
    let (to, mut total) = (Arc::new(Mutex::new(to)), 0);
    move |sides, count| {
        let to = to.clone();
        total += count * CHUNK as u64;
        sides.client.run(async move {
            let (mut to, block) = (to.lock().await, vec![7; CHUNK]);
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
    let server = ServerConfig::builder().with_no_client_auth();
    let server = server.with_single_cert(vec![certificate.clone()], key.into());
    let acceptor = TlsAcceptor::from(Arc::new(server.expect("they belong together")));
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("it was just made");
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(client));
    let (near, far) = connect(sides);
    let accepted = sides.server.begin(async move { acceptor.accept(far).await });
    let name = ServerName::try_from("localhost").expect("a name");
    let near = sides.client.run(async move { connector.connect(name, near).await });
    let far = accepted.recv().expect("no panic").expect("a handshake");
    copy(sides, Box::new(near.expect("a handshake")), Box::new(far))
}

fn rate(ns: f64) -> (String, f64) {
    let gigabytes = CHUNK as f64 / ns;
    (format!("{gigabytes:.2} GB/s"), gigabytes)
}

/// P5 and P6 as far as they can be measured.
pub(crate) fn bulk(bench: &mut Bench) {
    let sides = Sides::new();
    let contenders: Vec<Contender<'_>> = vec![
        by(RAW, &sides, CHUNKS, raw(&sides)),
        by("ours", &sides, CHUNKS, messages(&sides, Lane::Bulk, CHUNK)),
        by(TLS, &sides, CHUNKS, tls(&sides)),
    ];
    let rounds = take_turns(contenders, bench.rounds);
    let (mine, number) = rate(rounds.ns("ours"));
    let floor = format!("{RAW} {}", rate(rounds.ns(RAW)).0);
    let line = Line::new("P5 messages of 64 KiB on Bulk (streams: not built)")
        .value(&mine, number, "GB/s")
        .floor(&floor, rounds.ratio("ours", RAW))
        .note("not judged");
    bench.sheet.push(line);
    let (floor, number) = rate(rounds.ns(TLS));
    let line = Line::new(&format!("P6 floor: {TLS}")).value(&floor, number, "GB/s");
    bench.sheet.push(line.note("TLS and streams: not built"));
}

/// What `measure` gives while messages of a chunk keep Bulk to the server full, and how many bytes
/// a second came over meanwhile.
pub(crate) fn beside(
    sides: &Sides,
    pair: &Pair,
    id: ChannelId,
    measure: impl FnOnce() -> f64,
) -> (f64, f64) {
    let (mut channel, (sender, _receiver)) =
        (open(&pair.server, id), open(&pair.client, id).split());
    let (arrived, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let count = arrived.clone();
    let read = sides.server.begin(async move {
        while let Some(Inbound::Message { body, .. }) = channel.recv().await {
            if body.len() < CHUNK {
                return;
            }
            count.fetch_add(body.len() as u64, Ordering::Relaxed);
        }
    });
    let stopped = stop.clone();
    let sent = sides.client.begin(async move {
        let body = Bytes::from(vec![7; CHUNK]);
        loop {
            let last = stopped.load(Ordering::Relaxed);
            let body = if last { Bytes::new() } else { body.clone() };
            while let Err(error) = sender.send(SERVER, Lane::Bulk, body.clone()) {
                assert_eq!(error, SendError::Full);
                poll_fn(|cx| sender.poll_ready(SERVER, Lane::Bulk, cx)).await.expect("connected");
            }
            if last {
                return;
            }
        }
    });
    let begun = Instant::now();
    let found = measure();
    let rate = arrived.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    sent.recv().expect("no panic");
    read.recv_timeout(LOST).expect("a message was lost");
    (found, rate)
}
