//! The checker and the oracle agree on random histories of each of the six models.

use quorate_sim::{History, OpId, Rng, STEPS_MAX, Verdict, linearizable};

use super::generator::Play;
use super::models::{Bits, Line, Lock, Map, Model, Op, Register, Ret, Sum};
use super::oracle;

/// How many histories, and how many of them have an order.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) all: u64,
    pub(crate) linearizable: u64,
}

/// Histories for each model, and the first of their seeds.
pub(crate) fn seeds(standard: u64) -> std::ops::Range<u64> {
    let number = |name: &str| {
        let text = std::env::var(name).ok();
        text.map(|text| text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is no number")))
    };
    match number("QUORATE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("QUORATE_SEEDS").unwrap_or(standard),
    }
}

fn places(order: &[OpId]) -> Vec<usize> {
    order.iter().map(|id| usize::try_from(id.as_u32()).unwrap()).collect()
}

/// What is wrong with a verdict, if anything is.
fn wrong<M: Model>(play: &Play<M>, verdict: &Verdict) -> Option<&'static str> {
    let has_order = oracle::has_order(play);
    match verdict {
        Verdict::Undecided { .. } => Some("undecided"),
        Verdict::Linearizable { .. } if !has_order => Some("there is no order"),
        Verdict::Illegal(_) if has_order => Some("there is an order"),
        Verdict::Linearizable { order } => {
            let witness = oracle::is_witness(play, &places(order));
            (!witness).then_some("its order does not hold")
        }
        Verdict::Illegal(why) => {
            let prefix = play.prefix(why.events());
            let order = places(why.order());
            if oracle::has_order(&prefix) {
                Some("its prefix has an order")
            } else if !oracle::has_order(&play.prefix(why.events() - 1)) || !why.is_shortest() {
                Some("its prefix is not the shortest")
            } else if oracle::replays(&prefix, &order).is_none() {
                Some("its longest order does not hold")
            } else if why.blocked().is_empty() {
                Some("nothing is blocked")
            } else {
                let of = places(why.blocked());
                let blocked = of.into_iter().all(|at| oracle::is_blocked(&prefix, &order, at));
                (!blocked).then_some("what is said to be blocked is not")
            }
        }
    }
}

/// Compares a checker with the oracle on these seeds; the first disagreement ends it.
pub(crate) fn compare<M: Model>(
    seeds: std::ops::Range<u64>,
    check: impl Fn(&History<Op<M>, Ret<M>>) -> Verdict,
) -> Result<Tally, String> {
    let mut tally = Tally::default();
    for seed in seeds {
        let name = std::any::type_name::<M::Spec>();
        let play = Play::<M>::random(&mut Rng::stream(seed, name, 0, 0), 7);
        let history = play.history();
        let verdict = check(&history);
        if let Some(wrong) = wrong(&play, &verdict) {
            let mut lines = Vec::new();
            history.write_jsonl(&mut lines).unwrap();
            return Err(format!(
                "{name}: {wrong}\n{}{verdict}\nfailed: seed {seed}\nreplay: QUORATE_SEED={seed} \
                 cargo test -p quorate-sim --test it linearizable::agreement",
                String::from_utf8_lossy(&lines)
            ));
        }
        tally.all += 1;
        tally.linearizable += u64::from(verdict.is_linearizable());
    }
    Ok(tally)
}

fn agrees<M: Model>() {
    let spec = M::Spec::default();
    let found = compare::<M>(seeds(20_000), |history| linearizable(&spec, history, STEPS_MAX));
    let Tally { all, linearizable } = found.unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("{}: {linearizable} of {all}", std::any::type_name::<M::Spec>());
    let fair = all < 1_000 || (linearizable * 5 >= all && (all - linearizable) * 5 >= all);
    assert!(fair, "each verdict should have a fifth at least: {linearizable} of {all}");
}

#[test]
fn on_cas_registers() {
    agrees::<Register>();
}

#[test]
fn on_maps() {
    agrees::<Map>();
}

#[test]
fn on_counters() {
    agrees::<Sum>();
}

#[test]
fn on_fenced_locks() {
    agrees::<Lock>();
}

#[test]
fn on_queues() {
    agrees::<Line>();
}

#[test]
fn on_sets() {
    agrees::<Bits>();
}
