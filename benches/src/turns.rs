//! Turns: contenders that take so long as they take, one after the other in every round.

use crate::busy::Busy;
use std::time::{Duration, Instant};

/// One way to do the work of a lane; a turn answers nanoseconds for one operation.
pub struct Contender<'a> {
    pub name: String,
    turn: Box<dyn FnMut() -> f64 + 'a>,
    samples: Vec<f64>,
}

impl<'a> Contender<'a> {
    /// `turn` does its work and says how many nanoseconds one operation took.
    pub fn new(name: &str, turn: impl FnMut() -> f64 + 'a) -> Self {
        Self { name: name.to_owned(), turn: Box::new(turn), samples: Vec::new() }
    }

    /// `op` again and again for `time`.
    pub fn looped(name: &str, time: Duration, mut op: impl FnMut() + 'a) -> Self {
        Self::new(name, move || {
            let begun = Instant::now();
            let mut count = 0_u64;
            while begun.elapsed() < time {
                op();
                count += 1;
            }
            begun.elapsed().as_secs_f64() * 1e9 / count as f64
        })
    }

    /// The same in time of the processor: for what never waits.
    pub fn busy(name: &str, time: Duration, mut op: impl FnMut() + 'a) -> Self {
        Self::new(name, move || {
            let (begun, busy, mut count) = (Instant::now(), Busy::begin(), 0_u64);
            while begun.elapsed() < time {
                op();
                count += 1;
            }
            busy.nanos() / count as f64
        })
    }
}

/// What the rounds gave.
pub struct Rounds {
    series: Vec<(String, Vec<f64>)>,
}

/// A first round that does not count, then so many that do. The order turns round every time, so
/// that nobody always follows the same neighbour.
pub fn take_turns(mut contenders: Vec<Contender<'_>>, rounds: usize) -> Rounds {
    for contender in &mut contenders {
        (contender.turn)();
    }
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for i in order {
            let sample = (contenders[i].turn)();
            contenders[i].samples.push(sample);
        }
    }
    Rounds { series: contenders.into_iter().map(|c| (c.name, c.samples)).collect() }
}

impl Rounds {
    fn samples(&self, name: &str) -> &[f64] {
        let found = self.series.iter().find(|(n, _)| n == name);
        &found.unwrap_or_else(|| panic!("no contender {name}")).1
    }

    /// Median nanoseconds of one operation.
    pub fn ns(&self, name: &str) -> f64 {
        median(self.samples(name).to_vec())
    }

    /// Median of the ratios within a round: a device that changes its pace changes both.
    pub fn ratio(&self, name: &str, to: &str) -> f64 {
        let pairs = self.samples(name).iter().zip(self.samples(to));
        median(pairs.map(|(a, b)| a / b).collect())
    }

    /// All but those named, in their order.
    pub fn others(&self, but: &[&str]) -> Vec<String> {
        let names = self.series.iter().map(|(name, _)| name.clone());
        names.filter(|name| !but.contains(&name.as_str())).collect()
    }
}

/// The middle one.
pub fn median(samples: Vec<f64>) -> f64 {
    quantile(samples, 0.5)
}

/// The sample below which this share of all lies.
pub fn quantile(mut samples: Vec<f64>, share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let last = samples.len().checked_sub(1).expect("samples");
    samples[(last as f64 * share).round() as usize]
}
