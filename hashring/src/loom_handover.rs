//! Models of what threads share during a hand-over, over every interleaving that loom finds.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p quorate-hashring --lib loom`

use crate::{
    Epoch, Gate, KeyHash, Node, NodeId, Partition, PartitionTable, Rules, Shared, Topology, View,
};
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use std::sync::Arc;

const P: Partition = Partition::new(0);

/// A view of one partition on node 1, and views that follow it, each with the row's next epoch.
fn views(count: usize) -> Vec<View> {
    let node = NodeId::new(1);
    let topology = Topology::builder().node(Node::new(node)).build().unwrap();
    let rows = [vec![node]];
    let rules = Rules::new(1);
    let table = PartitionTable::from_rows(&topology, &rules, KeyHash::default(), &rows).unwrap();
    let mut views = vec![View::initial(table)];
    while views.len() < count {
        let next = views[views.len() - 1].replace_rows(&[(P, vec![node])]).unwrap();
        views.push(next);
    }
    views
}

#[test]
fn loom_a_reader_never_goes_back_and_sees_the_last() {
    loom::model(|| {
        let shared = Arc::new(Shared::new(0));
        let mut reader = shared.reader();
        let writer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                shared.publish(Arc::new(1));
                shared.publish(Arc::new(2));
            })
        };
        let first = **reader.get();
        let second = **reader.get();
        assert!(first <= second);
        writer.join().unwrap();
        assert_eq!(**reader.get(), 2);
    });
}

#[test]
fn loom_updates_are_one_after_the_other() {
    loom::model(|| {
        let shared = Arc::new(Shared::new(0));
        let add = |shared: &Shared<i32>| shared.update(|value| Ok::<_, ()>(value + 1)).unwrap();
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || drop(shared.update(|value| Ok::<_, ()>(value + 1))))
        };
        add(&shared);
        other.join().unwrap();
        assert_eq!(*shared.load(), 2);
    });
}

/// H33: once the newer epoch is acknowledged, nothing admitted under the older tag reaches the
/// store any more, and all that did is visible.
#[test]
fn loom_an_acknowledged_epoch_fences_the_older_tag() {
    loom::model(|| {
        let views = views(2);
        let gate = Arc::new(Gate::new(NodeId::new(1), views[0].clone()));
        let store = Arc::new(AtomicU64::new(0));
        let writer = {
            let (gate, store) = (Arc::clone(&gate), Arc::clone(&store));
            thread::spawn(move || {
                if let Ok(pass) = gate.admit(P, Epoch::new(1)) {
                    store.store(1, Ordering::Relaxed);
                    drop(pass);
                }
            })
        };
        gate.install(views[1].clone()).unwrap();
        let copy = (gate.acked() == Epoch::new(2)).then(|| store.load(Ordering::Relaxed));
        writer.join().unwrap();
        if let Some(copy) = copy {
            assert_eq!(copy, store.load(Ordering::Relaxed), "the copy lacks a write");
        }
        assert_eq!(gate.acked(), Epoch::new(2), "every pass was dropped");
        assert_eq!(gate.stats().generations, 1);
    });
}

/// A pass that is dropped while an installation ends its generation is counted down exactly once.
#[test]
fn loom_a_pass_dropped_during_an_installation_drains() {
    loom::model(|| {
        let views = views(3);
        let gate = Arc::new(Gate::new(NodeId::new(1), views[0].clone()));
        let old = gate.admit(P, Epoch::new(1)).unwrap();
        let dropper = thread::spawn(move || drop(old));
        gate.install(views[1].clone()).unwrap();
        let new = gate.admit(P, Epoch::new(2)).unwrap();
        gate.install(views[2].clone()).unwrap();
        assert!(gate.acked() <= Epoch::new(2), "the newer pass is out");
        dropper.join().unwrap();
        assert_eq!(gate.acked(), Epoch::new(2));
        drop(new);
        assert_eq!(gate.acked(), Epoch::new(3));
    });
}

/// Two coordinators, one with each tag, against one installation: each is admitted under its own
/// epoch or refused, and the counts come out even.
#[test]
fn loom_two_tags_meet_one_installation() {
    // Three threads: at most three switches away from a thread that could go on.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let views = views(2);
        let gate = Arc::new(Gate::new(NodeId::new(1), views[0].clone()));
        let newer = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || gate.admit(P, Epoch::new(2)).is_ok())
        };
        let installer = {
            let (gate, view) = (Arc::clone(&gate), views[1].clone());
            thread::spawn(move || gate.install(view).map(drop))
        };
        let older = gate.admit(P, Epoch::new(1)).is_ok();
        let newer = newer.join().unwrap();
        installer.join().unwrap().unwrap();
        assert_eq!(gate.acked(), Epoch::new(2));
        assert!(gate.admit(P, Epoch::new(1)).is_err());
        let stats = gate.stats();
        assert_eq!(stats.admitted, u64::from(older) + u64::from(newer));
    });
}
