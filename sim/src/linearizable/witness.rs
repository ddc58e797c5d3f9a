//! The order of a whole history from those of its partitions, replayed.

use std::collections::BTreeMap;

use super::Spec;
use crate::history::{Event, History, OpId, Outcome};

/// Where the events of an operation stand; one that did not return stands behind everything.
#[derive(Clone, Copy)]
struct Place {
    invoked: usize,
    returned: usize,
}

/// One order out of those of the partitions.
///
/// Each operation takes effect as early as it may: at its invocation, or with the one before it
/// in its partition. That is before it returns, since the order of the partition respects time;
/// sorted by these moments, the whole order does too.
///
/// # Panics
/// If the order does not hold, see [`linearizable`](super::linearizable).
pub(super) fn merged<S: Spec>(
    spec: &S,
    history: &History<S::Op, S::Ret>,
    orders: &[Vec<OpId>],
) -> Vec<OpId> {
    let places = places(history);
    let mut moments = Vec::with_capacity(orders.iter().map(Vec::len).sum());
    for order in orders {
        let mut moment = 0;
        for id in order {
            moment = moment.max(places[id.index()].invoked);
            moments.push((moment, *id));
        }
    }
    // Stable: what has one moment stands together already.
    moments.sort_by_key(|(moment, _)| *moment);
    let order: Vec<OpId> = moments.into_iter().map(|(_, id)| id).collect();
    if let Err(wrong) = replay(spec, history, &order, &places) {
        refuse(wrong);
    }
    order
}

#[expect(clippy::panic, reason = "documented: a model that is no function has no verdicts")]
fn refuse(wrong: &str) -> ! {
    panic!("an order that was found does not hold when it is replayed: {wrong}");
}

fn places<O, R>(history: &History<O, R>) -> Vec<Place> {
    let mut places = vec![Place { invoked: 0, returned: usize::MAX }; history.len()];
    for (at, event) in history.events().enumerate() {
        match event {
            Event::Invoke(id) => places[id.index()].invoked = at,
            Event::End(id) => {
                let outcome = history.operation(id).and_then(|o| o.outcome.as_ref());
                if let Some((_, Outcome::Ok(_))) = outcome {
                    places[id.index()].returned = at;
                }
            }
        }
    }
    places
}

/// Whether the model allows the order, and time, and nothing is missing.
fn replay<S: Spec>(
    spec: &S,
    history: &History<S::Op, S::Ret>,
    order: &[OpId],
    places: &[Place],
) -> Result<(), &'static str> {
    let mut states: BTreeMap<u64, S::State> = BTreeMap::new();
    let mut missing: Vec<bool> = places.iter().map(|place| place.returned < usize::MAX).collect();
    let mut seen = vec![false; places.len()];
    let mut latest = 0;
    for id in order {
        let at = id.index();
        let operation = history.operation(*id).ok_or("an operation is not of the history")?;
        let ret = match &operation.outcome {
            Some((_, Outcome::Ok(ret))) => Some(ret),
            Some((_, Outcome::Fail)) => return Err("an operation failed"),
            _ => None,
        };
        if std::mem::replace(&mut seen[at], true) {
            return Err("an operation happens twice");
        }
        missing[at] = false;
        if places[at].returned < latest {
            return Err("an operation comes after one that began when it had ended");
        }
        latest = latest.max(places[at].invoked);
        let part = spec.partition(&operation.op);
        let state = states.entry(part).or_insert_with(|| spec.initial());
        *state = spec.apply(state, &operation.op, ret).ok_or("the model does not allow it")?;
    }
    if missing.contains(&true) { Err("a completed operation is missing") } else { Ok(()) }
}
