//! How to change from one table to the next without a read ever missing an acknowledged write.
//!
//! # The parts
//!
//! A [`View`] is a [`PartitionTable`] with an epoch, a [`Stage`], and an epoch of its own for each
//! row. A coordinator looks a key up in the view it has ([`View::route`]) and sends the row's epoch
//! with each request as its *tag*. Each replica has a [`Gate`], which admits exactly the epoch that
//! the row has there. One authority drives a [`Transition`]: it decides which view comes next.
//! Coordinators need not be known, counted or waited for: replicas fence the stale ones, and only
//! for partitions that move.
//!
//! # What each stage promises
//!
//! | stage | reads go to | writes need a quorum of | every completed write is on a quorum of |
//! |---|---|---|---|
//! | `Settled` A | A | A | A |
//! | `Copying` A to B | A | A and B | A; of B, if it is newer than the stage |
//! | `Switched` A to B | B | A and B | A and B |
//! | `Settled` B | B | B | B |
//! | `Reverting` A to B | A | A and B | A and B |
//!
//! The next [`Stage`] comes when nothing can contradict it any more: `Switched` once every move was
//! copied from sources that had let the last request of an older tag finish; `Settled` once so many
//! replicas refuse older tags that nobody can gather a read quorum where reads went before.
//!
//! The quorums of A and of B are counted side by side ([`Tally`]), never as one larger one: with
//! one of three replicas moving, the two that stay are enough. A dead or slow minority of A
//! blocks nothing with [`Quorum::Majority`]; a dead *receiver* is answered by
//! [`Transition::abort`] and another table.
//!
//! The guarantee (G9): **a read that begins after a write completed returns that write or a newer
//! one**, whatever views coordinators and replicas hold, however many coordinators are stale,
//! whatever is lost, delayed or restarted, as long as the application keeps O1 to O5. It is no
//! linearizable register: two reads beside an unfinished write may see it and miss it again.
//!
//! # What the application must do
//!
//! - **O1** Commit each view in a store with one order (a consensus group, a compare-and-set under
//!   a lease) before anyone sees it, on the condition that the newest view there is the one it was
//!   made from ([`View::parent`]).
//! - **O2** On a replica: [`Gate::admit`], apply to the store, drop the [`Pass`]. That holds for
//!   reads, for writes, *and for copies at their receiver*: a copy carries the row's epoch of the
//!   `Copying` view as its tag. A receiver that still goes by the view before could delete what the
//!   copy brought it ([`Gate::may_drop`]); its gate refuses the copy until it has the view.
//! - **O3** Copies and writes merge by version: nothing older ever overwrites anything newer.
//! - **O4** A replica makes a view durable before it reports [`Gate::acked`] of it, and a restarted
//!   one begins with the newest durable view.
//! - **O5** A read combines a read quorum of answers by the newest version.
//!
//! And, because deleting takes time: what [`Gate::may_drop`] allows is deleted before the next view
//! is installed, or not at all.
//!
//! # Data that a quorum replicates
//!
//! The whole way, with the messages left out:
//!
//! ```
//! use quorate_hashring::{
//!     Gate, KeyHash, Node, NodeId, Outcome, PartitionTable, PlanLimits, Planner, Quorum, Rules,
//!     Source, Stage, Topology, Transition, View,
//! };
//!
//! let ids = [1, 2, 3, 4].map(NodeId::new);
//! let nodes = ids.iter().fold(Topology::builder(), |nodes, id| nodes.node(Node::new(*id)));
//! let topology = nodes.build()?;
//! let table = |row: &[NodeId]| {
//!     PartitionTable::from_rows(&topology, &Rules::new(3), KeyHash::default(), &[row.to_vec()])
//! };
//! let mut committed = View::initial(table(&ids[..3])?);
//! let gates = ids.map(|id| Gate::new(id, committed.clone())); // one on each replica
//! let mut versions = [7, 7, 7, 0]; // what the replicas hold of the one key there is
//!
//! // The authority. `resume` instead of `begin` if the committed view is not settled.
//! let next = table(&[ids[0], ids[1], ids[3]])?;
//! let mut transition = Transition::begin(&committed, next, Quorum::Majority)?;
//! let limits = PlanLimits::default();
//! let mut planner = Planner::new(transition.moves(), Quorum::Majority, limits)?;
//! while !transition.is_finished() {
//!     if let Some(view) = transition.poll_view() {
//!         committed = view; // O1: compare and set, in a store with one order
//!         transition.committed(&committed)?;
//!         for gate in &gates {
//!             gate.install(committed.clone())?;
//!         }
//!     }
//!     for (id, gate) in ids.iter().zip(&gates) {
//!         transition.handle_ack(*id, gate.acked()); // O4
//!         if transition.is_source_ready(*id) {
//!             planner.source_ready(*id);
//!         }
//!     }
//!     while let Some(order) = planner.poll_order() {
//!         let Source::Slot(from) = order.source else { unreachable!("nobody is down") };
//!         let (from, to) = (from.value() as usize - 1, order.what.to.value() as usize - 1);
//!         let route = committed.route(b"key");
//!         let pass = gates[to].admit(route.partition, route.tag)?; // O2
//!         versions[to] = versions[to].max(versions[from]); // O3
//!         drop(pass);
//!         planner.done(order.what.id)?;
//!         transition.handle_copied(order.what.id)?;
//!     }
//! }
//! assert_eq!(committed.stage(), Stage::Settled);
//! assert_eq!(versions[3], 7);
//!
//! // A coordinator writes.
//! let route = committed.route(b"key");
//! let mut tally = route.write.tally(Quorum::Majority);
//! let mut outcome = Outcome::Pending;
//! for at in route.write.nodes() {
//!     let answer = gates[usize::from(at.value())].admit(route.partition, route.tag);
//!     outcome = if answer.is_ok() { tally.ack(at) } else { tally.fail(at) };
//! }
//! assert_eq!(outcome, Outcome::Reached);
//! assert!(gates[2].may_drop(route.partition)); // node 3 holds it no longer
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where the messages go: views reach replicas and coordinators by any way, late, twice or not at
//! all (a replica that answers [`Reject::Ahead`] should fetch one, a coordinator that is answered
//! [`Reject::Stale`] too); acknowledgements are reported again from time to time.
//!
//! # A consensus group for each partition
//!
//! There the group hands over by its own change of members; the table only says where it should
//! stand. Solve with [`Assign`], let [`diff`](crate::diff()) and a [`Planner`] say what to do in
//! which order (call [`Planner::source_ready`] for all nodes at once: the group's log does the
//! fencing), change the members of each group, and publish what was reached:
//!
//! ```
//! use quorate_hashring::{
//!     Assign, Locate, Node, NodeId, Partition, PlanLimits, Planner, Quorum, Rules, Segmented,
//!     Topology, View, diff,
//! };
//!
//! let three = (1..=3).fold(Topology::builder(), |all, id| all.node(Node::new(NodeId::new(id))));
//! let four = three.clone().node(Node::new(NodeId::new(4))).build()?;
//! let rules = Rules::new(3);
//! let table = Assign::new(&three.build()?, &rules).partition_bits(4).solve()?.into_table();
//! let mut view = View::initial(table).rebased(&four)?; // node 4 is known, and holds nothing
//!
//! let goal = Assign::new(&four, &rules).partition_bits(4).previous(view.table()).solve()?;
//! let moves = diff(view.table(), goal.table())?;
//! let mut planner = Planner::new(&moves, Quorum::Majority, PlanLimits::default())?;
//! four.nodes().iter().for_each(|node| planner.source_ready(node.id()));
//! while let Some(order) = planner.poll_order() {
//!     // Add order.what.to to the groups in [order.what.start, order.what.end), then remove
//!     // order.what.from; when that is committed:
//!     planner.done(order.what.id)?;
//! }
//! let ids = view.table().node_ids();
//! let row = |p: Partition| -> Vec<NodeId> {
//!     let row = goal.table().row(p).unwrap_or_default();
//!     row.iter().map(|at| ids[usize::from(at.value())]).collect()
//! };
//! let differs = |p: &Partition| view.table().row(*p) != goal.table().row(*p);
//! let changed = (0..16).map(Partition::new).filter(differs);
//! let rows: Vec<(Partition, Vec<NodeId>)> = changed.map(|p| (p, row(p))).collect();
//! view = view.replace_rows(&rows)?;
//! assert_eq!(view.table().topology(), goal.table().topology());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A cache
//!
//! A cache loses nothing but time when two nodes disagree, so it needs none of this: publish a
//! [`Ring`] (or a table) in a [`Shared`], let each thread keep a [`Reader`], and let nodes compare
//! one byte ([`View::hint`], or the digest) to notice that they should fetch a newer one.
//!
//! ```
//! use quorate_hashring::{Locate, Node, NodeId, Ring, RingConfig, Rules, Shared, Topology};
//!
//! let nodes = |ids: &[u64]| {
//!     let node = |id: &u64| Node::new(NodeId::new(*id));
//!     ids.iter().fold(Topology::builder(), |all, id| all.node(node(id))).build()
//! };
//! let ring = Ring::build(&nodes(&[1, 2, 3])?, &Rules::new(1), &RingConfig::default())?;
//! let shared = Shared::new(ring);
//! let mut reader = shared.reader(); // one for each thread
//! let before = reader.get().owner(b"user/17");
//! let four = nodes(&[1, 2, 3, 4])?;
//! shared.update(|ring| ring.rebuild(&four))?;
//! let after = reader.get().owner(b"user/17");
//! # let _ = (before, after);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Source
//!
//! Joint quorums: Ongaro 2014, §4.3. Stages and fencing by epoch: the notes on topology changes of
//! `ScyllaDB`. Copies from a quorum: what range movements of Cassandra lacked (H34).

#[cfg(doc)]
use crate::{Assign, PartitionTable, Planner, Quorum, Ring, Stage, Tally, Transition, View};
#[cfg(all(doc, feature = "std"))]
use crate::{Gate, Pass, Reader, Reject, Shared};
