//! What was said first is heard first: connections that are over, and those that follow them.

use super::raw_hello;
use crate::golden::hello;
use crate::support::*;
use crate::tcp::guarded;
use quorate_transport::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

const LONG: Duration = Duration::from_secs(60);

/// Writes down what it is told of node 1, and holds its first frame if it is armed.
struct Notes {
    armed: AtomicBool,
    entered: mpsc::Sender<()>,
    gate: Mutex<mpsc::Receiver<()>>,
    lines: UnboundedSender<Line>,
}

/// With the life of the peer, as far as it is said.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Line {
    Up(Lane, u64),
    Frame(Lane, u64),
    Down(Lane, DownReason),
}

impl Sink for Notes {
    fn on_frame(&self, from: Peer, lane: Lane, _: SessionId, _: Frame) {
        if self.armed.swap(false, Ordering::SeqCst) {
            self.entered.send(()).unwrap();
            // The runtime gets another thread: a blocked one may be that which watches the sockets.
            let _ = tokio::task::block_in_place(|| self.gate.lock().unwrap().recv());
        }
        let _ = self.lines.send(Line::Frame(lane, from.incarnation.value()));
    }
    fn on_event(&self, event: LinkEvent) {
        let _ = self.lines.send(match event {
            LinkEvent::Up { peer, lane, .. } if peer.node == node(1) => {
                Line::Up(lane, peer.incarnation.value())
            }
            LinkEvent::Down { node: of, lane, reason, .. } if of == node(1) => {
                Line::Down(lane, reason)
            }
            _ => return,
        });
    }
    fn on_unsent(&self, _: NodeId, _: Lane, _: &mut dyn Iterator<Item = Frame>) {}
}

/// Node 2, and what its sink was told of node 1.
struct Held {
    transport: Arc<TcpTransport>,
    entered: mpsc::Receiver<()>,
    go: mpsc::Sender<()>,
    lines: UnboundedReceiver<Line>,
}

impl Held {
    fn start(armed: bool, idle_close: Duration) -> Self {
        // Generous: a loaded machine must not look like a predecessor that does not end.
        let config = TcpConfig::local().handover_max(Duration::from_secs(30));
        let config = config.idle_close(idle_close).build().unwrap();
        let transport = TcpTransport::bind(identity(2, 1), config).unwrap();
        let (enter, entered) = mpsc::channel();
        let (go, gate) = mpsc::channel();
        let (tell, lines) = unbounded_channel();
        let armed = AtomicBool::new(armed);
        let sink = Notes { armed, entered: enter, gate: Mutex::new(gate), lines: tell };
        transport.start(Arc::new(sink)).unwrap();
        Self { transport, entered, go, lines }
    }

    /// A connection of one of the peer's lives.
    async fn meet(&self, lane: Lane, life: u64, nonce: u64) -> TcpStream {
        self.greet(node(1), lane, life, nonce).await
    }

    async fn greet(&self, from: NodeId, lane: Lane, life: u64, nonce: u64) -> TcpStream {
        let mut hello = hello();
        (hello.lane, hello.nonce) = (lane, nonce);
        (hello.identity.node, hello.identity.incarnation) = (from, Incarnation::new(life));
        let (stream, ack, _) = raw_hello(self.transport.local_addr().unwrap(), hello).await;
        assert_eq!(ack.status, HelloStatus::Accept);
        stream
    }

    /// A peer whose first frame is in the sink, and two more behind it.
    async fn meet_held(&self, lane: Lane) -> TcpStream {
        let mut stream = self.meet(lane, 1, 71).await;
        stream.write_all(&frames(3)).await.unwrap();
        self.entered.recv().unwrap();
        stream
    }

    /// Somebody else comes and goes: what was on its way meanwhile is delivered, if it may be.
    async fn round_trips(&self) {
        for nonce in 1..=20 {
            drop(self.greet(node(9), Lane::Data, 1, nonce).await);
        }
    }

    async fn until(&mut self, last: Line) -> Vec<Line> {
        let mut lines = Vec::new();
        while lines.last() != Some(&last) {
            lines.push(guarded("the last line", self.lines.recv()).await.unwrap());
        }
        lines
    }
}

fn frames(count: u32) -> Vec<u8> {
    let frame = Frame::message(CHANNEL, &b"x"[..]);
    (1..=count).flat_map(|sequence| frame.encode(sequence).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h13_every_lane_of_a_new_life_waits_for_the_former_one() {
    let mut held = Held::start(true, LONG);
    let _old = held.meet_held(Lane::Control).await;
    let _control = held.meet(Lane::Control, 2, 72).await;
    let mut new = held.meet(Lane::Data, 2, 73).await;
    new.write_all(&frames(1)).await.unwrap();
    held.round_trips().await;
    held.go.send(()).unwrap();
    let lines = held.until(Line::Frame(Lane::Data, 2)).await;
    let down = Line::Down(Lane::Control, DownReason::Restarted);
    let down = lines.iter().position(|line| *line == down).unwrap();
    let new = |line: &Line| matches!(line, Line::Up(_, 2) | Line::Frame(_, 2));
    assert!(!lines[..down].iter().any(new), "{lines:?}");
    assert!(lines[down + 1..].iter().all(new), "{lines:?}");
}

/// It is no lane's connection any more, and is still read: the other side may have more to say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h13_a_restart_ends_also_what_says_farewell() {
    let mut held = Held::start(false, Duration::from_millis(100));
    let mut old = held.meet(Lane::Data, 1, 71).await;
    let mut farewell = [0; 32];
    guarded("the farewell of the idle", old.read_exact(&mut farewell)).await.unwrap();
    assert_eq!(farewell[8], Kind::GoAway as u8);
    let mut new = held.meet(Lane::Control, 2, 72).await;
    new.write_all(&frames(1)).await.unwrap();
    let _ = guarded("the end of the former life", old.read_to_end(&mut Vec::new())).await;
    let _ = old.write_all(&frames(1)).await;
    let lines = held.until(Line::Frame(Lane::Control, 2)).await;
    let expected = [
        Line::Up(Lane::Data, 1),
        Line::Down(Lane::Data, DownReason::Closed),
        Line::Up(Lane::Control, 2),
        Line::Frame(Lane::Control, 2),
    ];
    assert_eq!(lines, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h12_a_peer_that_is_removed_and_named_again_is_heard_in_order() {
    let mut held = Held::start(true, LONG);
    let _old = held.meet_held(Lane::Control).await;
    held.transport.remove_peer(node(1));
    held.transport.set_peer(node(1), &[]);
    let mut new = held.meet(Lane::Data, 1, 72).await;
    new.write_all(&frames(1)).await.unwrap();
    held.round_trips().await;
    held.go.send(()).unwrap();
    let lines = held.until(Line::Frame(Lane::Data, 1)).await;
    let end = &lines[lines.len() - 3..];
    let expected = [
        Line::Down(Lane::Control, DownReason::Closed),
        Line::Up(Lane::Data, 1),
        Line::Frame(Lane::Data, 1),
    ];
    assert_eq!(end, expected, "{lines:?}");
}

/// Node 2's own dial, as far as its Hello came: whoever has it may answer.
async fn dialed_by(held: &Held) -> (TcpStream, Hello) {
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    held.transport.set_peer(node(1), &[door.local_addr().unwrap().into()]);
    held.transport.send(node(1), Lane::Data, Frame::message(CHANNEL, &b"x"[..])).unwrap();
    let (mut stream, _) = guarded("the dial", door.accept()).await.unwrap();
    let mut decoder = Decoder::new(1 << 10);
    let frame = loop {
        let mut wire = [0; 256];
        let read = guarded("a Hello", stream.read(&mut wire)).await.unwrap();
        decoder.feed(&wire[..read]);
        if let Some(frame) = decoder.decode().unwrap() {
            break frame;
        }
    };
    (stream, Hello::decode(&frame).unwrap())
}

/// Both dialed; node 2's dial is answered late, and would go before the other one, which went with
/// the peer meanwhile. Nobody waits in a circle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h12_a_dial_that_is_accepted_after_its_peer_was_removed_holds_nobody() {
    let mut held = Held::start(false, LONG);
    let (mut dialed, theirs) = dialed_by(&held).await;
    let _other = held.meet(Lane::Data, 1, 71).await;
    held.transport.remove_peer(node(1));
    let ack = HelloAck::new(HelloStatus::Accept, node(1), Incarnation::new(1), theirs.nonce);
    dialed.write_all(&ack.to_frame().encode(0).unwrap()).await.unwrap();
    let _ = guarded("its end", dialed.read_to_end(&mut Vec::new())).await;
    // Named again, it is heard on every lane.
    held.transport.set_peer(node(1), &[]);
    let mut lines = Vec::new();
    for (lane, nonce) in [(Lane::Data, 72), (Lane::Control, 73)] {
        let mut new = held.meet(lane, 2, nonce).await;
        new.write_all(&frames(1)).await.unwrap();
        lines.extend(held.until(Line::Frame(lane, 2)).await);
    }
    // Of the two only the one that was the lane's is told of.
    assert_eq!(lines.iter().filter(|line| **line == Line::Up(Lane::Data, 1)).count(), 1);
    let shutdown = std::future::poll_fn(|cx| held.transport.poll_shutdown(cx));
    guarded("the shutdown", shutdown).await;
}
