//! S6: the judge of histories, on recorded ones, on long ones, and on small ones beside
//! stateright's tester.

use crate::Bench;
use quorate_benches::busy::Busy;
use quorate_benches::sheet::{Line, time};
use quorate_benches::turns::{Contender, take_turns};
use quorate_sim::specs::{CasRegister, Kv, KvOp, KvRet, RegisterOp, RegisterRet};
use quorate_sim::{Event, History, OpId, Outcome, Recorder, Rng, STEPS_MAX, SimTime, linearizable};
use stateright::semantics::register::{Register, RegisterOp as PeerOp, RegisterRet as PeerRet};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester};
use std::path::Path;
use std::time::Duration;

const OURS: &str = "ours";
const PEER: &str = "stateright";

type Registers = History<RegisterOp, RegisterRet>;
type Tester = LinearizabilityTester<u64, Register<Option<i64>>>;

/// S6: its three lines.
pub(crate) fn judging(bench: &mut Bench) {
    recorded(bench.rounds).into_iter().for_each(|line| bench.sheet.push(line));
    bench.sheet.push(long(bench.rounds));
    bench.sheet.push(small(bench.rounds));
}

/// Nanoseconds of one call.
fn once(work: impl FnOnce()) -> f64 {
    let begun = Busy::begin();
    work();
    begun.nanos()
}

/// The recorded histories, all of them; none where they are not.
fn recorded(rounds: usize) -> Option<Line> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/linearizability");
    let Ok(verdicts) = std::fs::read_to_string(folder.join("VERDICTS")) else {
        eprintln!("S6: no recorded histories in {}", folder.display());
        return None;
    };
    let read = |line: &str| {
        let (file, verdict) = line.split_once(' ').expect("two words");
        let bytes = std::fs::read(folder.join(file)).expect("it is listed");
        let history = Registers::read_jepsen_log(&bytes[..]).expect("a log");
        (history, verdict == "true")
    };
    let all: Vec<(Registers, bool)> = verdicts.lines().map(read).collect();
    let judge = || {
        once(|| {
            for (history, is_linearizable) in &all {
                let verdict = linearizable(&CasRegister, history, STEPS_MAX);
                assert_eq!(verdict.is_linearizable(), *is_linearizable);
            }
        })
    };
    let found = take_turns(vec![Contender::new(OURS, judge)], rounds);
    let ns = found.ns(OURS);
    let name = format!("S6 judge {} recorded histories, all of them", all.len());
    Some(Line::new(&name).value(&time(ns), ns, "ns").goal("≤ 0.5 s", ns <= 0.5e9))
}

/// An operation, its key, what it writes, what it answers once it is done.
type Pending = (OpId, usize, Option<i64>, Option<KvRet>);

/// Five clients with 2,000 operations each over 20 keys.
fn long(rounds: usize) -> Line {
    let mut rng = Rng::stream(6, "bench", 0, 0);
    let recorder = Recorder::new();
    let (mut values, mut left, mut now) = ([None; 20], [2_000_u32; 5], 0);
    let mut busy: [Option<Pending>; 5] = [const { None }; 5];
    while left.iter().any(|left| *left > 0) || busy.iter().any(Option::is_some) {
        now += 1;
        let at = SimTime::from_nanos(now);
        let client = rng.index(5);
        match busy[client].take() {
            None if left[client] > 0 => {
                left[client] -= 1;
                let key = rng.index(20);
                let write = rng.flip().then(|| rng.below(5).cast_signed());
                let name = format!("k{key}");
                let op = write.map_or_else(
                    || KvOp::read(name.as_str()),
                    |value| KvOp::write(name.as_str(), value),
                );
                busy[client] = Some((recorder.invoke(at, client as u64, op), key, write, None));
            }
            None => {}
            Some((id, key, write, None)) => {
                values[key] = write.or(values[key]);
                let ret = write.map_or(KvRet::Value(values[key]), |_| KvRet::Done);
                busy[client] = Some((id, key, write, Some(ret)));
            }
            Some((id, _, _, Some(ret))) => recorder.ok(id, at, ret),
        }
    }
    let history = recorder.history();
    assert_eq!(history.len(), 10_000);
    let judge = || once(|| assert!(linearizable(&Kv, &history, STEPS_MAX).is_linearizable()));
    let found = take_turns(vec![Contender::new(OURS, judge)], rounds);
    let ns = found.ns(OURS);
    Line::new("S6 judge 5 clients × 2,000 operations over 20 keys")
        .value(&time(ns), ns, "ns")
        .goal("≤ 1 s", ns <= 1e9)
}

/// Twelve reads and writes of four clients, of a register that does one thing at a time; in half
/// of the histories one read is a lie.
fn twelve(rng: &mut Rng, lie: bool) -> Registers {
    let recorder = Recorder::new();
    let (mut value, mut asked, mut now) = (None, 0, 0);
    let mut busy: [Option<(_, RegisterOp, Option<RegisterRet>)>; 4] = [None; 4];
    while asked < 12 || busy.iter().any(Option::is_some) {
        now += 1;
        let at = SimTime::from_nanos(now);
        let client = rng.index(4);
        match busy[client].take() {
            None if asked < 12 => {
                asked += 1;
                let write = RegisterOp::Write(rng.below(3).cast_signed());
                let op = if rng.flip() { write } else { RegisterOp::Read };
                busy[client] = Some((recorder.invoke(at, client as u64, op), op, None));
            }
            None => {}
            Some((id, op, None)) => {
                let ret = match op {
                    RegisterOp::Write(new) => {
                        value = Some(new);
                        RegisterRet::Written
                    }
                    _ if lie && asked == 9 => RegisterRet::Value(Some(9)),
                    _ => RegisterRet::Value(value),
                };
                busy[client] = Some((id, op, Some(ret)));
            }
            Some((id, _, Some(ret))) => recorder.ok(id, at, ret),
        }
    }
    recorder.history()
}

/// The same history, as the peer keeps it.
fn peers(history: &Registers) -> Tester {
    let mut tester = LinearizabilityTester::new(Register(None));
    for event in history.events() {
        let (Event::Invoke(id) | Event::End(id)) = event;
        let operation = history.operation(id).expect("it has events");
        let thread = operation.process;
        let done = match (event, &operation.op, &operation.outcome) {
            (Event::Invoke(_), RegisterOp::Write(value), _) => {
                tester.on_invoke(thread, PeerOp::Write(Some(*value)))
            }
            (Event::Invoke(_), ..) => tester.on_invoke(thread, PeerOp::Read),
            (_, _, Some((_, Outcome::Ok(RegisterRet::Value(value))))) => {
                tester.on_return(thread, PeerRet::ReadOk(*value))
            }
            _ => tester.on_return(thread, PeerRet::WriteOk),
        };
        done.expect("a history that clients can have had");
    }
    tester
}

/// Small histories, which is what the peer is for.
fn small(rounds: usize) -> Line {
    let mut rng = Rng::stream(6, "bench", 1, 0);
    let histories: Vec<Registers> = (0..200).map(|n| twelve(&mut rng, n % 2 == 1)).collect();
    let testers: Vec<Tester> = histories.iter().map(peers).collect();
    let judged = |history: &Registers| linearizable(&CasRegister, history, STEPS_MAX);
    // The same work: the same verdicts, of both kinds.
    let ours: Vec<bool> = histories.iter().map(|h| judged(h).is_linearizable()).collect();
    let theirs: Vec<bool> = testers.iter().map(ConsistencyTester::is_consistent).collect();
    assert_eq!(ours, theirs);
    let linear = ours.iter().filter(|yes| **yes).count();
    let turn = Duration::from_millis(60);
    let mut next = 0;
    let mut other = 0;
    let contenders = vec![
        Contender::busy(OURS, turn, || {
            next = (next + 1) % histories.len();
            assert_eq!(judged(&histories[next]).is_linearizable(), ours[next]);
        }),
        // All of them in every turn: the time of one depends on which.
        Contender::new(PEER, || {
            once(|| {
                for _ in 0..testers.len() {
                    other = (other + 1) % testers.len();
                    assert_eq!(testers[other].is_consistent(), ours[other]);
                }
            }) / testers.len() as f64
        }),
    ];
    let found = take_turns(contenders, rounds);
    let ratio = found.ratio(PEER, OURS);
    Line::times("S6 judge 12 operations of 4 clients", &found, OURS, None)
        .goal("≥ 10× stateright", ratio >= 10.0)
        .note(&format!("{linear} of 200 are linearizable"))
}
