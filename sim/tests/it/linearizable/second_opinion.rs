//! stateright's tester as a second opinion on all six models.

use quorate_sim::{Outcome, Rng, STEPS_MAX, linearizable};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

use super::agreement::seeds;
use super::generator::Play;
use super::models::{Bits, Line, Lock, Map, Model, Op, Register, Ret, Sum};

/// A service as stateright knows it. An answer of `None` says that it cannot be asked now, which
/// nobody ever heard.
#[derive(Clone, Debug, Default)]
struct Service<M>(M);

impl<M: Model> SequentialSpec for Service<M> {
    type Op = Op<M>;
    type Ret = Option<Ret<M>>;

    fn invoke(&mut self, op: &Op<M>) -> Option<Ret<M>> {
        let before = self.0.clone();
        if !self.0.accepts(op, None) {
            self.0 = before; // it cannot happen, so it did not
        }
        None
    }

    fn is_valid_step(&mut self, op: &Op<M>, ret: &Option<Ret<M>>) -> bool {
        ret.as_ref().is_some_and(|ret| self.0.accepts(op, Some(ret)))
    }
}

fn opinion<M: Model>(play: &Play<M>) -> bool {
    let mut tester = LinearizabilityTester::new(Service(M::default()));
    for event in 0..play.events {
        for (thread, asked) in play.asked.iter().enumerate() {
            if matches!(asked.ended, Some((_, Outcome::Fail))) {
                continue;
            }
            // A thread for each operation: the tester knows which had ended when another began,
            // and those that never end may be left out at the end of a thread.
            if asked.invoked == event {
                tester.on_invoke(thread, asked.op.clone()).unwrap();
            }
            match &asked.ended {
                Some((at, Outcome::Ok(ret))) if *at == event => {
                    tester.on_return(thread, Some(ret.clone())).unwrap();
                }
                _ => {}
            }
        }
    }
    tester.is_consistent()
}

fn agrees<M: Model>() {
    let name = std::any::type_name::<M::Spec>();
    let mut linear = 0;
    for seed in seeds(2_000) {
        let play = Play::<M>::random(&mut Rng::stream(seed, "second", 1, 0), 8);
        let verdict = linearizable(&M::Spec::default(), &play.history(), STEPS_MAX);
        assert_eq!(
            verdict.is_linearizable(),
            opinion(&play),
            "{name}\n{verdict}\nfailed: seed {seed}\nreplay: QUORATE_SEED={seed} cargo test \
             -p quorate-sim --test it second_opinion"
        );
        linear += u64::from(verdict.is_linearizable());
    }
    println!("{name}: {linear} of {} are linearizable", seeds(2_000).count());
}

#[test]
fn stateright_agrees() {
    agrees::<Register>();
    agrees::<Map>();
    agrees::<Sum>();
    agrees::<Lock>();
    agrees::<Line>();
    agrees::<Bits>();
}
