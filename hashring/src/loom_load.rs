//! loom models of [`BoundedLoad`](crate::BoundedLoad): every interleaving of a few threads.
//!
//! Run: `RUSTFLAGS="--cfg loom" cargo test --release -p quorate-hashring --lib loom`.

use crate::{BoundedLoad, KeyHash, Node, NodeId, Rendezvous, Topology};
use loom::sync::Arc;
use loom::thread;

fn nodes(ids: &[u64]) -> Rendezvous {
    let nodes = ids.iter().map(|id| Node::new(NodeId::new(*id)));
    let topology = nodes.fold(Topology::builder(), |all, node| all.node(node)).build().unwrap();
    Rendezvous::new(&topology, KeyHash::default())
}

fn loads<L: crate::Locate>(balanced: &BoundedLoad<L>) -> u32 {
    [1, 2].map(|id| balanced.load(NodeId::new(id))).iter().sum()
}

/// G14: two picks of one key at once never put two permits on a node whose bound is one.
#[test]
fn loom_two_picks_keep_the_bound() {
    loom::model(|| {
        let balanced = Arc::new(BoundedLoad::new(nodes(&[1, 2]), 1_001).unwrap());
        let other = balanced.clone();
        let thread = thread::spawn(move || other.pick_at(7));
        let (ours, theirs) = (balanced.pick_at(7), thread.join().unwrap());
        // ceil(1.001 · 2 / 2) = 2 each: both may be with the owner, but nobody has more.
        assert_eq!(loads(&balanced), 2);
        assert_eq!(balanced.stats().permits, 2);
        drop((ours, theirs));
        assert_eq!(loads(&balanced), 0);
        assert_eq!(balanced.stats().permits, 0);
    });
}

/// A pick beside a drop: the place that is returned is never lost, and never counted twice.
#[test]
fn loom_pick_beside_drop() {
    loom::model(|| {
        let balanced = Arc::new(BoundedLoad::new(nodes(&[1, 2]), 1_001).unwrap());
        let permit = balanced.pick_at(7);
        let thread = thread::spawn(move || drop(permit));
        let next = balanced.pick_at(7);
        // One or two permits are out: at most ceil(1.001 · 2 / 2) on a node.
        assert!(balanced.load(next.node()) <= 2);
        thread.join().unwrap();
        assert_eq!(loads(&balanced), 1);
        drop(next);
        assert_eq!((loads(&balanced), balanced.stats().permits), (0, 0));
    });
}

/// H27: a permit is dropped while its placement is rebuilt: the new one ends with no load either.
#[test]
fn loom_drop_beside_rebuilt() {
    loom::model(|| {
        let balanced = BoundedLoad::new(nodes(&[1, 2]), 1_250).unwrap();
        let permit = balanced.pick_at(7);
        let thread = thread::spawn(move || drop(permit));
        let rebuilt = balanced.rebuilt(nodes(&[2]));
        let again = rebuilt.rebuilt(nodes(&[1, 2]));
        thread.join().unwrap();
        assert_eq!((loads(&rebuilt), loads(&again), again.stats().permits), (0, 0, 0));
    });
}

/// Picks through the old and the new placement at once count in both.
#[test]
fn loom_pick_beside_rebuilt() {
    loom::model(|| {
        let balanced = Arc::new(BoundedLoad::new(nodes(&[1, 2]), 1_250).unwrap());
        let old = balanced.clone();
        let thread = thread::spawn(move || old.pick_at(7));
        let rebuilt = balanced.rebuilt(nodes(&[1, 2]));
        let ours = rebuilt.pick_at(7);
        let theirs = thread.join().unwrap();
        assert_eq!((loads(&rebuilt), rebuilt.stats().permits), (2, 2));
        drop(theirs);
        assert_eq!(rebuilt.load(ours.node()), 1);
    });
}
