//! Delivery: one thread at a time per node, in the sender's own, never nested.

use super::wires::{Delivery, Key};
use super::{MemoryNetwork, count};
use crate::Sink;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::task::Waker;

impl MemoryNetwork {
    /// Delivers what waits for a node, unless another thread is at it. A sink that panics misses
    /// one delivery; the first panic is for the sender. // H29
    fn deliver(&self, key: Key, panic: &mut Option<Panic>) {
        let mut turn = Turn { network: self, key, life: 0, held: false, fresh: false };
        while let Some((sink, delivery)) = turn.next() {
            let told = catch_unwind(AssertUnwindSafe(|| tell(&*sink, delivery)));
            if let Err(payload) = told {
                panic.get_or_insert(payload);
            }
        }
    }
}

type Panic = Box<dyn Any + Send>;

fn tell(sink: &dyn Sink, delivery: Option<Delivery>) {
    match delivery {
        Some(Delivery::Frame { from, lane, session, frame }) => {
            sink.on_frame(from, lane, session, frame);
        }
        Some(Delivery::Datagram { from, channel, body }) => {
            sink.on_datagram(from, channel, body);
        }
        Some(Delivery::Event(event)) => sink.on_event(event),
        None => sink.on_batch_end(),
    }
}

/// The right to deliver to a node; given back also when a sink panics. // H29
struct Turn<'a> {
    network: &'a MemoryNetwork,
    key: Key,
    /// Of which life it is held.
    life: u64,
    held: bool,
    /// Whether frames were delivered since the last end of a burst.
    fresh: bool,
}

impl Turn<'_> {
    /// The next delivery; without one, the end of the burst, and of the turn.
    fn next(&mut self) -> Option<(Arc<dyn Sink>, Option<Delivery>)> {
        let mut wires = self.network.lock();
        let node = wires.nodes.get_mut(&self.key)?;
        if self.life != node.life {
            // The node began anew during a delivery: the new life has a turn of its own. // H13
            (self.life, self.held, self.fresh) = (node.life, false, false);
        }
        if node.delivering && !self.held {
            return None; // whoever is at it takes this too
        }
        let sink = node.sink.clone()?;
        self.held = true;
        node.delivering = true;
        let Some(delivery) = node.queue.pop_front() else {
            // Under the same lock that saw the queue empty: whoever adds to it from here on
            // delivers it too.
            self.held = false;
            node.delivering = false;
            return std::mem::take(&mut self.fresh).then_some((sink, None));
        };
        let bytes = delivery.bytes();
        match &delivery {
            Delivery::Frame { .. } => {
                node.stats.frames_in += 1;
                node.stats.bytes_in += count(bytes);
            }
            Delivery::Datagram { .. } => node.stats.datagrams_in += 1,
            Delivery::Event(_) => {}
        }
        if bytes > 0 {
            self.fresh = true;
            node.frames -= 1;
            node.bytes -= bytes;
        }
        let wakers = node.take_ready();
        drop(wires);
        wakers.into_iter().for_each(Waker::wake);
        Some((sink, Some(delivery)))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.held
            && let Some(node) = self.network.lock().nodes.get_mut(&self.key)
            && node.life == self.life
        {
            node.delivering = false;
        }
    }
}

type Pending = VecDeque<(MemoryNetwork, Key)>;

thread_local! {
    static PENDING: RefCell<Pending> = const { RefCell::new(VecDeque::new()) };
    static ACTIVE: Cell<bool> = const { Cell::new(false) };
}

/// Delivers to the given nodes. A sink that sends only adds to the list: upcalls never nest,
/// whatever the sinks do.
pub(super) fn pump(network: &MemoryNetwork, keys: impl IntoIterator<Item = Key>) {
    struct Active;
    impl Drop for Active {
        fn drop(&mut self) {
            ACTIVE.set(false);
            PENDING.with_borrow_mut(VecDeque::clear);
        }
    }
    if ACTIVE.replace(true) {
        let later = keys.into_iter().map(|key| (network.clone(), key));
        return PENDING.with_borrow_mut(|p| p.extend(later));
    }
    let active = Active;
    let mut panic = None;
    for key in keys {
        network.deliver(key, &mut panic);
    }
    while let Some((network, key)) = PENDING.with_borrow_mut(VecDeque::pop_front) {
        network.deliver(key, &mut panic);
    }
    drop(active);
    if let Some(panic) = panic {
        resume_unwind(panic);
    }
}
