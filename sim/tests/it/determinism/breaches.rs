//! What the gate is for: nodes with entropy of their own differ from run to run. // H2

use quorate_sim::*;
use std::time::Duration;

fn hash<N: Node>(boot: fn(&mut Ctx<'_>) -> N) -> u64 {
    let mut sim = Sim::new(SimConfig::lan(1).build().unwrap());
    (1..=2).for_each(|n| sim.add(NodeId::new(n), boot));
    sim.run_for(Duration::from_secs(1)).unwrap();
    sim.trace_hash()
}

/// How many different hashes sixteen runs have.
fn distinct<N: Node>(boot: fn(&mut Ctx<'_>) -> N) -> usize {
    let mut hashes: Vec<u64> = (0..16).map(|_| hash(boot)).collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes.len()
}

struct Quiet;
impl Node for Quiet {}

#[expect(clippy::disallowed_types, reason = "the breach that the gate has to show")]
fn order_of_a_hash_map(ctx: &mut Ctx<'_>) -> Quiet {
    let map: std::collections::HashMap<u64, u64> = (0..64).map(|key| (key, key)).collect();
    let first = map.into_keys().next().unwrap();
    ctx.fact("first", 0, u128::from(first));
    Quiet
}

/// The same, where it shows only in a body.
#[expect(clippy::disallowed_types, reason = "the breach that the gate has to show")]
fn a_body_of_a_hash_map(ctx: &mut Ctx<'_>) -> Quiet {
    let map: std::collections::HashMap<u8, u8> = (0..64).map(|key| (key, key)).collect();
    let to = NodeId::new(3 - ctx.id().value());
    ctx.send_datagram(to, ChannelId::new(16), map.into_keys().collect::<Vec<u8>>()).unwrap();
    Quiet
}

#[expect(clippy::disallowed_methods, reason = "the breach that the gate has to show")]
fn a_real_clock(ctx: &mut Ctx<'_>) -> Quiet {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let since = std::time::Instant::now().elapsed() + now;
    ctx.fact("now", 0, since.as_nanos());
    Quiet
}

fn its_own_seed(ctx: &mut Ctx<'_>) -> Quiet {
    let seed = ctx.seed();
    ctx.fact("seed", 0, u128::from(seed));
    Quiet
}

#[test]
fn entropy_of_a_nodes_own_breaks_equality() {
    assert_eq!(distinct(its_own_seed), 1);
    assert!(distinct(order_of_a_hash_map) > 8);
    assert!(distinct(a_body_of_a_hash_map) > 8);
    assert!(distinct(a_real_clock) > 8);
}
