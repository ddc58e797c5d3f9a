//! The first table: loads dealt out in a circle, then scattered.

use super::Problem;
use crate::NodeIdx;
use crate::hash::SplitMix;
use crate::table::VACANT;
use crate::width::to_u32;
use alloc::vec::Vec;

/// Tries to swap each place with another one.
const TRIES: u32 = 4;

/// Rows for loads, with `width` places each of which the first `replicas` are filled.
///
/// Each node is written down as often as it is to hold a partition, neighbours by place side by
/// side, and the list is wrapped around the partitions (`McNaughton` 1959): a node's at most P
/// entries meet distinct partitions, a domain's at most P·k meet each at most k times.
pub(crate) fn deal(problem: &Problem<'_>, loads: &[u32]) -> Vec<NodeIdx> {
    let rows = problem.partitions as usize;
    let mut flat = alloc::vec![VACANT; rows * problem.width];
    let mut token = 0;
    for &at in problem.topology.by_place() {
        for _ in 0..loads[usize::from(at.value())] {
            flat[(token % rows) * problem.width + token / rows] = at;
            token += 1;
        }
    }
    debug_assert_eq!(token, rows * problem.replicas(), "loads sum to the places");
    scatter(problem, &mut flat);
    flat
}

/// Dealt rows repeat: neighbours hold the same partitions, and what a dead node held would fall to
/// a few of them. Swapping places at random spreads each node's partners. // H13
fn scatter(problem: &Problem<'_>, flat: &mut [NodeIdx]) {
    let (width, replicas) = (problem.width, problem.replicas());
    let mut random = SplitMix::new(problem.topology.digest().value());
    let places = problem.partitions * to_u32(replicas);
    let index = |place: usize| (place / replicas) * width + place % replicas;
    for place in 0..places as usize {
        for _ in 0..TRIES {
            let (a, b) = (index(place), index(random.below(places) as usize));
            let fits = |at: usize, new: NodeIdx| {
                let row = at / width * width;
                let mut others = [VACANT; 16];
                let kept = (row..row + replicas).filter(|&other| other != at);
                let mut count = 0;
                for (slot, other) in kept.enumerate() {
                    others[slot] = flat[other];
                    count = slot + 1;
                }
                problem.caps.admits(problem.topology, &others[..count], new)
            };
            if a / width != b / width && flat[a] != flat[b] && fits(a, flat[b]) && fits(b, flat[a])
            {
                flat.swap(a, b);
                break;
            }
        }
    }
}
