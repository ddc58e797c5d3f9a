//! The duplicate-connection rule, every interleaving: two nodes, four dials, three losses seen by
//! each side at its own time, a restart.

use crate::support::*;
use quorate_transport::*;
use std::collections::BTreeSet;

const LANE: Lane = Lane::Data;

/// What one end of a connection is to its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// A Hello is out, no answer yet.
    Dialing,
    /// Made, and counted by the node's table.
    Open,
    /// Replaced or surplus: only read to its end.
    Leaving,
    /// Nothing any more, or not yet.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    Accept { incarnation: u64 },
    Refuse { other: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Conn {
    nonce: u64,
    dialer: usize,
    /// Incarnation of the dialer and dead nonce, until the Hello is delivered.
    hello: Option<(u64, u64)>,
    answer: Option<Answer>,
    ends: [End; 2],
    broken: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct World {
    tables: [LinkTable; 2],
    lives: [u64; 2],
    conns: Vec<Conn>,
    dials: u32,
    losses: u32,
    restarts: u32,
    /// Redials that a refusal demands at once.
    redial: [bool; 2],
}

impl World {
    fn new(dials: u32, restarts: u32) -> Self {
        Self {
            tables: [LinkTable::new(node(1), node(2)), LinkTable::new(node(2), node(1))],
            lives: [1, 1],
            conns: Vec::new(),
            dials,
            losses: 3,
            restarts,
            redial: [false; 2],
        }
    }

    fn is_dialing(&self, me: usize) -> bool {
        self.conns.iter().any(|c| c.dialer == me && c.ends[me] == End::Dialing)
    }

    fn dial(&self, me: usize) -> Self {
        let mut next = self.clone();
        let nonce = u64::from(100 - self.dials) + 1;
        next.dials = next.dials.saturating_sub(1);
        next.redial[me] = false;
        let mut ends = [End::Gone; 2];
        ends[me] = End::Dialing;
        let hello = Some((self.lives[me], self.tables[me].dead_nonce(LANE)));
        let conn = Conn { nonce, dialer: me, hello, answer: None, ends, broken: false };
        next.conns.push(conn);
        next
    }

    /// Every state one step away.
    fn steps(&self) -> Vec<Self> {
        let mut out = Vec::new();
        for me in 0..2 {
            let free = self.tables[me].current(LANE).is_none() && !self.is_dialing(me);
            if free && self.dials > 0 {
                out.push(self.dial(me));
            }
            if self.restarts > 0 && self.lives[me] == 1 {
                out.push(self.restart(me));
            }
        }
        for i in 0..self.conns.len() {
            let conn = &self.conns[i];
            if conn.hello.is_some() && !conn.broken {
                out.push(self.deliver_hello(i));
            }
            if conn.answer.is_some() && !conn.broken {
                out.push(self.deliver_answer(i));
            }
            let alive = conn.ends.iter().any(|end| *end != End::Gone);
            if self.losses > 0 && !conn.broken && alive {
                let mut next = self.clone();
                next.losses -= 1;
                next.conns[i].broken = true;
                out.push(next);
            }
            for me in 0..2 {
                // A side notices a break, or the farewell of the other side.
                let other_left = matches!(conn.ends[1 - me], End::Gone | End::Leaving);
                let settled = conn.hello.is_none() && conn.answer.is_none();
                let ends = conn.broken || settled && other_left && conn.ends[me] != End::Dialing;
                if ends && conn.ends[me] != End::Gone {
                    out.push(self.end(i, me));
                }
            }
        }
        out
    }

    fn end(&self, i: usize, me: usize) -> Self {
        let mut next = self.clone();
        let nonce = self.conns[i].nonce;
        if self.conns[i].ends[me] == End::Open {
            next.tables[me].handle_lost(LANE, nonce);
        }
        next.conns[i].ends[me] = End::Gone;
        if self.conns[i].broken {
            next.conns[i].hello = None;
            next.conns[i].answer = None;
        }
        next
    }

    /// The process dies: its sockets break, its table is new.
    fn restart(&self, me: usize) -> Self {
        let mut next = self.clone();
        next.restarts -= 1;
        next.lives[me] += 1;
        next.tables[me] = LinkTable::new(node(me as u64 + 1), node(2 - me as u64));
        next.redial[me] = false;
        for conn in &mut next.conns {
            conn.broken = true;
            conn.ends[me] = End::Gone;
        }
        next
    }

    fn leave(&mut self, me: usize, nonce: u64) {
        for conn in &mut self.conns {
            if conn.nonce == nonce && conn.ends[me] == End::Open {
                conn.ends[me] = End::Leaving;
            }
        }
    }

    fn leave_all(&mut self, me: usize) {
        for conn in &mut self.conns {
            if conn.ends[me] == End::Open {
                conn.ends[me] = End::Gone;
            }
        }
    }

    fn deliver_hello(&self, i: usize) -> Self {
        let mut next = self.clone();
        let (dialer, nonce) = (self.conns[i].dialer, self.conns[i].nonce);
        let me = 1 - dialer;
        let (life, dead) = next.conns[i].hello.take().unwrap();
        let verdict = next.tables[me].handle_hello(LANE, Incarnation::new(life), nonce, dead);
        let incarnation = self.lives[me];
        next.conns[i].answer = Some(match verdict {
            HelloVerdict::Accept { restarted, replaces } => {
                if restarted {
                    next.leave_all(me);
                }
                if let Some(replaced) = replaces {
                    next.leave(me, replaced.nonce);
                }
                next.conns[i].ends[me] = End::Open;
                Answer::Accept { incarnation }
            }
            HelloVerdict::Refuse { other_nonce, .. } => Answer::Refuse { other: other_nonce },
            _ => unreachable!(),
        });
        next
    }

    fn deliver_answer(&self, i: usize) -> Self {
        let mut next = self.clone();
        let (me, nonce) = (self.conns[i].dialer, self.conns[i].nonce);
        match next.conns[i].answer.take().unwrap() {
            Answer::Accept { incarnation } => {
                let life = Incarnation::new(incarnation);
                match next.tables[me].handle_accept(LANE, life, nonce) {
                    DialVerdict::Current { restarted, replaces } => {
                        if restarted {
                            next.leave_all(me);
                        }
                        if let Some(replaced) = replaces {
                            next.leave(me, replaced.nonce);
                        }
                        next.conns[i].ends[me] = End::Open;
                    }
                    DialVerdict::Surplus => next.conns[i].ends[me] = End::Leaving,
                    _ => next.conns[i].ends[me] = End::Gone,
                }
            }
            Answer::Refuse { other } => {
                next.conns[i].ends[me] = End::Gone;
                if other != 0
                    && next.tables[me].handle_duplicate(LANE, other) == DuplicateVerdict::Redial
                {
                    next.redial[me] = true;
                }
            }
        }
        next
    }

    /// A table counts exactly the connection whose end is open.
    fn check(&self) {
        for me in 0..2 {
            let open: Vec<u64> =
                self.conns.iter().filter(|c| c.ends[me] == End::Open).map(|c| c.nonce).collect();
            let current: Vec<u64> = self.tables[me].current(LANE).into_iter().collect();
            assert_eq!(open, current, "node {} in {self:#?}", me + 1);
        }
    }

    /// When nothing is on its way: both hold the same connection, or none.
    fn check_quiet(&self) {
        let [a, b] = [0, 1].map(|me| self.tables[me].current(LANE));
        assert_eq!(a, b, "stranded in {self:#?}");
        assert!(!self.is_dialing(0) && !self.is_dialing(1), "stuck in {self:#?}");
    }

    /// Connections nobody holds say nothing about the future.
    fn tidy(mut self) -> Self {
        self.conns.retain(|c| {
            c.ends.iter().any(|e| *e != End::Gone)
                || !c.broken && (c.hello.is_some() || c.answer.is_some())
        });
        self.conns.sort();
        self
    }
}

fn explore(dials: u32, restarts: u32) -> (usize, usize) {
    let mut seen = BTreeSet::new();
    let mut todo = vec![World::new(dials, restarts)];
    let mut quiet = 0;
    while let Some(world) = todo.pop() {
        world.check();
        let steps = world.steps();
        // Without further dials, losses and restarts: is anything still on its way?
        let frozen = World { dials: 0, losses: 0, restarts: 0, ..world.clone() };
        if frozen.steps().is_empty() {
            quiet += 1;
            world.check_quiet();
        }
        for next in steps {
            let next = next.tidy();
            if !seen.contains(&next) {
                seen.insert(next.clone());
                todo.push(next);
            }
        }
    }
    (seen.len(), quiet)
}

/// Every interleaving; a bad state panics with the world it is in.
fn explore_and_say(what: &str, dials: u32, restarts: u32) {
    let (states, quiet) = explore(dials, restarts);
    assert!(states > 50_000 && quiet > 10, "only {states} states, {quiet} quiet ones");
    println!("links, {what}: {states} states explored, {quiet} quiescent, 0 bad");
}

#[test]
fn h12_simultaneous_dials_always_agree() {
    explore_and_say("2 nodes, 5 dials, 3 losses", 5, 0);
}

#[test]
fn a_restart_of_either_side_is_survived_in_every_interleaving() {
    explore_and_say("2 nodes, 4 dials, 3 losses, a restart of either", 4, 1);
}

#[test]
fn h13_a_stale_life_is_refused_and_named() {
    let mut table = LinkTable::new(node(1), node(2));
    assert!(matches!(
        table.handle_hello(LANE, Incarnation::new(5), 7, 0),
        HelloVerdict::Accept { restarted: false, .. }
    ));
    let refused = table.handle_hello(LANE, Incarnation::new(4), 8, 0);
    let (status, known) = (HelloStatus::StaleIncarnation, Incarnation::new(5));
    assert_eq!(refused, HelloVerdict::Refuse { status, other_nonce: 0, known });
    assert_eq!(table.handle_accept(LANE, Incarnation::new(4), 9), DialVerdict::Stale);
    assert_eq!(table.current(LANE), Some(7));
    assert!(matches!(
        table.handle_hello(Lane::Bulk, Incarnation::new(6), 10, 0),
        HelloVerdict::Accept { restarted: true, .. }
    ));
    assert_eq!(table.current(LANE), None, "a new life voids every lane");
}
