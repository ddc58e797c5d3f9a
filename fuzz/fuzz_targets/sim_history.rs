//! Any bytes as a history, in both formats and for each model: no panic, and what is accepted
//! says the same when written and read again. It is judged too, in a few steps: no panic.
//!
//! First byte: the model, and in bit 3 the format.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_sim::specs::{CasRegister, Counter, FencedLock, Kv, Queue, Set};
use quorate_sim::{Form, History, Outcome, Spec, linearizable};

fn check<S>(jepsen: bool, bytes: &[u8])
where
    S: Spec<Op: Form<Ret = S::Ret>, Ret: PartialEq> + Default,
{
    if jepsen {
        let Ok(history) = History::<S::Op, S::Ret>::read_jepsen_log(bytes) else { return };
        let mut out = Vec::new();
        history.write_jepsen_log(&mut out).expect("keys that were read fit");
        let back = History::<S::Op, S::Ret>::read_jepsen_log(&out[..]).expect("we wrote it");
        let silent = |o: &Outcome<S::Ret>| matches!(o, Outcome::Fail);
        let told = |history: &History<S::Op, S::Ret>| {
            let failed = history.operations().filter(|(_, operation)| {
                operation.op.answers() && operation.outcome.as_ref().is_some_and(|(_, o)| silent(o))
            });
            history.len() - failed.count()
        };
        assert_eq!(told(&back), told(&history), "an operation got lost");
        let _ = linearizable(&S::default(), &history, 2_000);
        return;
    }
    let Ok(history) = History::<S::Op, S::Ret>::read_jsonl(bytes) else { return };
    let mut out = Vec::new();
    history.write_jsonl(&mut out).expect("writing to memory");
    let back = History::<S::Op, S::Ret>::read_jsonl(&out[..]).expect("we wrote it");
    assert!(back == history, "{}", String::from_utf8_lossy(&out));
    let _ = linearizable(&S::default(), &history, 2_000).to_string();
}

fuzz_target!(|data: &[u8]| {
    let Some((head, bytes)) = data.split_first() else { return };
    let judge = match head & 7 {
        0 => check::<CasRegister>,
        1 => check::<Kv>,
        2 => check::<Counter>,
        3 => check::<FencedLock>,
        4 => check::<Queue>,
        5 => check::<Set>,
        _ => return,
    };
    judge(head & 8 != 0, bytes);
});
