//! Sinks that panic.

use super::raw_hello;
use crate::golden::hello;
use crate::support::*;
use crate::tcp::{bind, guarded};
use bytes::Bytes;
use quorate_transport::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Panics at every frame, and at the end too if told so; counts what came back.
#[derive(Default)]
struct Grumpy {
    at_the_end: bool,
    downs: AtomicU64,
    unsent: AtomicU64,
}

impl Sink for Grumpy {
    fn on_frame(&self, _: Peer, _: Lane, _: SessionId, _: Frame) {
        panic!("planted panic");
    }
    fn on_event(&self, event: LinkEvent) {
        if matches!(event, LinkEvent::Down { .. }) {
            self.downs.fetch_add(1, Ordering::SeqCst);
            assert!(!self.at_the_end, "planted panic");
        }
    }
    fn on_unsent(&self, _: NodeId, _: Lane, frames: &mut dyn Iterator<Item = Frame>) {
        let count = u64::try_from(frames.count()).unwrap();
        self.unsent.fetch_add(count, Ordering::SeqCst);
        assert!(!self.at_the_end, "planted panic");
    }
}

async fn meet(transport: &TcpTransport, nonce: u64) -> TcpStream {
    let mut hello = hello();
    hello.nonce = nonce;
    let (stream, ack, _) = raw_hello(transport.local_addr().unwrap(), hello).await;
    assert_eq!(ack.status, HelloStatus::Accept);
    stream
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    guarded(what, async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h29_what_the_writer_held_comes_back_after_a_panic() {
    let (transport, sink) = (bind(2, 1), Arc::new(Grumpy::default()));
    transport.start(sink.clone()).unwrap();
    // A peer that does not read: the writer has its hands full.
    let mut peer = meet(&transport, 1).await;
    let body = Bytes::from(vec![7; 60_000]);
    let send = || transport.send(node(1), Lane::Data, Frame::message(CHANNEL, body.clone()));
    let mut accepted = 0;
    until("a full lane", || {
        let sent = send();
        accepted += u64::from(sent.is_ok());
        // The kernel may still take some of it.
        sent.is_err() && transport.stats().full > 1_000
    })
    .await;
    peer.write_all(&Frame::message(CHANNEL, &b"boom"[..]).encode(1).unwrap()).await.unwrap();
    until("the end", || sink.downs.load(Ordering::SeqCst) == 1).await;
    assert_eq!(transport.lane(node(1), Lane::Data).queued_bytes, 0);
    // All but one were wholly written or came back; that one was begun.
    let back = sink.unsent.load(Ordering::SeqCst);
    let written = transport.stats().frames_out;
    assert!(back > 60, "{back} of {accepted}");
    // The answer of the handshake is one of those that were written.
    assert!([accepted, accepted + 1].contains(&(back + written)), "{back}, {written}, {accepted}");
    let _again = meet(&transport, 2).await;
    until("room in the next session", || send().is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h29_a_sink_that_panics_at_the_end_too_keeps_no_place() {
    let (transport, sink) =
        (bind(2, 1), Arc::new(Grumpy { at_the_end: true, ..Grumpy::default() }));
    transport.start(sink.clone()).unwrap();
    for nonce in 1..=3 {
        let mut peer = meet(&transport, nonce).await;
        peer.write_all(&Frame::message(CHANNEL, &b"boom"[..]).encode(1).unwrap()).await.unwrap();
        until("the end", || sink.downs.load(Ordering::SeqCst) == nonce).await;
    }
    guarded("the shutdown", std::future::poll_fn(|cx| transport.poll_shutdown(cx))).await;
}

/// Sends on what it gets, and panics.
struct Relay(OnceLock<Arc<Memory>>);

impl Sink for Relay {
    fn on_frame(&self, _: Peer, lane: Lane, _: SessionId, frame: Frame) {
        self.0.get().unwrap().send(node(3), lane, frame).unwrap();
        panic!("planted panic");
    }
    fn on_event(&self, _: LinkEvent) {}
    fn on_unsent(&self, _: NodeId, _: Lane, _: &mut dyn Iterator<Item = Frame>) {}
}

#[test]
fn h29_a_panic_in_memory_costs_no_other_node_its_delivery() {
    let network = MemoryNetwork::new();
    let [a, b, c] = [1, 2, 3].map(|n| network.node(identity(n, 1)));
    let relay = Relay(OnceLock::new());
    let _ = relay.0.set(b.clone());
    let last = Arc::new(Grumpy::default());
    a.start(Arc::new(Grumpy::default())).unwrap();
    b.start(Arc::new(relay)).unwrap();
    c.start(last).unwrap();
    let send = || a.send(node(2), Lane::Data, Frame::message(CHANNEL, &b"x"[..]));
    assert!(catch_unwind(AssertUnwindSafe(send)).is_err(), "the panic is the sender's");
    assert_eq!(c.stats().frames_in, 1, "what was accepted in between is delivered");
}
