//! Views, gates, transitions, plans.

use crate::clusters::{id, ids, table, topology, view};
use quorate_hashring::{
    Epoch, Gate, InstallError, Installed, KeyHash, MoveId, Node, NodeIdx, Outcome, Partition,
    PartitionTable, PlanLimits, Planner, Quorum, Reject, Replicate, Rules, Shared, Source, Stage,
    Topology, Transition, TransitionError, View, Waiting, diff,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const P: Partition = Partition::new(0);

/// Commits the next view of a transition.
fn step(transition: &mut Transition) -> View {
    let view = transition.poll_view().unwrap();
    transition.committed(&view).unwrap();
    view
}

#[test]
fn h18_one_epoch_with_two_contents_is_refused() {
    let first = view(5, &[&[1, 2, 3], &[1, 2, 3]]);
    let mine = first.replace_rows(&[(P, ids(&[1, 2, 4]))]).unwrap();
    let other = first.replace_rows(&[(P, ids(&[1, 2, 5]))]).unwrap();
    assert_eq!(mine.epoch(), other.epoch());
    let gate = Gate::new(id(1), mine.clone());
    let error = gate.install(other.clone()).unwrap_err();
    let (epoch, have, given) = (mine.epoch(), mine.digest(), other.digest());
    assert_eq!(error, InstallError::Conflict { epoch, have, given });
    assert!(error.is_corruption());
    // The next view of the other line does not fit either.
    let next = other.doubled().unwrap();
    let (epoch, parent) = (next.epoch(), Some(other.digest()));
    assert_eq!(gate.install(next).unwrap_err(), InstallError::Fork { epoch, have, parent });
    assert_eq!(gate.view(), mine);
    assert_eq!(gate.stats().installs, 0);
}

#[test]
fn h19_a_change_touches_the_epochs_of_the_rows_that_it_changes() {
    let first = view(5, &[&[1, 2, 3], &[2, 3, 4]]);
    let next = table(5, &[&[1, 2, 3], &[2, 3, 5]]);
    let mut transition = Transition::begin(&first, next, Quorum::Majority).unwrap();
    let copying = step(&mut transition);
    assert_eq!(copying.partition_epoch(Partition::new(0)), Some(Epoch::new(1)));
    assert_eq!(copying.partition_epoch(Partition::new(1)), Some(Epoch::new(2)));
    assert_eq!(copying.changed(), [Partition::new(1)]);
    // Another order of a row moves nothing, nor does another topology.
    let turned = table(5, &[&[3, 1, 2], &[2, 3, 4]]);
    let mut transition = Transition::begin(&first, turned, Quorum::Majority).unwrap();
    let copying = step(&mut transition);
    assert_eq!(copying.changed(), []);
    assert_eq!(copying.partition_epoch(Partition::new(0)), Some(Epoch::new(1)));
    let rebased = first.rebased(&topology(9)).unwrap();
    assert_eq!(rebased.epoch(), Epoch::new(2));
    assert_ne!(rebased.digest(), first.digest());
    assert_eq!(rebased.partition_epoch(Partition::new(1)), Some(Epoch::new(1)));
}

#[test]
fn h20_a_reader_sees_the_last_of_coalesced_publications() {
    const COUNT: u64 = 100_000;
    let shared = Arc::new(Shared::new(0_u64));
    let poll = |every: u64| {
        let mut reader = shared.reader();
        move || {
            let (mut last, mut looks) = (0, 0_u64);
            while last < COUNT {
                let value = **reader.get();
                assert!(value >= last, "{value} after {last}");
                last = value;
                looks += 1;
                (0..u64::from(looks % every == 0)).for_each(|_| std::thread::yield_now());
            }
        }
    };
    std::thread::scope(|scope| {
        for every in [1_u64, 7, 1_000] {
            scope.spawn(poll(every));
        }
        for value in 1..=COUNT {
            assert_eq!(shared.publish(Arc::new(value)), value);
        }
    });
    assert_eq!(**shared.reader().get(), COUNT);
}

#[test]
fn h21_a_joint_quorum_is_neither_inflated_nor_a_majority_of_the_union() {
    let joint = |old: &[u64], new: &[u64]| {
        let first = view(5, &[old]);
        step(&mut Transition::begin(&first, table(5, &[new]), Quorum::Majority).unwrap())
    };
    let at = |node: u16| NodeIdx::new(node - 1);
    // One of three moves: the two that stay are enough.
    let view = joint(&[1, 2, 3], &[1, 2, 4]);
    let write = view.route_to(P).unwrap().write;
    assert_eq!(write.nodes().count(), 4);
    let mut tally = write.tally(Quorum::Majority);
    assert_eq!(tally.ack(at(1)), Outcome::Pending);
    assert_eq!(tally.ack(at(1)), Outcome::Pending, "twice is once");
    assert_eq!(tally.ack(at(2)), Outcome::Reached);
    // Two of three move: three of the five that are all of the old row are not enough.
    let view = joint(&[1, 2, 3], &[1, 4, 5]);
    let mut tally = view.route_to(P).unwrap().write.tally(Quorum::Majority);
    for node in [1, 2, 3] {
        assert_eq!(tally.ack(at(node)), Outcome::Pending);
    }
    assert_eq!(tally.fail(at(4)), Outcome::Pending);
    assert_eq!(tally.fail(at(5)), Outcome::Lost);
    assert_eq!(tally.ack(at(5)), Outcome::Reached, "a late answer counts");
    assert_eq!(tally.fail(at(5)), Outcome::Reached);
    // Add before remove: no stage has fewer than all of the old row.
    assert_eq!(view.route_to(P).unwrap().read, [at(1), at(2), at(3)]);
}

#[test]
fn h23_making_a_new_value_does_not_stall_readers() {
    let shared = Shared::new(1);
    let mut reader = shared.reader();
    let done = shared.update(|old| {
        // While the new value is made, readers and loads go on.
        assert_eq!(**reader.get(), 1);
        assert_eq!(*shared.load(), 1);
        Ok::<_, ()>(old + 1)
    });
    assert_eq!(*done.unwrap(), 2);
    assert_eq!(**reader.get(), 2);
    assert_eq!(shared.update(|_| Err("no")), Err("no"));
    assert_eq!(**reader.get(), 2);
}

#[test]
fn h32_a_node_that_comes_back_empty_is_another_node() {
    // Rows name the id as a holder: the same machine with another disk is a new id, which holds
    // nothing until it was copied to.
    let first = view(4, &[&[1, 2, 3]]);
    let mut transition =
        Transition::begin(&first, table(4, &[&[1, 2, 4]]), Quorum::Majority).unwrap();
    let _ = step(&mut transition);
    let moves = &transition.moves().moves;
    assert_eq!((moves.len(), moves[0].from, moves[0].to), (1, Some(id(3)), id(4)));
    assert_eq!(transition.waiting_for(), Waiting::Moves(vec![MoveId::new(0)]));
}

#[test]
fn h33_an_epoch_is_acknowledged_once_older_passes_are_back() {
    let first = view(4, &[&[1, 2, 3], &[1, 2, 3]]);
    let second = first.replace_rows(&[(P, ids(&[1, 2, 4]))]).unwrap();
    let third = second.replace_rows(&[(P, ids(&[1, 2, 3]))]).unwrap();
    let gate = Gate::new(id(1), first);
    let oldest = gate.admit(P, Epoch::new(1)).unwrap();
    // A pass of a partition that does not move is waited for as well: it may be a copy's.
    let unmoved = gate.admit(Partition::new(1), Epoch::new(1)).unwrap();
    assert_eq!(gate.install(second), Ok(Installed::Next));
    let older = gate.admit(P, Epoch::new(2)).unwrap();
    assert_eq!(gate.acked(), Epoch::new(1));
    assert_eq!(gate.install(third), Ok(Installed::Next));
    assert_eq!(gate.stats().generations, 3);
    drop(older);
    assert_eq!(gate.acked(), Epoch::new(1));
    drop(oldest);
    assert_eq!(gate.acked(), Epoch::new(1));
    drop(unmoved);
    assert_eq!(gate.acked(), Epoch::new(3));
    assert_eq!(gate.stats().generations, 1);
}

#[test]
fn h33_installing_and_admitting_threads_never_pass_each_other() {
    let mut views = vec![view(3, &[&[1, 2, 3]])];
    for _ in 0..400 {
        let next = views[views.len() - 1].replace_rows(&[(P, ids(&[1, 2, 3]))]);
        views.push(next.unwrap());
    }
    let gate = Gate::new(id(1), views[0].clone());
    // For each epoch whether it was acknowledged: nothing older may be at work from then on.
    let fenced: Vec<AtomicBool> = (0..views.len() + 2).map(|_| AtomicBool::new(false)).collect();
    let over = AtomicBool::new(false);
    let write = || {
        let mut reader = gate.reader();
        while !over.load(Ordering::Relaxed) {
            let tag = reader.get().partition_epoch(P).unwrap();
            let Ok(pass) = gate.admit(P, tag) else { continue };
            let next = usize::try_from(tag.value()).unwrap() + 1;
            let is_fenced = fenced[next].load(Ordering::SeqCst);
            assert!(!is_fenced, "admitted under epoch {tag} after {next} was acknowledged");
            drop(pass);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(write);
        scope.spawn(write);
        for view in &views[1..] {
            let epoch = view.epoch();
            gate.install(view.clone()).unwrap();
            while gate.acked() < epoch {
                std::thread::yield_now();
            }
            fenced[usize::try_from(epoch.value()).unwrap()].store(true, Ordering::SeqCst);
            for _ in 0..20 {
                std::thread::yield_now();
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(gate.stats().generations, 1);
    assert_eq!(gate.acked(), views[400].epoch());
}

#[test]
fn h34_without_the_replaced_replica_a_quorum_is_copied() {
    let moves = diff(&table(5, &[&[1, 2, 3]]), &table(5, &[&[1, 2, 4]])).unwrap();
    let mut planner = Planner::new(&moves, Quorum::Majority, PlanLimits::default()).unwrap();
    planner.node_down(id(3));
    planner.source_ready(id(3));
    planner.source_ready(id(1));
    assert_eq!(planner.poll_order(), None, "one other replica could lack a write");
    planner.source_ready(id(2));
    let order = planner.poll_order().unwrap();
    assert_eq!(order.source, Source::Quorum { nodes: ids(&[1, 2]), need: 2 });
    // Once it is back it is the source.
    planner.failed(order.what.id).unwrap();
    planner.node_up(id(3));
    let order = planner.poll_order().unwrap();
    assert_eq!((order.source, order.attempt), (Source::Slot(id(3)), 1));
    // A write of all replicas is on each of them.
    let mut planner = Planner::new(&moves, Quorum::fixed(1, 3), PlanLimits::default()).unwrap();
    planner.source_ready(id(2));
    let order = planner.poll_order().unwrap();
    assert_eq!(order.source, Source::Quorum { nodes: ids(&[2]), need: 1 });
}

#[test]
fn h35_no_source_is_ready_before_it_acknowledged_the_copying_epoch() {
    let first = view(4, &[&[1, 2, 3]]);
    let next = table(4, &[&[1, 2, 4]]);
    let mut transition = Transition::begin(&first, next, Quorum::Majority).unwrap();
    transition.handle_ack(id(3), first.epoch());
    assert!(!transition.is_source_ready(id(3)));
    let too_early = transition.handle_copied(MoveId::new(0)).unwrap_err();
    assert_eq!(too_early, TransitionError::NotCopying { epoch: first.epoch() });
    let copying = step(&mut transition);
    transition.handle_ack(id(3), first.epoch());
    assert!(!transition.is_source_ready(id(3)));
    transition.handle_ack(id(3), copying.epoch());
    assert!(transition.is_source_ready(id(3)));
    assert!(!transition.is_source_ready(id(1)));
}

/// Found by the model: a receiver that still goes by the settled view before may delete what a
/// copy brought it. So a copy comes through the gate, with the tag of its row.
#[test]
fn h35_a_receiver_takes_no_copy_before_it_installed_the_copying_view() {
    let first = view(4, &[&[1, 2, 3]]);
    let next = table(4, &[&[1, 2, 4]]);
    let mut transition = Transition::begin(&first, next, Quorum::Majority).unwrap();
    let copying = step(&mut transition);
    let tag = copying.partition_epoch(P).unwrap();
    let receiver = Gate::new(id(4), first.clone());
    assert!(receiver.may_drop(P));
    let have = first.epoch();
    assert_eq!(receiver.admit(P, tag).unwrap_err(), Reject::Ahead { have });
    receiver.install(copying).unwrap();
    let pass = receiver.admit(P, tag).unwrap();
    // The change is given up while the copy is written: nothing may be deleted before it is.
    transition.abort().unwrap();
    let back = step(&mut transition);
    assert_eq!((back.stage(), back.table()), (Stage::Settled, first.table()));
    receiver.install(back).unwrap();
    assert!(!receiver.may_drop(P));
    drop(pass);
    assert!(receiver.may_drop(P));
    assert!(receiver.admit(P, tag).is_err(), "a late copy comes too late");
}

#[test]
fn h36_a_restart_with_the_acknowledged_view_keeps_older_tags_out() {
    let first = view(4, &[&[1, 2, 3]]);
    let second = first.replace_rows(&[(P, ids(&[1, 2, 4]))]).unwrap();
    let gate = Gate::new(id(1), first.clone());
    gate.install(second.clone()).unwrap();
    let durable = second.encode(); // before the report (O4)
    assert_eq!(gate.acked(), second.epoch());
    drop(gate);
    let gate = Gate::new(id(1), View::decode(&durable, None).unwrap());
    assert_eq!(gate.acked(), second.epoch());
    let have = second.epoch();
    assert_eq!(gate.admit(P, first.epoch()).unwrap_err(), Reject::Stale { have });
    let given = first.epoch();
    assert_eq!(gate.install(first), Err(InstallError::Stale { have, given }));
}

#[test]
fn h39_doubling_gives_every_row_a_new_epoch() {
    let first = view(4, &[&[1, 2, 3], &[2, 3, 4]]);
    let doubled = first.doubled().unwrap();
    assert_eq!(doubled.table().partitions(), 4);
    let all = (0..4).map(|p| doubled.partition_epoch(Partition::new(p)));
    assert!(all.into_iter().all(|epoch| epoch == Some(Epoch::new(2))));
    for hash in [0, 1, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX] {
        assert_eq!(first.route_at(hash).read, doubled.route_at(hash).read, "no key moves");
    }
    // A request that names partition 1 of the smaller table does not reach that of the larger.
    let gate = Gate::new(id(4), first.clone());
    let stale = first.route_at(u64::MAX);
    let fresh = doubled.route_at(u64::MAX);
    let have = Epoch::new(1);
    assert_eq!(gate.admit(fresh.partition, fresh.tag).unwrap_err(), Reject::Ahead { have });
    gate.install(doubled.clone()).unwrap();
    let have = Epoch::new(2);
    assert_eq!(gate.admit(stale.partition, stale.tag).unwrap_err(), Reject::Stale { have });
    assert!(gate.admit(fresh.partition, fresh.tag).is_ok());
}

#[test]
fn h43_a_node_leaves_the_topology_after_no_row_names_it() {
    let first = view(4, &[&[1, 2, 3], &[2, 3, 4]]);
    let smaller = topology(4).to_builder().remove(id(4)).build().unwrap();
    let rows = [ids(&[1, 2, 3]), ids(&[1, 2, 3])];
    let hash = KeyHash::default();
    let without = PartitionTable::from_rows(&smaller, &Rules::new(3), hash, &rows).unwrap();
    let error = Transition::begin(&first, without.clone(), Quorum::Majority).unwrap_err();
    assert_eq!(error.to_string(), "node 4 is not in the topology, but 1 rows name it");
    assert!(first.rebased(&smaller).is_err());
    // First the rows, then the topology.
    let drained = table(4, &[&[1, 2, 3], &[1, 2, 3]]);
    let mut transition = Transition::begin(&first, drained, Quorum::Majority).unwrap();
    let mut last = first;
    while !transition.is_finished() {
        if transition.poll_view().is_some() {
            last = step(&mut transition);
        }
        (1..=4).for_each(|node| transition.handle_ack(id(node), last.epoch()));
        if last.stage() == Stage::Copying {
            transition.handle_copied(MoveId::new(0)).unwrap();
        }
    }
    assert_eq!(last.rebased(&smaller).unwrap().table(), &without);
}

#[test]
fn h44_an_authority_that_dies_between_two_views_loses_and_doubles_no_stage() {
    let first = view(5, &[&[1, 2, 3]]);
    let next = table(5, &[&[1, 4, 5]]);
    let mut stages = vec![first.clone()];
    let mut transition = Transition::begin(&first, next.clone(), Quorum::Majority).unwrap();
    for _ in 0..20 {
        let moves = transition.moves().clone();
        if let Some(view) = transition.poll_view() {
            // It dies behind the commit, and before anybody heard of it: the next one reads the
            // committed view, and offers the one after it.
            stages.push(View::decode(&view.encode(), None).unwrap());
            match Transition::resume(&view, Quorum::Majority, &[]) {
                Ok(resumed) => transition = resumed,
                Err(error) => {
                    assert_eq!(error, TransitionError::Finished { epoch: view.epoch() });
                    break;
                }
            }
            assert_eq!(transition.moves(), &moves, "moves keep their ids");
            // It dies before the commit: the same view is offered again.
            let again = transition.poll_view().map(|view| view.digest());
            let mut other = Transition::resume(&view, Quorum::Majority, &[]).unwrap();
            assert_eq!(other.poll_view().map(|view| view.digest()), again);
        }
        let epoch = transition.view().epoch();
        (1..=5).for_each(|node| transition.handle_ack(id(node), epoch));
        for one in &moves.moves {
            let _ = transition.handle_copied(one.id);
        }
    }
    let found: Vec<Stage> = stages.iter().map(View::stage).collect();
    assert_eq!(found, [Stage::Settled, Stage::Copying, Stage::Switched, Stage::Settled]);
    let epochs: Vec<u64> = stages.iter().map(|view| view.epoch().value()).collect();
    assert_eq!(epochs, [1, 2, 3, 4]);
    assert_eq!(stages[3].table(), &next);
    // What was copied before is not copied again, if the next one knows.
    let copied = [MoveId::new(0), MoveId::new(1)];
    let mut resumed = Transition::resume(&stages[1], Quorum::Majority, &copied).unwrap();
    assert_eq!(resumed.poll_view().unwrap().digest(), stages[2].digest());
}

#[test]
fn h45_an_acknowledgement_ahead_of_the_committed_epoch_does_not_count() {
    let first = view(4, &[&[1, 2, 3]]);
    let next = table(4, &[&[1, 2, 4]]);
    let mut transition = Transition::begin(&first, next, Quorum::Majority).unwrap();
    let copying = step(&mut transition);
    let ahead = Epoch::new(copying.epoch().value() + 1);
    // Another authority showed a view that was never committed: those who saw it acknowledge an
    // epoch that will have another content.
    (1..=4).for_each(|node| transition.handle_ack(id(node), ahead));
    assert!(!transition.is_source_ready(id(3)));
    transition.handle_copied(MoveId::new(0)).unwrap();
    let switched = step(&mut transition);
    assert_eq!(switched.epoch(), ahead);
    assert_eq!(transition.poll_view(), None, "nobody acknowledged this epoch");
    let waiting = Waiting::Acks { partitions: vec![P], nodes: ids(&[1, 2, 3]) };
    assert_eq!(transition.waiting_for(), waiting);
    (1..=2).for_each(|node| transition.handle_ack(id(node), ahead));
    assert_eq!(step(&mut transition).stage(), Stage::Settled);
    assert_eq!(transition.waiting_for(), Waiting::Nothing);
}

/// Of three old replicas one never answers.
#[test]
fn g12_a_dead_minority_of_the_old_row_blocks_nothing() {
    let first = view(4, &[&[1, 2, 3]]);
    let next = table(4, &[&[1, 2, 4]]);
    let mut transition = Transition::begin(&first, next, Quorum::Majority).unwrap();
    let mut planner =
        Planner::new(transition.moves(), Quorum::Majority, PlanLimits::default()).unwrap();
    planner.node_down(id(3));
    while !transition.is_finished() {
        let view = step(&mut transition);
        let at = |node: u16| NodeIdx::new(node - 1);
        let mut tally = view.route_to(P).unwrap().write.tally(Quorum::Majority);
        let _ = tally.fail(at(3));
        let _ = tally.ack(at(1));
        assert_eq!(tally.ack(at(2)), Outcome::Reached);
        for node in [1, 2, 4] {
            transition.handle_ack(id(node), view.epoch());
            if transition.is_source_ready(id(node)) {
                planner.source_ready(id(node));
            }
        }
        while let Some(order) = planner.poll_order() {
            planner.done(order.what.id).unwrap();
            transition.handle_copied(order.what.id).unwrap();
        }
    }
    assert_eq!(transition.view().table().rules().replicas(), 3);
}

#[test]
fn plans_empty_drained_nodes_first_and_then_the_fullest() {
    let old = table(6, &[&[1], &[2], &[3], &[1]]);
    let mut nodes = Topology::builder();
    for node in 1..=6 {
        let weight =
            if node == 3 { quorate_hashring::Weight::ZERO } else { quorate_hashring::Weight::ONE };
        nodes = nodes.node(Node::new(id(node)).weight(weight));
    }
    let rows = [ids(&[4]), ids(&[5]), ids(&[6]), ids(&[5])];
    let rules = Rules::new(1);
    let topology = nodes.build().unwrap();
    let new = PartitionTable::from_rows(&topology, &rules, KeyHash::default(), &rows).unwrap();
    let moves = diff(&old, &new).unwrap();
    let limits = PlanLimits::default().total(1);
    let mut planner = Planner::new(&moves, Quorum::Majority, limits).unwrap();
    (1..=3).for_each(|node| planner.source_ready(id(node)));
    let mut order = Vec::new();
    while let Some(next) = planner.poll_order() {
        order.push(next.what.from.unwrap());
        planner.done(next.what.id).unwrap();
    }
    // The drained one; then the one with two moves left; then, with one each, by id.
    assert_eq!(order, ids(&[3, 1, 2, 1]));
}

/// A node that did it did it: that its connection broke afterwards takes nothing back.
#[test]
fn h21_a_failure_after_an_answer_takes_nothing_back() {
    let view = view(3, &[&[1, 2, 3]]);
    let route = view.route_to(P).unwrap();
    let mut tally = route.write.tally(Quorum::Majority);
    let [a, b, c] = [0, 1, 2].map(NodeIdx::new);
    assert_eq!(tally.ack(a), Outcome::Pending);
    assert_eq!(tally.fail(a), Outcome::Pending);
    assert_eq!(tally.fail(b), Outcome::Pending);
    assert_eq!(tally.ack(c), Outcome::Reached);
    // The other way round a late answer counts.
    let mut tally = route.write.tally(Quorum::Majority);
    assert_eq!(tally.fail(a), Outcome::Pending);
    assert_eq!(tally.fail(b), Outcome::Lost);
    assert_eq!(tally.ack(a), Outcome::Pending);
    assert_eq!(tally.ack(c), Outcome::Reached);
}

/// A move that failed waits behind all others, those of its own pair too.
#[test]
fn h34_a_failed_move_goes_behind_the_others() {
    let rows: [&[u64]; 4] = [&[1], &[1], &[1], &[1]];
    let moved: [&[u64]; 4] = [&[2], &[3], &[2], &[3]];
    let moves = diff(&table(3, &rows), &table(3, &moved)).unwrap();
    let limits = PlanLimits::default().outgoing(1);
    let mut planner = Planner::new(&moves, Quorum::Majority, limits).unwrap();
    planner.source_ready(id(1));
    let mut order = Vec::new();
    for attempt in 0..5 {
        let next = planner.poll_order().unwrap();
        assert_eq!(planner.poll_order(), None, "its sender has no room");
        order.push(next.what.id.value());
        match attempt {
            0 => planner.failed(next.what.id).unwrap(),
            _ => planner.done(next.what.id).unwrap(),
        }
    }
    assert_eq!(order, [0, 1, 2, 3, 0]);
    assert!(planner.is_finished());
}
