//! Diffs, quorums, views, gates, transitions, plans.

use crate::clusters::{id, ids, ruled, table, topology, view};
use crate::props::codec::reseal;
use quorate_hashring::{
    BuildError, DecodeError, Digest, Epoch, Gate, InstallError, KeyHash, MoveId, NodeIdx, Outcome,
    Partition, PartitionTable, PlanError, PlanLimits, Planner, Quorum, Rules, RulesError,
    Segmented, Stage, Transition, TransitionError, View, ViewError, diff,
};

const P: Partition = Partition::new(0);

fn begin(from: &View, next: PartitionTable) -> Result<Transition, TransitionError> {
    Transition::begin(from, next, Quorum::Majority)
}

#[test]
fn quorums_that_need_not_meet_are_refused() {
    let rules = Rules::new(3);
    for (read, write) in [(1, 2), (0, 3), (3, 0), (4, 1), (1, 4), (255, 255)] {
        let expected = RulesError::Quorum { read, write, replicas: 3 };
        let quorum = Quorum::fixed(read, write);
        assert_eq!(quorum.validate(&rules), Err(expected));
        let (first, next) = (view(4, &[&[1, 2, 3]]), table(4, &[&[1, 2, 4]]));
        let error = Transition::begin(&first, next.clone(), quorum).unwrap_err();
        assert_eq!(error, TransitionError::Quorum(expected));
        let copying = begin(&first, next).unwrap().poll_view().unwrap();
        let error = Transition::resume(&copying, quorum, &[]).unwrap_err();
        assert_eq!(error, TransitionError::Quorum(expected));
    }
    assert_eq!(Quorum::fixed(2, 2).validate(&rules), Ok(()));
    let moves = diff(&table(4, &[&[1, 2, 3]]), &table(4, &[&[1, 2, 4]])).unwrap();
    let error = Planner::new(&moves, Quorum::fixed(1, 2), PlanLimits::default()).unwrap_err();
    assert_eq!(error.to_string(), "quorums of 1 to read and 2 to write of 3");
}

#[test]
fn placements_over_other_spaces_are_not_compared() {
    let rows = [ids(&[1])];
    let seeded =
        PartitionTable::from_rows(&topology(4), &Rules::new(1), KeyHash::xxh3(9), &rows).unwrap();
    let plain = table(4, &[&[1]]);
    let error = diff(&plain, &seeded).unwrap_err();
    assert_eq!(error.to_string(), "placements over hash 1 with 0x0 and over hash 1 with 0x9");
    assert_ne!(plain.space(), seeded.space());
}

#[test]
fn unknown_and_finished_moves() {
    let moves = diff(&table(5, &[&[1], &[2]]), &table(5, &[&[3], &[4]])).unwrap();
    let limits = PlanLimits::default();
    let mut planner = Planner::new(&moves, Quorum::Majority, limits).unwrap();
    let unknown = |id| PlanError::UnknownMove { id: MoveId::new(id), moves: 2 };
    assert_eq!(planner.done(MoveId::new(2)), Err(unknown(2)));
    assert_eq!(planner.failed(MoveId::new(u32::MAX)), Err(unknown(u32::MAX)));
    assert_eq!(planner.failed(MoveId::new(0)), Err(unknown(0)), "it does not run");
    planner.done(MoveId::new(0)).unwrap();
    assert_eq!(planner.failed(MoveId::new(0)), Err(unknown(0)));
    planner.done(MoveId::new(0)).unwrap();
    let progress = planner.progress();
    assert_eq!((progress.done, progress.repeated, progress.waiting), (1, 1, 1));

    let mut transition = begin(&view(4, &[&[1]]), table(4, &[&[2]])).unwrap();
    let copying = transition.poll_view().unwrap();
    transition.committed(&copying).unwrap();
    let (id, moves) = (MoveId::new(1), 1);
    let expected = TransitionError::UnknownMove { id, moves };
    assert_eq!(transition.handle_copied(id), Err(expected.clone()));
    assert_eq!(Transition::resume(&copying, Quorum::Majority, &[id]).unwrap_err(), expected);
    transition.handle_copied(MoveId::new(0)).unwrap();
    transition.handle_copied(MoveId::new(0)).unwrap();
    assert_eq!(transition.copied_again(), 1);
}

#[test]
fn limits_of_plans_out_of_range_are_refused() {
    let moves = diff(&table(2, &[&[1]]), &table(2, &[&[2]])).unwrap();
    let base = PlanLimits::default();
    for (limits, name, value, max) in [
        (base.incoming(0), "incoming", 0, u16::MAX),
        (base.outgoing(0), "outgoing", 0, u16::MAX),
        (base.total(0), "total", 0, u16::MAX),
        (base.attempts_max(0), "attempts_max", 0, 1_000),
        (base.attempts_max(1_001), "attempts_max", 1_001, 1_000),
    ] {
        let error = Planner::new(&moves, Quorum::Majority, limits).unwrap_err();
        assert_eq!(error, PlanError::OutOfRange { name, value, min: 1, max });
    }
}

#[test]
fn views_that_do_not_follow_are_not_installed() {
    let first = view(3, &[&[1], &[2]]);
    let second = first.replace_rows(&[(P, ids(&[2]))]).unwrap();
    let third = second.replace_rows(&[(P, ids(&[3]))]).unwrap();
    let gate = Gate::new(id(1), second.clone());
    let (have, given) = (second.epoch(), first.epoch());
    assert_eq!(gate.install(first.clone()), Err(InstallError::Stale { have, given }));
    let other = first.doubled().unwrap();
    let fork = other.rebased(&topology(9)).unwrap();
    let conflict = gate.install(other).unwrap_err();
    assert!(matches!(conflict, InstallError::Conflict { .. }) && conflict.is_corruption());
    let error = gate.install(fork.clone()).unwrap_err();
    let (epoch, have, parent) = (fork.epoch(), second.digest(), fork.parent());
    assert_eq!(error, InstallError::Fork { epoch, have, parent });
    assert_eq!(gate.view(), second);
    assert_eq!(gate.acked(), second.epoch());
    gate.install(third).unwrap();
    assert_eq!(gate.stats().installs, 1);
}

#[test]
fn changes_that_cannot_begin() {
    let first = view(5, &[&[1, 2, 3], &[1, 2, 3]]);
    let mut transition = begin(&first, table(5, &[&[1, 2, 4], &[1, 2, 3]])).unwrap();
    let copying = transition.poll_view().unwrap();
    transition.committed(&copying).unwrap();
    let (stage, epoch) = (Stage::Copying, copying.epoch());
    let error = begin(&copying, table(5, &[&[1, 2, 5], &[1, 2, 3]])).unwrap_err();
    assert_eq!(error, TransitionError::Busy { stage, epoch });
    assert!(error.is_retryable());
    for error in [
        copying.doubled().unwrap_err(),
        copying.rebased(&topology(9)).unwrap_err(),
        copying.replace_rows(&[]).unwrap_err(),
    ] {
        assert_eq!(error, ViewError::NotSettled { stage, epoch });
        assert!(error.is_retryable());
    }
    let mismatch = |what, have, wanted| TransitionError::Mismatch { what, have, wanted };
    let error = begin(&first, table(5, &[&[1, 2, 3]])).unwrap_err();
    assert_eq!(error, mismatch("partition bits", 1, 0));
    let error = begin(&first, table(5, &[&[1, 2], &[1, 3]])).unwrap_err();
    assert_eq!(error, mismatch("replicas", 3, 2));
    let rows = [ids(&[1, 2, 3]), ids(&[1, 2, 3])];
    let hashed = |hash| PartitionTable::from_rows(&topology(5), &Rules::new(3), hash, &rows);
    let error = begin(&first, hashed(KeyHash::xxh64(0)).unwrap()).unwrap_err();
    assert_eq!(error, mismatch("hash", 1, 2));
    let error = begin(&first, hashed(KeyHash::xxh3(7)).unwrap()).unwrap_err();
    assert_eq!(error, mismatch("hash parameter", 0, 7));
}

#[test]
fn rows_grow_and_never_shrink() {
    let short = Rules::new(3).allow_short();
    let first = View::initial(ruled(5, short, &[&[1, 2], &[1, 2, 3]]));
    let partition = Partition::new(1);
    let error = begin(&first, ruled(5, short, &[&[1, 2], &[1, 2]])).unwrap_err();
    assert_eq!(error, TransitionError::RowShrinks { partition });
    let full = [&[1, 2, 4][..], &[1, 2, 3]];
    let error = begin(&first, ruled(5, Rules::new(3), &full)).unwrap_err();
    assert_eq!(error, TransitionError::Mismatch { what: "short rows", have: 1, wanted: 0 });
    let mut transition = begin(&first, ruled(5, short, &full)).unwrap();
    let moves = &transition.moves().moves;
    assert_eq!((moves.len(), moves[0].from, moves[0].to), (1, None, id(4)));
    let copying = transition.poll_view().unwrap();
    assert_eq!(View::decode(&copying.encode(), None), Ok(copying));
}

#[test]
fn views_that_were_not_offered_and_ends_that_were_reached() {
    let first = view(4, &[&[1]]);
    let mut transition = begin(&first, table(4, &[&[2]])).unwrap();
    let not_offered = |view: &View| {
        Err(TransitionError::NotOffered { epoch: view.epoch(), digest: view.digest() })
    };
    assert_eq!(transition.committed(&first), not_offered(&first), "nothing was offered");
    let copying = transition.poll_view().unwrap();
    let other = begin(&first, table(4, &[&[3]])).unwrap().poll_view().unwrap();
    assert_eq!(transition.committed(&other), not_offered(&other));
    transition.committed(&copying).unwrap();
    assert_eq!(transition.committed(&copying), not_offered(&copying), "once is enough");
    transition.abort().unwrap();
    transition.abort().unwrap();
    let settled = transition.poll_view().unwrap();
    let finished = Err(TransitionError::Finished { epoch: copying.epoch() });
    assert_eq!(transition.abort(), finished, "the last view may be committed already");
    transition.committed(&settled).unwrap();
    let finished = TransitionError::Finished { epoch: settled.epoch() };
    assert_eq!(transition.abort(), Err(finished.clone()));
    assert_eq!(transition.poll_view(), None);
    assert_eq!(Transition::resume(&settled, Quorum::Majority, &[]).unwrap_err(), finished);
    // Before anything was offered nobody knows of the change.
    let mut transition = begin(&first, table(4, &[&[2]])).unwrap();
    transition.abort().unwrap();
    assert!(transition.is_finished());
    assert_eq!(transition.poll_view(), None);
}

#[test]
fn rows_that_cannot_be_published() {
    let first = view(4, &[&[1, 2], &[1, 2]]);
    let partition = Partition::new(2);
    let error = first.replace_rows(&[(partition, ids(&[1, 2]))]).unwrap_err();
    assert_eq!(error, ViewError::UnknownPartition { partition, partitions: 2 });
    let row = (P, ids(&[1, 2]));
    let error = first.replace_rows(&[row.clone(), row]).unwrap_err();
    assert_eq!(error, ViewError::PartitionTwice { partition: P });
    for (row, text) in [
        (&[1][..], "partition 0: 1 nodes, expected 2"),
        (&[1, 1], "partition 0: node 1 twice"),
        (&[1, 9], "node 9 is not in the topology"),
        (&[], "partition 0: 0 nodes, expected 2"),
    ] {
        let error = first.replace_rows(&[(P, ids(row))]).unwrap_err();
        assert!(matches!(error, ViewError::Build(_)));
        assert_eq!(error.to_string(), text);
    }
    let largest = View::initial(table(1, &vec![&[1][..]; 1 << 16]));
    let expected = BuildError::OutOfRange { name: "partition_bits", value: 17, min: 0, max: 16 };
    assert_eq!(largest.doubled().unwrap_err(), ViewError::Build(expected));
    assert!(largest.route_to(Partition::new(u16::MAX)).is_some());
    assert!(first.route_to(partition).is_none());
}

#[test]
fn answers_of_strangers_count_nothing() {
    let view = view(4, &[&[1, 2, 3]]);
    let route = view.route_to(P).unwrap();
    let mut tally = route.read_tally(Quorum::Majority);
    for stranger in [3, 200, u16::MAX] {
        assert_eq!(tally.ack(NodeIdx::new(stranger)), Outcome::Pending);
        assert_eq!(tally.fail(NodeIdx::new(stranger)), Outcome::Pending);
    }
    let gate = Gate::new(id(4), view.clone());
    let beyond = gate.admit(Partition::new(7), Epoch::new(1)).unwrap_err();
    assert_eq!(beyond.to_string(), "the row of epoch 1 does not name this node");
    assert!(!beyond.is_retryable());
    assert!(gate.admit(Partition::new(7), Epoch::new(9)).unwrap_err().is_retryable());
    assert!(gate.admit(P, Epoch::new(u64::MAX)).is_err());
    let stats = gate.stats();
    assert_eq!((stats.not_here, stats.ahead, stats.admitted), (1, 2, 0));
}

/// Where the fields of the golden view stand: two rows of two, three nodes.
mod at {
    pub(super) const EPOCH: usize = 24;
    pub(super) const STAGE: usize = 40;
    pub(super) const ZEROS: usize = 41;
    pub(super) const TABLE: usize = 48;
}

#[test]
fn views_whose_fields_contradict_each_other_are_refused() {
    let first = view(3, &[&[1, 2], &[1, 2]]);
    let next = table(3, &[&[1, 2], &[1, 3]]);
    let good = begin(&first, next).unwrap().poll_view().unwrap().encode();
    // Behind the table: two row epochs, the number of changed rows, one row of two.
    let epochs = good.len() - 4 - (16 + 4 + 2 + 4);
    let (count, row) = (epochs + 16, epochs + 20);
    let refused = |at: usize, bytes: &[u8], what: &'static str, offset: usize| {
        let mut bad = good.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        reseal(&mut bad);
        let expected = DecodeError::Invalid { what, offset };
        assert_eq!(View::decode(&bad, None), Err(expected), "{what}");
    };
    refused(at::EPOCH, &[0], "epoch", at::EPOCH);
    refused(at::EPOCH + 7, &[0x80], "epoch", at::EPOCH);
    refused(at::STAGE, &[4], "stage", at::STAGE);
    refused(at::ZEROS + 6, &[1], "reserved bytes", at::ZEROS);
    refused(at::TABLE, &[1], "length", at::TABLE + 4);
    refused(epochs, &[0], "row epoch", epochs);
    refused(epochs + 8, &[3], "row epoch", epochs + 8);
    refused(epochs, &[2], "row epochs", epochs);
    refused(at::STAGE, &[0], "number of changed rows", count);
    refused(count, &[3], "number of changed rows", count);
    refused(count, &[0], "row epochs", epochs);
    refused(count, &[2], "length", row + 6);
    refused(row, &[0], "changed partition", row);
    refused(row, &[9], "changed partition", row);
    refused(row + 2, &[0, 0, 0, 0], "old row", row + 2);
    refused(row + 2, &[0, 0, 9, 0], "old row", row + 2);
    refused(row + 2, &[0, 0, 0xFF, 0xFF], "old row", row + 2);
    refused(row + 2, &[2, 0, 0, 0], "old row", row + 2);
}

#[test]
fn views_that_are_short_long_foreign_or_damaged_are_refused() {
    let good = view(3, &[&[1, 2], &[1, 2]]).encode();
    for length in 0..good.len() {
        let error = View::decode(&good[..length], None).unwrap_err();
        assert!(matches!(error, DecodeError::Truncated { .. }) && error.is_retryable());
    }
    let mut long = good.clone();
    long.push(0);
    let (have, expected) = (long.len(), good.len());
    assert_eq!(View::decode(&long, None), Err(DecodeError::Trailing { have, expected }));
    let table = table(3, &[&[1, 2], &[1, 2]]).encode();
    assert_eq!(View::decode(&table, None), Err(DecodeError::Kind { expected: 3, found: 2 }));
    let mut damaged = good.clone();
    damaged[60] ^= 1;
    assert!(View::decode(&damaged, None).unwrap_err().is_corruption());
    let other = Some(KeyHash::xxh3(1));
    assert_eq!(View::decode(&good, other), Err(DecodeError::WrongKey));
    let first = View::decode(&good, None).unwrap();
    assert_eq!((first.parent(), first.digest() == Digest::new(0)), (None, false));
}

#[test]
fn no_change_begins_at_the_end_of_the_epochs() {
    let first = view(4, &[&[1, 2, 3]]);
    let at = |epoch: u64| {
        let mut bytes = first.encode();
        bytes[24..32].copy_from_slice(&epoch.to_le_bytes());
        reseal(&mut bytes);
        View::decode(&bytes, None)
    };
    let last = at((1 << 62) - 8).unwrap();
    let epoch = last.epoch();
    let rows = [(P, ids(&[1, 2, 4]))];
    assert_eq!(last.replace_rows(&rows).unwrap_err(), ViewError::EpochsExhausted { epoch });
    assert_eq!(last.doubled().unwrap_err(), ViewError::EpochsExhausted { epoch });
    let error = begin(&last, table(4, &[&[1, 2, 4]])).unwrap_err();
    assert_eq!(error, TransitionError::EpochsExhausted { epoch });
    assert_eq!(error.to_string(), "no epoch is left after 4611686018427387896");
    // One before, a whole change goes through, and each of its views can be read.
    let before = at((1 << 62) - 9).unwrap();
    assert!(before.doubled().is_ok());
    let next = begin(&before, table(4, &[&[1, 2, 4]])).unwrap().poll_view().unwrap();
    assert_eq!(View::decode(&next.encode(), None).unwrap(), next);
    assert!(at((1 << 62) + 1).is_err());
}
