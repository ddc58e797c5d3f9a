//! A state as bytes, and what a run explores.

use xxhash_rust::xxh3::xxh3_128;

/// Nodes of every topology; a row set uses as many as it names.
pub(super) const NODES: usize = 6;
/// Of an operation at a node: it was not admitted.
pub(super) const NONE: u8 = 0;
/// Of an operation at a node: it was applied, or a read that returned an old version.
pub(super) const DONE: u8 = 1;
/// Of an operation at a node: a pass is out, of the view at this position plus `OPEN`.
pub(super) const OPEN: u8 = 2;
/// Of a move: its copy is in the store of the receiver.
pub(super) const COPIED: u8 = u8::MAX;

/// What a run explores.
#[derive(Clone)]
pub(super) struct Setup {
    /// The row at first, and those that it becomes, one transition each.
    pub(super) rows: Vec<Vec<u64>>,
    pub(super) aborts: bool,
    pub(super) writes: usize,
    /// Whether a write goes on to further nodes once it has completed. That only adds copies, so
    /// it cannot make a read miss anything that it would not miss without.
    pub(super) late: bool,
}

impl Setup {
    pub(super) fn new(rows: &[&[u64]]) -> Self {
        let rows = rows.iter().map(|row| row.to_vec()).collect();
        Self { rows, aborts: false, writes: 1, late: false }
    }

    pub(super) fn aborts(mut self) -> Self {
        self.aborts = true;
        self
    }

    pub(super) fn late(mut self) -> Self {
        self.late = true;
        self
    }

    pub(super) fn writes(mut self, writes: usize) -> Self {
        self.writes = writes;
        self
    }
}

/// An operation under way: the position of the coordinator's view plus one, 0 if it has not begun,
/// and how far it is at each node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) view: u8,
    /// Of a read the version that it must return at least.
    pub(super) floor: u8,
    pub(super) at: [u8; NODES],
}

/// Everything there is. Positions are those of views in the chain that leads to the committed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// The newest committed view, as numbered by the chain of all runs.
    pub(super) committed: u8,
    /// Transitions begun.
    pub(super) begun: u8,
    pub(super) aborting: bool,
    /// For each node the position that it reported to the authority.
    pub(super) acks: [u8; NODES],
    /// For each move: 0 nothing, 1 + version: taken and under way, or `COPIED`.
    pub(super) copies: [u8; 3],
    /// For each node the position of its view.
    pub(super) installed: [u8; NODES],
    /// For each node the version it holds, 0 for none.
    pub(super) store: [u8; NODES],
    pub(super) writes: [Operation; 2],
    pub(super) read: Operation,
}

impl State {
    pub(super) fn first() -> Self {
        Self {
            committed: 0,
            begun: 0,
            aborting: false,
            acks: [0; NODES],
            copies: [0; 3],
            installed: [0; NODES],
            store: [0; NODES],
            writes: [Operation::default(); 2],
            read: Operation::default(),
        }
    }

    pub(super) fn sum(&self) -> u128 {
        let mut bytes = [0_u8; 6 + 3 * NODES + 3 * (2 + NODES)];
        let mut at = 0;
        let mut put = |from: &[u8]| {
            bytes[at..at + from.len()].copy_from_slice(from);
            at += from.len();
        };
        put(&[self.committed, self.begun, u8::from(self.aborting)]);
        put(&self.copies);
        put(&self.acks);
        put(&self.installed);
        put(&self.store);
        for operation in [&self.writes[0], &self.writes[1], &self.read] {
            put(&[operation.view, operation.floor]);
            put(&operation.at);
        }
        xxh3_128(&bytes)
    }

    /// The generations of the passes that are out at a node, oldest first, 0 for none.
    pub(super) fn passes(&self, node: usize) -> [u8; 3] {
        let mut passes = [self.writes[0].at[node], self.writes[1].at[node], self.read.at[node]];
        for pass in &mut passes {
            *pass = if *pass >= OPEN { *pass - OPEN + 1 } else { 0 };
        }
        passes.sort_unstable();
        passes
    }

    /// The nodes at which an operation is done, bit by bit.
    pub(super) fn done(operation: &Operation) -> u64 {
        let done = |node: &usize| operation.at[*node] == DONE;
        (0..NODES).filter(done).fold(0, |mask, node| mask | 1 << node)
    }
}
