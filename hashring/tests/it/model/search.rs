//! The steps from a state to the next ones, and the search through all of them.

use super::real::{Real, Way};
use super::set::Seen;
use super::state::{COPIED, DONE, NODES, NONE, OPEN, Operation, Setup, State};
use quorate_hashring::Stage;
use std::collections::VecDeque;

/// What a search found.
pub(super) struct Report {
    pub(super) states: usize,
    pub(super) steps: u64,
    /// Whether there is no state left to look at.
    pub(super) is_complete: bool,
    pub(super) violations: Vec<String>,
}

/// Looks at states in the order of their distance from the first, at most so many.
pub(super) fn explore(setup: &Setup, states_max: usize) -> Report {
    let mut real = Real::new(setup);
    let (mut seen, mut queue) = (Seen::new(), VecDeque::new());
    let mut report = Report { states: 0, steps: 0, is_complete: false, violations: Vec::new() };
    seen.insert(State::first().sum());
    queue.push_back(State::first());
    let mut next = Vec::new();
    while let Some(state) = queue.pop_front() {
        if is_violation(&mut real, &state) {
            report.violations.push(format!("{state:?}"));
            break;
        }
        if seen.len() >= states_max {
            break;
        }
        steps(&mut real, setup, &state, &mut next);
        report.steps += next.len() as u64;
        queue.extend(next.drain(..).filter(|state| seen.insert(state.sum())));
    }
    report.states = seen.len();
    report.is_complete = queue.is_empty() && report.violations.is_empty();
    report
}

/// Whether a read has its quorum of answers, all of them older than what it must return.
fn is_violation(real: &mut Real, state: &State) -> bool {
    let read = &state.read;
    read.view > 0 && {
        let view = real.at(state.committed, read.view - 1);
        real.is_reached(view, State::done(read), true)
    }
}

/// All states that one step leads to.
fn steps(real: &mut Real, setup: &Setup, state: &State, next: &mut Vec<State>) {
    authority_steps(real, setup, state, next);
    for at in 0..NODES {
        node_steps(real, state, at, next);
    }
    for version in 1..=setup.writes {
        write_steps(real, setup, state, version, next);
    }
    read_steps(real, setup, state, next);
}

/// Publish the next view, abort, begin, copy.
fn authority_steps(real: &mut Real, setup: &Setup, state: &State, next: &mut Vec<State>) {
    let stage = real.stage(state.committed);
    if stage == Stage::Settled {
        if usize::from(state.begun) + 1 < setup.rows.len() {
            let committed = real.begin(state);
            let begun = state.begun + 1;
            let fresh = State { acks: [0; NODES], copies: [0; 3], aborting: false, ..*state };
            next.push(State { committed, begun, ..fresh });
        }
        return;
    }
    let answer = real.authority(state);
    if let Some(committed) = answer.next {
        // What a settled transition knew is forgotten.
        let settles = real.stage(committed) == Stage::Settled;
        let (acks, copies) =
            if settles { ([0; NODES], [0; 3]) } else { (state.acks, state.copies) };
        let aborting = state.aborting && !settles;
        next.push(State { committed, acks, copies, aborting, ..*state });
    }
    if setup.aborts && !state.aborting && stage != Stage::Reverting {
        next.push(State { aborting: true, ..*state });
    }
    if answer.ready != 0 {
        for way in real.ways(state, answer.ready) {
            take_steps(state, &way, next);
        }
    }
    for (of, copy) in state.copies.iter().enumerate() {
        if *copy == 0 || *copy == COPIED {
            continue;
        }
        if let Some(to) = real.receiver(state, of) {
            let mut after = *state;
            after.store[to] = after.store[to].max(*copy - 1);
            after.copies[of] = COPIED;
            next.push(after);
        }
    }
}

/// Take a copy: of one source, or of each choice of enough of them.
fn take_steps(state: &State, way: &Way, next: &mut Vec<State>) {
    if state.copies[way.of] != 0 {
        return;
    }
    for from in 1..1_u8 << NODES {
        if from & !way.from != 0 || from.count_ones() != u32::from(way.need) {
            continue;
        }
        let held = (0..NODES).filter(|at| from & 1 << at != 0).map(|at| state.store[at]);
        let mut after = *state;
        after.copies[way.of] = 1 + held.max().unwrap_or(0);
        next.push(after);
    }
}

/// Install a view, acknowledge, delete.
fn node_steps(real: &mut Real, state: &State, at: usize, next: &mut Vec<State>) {
    let newest = real.position(state.committed);
    for position in state.installed[at] + 1..=newest {
        let mut after = *state;
        after.installed[at] = position;
        next.push(after);
    }
    let gate = real.gate(state, at);
    if gate.acked > state.acks[at] && real.stage(state.committed) != Stage::Settled {
        let mut after = *state;
        after.acks[at] = gate.acked;
        next.push(after);
    }
    if gate.may_drop && state.store[at] > 0 {
        let mut after = *state;
        after.store[at] = 0;
        next.push(after);
    }
}

fn write_steps(
    real: &mut Real,
    setup: &Setup,
    state: &State,
    version: usize,
    next: &mut Vec<State>,
) {
    let write = &state.writes[version - 1];
    if setup.late || !is_complete(real, state, version) {
        for_each_admission(real, state, write, false, |after| {
            let mut state = *state;
            state.writes[version - 1] = after;
            next.push(state);
        });
    }
    for at in (0..NODES).filter(|at| write.at[*at] >= OPEN) {
        let mut after = *state;
        after.writes[version - 1].at[at] = DONE;
        after.store[at] = after.store[at].max(u8::try_from(version).unwrap());
        next.push(after);
        let mut lost = *state;
        lost.writes[version - 1].at[at] = NONE;
        next.push(lost);
    }
}

/// A read begins once a write has completed. Only answers that are too old are of interest.
fn read_steps(real: &mut Real, setup: &Setup, state: &State, next: &mut Vec<State>) {
    let mut read = state.read;
    if read.view == 0 {
        let completed = (1..=setup.writes).filter(|version| is_complete(real, state, *version));
        let Some(newest) = completed.max() else { return };
        read.floor = u8::try_from(newest).unwrap();
    }
    for_each_admission(real, state, &read, true, |after| {
        let at = (0..NODES).find(|at| after.at[*at] != read.at[*at]).unwrap();
        // A node that holds the version now answers with it, unless it deletes it meanwhile.
        if setup.late || state.store[at] < read.floor {
            next.push(State { read: after, ..*state });
        }
    });
    for at in (0..NODES).filter(|at| read.at[*at] >= OPEN) {
        let mut after = *state;
        after.read.at[at] = if state.store[at] < read.floor { DONE } else { NONE };
        next.push(after);
    }
}

fn is_complete(real: &mut Real, state: &State, version: usize) -> bool {
    let write = &state.writes[version - 1];
    write.view > 0 && {
        let view = real.at(state.committed, write.view - 1);
        real.is_reached(view, State::done(write), false)
    }
}

/// Every node that an operation is not at yet may admit it, by any view ever published if the
/// operation has not begun.
fn for_each_admission(
    real: &mut Real,
    state: &State,
    operation: &Operation,
    is_read: bool,
    mut then: impl FnMut(Operation),
) {
    let newest = real.position(state.committed);
    let views = match operation.view {
        0 => 0..=newest,
        view => view - 1..=view - 1,
    };
    for position in views {
        let view = real.at(state.committed, position);
        let asked = real.asked(view, is_read);
        for at in (0..NODES).filter(|at| asked & 1 << at != 0 && operation.at[*at] == NONE) {
            let here = real.at(state.committed, state.installed[at]);
            if real.admits(at, here, view) {
                let mut after = Operation { view: position + 1, ..*operation };
                after.at[at] = OPEN + state.installed[at];
                then(after);
            }
        }
    }
}
