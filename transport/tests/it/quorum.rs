//! Calls to several nodes, and how many answers are enough.

use crate::support::*;
use bytes::Bytes;
use quorate_transport::*;
use std::collections::BTreeMap;

/// Callees whose answers are given by hand, in any order.
struct Poll {
    net: Net,
    _endpoints: Vec<Endpoint>,
    _servers: Vec<Channel>,
    client: Channel,
    replies: BTreeMap<u64, Responder>,
    set: Option<ReplySet>,
}

impl Poll {
    fn new(nodes: u64) -> Self {
        let net = Net::new();
        let mut endpoints = vec![net.endpoint(100)];
        let client = net.channel(&endpoints[0]);
        let mut servers = Vec::new();
        for n in 1..=nodes {
            let endpoint = net.endpoint(n);
            servers.push(net.channel(&endpoint));
            endpoints.push(endpoint);
        }
        let to: Vec<NodeId> = (1..=nodes).map(node).collect();
        let set = client.call_all(&to, b"?", seconds(9));
        let mut replies = BTreeMap::new();
        for (n, server) in (1..=nodes).zip(&mut servers) {
            let Some(Inbound::Call { reply, .. }) = server.try_recv() else { panic!("no call") };
            replies.insert(n, reply);
        }
        Self { net, _endpoints: endpoints, _servers: servers, client, replies, set: Some(set) }
    }

    fn answer(&mut self, n: u64, yes: bool) {
        let reply = self.replies.remove(&n).unwrap();
        if yes {
            reply.reply(n.to_le_bytes().to_vec()).unwrap();
        } else {
            reply.reject(7, Bytes::new());
        }
    }
}

fn now_or_never<T>(f: impl Future<Output = T>) -> Option<T> {
    let mut f = std::pin::pin!(f);
    match f.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(out) => Some(out),
        std::task::Poll::Pending => None,
    }
}

/// Every order in which `n` nodes can answer.
fn orders(n: u64) -> Vec<Vec<u64>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in orders(n - 1) {
        for at in 0..=shorter.len() {
            let mut order = shorter.clone();
            order.insert(at, n);
            all.push(order);
        }
    }
    all
}

/// The outcome against brute force: all orders, all answers, all thresholds up to five nodes.
#[test]
fn quorums_resolve_at_the_first_moment_they_can() {
    let mut checked = 0;
    for nodes in 1..=4_u64 {
        for order in orders(nodes) {
            for answers in 0..1_u64 << nodes {
                for need in 0..=nodes as usize + 1 {
                    check_one(nodes, &order, answers, need);
                    checked += 1;
                }
            }
        }
    }
    // Five nodes: all answers and orders of which the first differ.
    for order in orders(5).into_iter().step_by(7) {
        for answers in 0..32 {
            check_one(5, &order, answers, 3);
            checked += 1;
        }
    }
    assert!(checked > 2_000, "{checked}");
}

fn check_one(nodes: u64, order: &[u64], answers: u64, need: usize) {
    let mut poll = Poll::new(nodes);
    let mut set = poll.set.take().unwrap();
    let (mut yes, mut left) = (0, nodes as usize);
    let expected = |yes: usize, left: usize| {
        if yes >= need {
            Some(true)
        } else if yes + left < need || left == 0 {
            Some(false)
        } else {
            None
        }
    };
    let mut resolved = now_or_never(set.quorum(need));
    assert_eq!(resolved.as_ref().map(Result::is_ok), expected(yes, left));
    for n in order {
        if resolved.is_some() {
            break;
        }
        let says_yes = answers >> (n - 1) & 1 == 1;
        poll.answer(*n, says_yes);
        (yes, left) = (yes + usize::from(says_yes), left - 1);
        resolved = now_or_never(set.quorum(need));
        assert_eq!(
            resolved.as_ref().map(Result::is_ok),
            expected(yes, left),
            "{order:?} {answers:b} need {need}"
        );
    }
    let came = match resolved.unwrap() {
        Ok(quorum) => quorum.replies.len() + quorum.failed.len(),
        Err(error) => error.replies.len() + error.failed.len(),
    };
    assert_eq!(came, nodes as usize - left, "every outcome leaves the set once");
}

#[test]
fn the_set_stays_usable_for_the_late_ones() {
    let mut poll = Poll::new(3);
    let mut set = poll.set.take().unwrap();
    poll.answer(2, true);
    poll.answer(3, true);
    let quorum = poll.net.rt.block_on(set.quorum(2)).unwrap();
    let came: Vec<u64> = quorum.replies.iter().map(|(n, _)| n.value()).collect();
    assert_eq!(came, [2, 3]);
    assert_eq!(set.waiting().collect::<Vec<_>>(), [node(1)]);
    poll.answer(1, true);
    let (late, body) = poll.net.rt.block_on(set.next()).unwrap();
    assert_eq!((late, body.unwrap()[0]), (node(1), 1));
    assert!(poll.net.rt.block_on(set.next()).is_none());
    // What has left still counts.
    assert!(poll.net.rt.block_on(set.quorum(3)).unwrap().replies.is_empty());
}

#[test]
fn a_dropped_wait_loses_nothing() {
    let mut poll = Poll::new(3);
    let mut set = poll.set.take().unwrap();
    poll.answer(1, true);
    assert!(now_or_never(set.quorum(2)).is_none());
    poll.answer(2, true);
    let quorum = poll.net.rt.block_on(set.quorum(2)).unwrap();
    assert_eq!(quorum.replies.len(), 2);
}

#[test]
fn joint_majorities_need_both() {
    let mut poll = Poll::new(5);
    let mut set = poll.set.take().unwrap();
    let (old, new) = ([1, 2, 3].map(node), [3, 4, 5].map(node));
    let majority = |nodes: &[NodeId], of: &[NodeId]| {
        nodes.iter().filter(|n| of.contains(n)).count() * 2 > of.len()
    };
    let joint = |nodes: &[NodeId]| majority(nodes, &old) && majority(nodes, &new);
    poll.answer(1, true);
    poll.answer(2, true);
    assert!(now_or_never(set.quorum_where(joint)).is_none(), "only the old one");
    poll.answer(4, false);
    poll.answer(3, true);
    assert!(now_or_never(set.quorum_where(joint)).is_none(), "5 is still to come");
    poll.answer(5, false);
    let error = now_or_never(set.quorum_where(joint)).unwrap().unwrap_err();
    assert_eq!((error.replies.len(), error.failed.len()), (3, 2));
    assert!(error.failed.iter().all(|(_, e)| e.is_definite()) && !error.is_retryable());
}

#[test]
fn dropping_the_set_cancels_what_is_outstanding() {
    let mut poll = Poll::new(3);
    drop(poll.set.take());
    assert!(poll.replies.values().all(Responder::is_cancelled));
}

#[test]
fn nodes_named_twice_count_once_and_this_node_may_be_among_them() {
    let net = Net::new();
    let (a, b) = (net.endpoint(1), net.endpoint(2));
    let (mut own, mut other) = (net.channel(&a), net.channel(&b));
    let mut set = own.call_all(&[node(2), node(1), node(2)], b"?", seconds(1));
    for channel in [&mut own, &mut other] {
        let Some(Inbound::Call { reply, .. }) = channel.try_recv() else { panic!("no call") };
        reply.reply(b"yes").unwrap();
        assert!(channel.try_recv().is_none(), "called once");
    }
    assert_eq!(net.rt.block_on(set.quorum(2)).unwrap().replies.len(), 2);
    assert!(net.rt.block_on(set.quorum(3)).is_err());
    // Nobody asked, nobody answers.
    let mut none = own.call_all(&[], b"?", seconds(1));
    assert!(net.rt.block_on(none.next()).is_none());
    assert!(net.rt.block_on(none.quorum(0)).is_ok());
    assert!(net.rt.block_on(none.quorum(1)).is_err());
}

#[test]
fn a_node_that_is_not_there_fails_definitely() {
    let poll = Poll::new(1);
    let mut set = poll.client.call_all(&[node(1), node(77)], b"?", seconds(1));
    let (who, outcome) = poll.net.rt.block_on(set.next()).unwrap();
    assert_eq!(who, node(77));
    assert_eq!(outcome, Err(CallError::NotSent(SendError::UnknownPeer)));
}
