//! Hazards of campaigns. H19 is in `shrink::synthetic`.

use crate::toys::{self, CHANNEL, Toy, ms, node};
use quorate_sim::*;
use std::collections::BTreeSet;

/// Sends a datagram to its neighbour ten times a second, and marks what it hears.
struct Beat(NodeId, Monotonic);

impl Node for Beat {
    fn on_datagram(&mut self, ctx: &mut Ctx<'_>, _: Peer, _: ChannelId, _: Bytes) {
        ctx.reached("heard");
    }

    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        self.1 = ctx.now().saturating_add(ms(100));
        let _ = ctx.send_datagram(self.0, CHANNEL, "beat");
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        Some(self.1)
    }
}

fn pair(sim: &mut Sim) {
    for (id, to) in [(1, 2), (2, 1)] {
        sim.add(node(id), move |ctx| Beat(node(to), ctx.now()));
    }
}

/// A class of which nothing can come, in this world, fails the campaign; so does every single
/// class that has nothing to work on, and none that has.
#[test]
fn h03_faults_that_never_have_an_effect_are_said() {
    let alone = |class: Class| {
        toys::campaign("one-class", true, &[class], |_| Toy::new(pair)).seeds(20).run()
    };
    for class in [Class::Break, Class::DiskSyncError, Class::DiskStall, Class::DiskTorn] {
        let failure = alone(class).unwrap_err();
        let expected = FailureKind::Vacuous { classes: vec![class], marks: Vec::new() };
        assert_eq!(failure.kind, expected);
        assert!(failure.to_string().contains("never had an effect"), "{failure}");
    }
    for class in [Class::Loss, Class::Duplicate, Class::Partition, Class::Pause, Class::Delay] {
        let report = alone(class).unwrap();
        assert!(report.coverage.class(class).effective > 0, "{report}");
    }
}

/// Nobody hears anybody until the heal, and nobody is blamed for it.
#[test]
fn h14_progress_is_not_asked_for_during_chaos() {
    let cut = |sim: &mut Sim| {
        pair(sim);
        sim.apply(Fault::Partition { shape: Shape::Isolate(node(1)), plane: Plane::Both });
        sim.add_checker(Eventually::new("heard", ms(1_000)));
    };
    let campaign = toys::campaign("cut-off", true, &[], move |_| Toy::new(cut));
    let report = campaign.chaos(ms(60_000)).heal(ms(5_000)).seeds(1).run().unwrap();
    assert!(report.coverage.class(Class::Partition).effective > 1_000, "{report}");
    // The heal was waited for, and hardly more.
    assert!(report.virtual_time >= ms(60_000) && report.virtual_time < ms(62_000));
}

/// Says nothing and fails, so that its plan comes out as it was drawn.
struct Doomed(u64);

impl Workload for Doomed {
    fn setup(&mut self, sim: &mut Sim) {
        (1..=self.0).for_each(|id| pair_member(sim, id));
    }

    fn finish(&mut self, _: &mut Sim) -> Result<(), String> {
        Err("doomed".into())
    }
}

fn pair_member(sim: &mut Sim, id: u64) {
    sim.add(node(id), move |ctx| Beat(node(if id == 1 { 2 } else { 1 }), ctx.now()));
}

/// All partitions that 60 seeds draw.
fn shapes(members: u64) -> Vec<Shape> {
    let plan = |seed| {
        let campaign = Campaign::new("shapes", move |_| Doomed(members));
        let swarm = Swarm::quiet().only(&[Class::Partition]);
        campaign.swarm(swarm).shrink(false).seed(seed).run().unwrap_err().plan
    };
    let steps = (0..60).flat_map(|seed| plan(seed).steps);
    let shape = |(_, fault)| match fault {
        Fault::Partition { shape, .. } => Some(shape),
        _ => None,
    };
    steps.filter_map(shape).collect()
}

/// Partitions with a majority on either side of a bridge, on one side, and on none at all.
#[test]
fn h24_some_partitions_leave_no_majority() {
    for members in [3, 4, 5] {
        let (mut with, mut without, mut bridges, mut isolated) = (0, 0, 0, BTreeSet::new());
        for shape in shapes(members) {
            match shape {
                Shape::Groups(groups) => {
                    assert!(groups.iter().all(|group| !group.is_empty()));
                    let all: usize = groups.iter().map(Vec::len).sum();
                    assert_eq!(all as u64, members, "everybody is somewhere");
                    let largest = groups.iter().map(Vec::len).max().unwrap() as u64;
                    let majority = largest * 2 > members;
                    (with, without) = (with + u64::from(majority), without + u64::from(!majority));
                }
                Shape::Bridge(_) => bridges += 1,
                Shape::Isolate(node) => drop(isolated.insert(node)),
                _ => {}
            }
        }
        println!("{members} members: {with} with a majority, {without} without, {bridges} bridges");
        assert!(with >= 10 && without >= 5 && bridges >= 10);
        assert_eq!(isolated.len() as u64, members, "nobody is spared");
    }
}
