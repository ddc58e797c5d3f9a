//! Long histories: no stack overflows, and the search stays close to one step an operation.

use quorate_sim::specs::{CasRegister, Counter, CounterOp, CounterRet, Kv, KvOp, KvRet};
use quorate_sim::specs::{RegisterOp, RegisterRet};
use quorate_sim::{
    History, Recorder, Rng, STEPS_MAX, SimTime, Verdict, linearizable, linearizable_steps,
};

/// Clients that write and read registers of their own accord; one in `unknown_ppm` hears nothing.
fn clients(clients: u64, operations: u32, keys: u64, unknown_ppm: u32) -> History<KvOp, KvRet> {
    let mut rng = Rng::stream(1, "long", clients, keys);
    let recorder = Recorder::new();
    let mut values = vec![None; usize::try_from(keys).unwrap()];
    let mut busy = vec![None; usize::try_from(clients).unwrap()];
    let mut left = u64::from(operations) * clients;
    let mut now = 0;
    while left > 0 || busy.iter().any(Option::is_some) {
        now += 1;
        let at = SimTime::from_nanos(now);
        let client = rng.index(busy.len());
        let key = rng.index(values.len());
        match busy[client].take() {
            None if left > 0 => {
                left -= 1;
                let name = format!("k{key}");
                let value = rng.below(100).cast_signed();
                let write = rng.flip();
                let op = if write { KvOp::write(name, value) } else { KvOp::read(name) };
                let id = recorder.invoke(at, u64::try_from(client).unwrap(), op);
                busy[client] = Some((id, key, write.then_some(value), None));
            }
            None => {}
            Some((id, key, write, None)) => {
                values[key] = write.or(values[key]);
                let heard = write.map_or(KvRet::Value(values[key]), |_| KvRet::Done);
                busy[client] = Some((id, key, write, Some(heard)));
            }
            Some((id, _, _, Some(_))) if rng.chance(unknown_ppm) => recorder.unknown(id, at),
            Some((id, _, _, Some(heard))) => recorder.ok(id, at, heard),
        }
    }
    recorder.history()
}

#[test]
fn five_clients_on_twenty_keys() {
    let history = clients(5, 2_000, 20, 0);
    assert_eq!(history.len(), 10_000);
    let (verdict, steps) = linearizable_steps(&Kv, &history, STEPS_MAX);
    assert!(verdict.is_linearizable() && steps < 30_000, "{verdict} {steps}");
}

#[test]
fn one_key_and_a_hundred_thousand_operations() {
    let history = clients(5, 20_000, 1, 0);
    let (verdict, steps) = linearizable_steps(&Kv, &history, STEPS_MAX);
    assert!(verdict.is_linearizable() && steps < 1_000_000, "{verdict} {steps}");
}

#[test]
fn many_unknown_outcomes_on_one_key() {
    let history = clients(5, 400, 1, 50_000);
    let (verdict, steps) = linearizable_steps(&Kv, &history, STEPS_MAX);
    assert!(verdict.is_linearizable() && steps < 1_000_000, "{verdict} {steps}");
}

#[test]
fn a_wrong_read_at_the_end_is_found_and_the_prefix_is_all_of_it() {
    let recorder = Recorder::new();
    let count = 20_000;
    for n in 0..count {
        let id = recorder.invoke(SimTime::from_nanos(n), n % 3, RegisterOp::Write(1));
        recorder.ok(id, SimTime::from_nanos(n), RegisterRet::Written);
    }
    let last = recorder.invoke(SimTime::from_nanos(count), 9, RegisterOp::Read);
    recorder.ok(last, SimTime::from_nanos(count), RegisterRet::Value(Some(2)));
    let verdict = linearizable(&CasRegister, &recorder.history(), STEPS_MAX);
    let Verdict::Illegal(why) = verdict else { panic!("{verdict}") };
    assert_eq!(why.events(), 40_002);
    assert_eq!((why.order().len(), why.blocked()), (20_000, &[last][..]));
    assert!(why.to_string().lines().count() < 20);
}

/// Equal operations whose outcome nobody knows are not tried in every combination.
#[test]
fn forty_equal_unknown_additions_are_few_cases() {
    let recorder = Recorder::new();
    for process in 0..40 {
        let id = recorder.invoke(SimTime::ZERO, process, CounterOp::Add(1));
        recorder.unknown(id, SimTime::ZERO);
    }
    let read = recorder.invoke(SimTime::ZERO, 40, CounterOp::Read);
    recorder.ok(read, SimTime::ZERO, CounterRet::Value(41));
    let (verdict, steps) = linearizable_steps(&Counter, &recorder.history(), STEPS_MAX);
    assert!(verdict.is_illegal() && steps < 1_000, "{verdict} {steps}");
}

/// Of writes whose outcome nobody knows only one at a time can matter to a register.
#[test]
fn sixty_unknown_writes_are_few_cases() {
    let recorder = Recorder::new();
    for process in 0..60_u32 {
        let op = RegisterOp::Write(process.into());
        let id = recorder.invoke(SimTime::ZERO, process.into(), op);
        recorder.unknown(id, SimTime::ZERO);
    }
    for value in [59, 7, 30, 99] {
        let read = recorder.invoke(SimTime::ZERO, 60, RegisterOp::Read);
        recorder.ok(read, SimTime::ZERO, RegisterRet::Value(Some(value)));
    }
    let (verdict, steps) = linearizable_steps(&CasRegister, &recorder.history(), STEPS_MAX);
    assert!(verdict.is_illegal() && steps < 50_000, "{verdict} {steps}");
}

/// Two unknown operations can each explain the first read, and only one of them the last: the
/// search must come back to where it used the other one, though it was there with both before.
#[test]
fn an_unknown_write_is_kept_for_the_read_that_needs_it() {
    let recorder = Recorder::new();
    let at = SimTime::ZERO;
    let done = |op: RegisterOp, ret: RegisterRet| {
        let id = recorder.invoke(at, 0, op);
        recorder.ok(id, at, ret);
    };
    done(RegisterOp::Write(0), RegisterRet::Written);
    recorder.invoke(at, 1, RegisterOp::Write(1));
    recorder.invoke(at, 2, RegisterOp::Cas { expected: 0, new: 1 });
    done(RegisterOp::Read, RegisterRet::Value(Some(1)));
    done(RegisterOp::Write(0), RegisterRet::Written);
    done(RegisterOp::Write(3), RegisterRet::Written);
    done(RegisterOp::Read, RegisterRet::Value(Some(1)));
    let verdict = linearizable(&CasRegister, &recorder.history(), STEPS_MAX);
    assert!(verdict.is_linearizable(), "{verdict}");
}
