//! Hazards of the transports: TLS and datagrams.

use crate::datagrams::{bind_udp, raw};
use crate::support::*;
use crate::tcp::guarded;
use quorate_transport::*;
use std::sync::{Arc, Mutex, mpsc};
#[cfg(feature = "tls")]
use {
    crate::tcp::call_until_answered,
    crate::tls::{Authority, Running, bind_tls, refusal},
    std::sync::atomic::{AtomicBool, Ordering},
};

#[cfg(feature = "tls")]
/// Reports the number of each frame.
struct Counting(tokio::sync::mpsc::UnboundedSender<(u64, usize)>);

#[cfg(feature = "tls")]
impl Sink for Counting {
    fn on_frame(&self, _: Peer, _: Lane, _: SessionId, frame: Frame) {
        let _ = self.0.send((frame.id, frame.body.len()));
    }
    fn on_event(&self, _: LinkEvent) {}
    fn on_unsent(&self, _: NodeId, _: Lane, frames: &mut dyn Iterator<Item = Frame>) {
        assert_eq!(frames.count(), 0, "returned");
    }
}

#[cfg(feature = "tls")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h23_a_valid_certificate_of_another_node_is_refused() {
    let ca = Authority::new();
    // The acceptor is not who was dialed.
    let (reason, stats) = refusal(ca.identity(1), ca.identity(3)).await;
    assert_eq!((reason, stats.tls_errors), (DownReason::Identity, 1));
    // The dialer is not who it says to be.
    let (reason, stats) = refusal(ca.identity(5), ca.identity(2)).await;
    assert_eq!(reason, DownReason::Refused(HelloStatus::Identity));
    assert_eq!(stats.refused[HelloStatus::Identity as usize], 1);
}

/// Each frame arrives before the next is sent: nothing waits in a buffer for company.
#[cfg(feature = "tls")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h21_nothing_stays_behind_in_the_buffers_of_tls() {
    let ca = Authority::new();
    let (a, b) = (bind_tls(1, ca.identity(1)), bind_tls(2, ca.identity(2)));
    let (report, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    a.start(Arc::new(Counting(report.clone()))).unwrap();
    b.start(Arc::new(Counting(report))).unwrap();
    a.set_peer(node(2), &[b.local_addr().unwrap().into()]);
    // Around a record of TLS (16 KiB), a read block and what TLS may hold back.
    let sizes = [0, 1, 16_351, 16_352, 16_353, 65_504, 65_536, 262_112, 262_144, 3 << 20];
    for (id, size) in (0..).zip(sizes) {
        let frame = Frame::message(CHANNEL, vec![7; size]).with_id(id);
        a.send(node(2), Lane::Data, frame).unwrap();
        assert_eq!(guarded("the frame", arrived.recv()).await, Some((id, size)));
    }
    // And much at once, more than TLS may hold back.
    for id in 100..108 {
        let frame = Frame::message(CHANNEL, vec![7; 100_000]).with_id(id);
        a.send(node(2), Lane::Data, frame).unwrap();
    }
    for id in 100..108 {
        assert_eq!(guarded("the frame", arrived.recv()).await, Some((id, 100_000)));
    }
}

#[cfg(feature = "tls")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h40_certificates_are_exchanged_as_one_while_traffic_flows() {
    let (old, new) = (Authority::new(), Authority::new());
    let a = Running::new(bind_tls(1, old.identity(1)));
    let b = Running::new(bind_tls(2, old.identity(2)));
    a.knows(&b);
    guarded("the first call", call_until_answered(&a.sender, node(2))).await;
    let over = Arc::new(AtomicBool::new(false));
    let traffic = tokio::spawn({
        let (sender, over) = (a.sender.clone(), over.clone());
        async move {
            let mut calls = 0_u64;
            while !over.load(Ordering::Relaxed) {
                sender.call(node(2), vec![1; 3_000], seconds(20)).await.unwrap();
                calls += 1;
            }
            calls
        }
    });
    // The standing connection goes on; a new one finds the sides apart.
    b.transport.tls_handle().unwrap().reload(new.identity(2));
    let call = a.sender.call(node(2), b"bulk", seconds(20).lane(Lane::Bulk));
    let outcome = guarded("an outcome", call).await;
    assert_eq!(outcome, Err(CallError::NotSent(SendError::Disconnected)));
    let why = a.transport.lane(node(2), Lane::Bulk).last_failure;
    assert_eq!(why, Some(DownReason::Identity));
    // Both sides of the dialer change at once: it believes the new and shows the new.
    a.transport.tls_handle().unwrap().reload(new.identity(1));
    let call = a.sender.call(node(2), b"control", seconds(20).lane(Lane::Control));
    guarded("an answer", call).await.unwrap();
    // And so do those of the former acceptor: `a` accepts what `b` dials.
    let c = Running::new(bind_tls(3, new.identity(3)));
    c.knows(&b);
    b.knows(&c);
    let call = b.sender.call(node(3), b"x", seconds(20));
    guarded("an answer", call).await.unwrap();
    over.store(true, Ordering::Relaxed);
    assert!(guarded("the traffic", traffic).await.unwrap() > 0);
    // Nothing is resumed from before: whoever has the old certificates stays out.
    let late = Running::new(bind_tls(4, old.identity(4)));
    late.knows(&b);
    assert_eq!(late.why_not().await, DownReason::Identity);
}

#[tokio::test]
async fn h35_answers_go_to_the_observed_source_or_the_book_and_nowhere_else() {
    let (b, mut at_b) = bind_udp(2);
    let to_b = b.local_addr().unwrap();
    // Nothing is known of node 1: nobody is answered, whoever it says to be.
    assert_eq!(b.send_datagram(node(1), CHANNEL, b"x"), Err(SendError::UnknownPeer));
    let stranger = raw();
    let hello = Datagram::encode(&identity(1, 1), node(2), CHANNEL, b"hello").unwrap();
    stranger.send_to(&hello, to_b).await.unwrap();
    assert_eq!(at_b.next().await.2, b"hello");
    // The answer goes where it came from.
    b.send_datagram(node(1), CHANNEL, b"answer").unwrap();
    let mut packet = [0; 100];
    let (n, from) = guarded("the answer", stranger.recv_from(&mut packet)).await.unwrap();
    assert_eq!((n, from), (40 + 6, to_b));
    // What the book says is never overridden by what was observed.
    let true_one = raw();
    b.set_peer(node(1), &[true_one.local_addr().unwrap().into()]);
    stranger.send_to(&hello, to_b).await.unwrap();
    assert_eq!(at_b.next().await.2, b"hello");
    b.send_datagram(node(1), CHANNEL, b"to the book").unwrap();
    let (n, _) = guarded("the answer", true_one.recv_from(&mut packet)).await.unwrap();
    assert_eq!(n, 40 + 11);
    // Nor does an old observation come back when the book forgets.
    b.remove_peer(node(1));
    assert_eq!(b.send_datagram(node(1), CHANNEL, b"x"), Err(SendError::UnknownPeer));
}

#[tokio::test]
async fn h35_observed_sources_are_few_and_the_oldest_goes() {
    let (b, mut at_b) = bind_udp(2);
    let stranger = raw();
    for n in 10..10 + 1_025 {
        let hello = Datagram::encode(&identity(n, 1), node(2), CHANNEL, b"").unwrap();
        stranger.send_to(&hello, b.local_addr().unwrap()).await.unwrap();
        assert_eq!(at_b.next().await.0.node, node(n));
    }
    assert_eq!(b.send_datagram(node(10), CHANNEL, b"x"), Err(SendError::UnknownPeer));
    assert_eq!(b.send_datagram(node(11), CHANNEL, b"x"), Ok(()));
    assert_eq!(b.send_datagram(node(1_034), CHANNEL, b"x"), Ok(()));
}

/// Delivers nothing before it is told to.
struct Gated {
    entered: mpsc::Sender<u64>,
    go: Mutex<mpsc::Receiver<()>>,
}

impl Sink for Gated {
    fn on_frame(&self, _: Peer, _: Lane, _: SessionId, frame: Frame) {
        self.entered.send(frame.id).unwrap();
        let _ = self.go.lock().unwrap().recv();
    }
    fn on_event(&self, _: LinkEvent) {}
    fn on_unsent(&self, _: NodeId, _: Lane, _: &mut dyn Iterator<Item = Frame>) {}
}

#[test]
fn h13_a_delivery_to_a_former_life_takes_nothing_of_the_new_one() {
    let network = MemoryNetwork::new();
    let start = |n, life| {
        let (entered, seen) = mpsc::channel();
        let (go, gate) = mpsc::channel();
        let transport = network.node(identity(n, life));
        transport.start(Arc::new(Gated { entered, go: Mutex::new(gate) })).unwrap();
        (transport, seen, go)
    };
    let (a, _seen, _go) = start(1, 1);
    let send = |id| {
        let a = a.clone();
        let frame = Frame::message(CHANNEL, &b"x"[..]).with_id(id);
        std::thread::spawn(move || a.send(node(2), Lane::Data, frame).unwrap())
    };
    let (_old, old_seen, old_go) = start(2, 1);
    let at_old = send(1);
    assert_eq!(old_seen.recv(), Ok(1));
    let (_new, new_seen, new_go) = start(2, 2);
    let at_new = send(2);
    assert_eq!(new_seen.recv(), Ok(2));
    send(3).join().unwrap(); // waits behind the second
    // The thread in the old sink comes back: the third is not its to deliver.
    drop(old_go);
    at_old.join().unwrap();
    assert_eq!(new_seen.try_recv(), Err(mpsc::TryRecvError::Empty));
    drop(new_go);
    at_new.join().unwrap();
    assert_eq!(new_seen.try_recv(), Ok(3));
}
