//! Rules, targets and rebuilds over random clusters.

use crate::contract::rows_are_right;
use crate::oracle::{self, Caps, Cluster};
use crate::random::{self, Random, seeds};
use quorate_hashring::{
    Assign, AssignError, BalanceReport, BuildError, Level, Relaxed, Ring, RingConfig, Rules,
    Topology,
};

const WEIGHTS: &[u16] = &[0, 1, 1, 2, 3, 7, 50];

/// Up to four levels.
fn shape(random: &mut Random) -> [usize; 4] {
    [0, 0, 0, 0].map(|_| if random.once_in(2) { 0 } else { 1 + random.below(4) })
}

/// Whether enough replicas fit, by trying all sets of nodes.
fn most_replicas(topology: &Topology, caps: Caps) -> u32 {
    let cluster = Cluster::new(topology);
    let active = (0..cluster.weights.len()).filter(|&n| cluster.weights[n] > 0);
    let active: u32 = active.map(|n| 1 << n).sum();
    let fits = |set: u32| {
        let inside: Vec<usize> = (0..cluster.weights.len()).filter(|n| set >> n & 1 == 1).collect();
        caps.iter().enumerate().all(|(level, cap)| {
            let domain = |node: usize| cluster.domains[node][level];
            cap.is_none_or(|cap| {
                inside.iter().all(|&node| {
                    let held = inside.iter().filter(|&&other| domain(other) == domain(node));
                    held.count() <= cap as usize
                })
            })
        })
    };
    let mut best = 0;
    let mut set = active;
    while set != 0 {
        if set.count_ones() > best && fits(set) {
            best = set.count_ones();
        }
        set = (set - 1) & active;
    }
    best
}

#[test]
fn rules_hold_on_random_topologies() {
    let (mut solved, mut refused, mut relaxed, mut short) = (0, 0, 0, 0);
    for seed in seeds(20_000) {
        let random = &mut Random::new(seed);
        let shape = shape(random);
        let count = 1 + random.below(10);
        let topology = random::topology(random, count, shape, WEIGHTS);
        let replicas = 1 + random.below(5);
        let mut rules = random::rules(random, replicas, shape, true);
        if random.once_in(4) {
            rules = rules.allow_short();
        }
        let hard = Level::ALL.map(|level| {
            rules.cap(level).filter(|(_, soft)| !soft).map(|(most, _)| u32::from(most))
        });
        let fits = most_replicas(&topology, hard);
        let assigned = Assign::new(&topology, &rules).partition_bits(3).solve();
        let ring = Ring::build(&topology, &rules, &RingConfig::default().vnodes(4));
        let enough = fits >= u32::try_from(replicas).unwrap() || rules.is_short_allowed();
        assert_eq!(assigned.is_ok(), enough, "seed {seed}: {assigned:?}");
        assert_eq!(ring.is_ok(), enough, "seed {seed}: {:?}", ring.err());
        let (Ok(assigned), Ok(ring)) = (assigned, ring) else {
            refused += 1;
            continue;
        };
        solved += 1;
        let given = assigned.report().relaxed();
        assert_eq!(BalanceReport::of(&ring).relaxed(), given);
        check_relaxed(&topology, &rules, given, seed);
        relaxed += u32::from(given.iter().any(|r| matches!(r, Relaxed::AtMost { .. })));
        short += u32::from(given.iter().any(|r| matches!(r, Relaxed::Replicas { .. })));
        // What was given is what rows must keep.
        let rules = as_given(&rules, given);
        let hashes: Vec<u64> = (0..8).map(|row| row << 61).collect();
        kept(assigned.table(), &rules, &hashes, &topology);
        rows_are_right(&ring, hashes.iter().copied());
        let tokens = ring.tokens().to_vec();
        kept(&ring, &rules, &tokens, &topology);
    }
    println!("solved {solved}, refused {refused}, relaxed {relaxed}, short {short}");
    assert!(refused > 500 && relaxed > 500 && short > 200 || solved < 5_000);
}

/// The rules after what had to be relaxed, all hard.
fn as_given(rules: &Rules, given: &[Relaxed]) -> Rules {
    let mut replicas = rules.replicas();
    for relaxed in given {
        if let Relaxed::Replicas { given, .. } = relaxed {
            replicas = *given;
        }
    }
    let mut all = Rules::new(replicas);
    for level in Level::ALL {
        let Some((mut most, _)) = rules.cap(level) else { continue };
        for relaxed in given {
            match relaxed {
                Relaxed::AtMost { level: of, given, .. } if *of == level => most = *given,
                _ => {}
            }
        }
        all = all.at_most(level, most);
    }
    all
}

/// Every row has as many replicas as were given, and keeps the rules that were given.
fn kept<P: quorate_hashring::Replicate>(
    placement: &P,
    rules: &Rules,
    hashes: &[u64],
    topology: &Topology,
) {
    for &hash in hashes {
        let row = placement.replicas_at(hash);
        assert_eq!(row.len(), usize::from(rules.replicas()));
        for level in Level::ALL {
            let Some((most, _)) = rules.cap(level) else { continue };
            for at in row {
                let domain = topology.domain(*at, level);
                let held = row.iter().filter(|at| topology.domain(**at, level) == domain).count();
                assert!(held <= usize::from(most), "{held} in a {level}, {most} were given");
            }
        }
    }
}

/// A rule is relaxed by the least that helps: with one less of any, fewer replicas fit.
fn check_relaxed(topology: &Topology, rules: &Rules, given: &[Relaxed], seed: u64) {
    let given = as_given(rules, given);
    let caps = |lowered: Option<Level>| {
        Level::ALL.map(|level| {
            given.cap(level).map(|(most, _)| u32::from(most) - u32::from(lowered == Some(level)))
        })
    };
    for level in Level::ALL {
        let Some((asked, true)) = rules.cap(level) else { continue };
        if given.cap(level).is_some_and(|(most, _)| most > asked) {
            let fits = most_replicas(topology, caps(Some(level)));
            assert!(fits < u32::from(given.replicas()), "seed {seed}: {level} too far");
        }
    }
}

#[test]
fn fair_targets_are_those_of_the_definition() {
    let mut compared = 0;
    for seed in seeds(6_500) {
        let random = &mut Random::new(seed);
        let shape = shape(random);
        let count = 1 + random.below(9);
        let topology = random::topology(random, count, shape, WEIGHTS);
        let replicas = 1 + random.below(count.min(4));
        let rules = random::rules(random, replicas, shape, false);
        let bits = u8::try_from(random.below(8)).unwrap();
        let solved = match Assign::new(&topology, &rules).partition_bits(bits).solve() {
            Ok(solved) => solved,
            Err(AssignError::Build(
                BuildError::TooFewNodes { .. } | BuildError::TooFewDomains { .. },
            )) => continue,
            Err(error) => panic!("seed {seed}: {error}"),
        };
        let caps = Level::ALL.map(|level| rules.cap(level).map(|(most, _)| u32::from(most)));
        let cluster = Cluster::new(&topology);
        let replicas = u32::try_from(replicas).unwrap();
        let expected = oracle::fair_targets(&cluster, caps, replicas, 1 << bits);
        for (node, expected) in solved.report().nodes().iter().zip(expected) {
            let (num, den) = node.target();
            assert_eq!(num * expected.1, expected.0 * u128::from(den), "seed {seed}: {node:?}");
            let load = node.load();
            assert!(load >= expected.0 / expected.1, "seed {seed}");
            assert!(load <= expected.0.div_ceil(expected.1), "seed {seed}");
        }
        compared += 1;
    }
    println!("compared {compared}");
    assert!(compared >= 5_000 || std::env::var("QUORATE_SEEDS").is_ok() || seeds(2).count() == 1);
}

#[test]
fn rebuilding_is_building() {
    for seed in seeds(2_000) {
        let random = &mut Random::new(seed);
        let shape = shape(random);
        let count = 2 + random.below(8);
        let mut topology = random::topology(random, count, shape, WEIGHTS);
        let rules = Rules::new(u8::try_from(1 + random.below(2)).unwrap()).allow_short();
        let config = RingConfig::default().vnodes(12).seed(seed);
        let mut ring = Ring::build(&topology, &rules, &config).unwrap();
        for _ in 0..4 {
            let edits = 1 + random.below(3);
            topology = random::edited(random, &topology, edits, shape, WEIGHTS);
            ring = ring.rebuild(&topology).unwrap();
            assert_eq!(ring, Ring::build(&topology, &rules, &config).unwrap(), "seed {seed}");
        }
    }
}
