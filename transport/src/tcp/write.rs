//! The writer of one connection: everything queued goes out in one gathered write.

use super::connection::{Connection, Head};
use super::lane::TcpLane;
use super::peer::TcpPeer;
use super::shared::Shared;
use super::stream::reason_of;
use super::wire::{Wire, yield_turn};
use crate::frame::HEADER;
use crate::{ChannelId, DownReason, Frame, Kind};
use bytes::BytesMut;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

/// Headers and small bodies are copied here.
const SCRATCH: usize = crate::decode::BLOCK;
/// Bodies below this are copied, so that a batch of small frames is one slice.
const COPY_BELOW: usize = 1024;
/// Bytes of one gathering, and of one turn.
const GATHER_MAX: usize = 64 * 1024;
/// Slices of one gathering.
const PARTS_MAX: usize = 512;
/// Slices of one system call.
const SLICES: usize = 64;

/// Gatherings of one turn, so that the reader and the neighbours on the executor get theirs: what a
/// heartbeat on another lane may have to wait for. // H14, H26
const TURN_GATHERINGS: u32 = 1;

/// Writes until the connection ends.
pub(super) struct Writer {
    shared: Arc<Shared>,
    peer: Arc<TcpPeer>,
    conn: Arc<Connection>,
    batch: Batch,
    /// The farewell is written: only the close is left.
    closing: bool,
    /// The end was answered with what is left.
    over: bool,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, peer: Arc<TcpPeer>, conn: Arc<Connection>) -> Self {
        let batch = Batch { sealed: conn.is_sealed(), ..Batch::default() };
        Self { shared, peer, conn, batch, closing: false, over: false }
    }

    /// Ready at the end with what was surely not sent.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut impl Wire,
    ) -> Poll<VecDeque<Frame>> {
        let end = self.poll_end(cx, wire);
        self.over = end.is_ready();
        end
    }

    fn poll_end(&mut self, cx: &mut Context<'_>, wire: &mut impl Wire) -> Poll<VecDeque<Frame>> {
        let mut gatherings = 0;
        loop {
            if self.conn.is_killed() {
                return Poll::Ready(self.give_up());
            }
            if self.closing {
                return wire.poll_close(cx).map(|()| VecDeque::new());
            }
            if !self.batch.frames.is_empty() {
                if gatherings == TURN_GATHERINGS {
                    yield_turn(cx);
                    return Poll::Pending;
                }
                gatherings += 1;
                if let Err(error) = ready!(self.poll_batch(cx, wire)) {
                    self.conn.kill(reason_of(&error));
                    return Poll::Ready(self.give_up());
                }
                continue;
            }
            match fetch(&self.shared, &self.peer, &self.conn, &mut self.batch) {
                Fetched::Work => {}
                Fetched::Nothing => {
                    if let Poll::Ready(Err(error)) = wire.poll_flush(cx) {
                        self.conn.kill(reason_of(&error));
                        return Poll::Ready(self.give_up());
                    }
                    self.conn.refill_inline();
                    // An idle connection holds no block.
                    if let Some(scratch) = self.batch.take_scratch() {
                        self.shared.pool.put(scratch);
                    }
                    ready!(self.conn.wake.poll(cx));
                }
                Fetched::Farewell(code) => {
                    let goaway = Frame::new(Kind::GoAway, ChannelId::ENDPOINT).with_aux(code);
                    self.batch.push_uncounted(goaway);
                }
            }
        }
    }

    /// Writes one gathering. Progress is kept frame by frame, so that what is left after an error
    /// is known. // H2
    fn poll_batch(&mut self, cx: &mut Context<'_>, wire: &mut impl Wire) -> Poll<io::Result<()>> {
        let lane = self.peer.lane(self.conn.lane);
        if !self.batch.is_gathered() {
            if self.batch.scratch.capacity() == 0 {
                self.batch.scratch = self.shared.pool.take();
            }
            self.batch.gather()?;
            self.conn.out().sequence = self.batch.sequence;
        }
        while self.batch.written < self.batch.total {
            match ready!(self.batch.poll_write(cx, wire)) {
                Ok(0) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Ok(n) => {
                    self.batch.written += n;
                    let bytes = u64::try_from(n).unwrap_or(u64::MAX);
                    lane.written.fetch_add(bytes, Ordering::Relaxed);
                    self.conn.activity.fetch_add(1, Ordering::Relaxed);
                    self.shared.counters.writes.add(1);
                    self.shared.counters.bytes_out.add(bytes);
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        match self.settle() {
            Some(Kind::GoAway) => self.closing = true,
            Some(_) => self.conn.out().answering = false,
            None => {}
        }
        Poll::Ready(Ok(()))
    }

    /// What is wholly written leaves the hands; says which frame of the connection's own did.
    fn settle(&mut self) -> Option<Kind> {
        let lane = self.peer.lane(self.conn.lane);
        let done = self.batch.whole_frames();
        if done > 0 {
            self.conn.activity.fetch_add(1, Ordering::Relaxed);
        }
        let own = self.batch.uncounted.filter(|_| done > 0);
        self.batch.retire(&self.shared, lane, done);
        own
    }

    fn give_up(&mut self) -> VecDeque<Frame> {
        self.settle();
        std::mem::take(&mut self.batch).into_counted()
    }
}

/// After a panic, be it of a sink, what is in the hands is unsent too. // H29
impl Drop for Writer {
    fn drop(&mut self) {
        if !self.over {
            self.conn.kill(DownReason::Io(ErrorKind::Other));
            let frames = self.give_up();
            self.conn.take_back(frames);
        }
    }
}

enum Fetched {
    Work,
    Nothing,
    Farewell(u32),
}

/// Takes the frame begun and the whole queue.
fn fetch(shared: &Shared, peer: &TcpPeer, conn: &Arc<Connection>, batch: &mut Batch) -> Fetched {
    let lane = peer.lane(conn.lane);
    let mut state = lane.lock();
    let mut out = conn.out();
    batch.sequence = out.sequence;
    let mine = state.conn.as_ref().is_some_and(|c| Arc::ptr_eq(c, conn));
    if let Some(head) = out.head.take() {
        batch.begin(head);
    }
    if mine && !out.only_hands {
        state.queue.take(&mut batch.frames);
    }
    if batch.frames.is_empty() {
        let Some(code) = out.goaway.take() else { return Fetched::Nothing };
        if mine {
            // From here on nothing can be accepted for this connection any more.
            state.conn = None;
            state.closing = Some(conn.session);
            let mut doomed = VecDeque::new();
            state.queue.take(&mut doomed);
            out.doom(doomed);
        }
        return Fetched::Farewell(code);
    }
    drop((out, state));
    let refused = batch.extract_oversized(conn);
    if !refused.is_empty() {
        lane.settle(&refused);
        shared.report_unsent(conn.peer.node, conn.lane, refused);
    }
    Fetched::Work
}

/// What the writer has in its hands.
#[derive(Default)]
struct Batch {
    frames: VecDeque<Frame>,
    sequence: u32,
    /// The first frame's header, if it was begun elsewhere, and how much of it is written.
    begun: Option<([u8; HEADER], usize)>,
    /// Kind of the first frame if the lane's queue does not count it (handshake, farewell).
    uncounted: Option<Kind>,
    scratch: BytesMut,
    parts: Vec<Part>,
    /// Where each gathered frame ends.
    ends: Vec<usize>,
    total: usize,
    written: usize,
    /// TLS protects the bodies: no CRC of theirs.
    sealed: bool,
}

#[derive(Clone, Copy)]
enum Part {
    Scratch { start: usize, end: usize },
    Body { frame: usize, piece: usize },
}

impl Batch {
    fn begin(&mut self, head: Head) {
        if !head.counted {
            self.uncounted = Some(head.frame.kind);
        }
        self.begun = Some((head.header, head.written));
        self.frames.push_front(head.frame);
    }

    fn push_uncounted(&mut self, frame: Frame) {
        self.uncounted = Some(frame.kind);
        self.frames.push_front(frame);
    }

    fn into_counted(mut self) -> VecDeque<Frame> {
        if self.uncounted.is_some() {
            self.frames.pop_front();
        }
        self.frames
    }

    /// Frames queued before the other side's limit was known.
    fn extract_oversized(&mut self, conn: &Connection) -> VecDeque<Frame> {
        let skip = usize::from(self.begun.is_some());
        if self.frames.iter().skip(skip).all(|frame| conn.check(frame).is_ok()) {
            return VecDeque::new();
        }
        let mut index = 0;
        let mut refused = VecDeque::new();
        let kept = self.frames.drain(..).filter_map(|frame| {
            index += 1;
            if index <= skip || conn.check(&frame).is_ok() {
                return Some(frame);
            }
            refused.push_back(frame);
            None
        });
        self.frames = kept.collect();
        refused
    }

    const fn is_gathered(&self) -> bool {
        self.written < self.total
    }

    fn take_scratch(&mut self) -> Option<BytesMut> {
        self.scratch.clear();
        (self.scratch.capacity() > 0).then(|| std::mem::take(&mut self.scratch))
    }

    fn gather(&mut self) -> io::Result<()> {
        self.scratch.clear();
        self.parts.clear();
        self.ends.clear();
        (self.total, self.written) = (0, 0);
        for index in 0..self.frames.len() {
            let pieces = self.frames[index].body.pieces().len();
            let full = self.scratch.len() + HEADER + COPY_BELOW > SCRATCH
                || self.parts.len() + 1 + pieces > PARTS_MAX
                || self.total >= GATHER_MAX;
            if full && index > 0 {
                break;
            }
            self.gather_frame(index)?;
        }
        Ok(())
    }

    fn gather_frame(&mut self, index: usize) -> io::Result<()> {
        let frame = &self.frames[index];
        let header = match self.begun.take() {
            Some((header, written)) => {
                self.written = written;
                header
            }
            None => {
                let header = frame
                    .encode_header_as(self.sequence, self.sealed)
                    .map_err(|e| io::Error::new(ErrorKind::InvalidInput, e))?;
                self.sequence = self.sequence.wrapping_add(1);
                header
            }
        };
        let start = self.scratch.len();
        self.scratch.extend_from_slice(&header);
        let bytes = frame.body.len();
        if bytes < COPY_BELOW {
            frame.body.pieces().iter().for_each(|piece| self.scratch.extend_from_slice(piece));
        }
        let end = self.scratch.len();
        match self.parts.last_mut() {
            Some(Part::Scratch { end: last, .. }) if *last == start => *last = end,
            _ => self.parts.push(Part::Scratch { start, end }),
        }
        if bytes >= COPY_BELOW {
            let pieces = 0..frame.body.pieces().len();
            self.parts.extend(pieces.map(|piece| Part::Body { frame: index, piece }));
        }
        self.total += HEADER + bytes;
        self.ends.push(self.total);
        Ok(())
    }

    /// One write of what is gathered and not written.
    fn poll_write(&self, cx: &mut Context<'_>, wire: &mut impl Wire) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let (mut used, mut skip) = (0, self.written);
        for part in &self.parts {
            let bytes: &[u8] = match *part {
                Part::Scratch { start, end } => &self.scratch[start..end],
                Part::Body { frame, piece } => &self.frames[frame].body.pieces()[piece],
            };
            if skip >= bytes.len() {
                skip -= bytes.len();
                continue;
            }
            slices[used] = IoSlice::new(&bytes[skip..]);
            (used, skip) = (used + 1, 0);
            if used == SLICES {
                break;
            }
        }
        wire.poll_write(cx, &slices[..used])
    }

    /// How many gathered frames are wholly with the kernel.
    fn whole_frames(&self) -> usize {
        self.ends.partition_point(|end| *end <= self.written)
    }

    fn retire(&mut self, shared: &Shared, lane: &TcpLane, done: usize) {
        if done == 0 {
            return;
        }
        let skip = usize::from(self.uncounted.take().is_some());
        shared.counters.frames_out.add(u64::try_from(done).unwrap_or(u64::MAX));
        lane.settle(self.frames.iter().take(done).skip(skip));
        drop(self.frames.drain(..done));
        // What was gathered is accounted for; the rest is gathered anew.
        self.ends.clear();
        (self.total, self.written) = (0, 0);
    }
}
