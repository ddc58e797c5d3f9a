//! A view in the middle of a change, byte for byte.

use super::assert_in_format;
use crate::clusters::{id, ids, table, view};
use quorate_hashring::{Epoch, Partition, Quorum, Stage, Transition, View};

/// Partition 1 goes from nodes 1 and 2 to nodes 1 and 3.
fn copying() -> View {
    let first = view(3, &[&[1, 2], &[1, 2]]);
    let next = table(3, &[&[1, 2], &[1, 3]]);
    Transition::begin(&first, next, Quorum::Majority).unwrap().poll_view().unwrap()
}

#[test]
fn golden_view() {
    assert_in_format("Golden view", &copying().encode());
}

#[test]
fn golden_view_means_what_it_says() {
    let view = View::decode(&copying().encode(), None).unwrap();
    assert_eq!((view.epoch(), view.stage()), (Epoch::new(2), Stage::Copying));
    assert_eq!(view.changed(), [Partition::new(1)]);
    let route = view.route_to(Partition::new(1)).unwrap();
    let of = |row: &[quorate_hashring::NodeIdx]| -> Vec<u64> {
        row.iter().map(|at| u64::from(at.value()) + 1).collect()
    };
    assert_eq!((of(route.read), of(route.write.new)), (vec![1, 2], vec![1, 3]));
    assert_eq!(ids(&[1, 2])[0], id(1));
    assert_eq!(view.hint().get(), view.digest().value().to_le_bytes()[0]);
}
