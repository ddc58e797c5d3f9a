//! Storage: three copies in three zones. A node joins while clients write and read by any view they
//! ever saw, and no read misses a write. Run: `cargo run -p quorate-hashring --example storage`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use quorate_hashring::*;
use std::{collections::BTreeMap, error::Error};

type Nodes = BTreeMap<NodeId, (Gate, BTreeMap<u64, u64>)>; // of each key the newest version

/// Sends one node a version, or 0 to ask only. Gives the newest it has then, unless it refuses.
fn send(nodes: &mut Nodes, to: NodeId, view: &View, key: u64, version: u64) -> Option<u64> {
    let (gate, store) = nodes.get_mut(&to)?;
    let route = view.route_at(key);
    let _pass = gate.admit(route.partition, route.tag).ok()?; // held while the store works
    // Nothing older replaces anything newer.
    Some(*store.entry(key).and_modify(|held| *held = version.max(*held)).or_insert(version))
}

/// A write, or with version 0 a read: sent until a quorum answered, to any node first.
fn ask(nodes: &mut Nodes, view: &View, key: u64, version: u64, first: usize) -> Option<u64> {
    let route = view.route_at(key);
    let (mut row, mut tally): (Vec<_>, _) = match version {
        0 => (route.read.to_vec(), route.read_tally(Quorum::Majority)),
        _ => (route.write.nodes().collect(), route.write.tally(Quorum::Majority)),
    };
    row.rotate_left(first);
    let mut newest = 0;
    row.into_iter().find_map(|at| {
        let node = view.table().topology().node(at)?.id();
        newest = newest.max(send(nodes, node, view, key, version)?); // who refuses does not count
        (tally.ack(at) == Outcome::Reached).then_some(newest)
    })
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let node = |id| Node::new(NodeId::new(id)).at(Level::Zone, &format!("zone {}", id % 3));
    let nine = (1..=9).map(node).fold(Topology::builder(), TopologyBuilder::node).build()?;
    let ten = nine.to_builder().node(node(10)).build()?;
    let rules = Rules::new(3).at_most(Level::Zone, 1);
    let before = Assign::new(&nine, &rules).partition_bits(6).solve()?.into_table();
    let after = Assign::new(&ten, &rules).previous(&before).solve()?;
    println!("{}\nmoves {}, load bound {}", after.report(), after.moves(), after.load_bound());
    let mut views = vec![View::initial(before)];
    let replica = |id| (id, (Gate::new(id, views[0].clone()), BTreeMap::new()));
    let mut nodes: Nodes = (1..=10).map(NodeId::new).map(replica).collect();
    let mut change = Transition::begin(&views[0], after.into_table(), Quorum::Majority)?;
    let mut plan = Planner::new(change.moves(), Quorum::Majority, PlanLimits::default())?;
    let (mut written, mut reads, mut lost, hash) = (BTreeMap::new(), 0, 0, KeyHash::default());
    for turn in 1..=6_000 {
        if let Some(view) = change.poll_view().filter(|_| turn % 1_000 == 0) {
            change.committed(&view)?; // by a store with one order
            println!("{} at epoch {} after {reads} reads", view.stage(), view.epoch());
            views.push(view);
        }
        let newest = &views[views.len() - 1]; // one node hears of it, who joins the first
        let Some((&id, (gate, store))) = nodes.iter_mut().rev().nth(turn % 10) else { break };
        let _ = gate.install(newest.clone())?;
        store.retain(|&key, _| !gate.may_drop(newest.table().partition_at(key)));
        change.handle_ack(id, gate.acked());
        let are_ready = nodes.keys().all(|&id| change.is_source_ready(id));
        nodes.keys().filter(|_| are_ready).for_each(|&id| plan.source_ready(id));
        if let Some(Order { what, source: Source::Slot(from), .. }) = plan.poll_order() {
            let held = nodes[&from].1.clone();
            for (&key, &version) in held.range(what.start..what.end.unwrap_or(u64::MAX)) {
                send(&mut nodes, what.to, newest, key, version).ok_or("refused")?;
            }
            change.handle_copied(what.id)?;
            plan.done(what.id)?;
        }
        let [put, get] = [turn, turn * 7].map(|n| hash.hash(&(n % 2_999).to_le_bytes()));
        let [writer, reader] = [turn, turn / 3].map(|any| &views[any % views.len()]); // any at all
        written.extend(ask(&mut nodes, writer, put, turn as u64, turn % 3).map(|now| (put, now)));
        let read = ask(&mut nodes, reader, get, 0, turn % 2);
        reads += u32::from(read.is_some());
        lost += u32::from(read.is_some_and(|read| Some(&read) < written.get(&get)));
    }
    println!("{} after {reads} reads, lost reads: {lost}", change.view().stage());
    if change.is_finished() && lost == 0 { Ok(()) } else { Err("reads were lost".into()) }
}
