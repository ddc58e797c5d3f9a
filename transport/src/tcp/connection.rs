//! One connection: from the end of its handshake to the report of its end.

use super::bell::Bell;
use super::dial;
use super::lane::{Dial, TcpLane};
use super::peer::TcpPeer;
use super::read::Reader;
use super::shared::Shared;
use super::stream::Stream;
use super::wire::Plain;
use super::write::Writer;
use crate::queue::LaneQueue;
use crate::{Decoder, DownReason, Frame, Lane, LinkEvent, Peer, SendError, SessionId};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

pub(super) const GOAWAY_SHUTDOWN: u32 = 1;
pub(super) const GOAWAY_REPLACED: u32 = 2;
pub(super) const GOAWAY_PROTOCOL: u32 = 3;
pub(super) const GOAWAY_IDLE: u32 = 4;

/// Frames written in their senders, one system call each, before a burst is left to the writer.
const INLINE_BURST: u32 = 1;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) session: SessionId,
    pub(super) nonce: u64,
    pub(super) peer: Peer,
    pub(super) lane: Lane,
    /// The socket, unless TLS seals it: then the connection's one task owns it.
    open: Option<OwnedWriteHalf>,
    /// Until the reader takes it.
    half: Mutex<Option<OwnedReadHalf>>,
    /// On its way from the handshake to that task.
    #[cfg(feature = "tls")]
    sealed: Mutex<Option<super::stream::Sealed>>,
    /// Largest body the other side takes.
    body_bytes_max: u32,
    pub(super) terms: Terms,
    pub(super) out: Mutex<Out>,
    /// Wakes the writer.
    pub(super) wake: Bell,
    /// Why it ends; the first reason stays.
    end: Mutex<Option<DownReason>>,
    killed: AtomicBool,
    leaving: AtomicBool,
    /// It is no lane's connection and never will be: nothing is sent on it.
    surplus: AtomicBool,
    gate: Mutex<Gate>,
    finished: watch::Sender<bool>,
    /// Inline writes left before the writer gets its turn.
    inline_left: AtomicU32,
    /// Rises with each burst of frames, either way. Pings count: a lane has them only while it is
    /// watched, was talked on lately, or a call or a stream waits for something on it.
    pub(super) activity: AtomicU64,
    since: Instant,
}

/// What goes out, beside the lane's queue.
#[derive(Debug, Default)]
pub(super) struct Out {
    /// Sequence of the next frame.
    pub(super) sequence: u32,
    /// A frame begun: encoded header and bytes already written.
    pub(super) head: Option<Head>,
    /// The answer of the handshake is not written yet, be it here or in the writer's hands: nothing
    /// may go out before it.
    pub(super) answering: bool,
    /// The lane's queue is not for this connection any more; only what was begun is written.
    pub(super) only_hands: bool,
    /// Farewell to write when nothing is left.
    pub(super) goaway: Option<u32>,
    /// Frames that were meant for a life of the peer that is over.
    doomed: VecDeque<Frame>,
}

impl Out {
    pub(super) fn doom(&mut self, frames: VecDeque<Frame>) {
        self.doomed.extend(frames);
    }
}

#[derive(Debug)]
pub(super) struct Head {
    pub(super) header: [u8; 32],
    pub(super) frame: Frame,
    pub(super) written: usize,
    /// Whether the lane's queue counts it.
    pub(super) counted: bool,
}

/// Connections that are read to their end before this one is read.
#[derive(Debug, Default)]
struct Gate {
    before: Vec<watch::Receiver<bool>>,
    passed: bool,
}

/// What the handshake found.
pub(super) struct Agreed {
    pub(super) peer: Peer,
    pub(super) lane: Lane,
    pub(super) nonce: u64,
    /// Largest body the other side takes; 0: as much as this side.
    pub(super) frame_bytes_max: u32,
    pub(super) terms: Terms,
}

/// What the other side announced for those above.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Feature bits of both sides.
    pub(super) features: u64,
    /// Credit it gives per stream; 0 unknown.
    pub(super) stream_window_bytes: u32,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connection {
    /// `first` is the handshake frame that is still to be written, or was: sequence 0 is used up.
    pub(super) fn new(
        shared: &Shared,
        stream: Stream,
        agreed: &Agreed,
        first: Option<Head>,
    ) -> Arc<Self> {
        #[cfg(feature = "tls")]
        let (tcp, sealed) = match stream {
            Stream::Plain(tcp) => (Some(tcp), None),
            Stream::Sealed(sealed) => (None, Some(sealed)),
        };
        #[cfg(not(feature = "tls"))]
        let Stream::Plain(tcp) = stream;
        #[cfg(not(feature = "tls"))]
        let tcp = Some(tcp);
        let (half, open) = tcp.map(TcpStream::into_split).unzip();
        let own = shared.limits.body_bytes_max(agreed.lane);
        let theirs = agreed.frame_bytes_max;
        shared.live.send_modify(|live| *live += 1);
        Arc::new(Self {
            session: shared.next_session(),
            nonce: agreed.nonce,
            peer: agreed.peer,
            lane: agreed.lane,
            open,
            half: Mutex::new(half),
            #[cfg(feature = "tls")]
            sealed: Mutex::new(sealed),
            terms: agreed.terms,
            body_bytes_max: if theirs == 0 { own } else { theirs.min(own) },
            out: Mutex::new(Out {
                sequence: 1,
                answering: first.is_some(),
                head: first,
                ..Out::default()
            }),
            wake: Bell::default(),
            end: Mutex::new(None),
            killed: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            surplus: AtomicBool::new(false),
            gate: Mutex::default(),
            finished: watch::Sender::new(false),
            inline_left: AtomicU32::new(INLINE_BURST),
            activity: AtomicU64::new(0),
            since: Instant::now(),
        })
    }

    pub(super) fn out(&self) -> MutexGuard<'_, Out> {
        lock(&self.out)
    }

    pub(super) fn check(&self, frame: &Frame) -> Result<(), SendError> {
        let bytes = u64::try_from(frame.body.len()).unwrap_or(u64::MAX);
        let max = self.body_bytes_max;
        if bytes > u64::from(max) { Err(SendError::TooLarge { bytes, max }) } else { Ok(()) }
    }

    pub(super) fn never_current(&self) {
        self.surplus.store(true, Ordering::Release);
    }

    fn is_surplus(&self) -> bool {
        self.surplus.load(Ordering::Acquire)
    }

    /// Whether it says farewell already.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// Whether this frame may be written in its sender: a few in a row may, then the writer gathers
    /// the rest of the burst, until it found nothing more or something came in.
    pub(super) fn take_inline(&self) -> bool {
        if self.is_sealed() {
            return false;
        }
        // Under the lock of the lane; the refills race with it harmlessly.
        let left = self.inline_left.load(Ordering::Relaxed);
        self.inline_left.store(left.saturating_sub(1), Ordering::Relaxed);
        left > 0
    }

    pub(super) fn refill_inline(&self) {
        self.inline_left.store(INLINE_BURST, Ordering::Relaxed);
    }

    pub(super) const fn is_sealed(&self) -> bool {
        self.open.is_none()
    }

    pub(super) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    /// Writes one frame in the caller of `send`, under the lock of its lane; the writer has nothing
    /// in its hands then. What the kernel does not take is the writer's. // H2
    pub(super) fn write_now(
        &self,
        shared: &Shared,
        lane: &TcpLane,
        queue: &mut LaneQueue,
        frame: Frame,
    ) -> Result<(), SendError> {
        let mut out = self.out();
        if out.answering && !crate::mutant::on("frame_before_hello_ack") {
            queue.push(frame);
            self.wake.ring();
            return Ok(());
        }
        let max = self.body_bytes_max;
        let header = frame.encode_header(out.sequence).map_err(|_| SendError::TooLarge {
            bytes: u64::try_from(frame.body.len()).unwrap_or(u64::MAX),
            max,
        })?;
        let mut slices = [IoSlice::new(&[]); 1 + crate::Body::PIECES_MAX];
        slices[0] = IoSlice::new(&header);
        for (slice, piece) in slices[1..].iter_mut().zip(frame.body.pieces()) {
            *slice = IoSlice::new(piece);
        }
        let used = 1 + frame.body.pieces().len();
        // Not now, or not at all: the writer finds out.
        let slices = &slices[..used];
        let written = self.open.as_ref().map_or(0, |s| s.try_write_vectored(slices).unwrap_or(0));
        if written == 0 {
            queue.push(frame);
            self.wake.ring();
            return Ok(());
        }
        let bytes = u64::try_from(written).unwrap_or(u64::MAX);
        out.sequence = out.sequence.wrapping_add(1);
        lane.written.fetch_add(bytes, Ordering::Relaxed);
        self.activity.fetch_add(1, Ordering::Relaxed);
        shared.counters.writes.add(1);
        shared.counters.inline_writes.add(1);
        shared.counters.bytes_out.add(bytes);
        if written < frame.wire_len() {
            queue.count(&frame);
            out.head = Some(Head { header, frame, written, counted: true });
            self.wake.ring();
        } else {
            shared.counters.frames_out.add(1);
        }
        Ok(())
    }

    /// Turns true when the end was reported.
    pub(super) fn finished(&self) -> watch::Receiver<bool> {
        self.finished.subscribe()
    }

    /// This connection is read only after the other was read to its end. False if reading began.
    pub(super) fn follow(&self, other: watch::Receiver<bool>) -> bool {
        let mut gate = lock(&self.gate);
        if !gate.passed {
            gate.before.push(other);
        }
        !gate.passed
    }

    pub(super) fn doom(&self, frames: VecDeque<Frame>) {
        self.out().doom(frames);
    }

    /// What the writer has in its hands at its end: older than what was queued.
    pub(super) fn take_back(&self, mut frames: VecDeque<Frame>) {
        let mut out = self.out();
        frames.append(&mut out.doomed);
        out.doomed = frames;
    }

    fn end(&self, reason: DownReason) -> DownReason {
        *lock(&self.end).get_or_insert(reason)
    }

    /// Ends it now. The tasks notice by the socket, that of a sealed one by the bell.
    pub(super) fn kill(&self, reason: DownReason) {
        if !matches!(reason, DownReason::Replaced | DownReason::Closed) {
            // Not read to its end: no mere replacement, after which calls and streams go on.
            lock(&self.end).take_if(|end| *end == DownReason::Replaced);
        }
        self.end(reason);
        self.killed.store(true, Ordering::Release);
        if let Some(open) = &self.open {
            super::socket::shutdown(open.as_ref(), std::net::Shutdown::Both);
        }
        self.wake.ring();
    }

    /// Ends it in order: what the writer holds is written, then a farewell; the other side is read
    /// until its own, for at most `handover_max` (`drain_max` in a shutdown).
    pub(super) fn retire(self: &Arc<Self>, shared: &Shared, goaway: u32, reason: DownReason) {
        self.end(reason);
        self.leaving.store(true, Ordering::Release);
        let mut out = self.out();
        out.goaway.get_or_insert(goaway);
        drop(out);
        self.wake.ring();
        let shutdown = goaway == GOAWAY_SHUTDOWN;
        let limit = if shutdown { shared.config.drain_max } else { shared.config.handover_max };
        let conn = self.clone();
        let mut finished = self.finished.subscribe();
        drop(shared.handle.spawn(async move {
            let over = finished.wait_for(|finished| *finished);
            if timeout(limit, over).await.is_err() {
                let overdue = reason == DownReason::Replaced;
                conn.kill(if overdue { DownReason::Timeout } else { reason });
            }
        }));
    }
}

/// Runs a connection: writer at once, reader after its predecessors, then the report of its end.
pub(super) fn spawn(
    shared: &Arc<Shared>,
    peer: &Arc<TcpPeer>,
    conn: &Arc<Connection>,
    mut decoder: Decoder,
) {
    decoder.set_body_bytes_max(shared.limits.body_bytes_max(conn.lane));
    let life = Life {
        shared: shared.clone(),
        peer: peer.clone(),
        conn: conn.clone(),
        writes: None,
        announced: false,
        over: false,
    };
    let writer = Writer::new(shared.clone(), peer.clone(), conn.clone());
    let reader = Reader::new(shared.clone(), conn.clone(), decoder);
    #[cfg(feature = "tls")]
    if conn.is_sealed() {
        let Some(stream) = lock(&conn.sealed).take() else { return };
        drop(shared.handle.spawn(super::sealed::run(life, writer, reader, stream)));
        return;
    }
    drop(shared.handle.spawn(run(life, writer, reader)));
}

async fn run(mut life: Life, mut writer: Writer, mut reader: Reader) {
    let conn = life.conn.clone();
    life.writes = Some(life.shared.handle.spawn({
        let conn = conn.clone();
        async move {
            let Some(open) = &conn.open else { return VecDeque::new() };
            poll_fn(|cx| writer.poll(cx, &mut Plain(open.as_ref()))).await
        }
    }));
    life.pass_gate().await;
    life.announce();
    let half = lock(&conn.half).take();
    let reason = match half {
        Some(mut half) => poll_fn(|cx| reader.poll(cx, &mut half)).await,
        None => DownReason::Closed,
    };
    life.wind_down(reason);
    let leftover = life.leftover().await;
    conn.kill(reason);
    life.finish(leftover);
}

/// Owns the connection's place in the tables: also a panic or an abort of the task frees it and
/// reports `Down`. // H29
pub(super) struct Life {
    shared: Arc<Shared>,
    peer: Arc<TcpPeer>,
    pub(super) conn: Arc<Connection>,
    /// The task of the writer, if it has one.
    writes: Option<JoinHandle<VecDeque<Frame>>>,
    announced: bool,
    over: bool,
}

impl Life {
    fn lane(&self) -> &TcpLane {
        self.peer.lane(self.conn.lane)
    }

    /// Own dials that are being made may turn out to be predecessors; predecessors are read to
    /// their end first. So frames of an older session never come after those of a newer.
    pub(super) async fn pass_gate(&self) {
        if crate::mutant::on("goaway_wait_skipped") {
            return;
        }
        let mut dialing = self.lane().dialing.subscribe();
        let resolved = dialing.wait_for(|dialing| !*dialing);
        let _ = timeout(self.shared.config.handover_max, resolved).await;
        loop {
            let next = {
                let mut gate = lock(&self.conn.gate);
                let next = gate.before.pop();
                gate.passed = next.is_none();
                next
            };
            let Some(mut finished) = next else { return };
            // A predecessor is killed after `handover_max` at the latest; an error: it is gone.
            let _ = finished.wait_for(|finished| *finished).await;
        }
    }

    pub(super) fn announce(&mut self) {
        if self.conn.is_surplus() && self.conn.is_killed() {
            return; // never read: nobody need know of it, and its turn may be over
        }
        self.announced = true;
        self.shared.counters.sessions.add(1);
        let (peer, lane, session) = (self.conn.peer, self.conn.lane, self.conn.session);
        let incarnation = peer.incarnation.value();
        tracing::debug!(
            peer = %peer.node, %lane, session = session.value(), incarnation, "session up"
        );
        self.shared.report(LinkEvent::Up { peer, lane, session });
    }

    /// Reading is over; what is being written may still go out.
    pub(super) fn wind_down(&self, reason: DownReason) {
        let conn = &self.conn;
        if matches!(reason, DownReason::Closed | DownReason::Protocol) && !conn.is_killed() {
            // The other side reads until this side's farewell: what the writer has in its hands
            // still arrives, and `retire` bounds the wait.
            let protocol = reason == DownReason::Protocol;
            if protocol || !conn.is_leaving() {
                conn.out().only_hands = true;
            }
            let goaway = if protocol { GOAWAY_PROTOCOL } else { GOAWAY_IDLE };
            conn.retire(&self.shared, goaway, reason);
        } else {
            conn.kill(reason);
        }
    }

    /// What the writer had in its hands at the end; after a panic it left that with the connection.
    async fn leftover(&mut self) -> VecDeque<Frame> {
        let Some(writes) = &mut self.writes else { return VecDeque::new() };
        let leftover = writes.await;
        self.writes = None;
        leftover.unwrap_or_default()
    }

    /// A sink that panics here costs what it was told, not the place in the tables. // H29
    pub(super) fn finish(&mut self, leftover: VecDeque<Frame>) {
        self.over = true;
        let reason = self.conn.end(DownReason::Closed);
        let mut unsent = leftover;
        self.detach(&mut unsent);
        if !self.announced && !self.conn.is_surplus() {
            contain(|| self.announce()); // it was written to: its end must be known
        }
        let known = self.announced;
        let (node, lane, session) = (self.conn.peer.node, self.conn.lane, self.conn.session);
        contain(|| self.shared.report_unsent(node, lane, unsent));
        let elapsed_us = self.conn.since.elapsed().as_micros();
        tracing::debug!(
            peer = %node, %lane, session = session.value(), %reason, elapsed_us, "session down"
        );
        // Whoever reacts to the `Down` finds a lane that can be dialed; a session that is dialed
        // meanwhile is announced only after it.
        self.rearm(reason);
        if known {
            self.shared.counters.ended[reason.index()].add(1);
            contain(|| self.shared.report(LinkEvent::Down { node, lane, session, reason }));
        }
        self.conn.finished.send_replace(true);
        self.shared.unfinished.leave(&self.conn);
        self.shared.live.send_modify(|live| *live -= 1);
    }

    /// Leaves the tables; what was queued for it joins what its writer held.
    fn detach(&self, unsent: &mut VecDeque<Frame>) {
        let lane = self.lane();
        let mut links = self.peer.links();
        links.handle_lost(self.conn.lane, self.conn.nonce);
        let mut state = lane.lock();
        if state.conn.as_ref().is_some_and(|c| Arc::ptr_eq(c, &self.conn)) {
            state.conn = None;
            state.closing = Some(self.conn.session);
            state.queue.take(unsent);
        }
        let mut out = self.conn.out();
        if let Some(head) = out.head.take().filter(|head| head.counted) {
            unsent.push_front(head.frame);
        }
        unsent.append(&mut out.doomed);
        drop((out, state, links));
        lane.settle(&*unsent);
    }

    /// The next session may be dialed: at once after an end in order, else after a backoff.
    fn rearm(&self, reason: DownReason) {
        let lane = self.lane();
        let mut state = lane.lock();
        state.closing.take_if(|session| *session == self.conn.session);
        if self.conn.since.elapsed() >= self.shared.config.stable_after {
            state.backoff.reset();
        }
        let failed =
            matches!(reason, DownReason::Io(_) | DownReason::Timeout | DownReason::Protocol);
        if failed && state.conn.is_none() && state.dial == Dial::Idle && !self.shared.is_closing() {
            state.dial = Dial::Failed { wanted: false };
            state.last_failure = Some(reason);
            let delay = state.backoff.next(self.shared.random());
            drop(state);
            dial::spawn(&self.shared, &self.peer, self.conn.lane, Some(delay));
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        self.conn.kill(DownReason::Io(ErrorKind::Other));
        let Some(writes) = self.writes.take() else { return self.finish(VecDeque::new()) };
        self.over = true;
        let mut life = Self {
            shared: self.shared.clone(),
            peer: self.peer.clone(),
            conn: self.conn.clone(),
            writes: None,
            announced: self.announced,
            over: false,
        };
        drop(self.shared.handle.spawn(async move {
            let leftover = writes.await.unwrap_or_default();
            life.finish(leftover);
        }));
    }
}

fn contain(told: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(told)); // the hook has printed it
}
