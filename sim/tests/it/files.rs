//! Files of histories: both formats there and back, and what is refused with its line.

use std::fmt::Debug;

use proptest::prelude::*;
use quorate_sim::specs::{
    CounterOp, CounterRet, KvOp, KvRet, LockOp, LockRet, QueueOp, RegisterOp, RegisterRet, SetOp,
    SetRet,
};
use quorate_sim::{Form, History, HistoryError, Outcome, Recorder, Rng, SimTime};

use crate::linearizable::agreement::seeds;
use crate::linearizable::generator::Play;
use crate::linearizable::models::{Bits, Line, Lock, Map, Model, Op, Register, Ret, Sum};

fn jsonl<O: Form>(history: &History<O, O::Ret>) -> String {
    let mut out = Vec::new();
    history.write_jsonl(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn jepsen<O: Form>(history: &History<O, O::Ret>) -> String {
    let mut out = Vec::new();
    history.write_jepsen_log(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// What a jepsen log can say: no times, and of what answers yes or no only what happened.
fn speakable<M: Model>(history: &History<Op<M>, Ret<M>>) -> Vec<(u64, Op<M>, Outcome<Ret<M>>)> {
    let ended = history.operations().map(|(_, operation)| {
        let outcome = operation.outcome.clone().map_or(Outcome::Unknown, |(_, outcome)| outcome);
        (operation.process, operation.op.clone(), outcome)
    });
    ended.filter(|(_, op, outcome)| *outcome != Outcome::Fail || !op.answers()).collect()
}

fn survives<M: Model>()
where
    Op<M>: PartialEq,
{
    for seed in seeds(500) {
        let play = Play::<M>::random(&mut Rng::stream(seed, "files", 0, 0), 12);
        let history = play.history();
        let back = History::<Op<M>, _>::read_jsonl(jsonl(&history).as_bytes()).unwrap();
        assert!(back == history, "failed: seed {seed}\n{}", jsonl(&history));
        let back = History::<Op<M>, _>::read_jepsen_log(jepsen(&history).as_bytes()).unwrap();
        assert!(
            speakable::<M>(&back) == speakable::<M>(&history),
            "failed: seed {seed}\n{}",
            jepsen(&history)
        );
        assert_eq!(jepsen(&back), jepsen(&history), "failed: seed {seed}");
    }
}

#[test]
fn histories_of_every_model_survive() {
    survives::<Register>();
    survives::<Map>();
    survives::<Sum>();
    survives::<Lock>();
    survives::<Line>();
    survives::<Bits>();
}

proptest! {
    #[test]
    fn any_key_and_number_survives(
        keys in prop::collection::vec(any::<String>(), 1..5),
        values in prop::collection::vec(any::<i64>(), 5),
        times in prop::collection::vec(any::<u64>(), 5),
        process in any::<u64>(),
    ) {
        let mut times = times;
        times.sort_unstable();
        let recorder = Recorder::new();
        for ((key, value), time) in keys.iter().zip(&values).zip(&times) {
            let at = SimTime::from_nanos(*time);
            let id = recorder.invoke(at, process, KvOp::cas(key.as_str(), *value, -1));
            recorder.ok(id, at, KvRet::Swapped(*value > 0));
        }
        let history = recorder.history();
        let back = History::read_jsonl(jsonl(&history).as_bytes());
        prop_assert_eq!(back.unwrap(), history);
    }

    #[test]
    fn no_line_panics(text in "[ -~\t\n\\[\\]{}\":,]{0,200}", bytes in any::<Vec<u8>>()) {
        for bytes in [text.as_bytes(), &bytes] {
            let _ = History::<KvOp, _>::read_jsonl(bytes);
            let _ = History::<KvOp, _>::read_jepsen_log(bytes);
        }
    }
}

#[test]
fn limits_of_integers_survive() {
    let recorder = Recorder::new();
    let fences = [0, 1 << 63, u64::MAX];
    for (process, fence) in (0..).zip(fences) {
        let at = SimTime::FAR_FUTURE;
        let id = recorder.invoke(at, process, LockOp::Acquire { client: process });
        recorder.ok(id, at, LockRet::Acquired(Some(fence)));
    }
    let history = recorder.history();
    assert_eq!(History::read_jsonl(jsonl(&history).as_bytes()).unwrap(), history);
    let recorder = Recorder::new();
    let id = recorder.invoke(SimTime::ZERO, u64::MAX, SetOp::Read);
    recorder.ok(id, SimTime::ZERO, SetRet::Elements([i64::MIN, 0, i64::MAX].into()));
    let history = recorder.history();
    assert_eq!(History::read_jsonl(jsonl(&history).as_bytes()).unwrap(), history);
    assert_eq!(History::read_jepsen_log(jepsen(&history).as_bytes()).unwrap(), history);
}

/// The error of these lines, told by a JSON history of operations `O`.
fn wrong<O: Form<Ret: Debug> + Debug>(lines: &[&str]) -> String {
    let error = History::<O, O::Ret>::read_jsonl(lines.join("\n").as_bytes()).unwrap_err();
    assert!(error.is_corruption() && !error.is_retryable());
    error.to_string()
}

const WRITE: &str = r#"{"process":0,"type":"invoke","f":"write","value":3,"time":5}"#;

#[test]
fn bad_lines_are_named_with_what_was_expected() {
    let register = |line: &str| wrong::<RegisterOp>(&[WRITE, "", line]);
    for (line, expected) in [
        ("{", "line 3: expected the name of a member, in quotes, found the end of the line"),
        (r#"{"process":1}"#, r#"line 3: expected a member "f", found none"#),
        (r#"{"process":-1}"#, r#"line 3: expected an integer of 64 bits as "process", found -1"#),
        (r#"{"process":1.0}"#, r#"line 3: expected an integer of 64 bits as "process", found 1.0"#),
        (
            r#"{"type":"okay"}"#,
            r#"line 3: expected "invoke", "ok", "fail" or "info" as "type", found "okay""#,
        ),
        (
            r#"{"process":1,"type":"invoke","f":"add","value":1}"#,
            "line 3: expected read, write or cas, found add with value 1",
        ),
        (
            r#"{"process":1,"type":"invoke","f":"write","value":9223372036854775808}"#,
            "line 3: expected an integer of 64 bits, found write with value 9223372036854775808",
        ),
        (
            r#"{"process":1,"type":"invoke","f":"cas","value":[1,2,3]}"#,
            "line 3: expected a list of two integers of 64 bits, found cas with value [1,2,3]",
        ),
        (
            r#"{"process":1,"type":"ok","f":"read","value":1}"#,
            "line 3: expected an invoke first, found process 1 has no operation to end",
        ),
        (
            r#"{"process":0,"type":"invoke","f":"read"}"#,
            "line 3: expected the outcome of its last operation first, found process 0 invokes \
             while its operation #0 has not ended",
        ),
        (
            r#"{"process":0,"type":"ok","f":"read","value":3}"#,
            "line 3: expected the outcome of write with value 3, found read with value 3",
        ),
        (
            r#"{"process":0,"type":"ok","f":"write","value":4}"#,
            "line 3: expected the value that was asked for, 3, or null, found write with value 4",
        ),
        (
            r#"{"process":0,"type":"ok","f":"write","time":4}"#,
            "line 3: expected events in the order of time, found an event at 0.000000004s \
             follows one at 0.000000005s: time goes back",
        ),
    ] {
        assert_eq!(register(line), expected, "{line}");
    }
}

#[test]
fn answers_have_to_be_answers() {
    let asked = |line: &str| line.replace("ok", "invoke").replace(r#","value":[2,1]"#, "");
    let sets = r#"{"process":0,"type":"ok","f":"read","value":[2,1]}"#;
    assert_eq!(
        wrong::<SetOp>(&[&asked(sets), sets]),
        "line 2: expected a list of integers, each greater than the one before, found read with \
         value [2,1]"
    );
    let cas = r#"{"process":0,"type":"invoke","f":"cas","value":[3,0]}"#;
    let unanswered = cas.replace("invoke", "ok");
    assert_eq!(
        wrong::<RegisterOp>(&[cas, &unanswered]),
        "line 2: expected a result, found cas with value [3,0]"
    );
    let unset = r#"{"process":0,"type":"invoke","f":"read"}"#;
    let null = unset.replace("invoke", "ok");
    assert!(wrong::<CounterOp>(&[unset, &null]).contains("expected an integer"));
    assert!(wrong::<KvOp>(&[unset]).starts_with("line 1: expected a key"));
    let text = r#"{"process":0,"type":"invoke","f":"enqueue","value":"3"}"#;
    assert!(wrong::<QueueOp>(&[text]).contains(r#"found enqueue with value "3""#));
}

#[test]
fn other_members_and_missing_times_are_no_fault() {
    let lines = r#"
        {"index":0,"process":3,"type":"invoke","f":"add","value":2,"error":["x",1.5e3,null]}
        {"time":9, "process":3, "type":"info", "f":"add", "value":"timed out"}
        {"process":3,"type":"invoke","f":"read"}
        {"process":3,"type":"ok","f":"read","value":2,"time":10}"#;
    let history = History::<CounterOp, _>::read_jsonl(lines.as_bytes()).unwrap();
    let found: Vec<_> = history.operations().map(|(_, operation)| operation.clone()).collect();
    let nanos = SimTime::from_nanos;
    assert_eq!((found[0].invoked, found[1].invoked), (nanos(0), nanos(9)));
    assert_eq!(found[0].outcome, Some((nanos(9), Outcome::Unknown)));
    assert_eq!(found[1].outcome, Some((nanos(10), Outcome::Ok(CounterRet::Value(2)))));
}

#[test]
fn lines_and_operations_have_limits() {
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20));
    let error = History::<SetOp, _>::read_jsonl(long.as_bytes()).unwrap_err();
    assert!(matches!(error, HistoryError::TooLong { line: 1, .. }), "{error}");
    let error = History::<SetOp, _>::read_jepsen_log(long.as_bytes()).unwrap_err();
    assert!(matches!(error, HistoryError::TooLong { line: 1, .. }), "{error}");
    let max = History::<SetOp, SetRet>::OPERATIONS_MAX;
    let lines: String = (0..=max).map(|n| format!("{n}\t:invoke\t:add\t1\n")).collect();
    let error = History::<SetOp, _>::read_jepsen_log(lines.as_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 1048577: expected at most 1048576 operations, found one more"
    );
    let error = History::<SetOp, _>::read_jsonl(&b"\xff\n"[..]).unwrap_err();
    assert!(error.to_string().starts_with("line 1: expected UTF-8, found invalid utf-8"));
}

#[test]
fn a_file_that_cannot_be_read_says_so() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("gone"))
        }
    }
    let input = std::io::BufReader::new(Broken);
    let error = History::<SetOp, _>::read_jsonl(input).unwrap_err();
    assert!(error.is_retryable() && error.line() == 1);
    assert_eq!(error.to_string(), "line 1: expected to read it, found gone");
}

#[test]
fn jepsen_logs_are_read_with_their_noise() {
    let log = "INFO  jepsen.core - Running test\n\
        INFO  jepsen.util - 0\t:invoke\t:read\tnil\n\
        INFO  jepsen.util - :nemesis\t:info\t:start\tnil\n\
        INFO  jepsen.util - 0\t:ok\t:read\tnil\r\n\
        1\t:invoke\t:cas\t[0, 3]\n\
        a line with a\ttab\n\
        1\t:fail\t:cas\t[0 3]\tunneeded\n\
        2\t:invoke\t:write\t4\n\
        2\t:info\t:write\t:timed-out\n\
        3\t:invoke\t:read\tnil\n\
        3\t:fail\t:read\t:unavailable\n";
    let history = History::<RegisterOp, _>::read_jepsen_log(log.as_bytes()).unwrap();
    let outcomes: Vec<_> =
        history.operations().map(|(_, o)| o.outcome.clone().unwrap().1).collect();
    let refused = Outcome::Ok(RegisterRet::Swapped(false));
    let unset = Outcome::Ok(RegisterRet::Value(None));
    assert_eq!(outcomes, [unset, refused, Outcome::Unknown, Outcome::Fail]);
    for (line, expected) in [
        ("1\t:invoke\t:pop\tnil", "line 1: expected read, write or cas, found pop with value null"),
        ("99999999999999999999\t:ok\t:read\t1", "line 1: expected a process of 64 bits, found"),
        ("1\t:ok\t:read\t1", "line 1: expected an invoke first"),
        ("1\t:invoke\t:read\tnil\ta\rb", "line 1: expected a key without the end of a line"),
    ] {
        let error = History::<RegisterOp, _>::read_jepsen_log(line.as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

#[test]
fn a_key_stands_in_the_fifth_column_and_has_to_fit() {
    let recorder = Recorder::new();
    let id = recorder.invoke(SimTime::ZERO, 1, KvOp::write("a key", 3));
    recorder.ok(id, SimTime::ZERO, KvRet::Done);
    assert_eq!(
        jepsen(&recorder.history()),
        "1\t:invoke\t:write\t3\ta key\n1\t:ok\t:write\t3\ta key\n"
    );
    recorder.invoke(SimTime::ZERO, 1, KvOp::read("a\tkey"));
    let error = recorder.history().write_jepsen_log(Vec::new()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}
