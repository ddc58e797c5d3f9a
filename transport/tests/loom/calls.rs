//! The call slab under the endpoint's lock: an answer, the deadline, the end of the session and the
//! drop of the future race for one slot. One outcome, one release.

use crate::wait;
use loom::sync::{Arc, Mutex};
use loom::thread;
use quorate_transport::*;
use std::task::Poll;
use std::time::Duration;

const PEER: NodeId = NodeId::new(2);
const CHANNEL: ChannelId = ChannelId::new(16);
const SESSION: SessionId = SessionId::new(1);

/// A mux with room for one call, and `Core::with` around it.
struct Slab(Mutex<PeerMux>);

impl Slab {
    /// With one call that is out, due a second later.
    fn new() -> (Arc<Self>, CallId) {
        let config = EndpointConfig::local().peer_calls_inflight_max(1).build().unwrap();
        let mut mux = PeerMux::new(PEER, config, 7);
        let event = LinkEvent::Up { peer: peer(), lane: Lane::Data, session: SESSION };
        mux.handle_event(Monotonic::ZERO, &event);
        let (id, _) = call(&mut mux).unwrap();
        mux.drain(&mut MuxOutput::default());
        (Arc::new(Self(Mutex::new(mux))), id)
    }

    /// Changes the mux, then wakes without the lock.
    fn with<R>(&self, change: impl FnOnce(&mut PeerMux) -> R) -> R {
        let mut out = MuxOutput::default();
        let mut mux = self.0.lock().unwrap();
        let result = change(&mut mux);
        mux.drain(&mut out);
        drop(mux);
        while let Some(effect) = out.pop() {
            if let MuxEffect::Wake { waker } = effect {
                waker.wake();
            }
        }
        result
    }

    /// The answer arrives; whether a call waited for it.
    fn answer(&self, id: CallId) -> bool {
        let frame = Frame::new(Kind::Reply, CHANNEL).with_id(id.value()).with_body(&b"yes"[..]);
        self.with(|mux| {
            let late = mux.stats().late_frames;
            mux.handle_frame(Monotonic::ZERO, peer(), Lane::Data, SESSION, frame);
            mux.stats().late_frames == late
        })
    }

    fn expire(&self) {
        self.with(|mux| mux.handle_timeout(after(2), [0; 3]));
    }

    /// The slot is free, and it was freed once: the generation rose by one.
    fn check_released(&self, id: CallId) {
        let mut mux = self.0.lock().unwrap();
        let (next, _) = call(&mut mux).unwrap();
        assert_eq!(next.value(), id.value().wrapping_add(1 << 32), "it was freed once");
        assert_eq!(call(&mut mux).err(), Some(SendError::Full), "and is one slot still");
    }
}

fn peer() -> Peer {
    Peer::new(PEER, Incarnation::new(1), Role::Member)
}

fn after(seconds: u64) -> Monotonic {
    Monotonic::ZERO.saturating_add(Duration::from_secs(seconds))
}

fn call(mux: &mut PeerMux) -> Result<(CallId, Frame), SendError> {
    mux.call(Monotonic::ZERO, CHANNEL, Lane::Data, Body::empty(), after(1))
}

/// `Reply::poll`.
fn outcome(slab: &Slab, id: CallId) -> Result<(), CallError> {
    wait(|cx| slab.0.lock().unwrap().poll_call(id, cx.waker())).map(drop)
}

#[test]
fn an_answer_races_with_the_deadline() {
    loom::model(|| {
        let (slab, id) = Slab::new();
        let (other, third) = (slab.clone(), slab.clone());
        let answer = thread::spawn(move || other.answer(id));
        let deadline = thread::spawn(move || third.expire());
        let found = outcome(&slab, id);
        let answered = answer.join().unwrap();
        deadline.join().unwrap();
        assert_eq!(found.is_ok(), answered, "the one that came first counts");
        let polled = slab.0.lock().unwrap().poll_call(id, std::task::Waker::noop());
        assert!(matches!(polled, Poll::Pending), "one outcome");
        slab.check_released(id);
    });
}

/// `Drop for Reply`: a Cancel goes out if and only if the call had no outcome.
#[test]
fn a_drop_races_with_the_answer_and_the_deadline() {
    loom::model(|| {
        let (slab, id) = Slab::new();
        let (other, third) = (slab.clone(), slab.clone());
        let answer = thread::spawn(move || other.answer(id));
        let deadline = thread::spawn(move || third.expire());
        let cancel = slab.with(|mux| mux.cancel(id));
        let answered = answer.join().unwrap();
        deadline.join().unwrap();
        if let Some((lane, frame)) = cancel {
            assert!(!answered, "an answered call is not cancelled");
            assert_eq!((lane, frame.kind, frame.id), (Lane::Data, Kind::Cancel, id.value()));
        }
        slab.check_released(id);
    });
}

/// H11: the end of the session against the answer: never both, never neither.
#[test]
fn the_end_of_the_session_races_with_the_answer() {
    loom::model(|| {
        let (slab, id) = Slab::new();
        let (other, third) = (slab.clone(), slab.clone());
        let answer = thread::spawn(move || other.answer(id));
        let end = thread::spawn(move || {
            let (node, lane, reason) = (PEER, Lane::Data, DownReason::Closed);
            let event = LinkEvent::Down { node, lane, session: SESSION, reason };
            third.with(|mux| mux.handle_event(Monotonic::ZERO, &event));
        });
        let found = outcome(&slab, id);
        end.join().unwrap();
        assert_eq!(found.is_ok(), answer.join().unwrap());
        slab.check_released(id);
    });
}

/// A call whose `send` is being refused while the session ends: one outcome all the same.
#[test]
fn the_end_of_the_session_races_with_the_refusal() {
    loom::model(|| {
        let (slab, first) = Slab::new();
        assert!(slab.with(|mux| mux.cancel(first)).is_some());
        let (id, _) = call(&mut slab.0.lock().unwrap()).unwrap();
        let other = slab.clone();
        let end = thread::spawn(move || {
            let (node, lane, reason) = (PEER, Lane::Data, DownReason::Closed);
            let event = LinkEvent::Down { node, lane, session: SESSION, reason };
            other.with(|mux| mux.handle_event(Monotonic::ZERO, &event));
        });
        slab.with(|mux| mux.call_not_sent(id, SendError::Full));
        end.join().unwrap();
        let outcome = outcome(&slab, id);
        let definite = outcome == Err(CallError::NotSent(SendError::Full));
        assert!(definite || matches!(outcome, Err(CallError::MaybeExecuted(_))), "{outcome:?}");
        slab.check_released(id);
    });
}
