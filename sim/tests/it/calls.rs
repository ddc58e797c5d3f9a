//! Calls between sans-IO nodes: every call has one outcome, and the outcome is true.

use crate::disk::seeds::{Replay, seeds};
use quorate_sim::*;
use quorate_transport::{Cause, Reject};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

const CHANNEL: ChannelId = ChannelId::new(18);
const MS: Duration = Duration::from_millis(1);

/// What a body asks for, in its first byte.
const ANSWER: u8 = 0;
const LATER: u8 = 1;
const REJECT: u8 = 2;
const DROP: u8 = 3;
const HOLD: u8 = 4;
/// Drops it together with the node's own work on it.
const PANIC: u8 = 5;

type Outcome = Result<Bytes, CallError>;

/// What all nodes did, for the test.
#[derive(Default)]
struct Book {
    /// Numbers of calls that reached a handler, and how often.
    executed: BTreeMap<u64, u32>,
    outcomes: BTreeMap<u64, (SimTime, Outcome)>,
    strays: u32,
}

#[derive(Clone, Default)]
struct Books(Rc<RefCell<Book>>);

struct Caller {
    books: Books,
    mine: BTreeMap<CallToken, u64>,
    later: Vec<(Monotonic, InboundCall, Bytes)>,
    held: Vec<InboundCall>,
    in_handler: bool,
}

impl Caller {
    fn new(books: &Books) -> Self {
        let (mine, later, held) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { books: books.clone(), mine, later, held, in_handler: false }
    }

    fn ask(&mut self, ctx: &mut Ctx<'_>, to: u64, what: u8, number: u64, within: Duration) {
        let mut body = vec![what];
        body.extend(number.to_le_bytes());
        self.in_handler = true;
        let token = ctx.call(NodeId::new(to), Lane::Data, CHANNEL, body, within);
        assert!(self.mine.insert(token, number).is_none(), "a token came twice");
        self.in_handler = false;
    }
}

impl Node for Caller {
    fn on_call(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: Peer,
        channel: ChannelId,
        body: Bytes,
        call: InboundCall,
    ) {
        assert_eq!((channel, call.from()), (CHANNEL, from));
        let number = u64::from_le_bytes(body[1..9].try_into().unwrap());
        *self.books.0.borrow_mut().executed.entry(number).or_default() += 1;
        match body[0] {
            ANSWER => ctx.reply(call, body),
            LATER => {
                let at = ctx.now().saturating_add(50 * MS);
                self.later.push((at, call, body));
            }
            REJECT => ctx.reject(call, 77),
            DROP => drop(call),
            HOLD => self.held.push(call),
            _ => panic!("asked to"),
        }
    }

    fn on_reply(&mut self, ctx: &mut Ctx<'_>, call: CallToken, result: Outcome) {
        assert!(!self.in_handler, "an outcome inside the handler that calls");
        let mut book = self.books.0.borrow_mut();
        match self.mine.remove(&call) {
            Some(number) => {
                let before = book.outcomes.insert(number, (ctx.true_time(), result));
                assert_eq!(before, None, "two outcomes");
            }
            None => book.strays += 1,
        }
    }

    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now();
        let later = std::mem::take(&mut self.later).into_iter();
        let (due, rest) = later.partition(|(at, ..)| *at <= now);
        self.later = rest;
        let due: Vec<_> = due;
        for (_, call, body) in due {
            ctx.reply(call, body);
        }
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        self.later.iter().map(|(at, ..)| *at).min()
    }
}

fn id(n: u64) -> NodeId {
    NodeId::new(n)
}

fn world(seed: u64, nodes: u64) -> (Sim, Books) {
    let mut sim = Sim::new(SimConfig::lan(seed).build().unwrap());
    let books = Books::default();
    for n in 1..=nodes {
        let books = books.clone();
        sim.add(id(n), move |_| Caller::new(&books));
    }
    sim.run_for(MS).unwrap();
    (sim, books)
}

fn ask(sim: &mut Sim, to: u64, what: u8, number: u64, within: Duration) {
    let ask = |node: &mut Caller, ctx: &mut Ctx<'_>| node.ask(ctx, to, what, number, within);
    sim.with_node(id(1), ask).unwrap();
}

fn crash(node: u64) -> Fault {
    Fault::Crash { node: id(node), disk: CrashDisk::Random }
}

fn outcome(books: &Books, number: u64) -> Option<Outcome> {
    books.0.borrow().outcomes.get(&number).map(|(_, outcome)| outcome.clone())
}

fn cause(books: &Books, number: u64) -> Option<Cause> {
    match outcome(books, number) {
        Some(Err(CallError::MaybeExecuted(maybe))) => Some(maybe.cause),
        _ => None,
    }
}

/// One call, a fault a while later, a while more.
fn one(what: u8, fault: Option<Fault>, within: Duration) -> (Sim, Books) {
    let (mut sim, books) = world(1, 2);
    ask(&mut sim, 2, ANSWER, 0, Duration::from_secs(1));
    sim.run_for(Duration::from_secs(1)).unwrap();
    assert!(outcome(&books, 0).unwrap().is_ok());
    ask(&mut sim, 2, what, 1, within);
    sim.run_for(20 * MS).unwrap();
    fault.into_iter().for_each(|fault| sim.apply(fault));
    sim.run_for(Duration::from_secs(30)).unwrap();
    (sim, books)
}

#[test]
fn a_call_is_answered_now_later_or_not() {
    let within = Duration::from_secs(5);
    for what in [ANSWER, LATER] {
        let (_, books) = one(what, None, within);
        assert_eq!(outcome(&books, 1).unwrap().unwrap()[0], what);
    }
    let (_, books) = one(REJECT, None, within);
    let Some(Err(CallError::Rejected(Reject::Application { code: 77, .. }))) = outcome(&books, 1)
    else {
        panic!("{:?}", outcome(&books, 1));
    };
    assert_eq!(cause(&one(DROP, None, within).1, 1), Some(Cause::Abandoned));
    let (mut sim, books) = one(HOLD, None, within);
    assert_eq!(cause(&books, 1), Some(Cause::Deadline));
    let late = |node: &mut Caller, ctx: &mut Ctx<'_>| ctx.now() >= node.held[0].deadline();
    assert_eq!(sim.with_node(id(2), late), Some(true), "the callee knows when");
}

#[test]
fn a_call_ends_with_its_session() {
    let within = Duration::from_secs(25);
    let break_it = Fault::BreakSessions { node: id(2), silent: false };
    let (sim, books) = one(HOLD, Some(break_it), within);
    assert_eq!(cause(&books, 1), Some(Cause::Disconnected));
    assert!(sim.node::<Caller>(id(2)).unwrap().held[0].is_cancelled());
    let (_, books) = one(HOLD, Some(crash(2)), within);
    assert_eq!(cause(&books, 1), Some(Cause::Disconnected));
    assert_eq!(books.0.borrow().executed[&1], 1);
}

#[test]
fn a_late_answer_to_a_dead_session_harms_nobody() {
    let within = Duration::from_secs(25);
    let (mut sim, books) =
        one(HOLD, Some(Fault::BreakSessions { node: id(1), silent: false }), within);
    let answer = |node: &mut Caller, ctx: &mut Ctx<'_>| {
        let call = node.held.pop().unwrap();
        ctx.reply(call, "late");
    };
    sim.with_node(id(2), answer).unwrap();
    sim.run_for(Duration::from_secs(5)).unwrap();
    assert_eq!(cause(&books, 1), Some(Cause::Disconnected));
    assert_eq!(books.0.borrow().strays, 0);
}

#[test]
fn a_cancelled_call_has_no_outcome() {
    let (mut sim, books) = one(HOLD, None, Duration::from_secs(60));
    let cancel = |node: &mut Caller, ctx: &mut Ctx<'_>| {
        let tokens: Vec<CallToken> = node.mine.keys().copied().collect();
        tokens.into_iter().for_each(|token| ctx.cancel(token));
    };
    sim.with_node(id(1), cancel).unwrap();
    sim.run_for(Duration::from_secs(1)).unwrap();
    assert!(sim.node::<Caller>(id(2)).unwrap().held[0].is_cancelled(), "the callee was told");
    sim.run_for(Duration::from_secs(60)).unwrap();
    assert_eq!(outcome(&books, 1), None);
}

#[test]
fn a_call_that_cannot_be_sent_says_so_after_the_handler() {
    let (mut sim, books) = world(1, 2);
    ask(&mut sim, 1, ANSWER, 1, Duration::from_secs(1));
    ask(&mut sim, 9, ANSWER, 2, Duration::from_secs(1));
    assert_eq!(outcome(&books, 1), None, "not inside the handler");
    sim.run_for(MS).unwrap();
    let not_sent = |error| Some(Err(CallError::NotSent(error)));
    assert_eq!(outcome(&books, 1), not_sent(SendError::SelfAddressed));
    assert_eq!(outcome(&books, 2), not_sent(SendError::UnknownPeer));
    // The process of the callee is dead: the dial fails, the frame comes back.
    sim.apply(crash(2));
    ask(&mut sim, 2, ANSWER, 3, Duration::from_secs(20));
    sim.run_for(Duration::from_secs(10)).unwrap();
    let Some(Err(CallError::NotSent(_))) = outcome(&books, 3) else {
        panic!("{:?}", outcome(&books, 3));
    };
}

#[test]
fn many_calls_wait_at_once() {
    let (mut sim, books) = world(1, 2);
    let all = |node: &mut Caller, ctx: &mut Ctx<'_>| {
        (0..500).for_each(|n| node.ask(ctx, 2, LATER, n, Duration::from_secs(5)));
    };
    sim.with_node(id(1), all).unwrap();
    sim.run_for(Duration::from_secs(5)).unwrap();
    for n in 0..500 {
        let body = outcome(&books, n).unwrap().unwrap();
        assert_eq!(body[1..9], n.to_le_bytes(), "the answer to another call");
    }
}

/// An answer to the life before never reaches the next one, whose tokens are others.
#[test]
fn an_answer_does_not_reach_the_next_life_of_its_caller() {
    for seed in 0..20 {
        let (mut sim, books) = world(seed, 2);
        (0..5).for_each(|n| ask(&mut sim, 2, LATER, n, Duration::from_secs(20)));
        let first: BTreeSet<CallToken> =
            sim.node::<Caller>(id(1)).unwrap().mine.keys().copied().collect();
        sim.run_for(Duration::from_millis(seed * 10)).unwrap();
        sim.apply(crash(1));
        sim.apply(Fault::Restart { node: id(1) });
        sim.run_for(MS).unwrap();
        let before = books.0.borrow().outcomes.len();
        (10..15).for_each(|n| ask(&mut sim, 2, HOLD, n, Duration::from_secs(20)));
        let second: BTreeSet<CallToken> =
            sim.node::<Caller>(id(1)).unwrap().mine.keys().copied().collect();
        assert!(first.is_disjoint(&second), "the tokens of one life are not another's");
        sim.run_for(Duration::from_secs(10)).unwrap();
        let book = books.0.borrow();
        assert_eq!((book.outcomes.len(), book.strays), (before, 0));
    }
}

/// Random calls under random faults: one outcome for each, in time, and it is true.
#[test]
fn every_call_has_one_outcome_and_it_is_true() {
    let (mut asked_all, mut definite, mut maybe, mut fine) = (0, 0, 0, 0);
    for seed in seeds(100) {
        let _replay = Replay { test: "calls::every_call", seed };
        let (mut sim, books) = world(seed, 3);
        let mut rng = Rng::stream(seed, "calls", 0, 0);
        let mut asked = Vec::new();
        for number in 0..150 {
            let node = NodeId::new(rng.between(1, 3));
            let (from, to) = (rng.between(1, 3), rng.between(1, 3));
            match rng.below(14) {
                0 => sim.apply(Fault::Crash { node, disk: CrashDisk::Random }),
                1 | 2 => sim.apply(Fault::Restart { node }),
                3 => sim.apply(Fault::BreakSessions { node, silent: rng.flip() }),
                4 => sim.apply(Fault::Partition { shape: Shape::Halves, plane: Plane::Lanes }),
                5 | 6 => sim.apply(Fault::Heal { swizzle: rng.flip() }),
                _ => {}
            }
            let what = *rng.pick(&[ANSWER, LATER, REJECT, DROP, HOLD]).unwrap();
            let within = Duration::from_millis(rng.log_uniform(1, 10_000));
            let ask = |node: &mut Caller, ctx: &mut Ctx<'_>| {
                node.ask(ctx, to, what, number, within);
                (ctx.incarnation(), ctx.true_time())
            };
            if let Some((life, at)) = sim.with_node(id(from), ask) {
                asked.push((number, from, life, at, within, what));
            }
            sim.run_for(Duration::from_millis(rng.log_uniform(1, 1_000))).unwrap();
        }
        sim.run_for(Duration::from_secs(15)).unwrap();
        let book = books.0.borrow();
        assert_eq!(book.strays, 0);
        assert!(book.executed.values().all(|times| *times == 1), "executed twice");
        for (number, from, life, at, within, what) in asked {
            let Some((ended, outcome)) = book.outcomes.get(&number) else {
                let lives_on = sim.is_up(id(from))
                    && sim.with_node(id(from), |_: &mut Caller, ctx| ctx.incarnation())
                        == Some(life);
                assert!(!lives_on, "call {number} has no outcome");
                continue;
            };
            let context = format!("call {number}: {outcome:?}");
            assert!(ended.since(at) < within + 50 * MS, "late: {context}");
            let executed = book.executed.contains_key(&number);
            match outcome {
                Ok(body) => {
                    assert!(executed && body[1..9] == number.to_le_bytes(), "{context}");
                    assert!(what == ANSWER || what == LATER, "{context}");
                    fine += 1;
                }
                Err(CallError::Rejected(Reject::Application { .. })) => {
                    assert!(executed && what == REJECT, "{context}");
                }
                Err(CallError::MaybeExecuted(_)) => maybe += 1,
                Err(_) => {
                    assert!(!executed, "told that it was not executed: {context}");
                    definite += 1;
                }
            }
            asked_all += 1;
        }
    }
    println!("{asked_all} calls: {fine} answered, {definite} not sent, {maybe} unknown");
    if seeds(100).len() > 1 {
        assert!(fine > 500 && definite > 500 && maybe > 500);
    }
}

#[test]
fn a_panic_in_a_call_is_a_violation() {
    let (mut sim, _) = world(1, 2);
    ask(&mut sim, 2, PANIC, 1, Duration::from_secs(1));
    let violation = sim.run_for(Duration::from_secs(1)).unwrap_err();
    assert_eq!((violation.checker.as_str(), violation.node), ("panic", Some(id(2))));
    assert!(violation.message.contains("asked to at "), "{violation}");
    assert!(violation.message.contains("calls.rs:"), "{violation}");
    assert_eq!(sim.run_for(MS).unwrap_err(), violation, "the world stands still");
}
