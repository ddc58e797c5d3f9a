//! Cutting a change into rounds: whole rows of the solution, the most pressing first.
//!
//! New placements obey the triangle inequality, so what a round does not move costs the next ones
//! exactly what is left: rounds are free. // H46

use super::Problem;
use crate::NodeIdx;
use crate::error::AssignError;
use crate::table::VACANT;
use crate::width::to_u32;
use alloc::vec::Vec;
use core::cmp::Reverse;

/// What a round is cut from: the rows so far and those of the solution.
pub(crate) struct Change<'a> {
    /// The rows so far; vacant where a node has vanished.
    pub(crate) previous: &'a [NodeIdx],
    /// For each row whether a node of it has vanished from the topology.
    pub(crate) vanished: &'a [bool],
    pub(crate) solution: &'a [NodeIdx],
}

/// The rows after a round of at most `budget` new placements, and whether that was everything.
///
/// A row that names a node which is gone cannot stay as it is, so all of those go first.
pub(crate) fn round(
    problem: &Problem<'_>,
    change: &Change<'_>,
    budget: u32,
) -> Result<(Vec<NodeIdx>, bool), AssignError> {
    let width = problem.width;
    let old = |row: usize| &change.previous[row * width..][..width];
    let new = |row: usize| &change.solution[row * width..][..width];
    let cost = |row: usize| super::new_placements(new(row), old(row), width);
    let order = by_urgency(problem, change);
    let mut left = budget;
    let mut rows = change.previous.to_vec();
    let mut complete = true;
    let mut moved = false;
    let take = |rows: &mut Vec<NodeIdx>, row: usize| {
        rows[row * width..][..width].copy_from_slice(new(row));
    };
    let must: u32 = order.iter().filter(|&&row| change.vanished[row]).map(|&row| cost(row)).sum();
    if must > budget {
        return Err(AssignError::BudgetTooSmall { least: must });
    }
    for &row in &order {
        let cost = cost(row);
        if cost <= left {
            take(&mut rows, row);
            left -= cost;
            moved |= cost > 0;
        } else if crate::plant::planted("rounds_split_rows") {
            rows[row * width] = new(row)[0];
        } else {
            complete = false;
        }
    }
    if !complete && !moved {
        let least = order.iter().map(|&row| cost(row)).filter(|&cost| cost > 0).min();
        return Err(AssignError::BudgetTooSmall { least: least.unwrap_or(1) });
    }
    Ok((rows, complete))
}

/// First rows that lose a vanished node or one that is drained, then those that leave the node
/// furthest above its most, then by partition.
fn by_urgency(problem: &Problem<'_>, change: &Change<'_>) -> Vec<usize> {
    let width = problem.width;
    let mut loads = alloc::vec![0_u32; problem.topology.nodes().len()];
    for at in change.previous.iter().filter(|&&at| at != VACANT) {
        loads[usize::from(at.value())] += 1;
    }
    let urgency = |row: usize| {
        let new = &change.solution[row * width..][..width];
        let old = &change.previous[row * width..][..width];
        let leaving = old.iter().filter(|&at| *at != VACANT && !new.contains(at));
        let nodes = leaving.map(|at| usize::from(at.value()));
        let drained = nodes.clone().any(|node| problem.topology.weight_at(node) == 0);
        let above = nodes.map(|node| loads[node].saturating_sub(problem.intervals[node].high));
        let class = if change.vanished[row] { 2 } else { u8::from(drained) };
        Reverse((class, above.max().unwrap_or(0)))
    };
    let rows = to_u32(change.previous.len() / width) as usize;
    let mut order: Vec<usize> = (0..rows).collect();
    order.sort_by_cached_key(|&row| (urgency(row), row));
    order
}
