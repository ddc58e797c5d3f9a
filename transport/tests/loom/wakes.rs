//! The inbox: whoever waits is woken by a push and by the end, and nothing is lost.

use crate::inbox::{Inbox, Item, Pushed};
use crate::wait;
use loom::thread;
use quorate_transport::{ChannelId, Incarnation, Lane, NodeId, Peer, Role};
use std::sync::Arc;
use std::task::Waker;

fn inbox(messages: u32) -> Arc<Inbox> {
    Arc::new(Inbox::new(ChannelId::new(16), false, messages, 1 << 20))
}

/// `Core::deliver` and `Core::wake_components`: the waker is taken under the lock and woken
/// without it. Whether it was taken.
fn push(inbox: &Inbox, byte: u8) -> bool {
    let from = Peer::new(NodeId::new(1), Incarnation::new(1), Role::Member);
    let item = Item::Message { from, lane: Lane::Data, body: vec![byte].into() };
    let mut refused = Vec::new();
    if let Pushed::Taken(waker) = inbox.push_all(&mut std::iter::once(item), &mut refused) {
        waker.into_iter().for_each(Waker::wake);
    }
    refused.is_empty()
}

fn byte(item: &Item) -> u8 {
    let Item::Message { body, .. } = item else { panic!("only messages are pushed") };
    body[0]
}

#[test]
fn a_push_wakes_whoever_waits() {
    loom::model(|| {
        let inbox = inbox(8);
        let other = inbox.clone();
        let pusher = thread::spawn(move || {
            assert!(push(&other, 1));
            assert!(push(&other, 2));
        });
        for expected in [1, 2] {
            let item = wait(|cx| inbox.poll_pop(cx));
            assert_eq!(item.as_ref().map(byte), Some(expected), "in order");
        }
        pusher.join().unwrap();
    });
}

#[test]
fn two_pushers_lose_nothing() {
    loom::model(|| {
        let inbox = inbox(8);
        let pushers = [1, 2].map(|n| {
            let other = inbox.clone();
            thread::spawn(move || assert!(push(&other, n)))
        });
        let found = [(); 2].map(|()| wait(|cx| inbox.poll_pop(cx)).as_ref().map(byte).unwrap());
        assert!(found == [1, 2] || found == [2, 1]);
        for pusher in pushers {
            pusher.join().unwrap();
        }
    });
}

/// What was taken is popped, or comes back from `close`; the receiver learns the end.
#[test]
fn the_end_wakes_whoever_waits() {
    loom::model(|| {
        let inbox = inbox(8);
        let (pushed, closed) = (inbox.clone(), inbox.clone());
        let pusher = thread::spawn(move || push(&pushed, 1));
        let closer = thread::spawn(move || {
            let (left, waker) = closed.close();
            waker.into_iter().for_each(Waker::wake);
            left.len()
        });
        let mut popped = 0;
        while wait(|cx| inbox.poll_pop(cx)).is_some() {
            popped += 1;
        }
        let taken = usize::from(pusher.join().unwrap());
        assert_eq!(popped + closer.join().unwrap(), taken);
    });
}

/// A full inbox refuses, and what is popped makes room: the books stay right.
#[test]
fn the_limit_holds() {
    loom::model(|| {
        let inbox = inbox(1);
        let other = inbox.clone();
        let pusher = thread::spawn(move || u64::from(push(&other, 1)) + u64::from(push(&other, 2)));
        let popped = u64::from(inbox.pop().is_some());
        let taken = pusher.join().unwrap();
        let stats = inbox.stats();
        assert!(stats.depth <= 1 && stats.depth_max <= 1);
        assert_eq!((stats.depth, stats.dropped), (taken - popped, 2 - taken));
    });
}
