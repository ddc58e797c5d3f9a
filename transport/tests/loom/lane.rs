//! The lane queue: senders that write in their own thread against the writer. The queue is the
//! crate's; the steps around it are those of `TcpLane::send`, `Connection::write_now`,
//! `write::fetch`, `TcpLane::settle` and `TcpLane::poll_ready`, repeated here without sockets.

use crate::queue::LaneQueue;
use crate::wait;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;
use quorate_transport::{ChannelId, Frame, SendError};
use std::collections::VecDeque;
use std::task::{Poll, Waker};

/// A frame is two units on the wire: a header and a body.
const UNITS: usize = 2;

/// Units as they came: number of the frame, sequence, which unit of it.
type Wire = Vec<(u64, u32, usize)>;

struct Lane {
    state: Mutex<State>,
    out: Mutex<Out>,
    wake: Mutex<Notify>,
    /// Inline writes in a row; refilled without a lock, as in `Connection`.
    inline_left: AtomicU32,
    burst: u32,
}

struct State {
    queue: LaneQueue,
    waiters: Vec<Waker>,
}

#[derive(Default)]
struct Out {
    sequence: u32,
    /// A frame begun in its sender: its sequence and how many units are written.
    head: Option<(Frame, u32, usize)>,
    wire: Wire,
    /// What the socket takes of the next inline writes, the last first; then everything.
    takes: Vec<usize>,
}

/// tokio's `Notify` with one waiter: a permit, or a waker.
#[derive(Default)]
struct Notify {
    permit: bool,
    waker: Option<Waker>,
    /// Only in the models: no more frames come.
    over: bool,
}

fn frame(number: u64) -> Frame {
    Frame::message(ChannelId::new(16), vec![0; 68]).with_id(number)
}

impl Lane {
    fn new(frames_max: usize, burst: u32, takes: &[usize]) -> Arc<Self> {
        let queue = LaneQueue::new(1_000, frames_max, 100);
        Arc::new(Self {
            state: Mutex::new(State { queue, waiters: Vec::new() }),
            out: Mutex::new(Out { takes: takes.to_vec(), ..Out::default() }),
            wake: Mutex::default(),
            inline_left: AtomicU32::new(burst),
            burst,
        })
    }

    fn notify(&self, over: bool) {
        let mut notify = self.wake.lock().unwrap();
        notify.permit = true;
        notify.over |= over;
        let waker = notify.waker.take();
        drop(notify);
        waker.into_iter().for_each(Waker::wake);
    }

    /// `TcpLane::send` of a small frame on a lane that is up.
    fn send(&self, frame: Frame) -> Result<(), SendError> {
        let mut state = self.state.lock().unwrap();
        state.queue.admit(&frame)?;
        if state.queue.is_settled() && self.take_inline() {
            self.write_now(&mut state.queue, frame);
            return Ok(());
        }
        let idle = state.queue.is_empty();
        state.queue.push(frame);
        drop(state);
        if idle {
            self.notify(false);
        }
        Ok(())
    }

    /// `Connection::take_inline`, under the lock of the lane.
    fn take_inline(&self) -> bool {
        let left = self.inline_left.load(Ordering::Relaxed);
        self.inline_left.store(left.saturating_sub(1), Ordering::Relaxed);
        left > 0
    }

    /// `Connection::write_now`, under the lock of the lane.
    fn write_now(&self, queue: &mut LaneQueue, frame: Frame) {
        let mut out = self.out.lock().unwrap();
        let written = out.takes.pop().unwrap_or(UNITS);
        if written == 0 {
            queue.push(frame);
            return self.notify(false);
        }
        let sequence = out.sequence;
        out.sequence += 1;
        out.wire.extend((0..written).map(|unit| (frame.id, sequence, unit)));
        if written < UNITS {
            queue.count(&frame);
            out.head = Some((frame, sequence, written));
            self.notify(false);
        }
    }

    /// `write::fetch`: what was begun, and the whole queue.
    fn fetch(&self, hands: &mut VecDeque<Frame>) -> Option<(u32, usize)> {
        let mut state = self.state.lock().unwrap();
        let mut out = self.out.lock().unwrap();
        let begun = out.head.take();
        let progress = begun.as_ref().map(|(_, sequence, written)| (*sequence, *written));
        hands.extend(begun.map(|(frame, ..)| frame));
        state.queue.take(hands);
        progress
    }

    /// `write::run` until nothing more comes.
    fn write(&self) {
        let mut hands = VecDeque::new();
        loop {
            let begun = self.fetch(&mut hands);
            if !hands.is_empty() {
                self.write_batch(&mut hands, begun);
                continue;
            }
            self.inline_left.store(self.burst, Ordering::Relaxed);
            let over = wait(|cx| {
                let mut notify = self.wake.lock().unwrap();
                if std::mem::take(&mut notify.permit) {
                    return Poll::Ready(notify.over);
                }
                notify.waker = Some(cx.waker().clone());
                Poll::Pending
            });
            if over {
                return;
            }
        }
    }

    /// `write_batch` and `TcpLane::settle`: no lock of the lane while the socket is written to.
    fn write_batch(&self, hands: &mut VecDeque<Frame>, mut begun: Option<(u32, usize)>) {
        for frame in hands.iter() {
            let mut out = self.out.lock().unwrap();
            let (sequence, from) = begun.take().unwrap_or((out.sequence, 0));
            out.sequence = out.sequence.max(sequence + 1);
            out.wire.extend((from..UNITS).map(|unit| (frame.id, sequence, unit)));
        }
        let mut state = self.state.lock().unwrap();
        for frame in hands.drain(..) {
            state.queue.settle(frame.channel, frame.wire_len());
        }
        let ready = state.queue.is_below_half();
        let wakers = if ready { std::mem::take(&mut state.waiters) } else { Vec::new() };
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// `TcpLane::poll_ready`, then `send`, until it is taken.
    fn send_when_ready(&self, number: u64) {
        while let Err(error) = self.send(frame(number)) {
            assert_eq!(error, SendError::Full);
            wait(|cx| {
                let mut state = self.state.lock().unwrap();
                if state.queue.is_below_half() {
                    return Poll::Ready(());
                }
                state.waiters.push(cx.waker().clone());
                Poll::Pending
            });
        }
    }

    /// Until the writer has nothing left: it must come to that without another word.
    fn wait_settled(&self) {
        wait(|cx| {
            let mut state = self.state.lock().unwrap();
            if state.queue.is_settled() {
                return Poll::Ready(());
            }
            state.waiters.push(cx.waker().clone());
            Poll::Pending
        });
    }

    /// Every frame once and whole, nothing between its units, sequences without a gap, and the
    /// frames of one sender in their order.
    fn check(&self, frames: usize) {
        assert!(self.state.lock().unwrap().queue.is_settled());
        let wire = std::mem::take(&mut self.out.lock().unwrap().wire);
        assert_eq!(wire.len(), frames * UNITS, "every frame once: {wire:?}");
        let mut last = [0; 3];
        for (at, units) in wire.chunks(UNITS).enumerate() {
            let (number, sequence, _) = units[0];
            assert_eq!(sequence as usize, at, "{wire:?}");
            assert_eq!(units, [(number, sequence, 0), (number, sequence, 1)], "{wire:?}");
            let sender = &mut last[usize::try_from(number / 10).unwrap()];
            assert!(number > *sender, "in order: {wire:?}");
            *sender = number;
        }
    }
}

fn model(f: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(f);
}

/// Numbers 1 and 2 from one sender, 11 from another, against the writer.
fn race(burst: u32, takes: &'static [usize]) {
    model(move || {
        let lane = Lane::new(8, burst, takes);
        let (writing, other) = (lane.clone(), lane.clone());
        let writer = thread::spawn(move || writing.write());
        let sender = thread::spawn(move || other.send(frame(11)).unwrap());
        for number in [1, 2] {
            lane.send(frame(number)).unwrap();
        }
        sender.join().unwrap();
        lane.wait_settled();
        lane.notify(true);
        writer.join().unwrap();
        lane.check(3);
    });
}

#[test]
fn frames_the_socket_takes_whole() {
    race(3, &[]);
    race(1, &[]);
}

#[test]
fn frames_the_socket_takes_in_part() {
    race(3, &[1, 1, 1]);
    race(3, &[2, 2, 1]);
    race(3, &[2, 1, 2]);
}

#[test]
fn frames_the_socket_does_not_take() {
    race(3, &[0, 0, 0]);
    race(3, &[2, 2, 0]);
    race(3, &[1, 2, 0]);
}

/// A queue with room for two: whoever waits for room is woken when the writer made some.
#[test]
fn room_wakes_whoever_waits_for_it() {
    model(|| {
        let lane = Lane::new(2, 1, &[0; 8]);
        let writing = lane.clone();
        let writer = thread::spawn(move || writing.write());
        for number in 1..=4 {
            lane.send_when_ready(number);
        }
        lane.wait_settled();
        lane.notify(true);
        writer.join().unwrap();
        lane.check(4);
    });
}
