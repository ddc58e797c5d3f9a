//! A checker that tries all permutations, and shares nothing with the one it judges.

use quorate_sim::Outcome;

use super::generator::{Asked, Play};
use super::models::{Model, Ret};

/// The answer of an operation that completed.
fn answer<M: Model>(asked: &Asked<M>) -> Option<&Ret<M>> {
    match &asked.ended {
        Some((_, Outcome::Ok(ret))) => Some(ret),
        _ => None,
    }
}

/// Whether `first` had ended when `second` began.
pub(super) fn before<M: Model>(first: &Asked<M>, second: &Asked<M>) -> bool {
    let end = first.ended.as_ref().filter(|(_, outcome)| matches!(outcome, Outcome::Ok(_)));
    end.is_some_and(|(end, _)| *end < second.invoked)
}

/// Whether there is an order.
pub(super) fn has_order<M: Model>(play: &Play<M>) -> bool {
    let failed = |asked: &&Asked<M>| matches!(asked.ended, Some((_, Outcome::Fail)));
    let rest: Vec<&Asked<M>> = play.asked.iter().filter(|asked| !failed(asked)).collect();
    try_all(&M::default(), &rest)
}

fn try_all<M: Model>(service: &M, rest: &[&Asked<M>]) -> bool {
    if rest.iter().all(|asked| answer(asked).is_none()) {
        return true;
    }
    (0..rest.len()).any(|at| {
        let next = rest[at];
        if rest.iter().any(|other| before(other, next)) {
            return false;
        }
        let mut service = service.clone();
        let mut others = rest.to_vec();
        others.remove(at);
        service.accepts(&next.op, answer(next)) && try_all(&service, &others)
    })
}

/// Whether the service, asked in this order, answers so; and time allows the order.
pub(super) fn replays<M: Model>(play: &Play<M>, order: &[usize]) -> Option<M> {
    let mut service = M::default();
    for (place, at) in order.iter().enumerate() {
        let asked = &play.asked[*at];
        let failed = matches!(asked.ended, Some((_, Outcome::Fail)));
        let late = order[place + 1..].iter().any(|later| before(&play.asked[*later], asked));
        let twice = order[place + 1..].contains(at);
        if failed || late || twice || !service.accepts(&asked.op, answer(asked)) {
            return None;
        }
    }
    Some(service)
}

/// Whether it is a whole order.
pub(super) fn is_witness<M: Model>(play: &Play<M>, order: &[usize]) -> bool {
    let complete = (0..play.asked.len()).filter(|at| answer(&play.asked[*at]).is_some());
    complete.into_iter().all(|at| order.contains(&at)) && replays(play, order).is_some()
}

/// Whether the operation cannot come next after this order.
pub(super) fn is_blocked<M: Model>(play: &Play<M>, order: &[usize], at: usize) -> bool {
    let longer: Vec<usize> = order.iter().copied().chain([at]).collect();
    replays(play, order).is_some() && replays(play, &longer).is_none()
}
