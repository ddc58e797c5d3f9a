//! The core allocates per block, never per entry: each thread counts what it allocates, and a
//! thousand entries in one block cost as many allocations as sixty-four.

use quorate_clocks::Monotonic;
use quorate_raft::{
    Boot, Config, EntryBody, Envelope, GroupId, Membership, Output, Proposal, Raft, Role,
};
use quorate_transport::NodeId;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

const NOW: Monotonic = Monotonic::ZERO;
/// Blocks before what is measured: by then every buffer that is kept has grown to its size.
const WARM_UP: usize = 2_000;
/// Blocks that are measured.
const BLOCKS: usize = 100;

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that is ending has no counter any more.
    let _ = ALLOCATIONS.try_with(|all| all.set(all.get() + 1));
}

// SAFETY: everything is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is the same.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

/// Runs `f` and says how often it allocated on this thread.
fn allocations(f: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    f();
    ALLOCATIONS.get() - before
}

/// Three cores on this thread; messages are handed over, every write is durable at once.
struct Group {
    rafts: Vec<Raft>,
    out: Output,
    flights: Vec<(NodeId, Envelope)>,
    arriving: Vec<(NodeId, Envelope)>,
    config: Config,
    applied: u64,
    /// Bytes that went through the machine.
    bytes: u64,
}

impl Group {
    fn new() -> Self {
        let ids = [1, 2, 3].map(NodeId::new);
        // A cache of few blocks is full after the warm-up, and stays as large.
        let config = Config::lan().log_cache_bytes(256 << 10).build().unwrap();
        let start = |id: NodeId| {
            let boot = Boot::fresh(id, GroupId::new(1), Membership::of_voters(&ids));
            Raft::new(config.clone(), boot, NOW, id.value()).unwrap()
        };
        let mut group = Self {
            rafts: ids.into_iter().map(start).collect(),
            out: Output::default(),
            flights: Vec::new(),
            arriving: Vec::new(),
            config: config.clone(),
            applied: 0,
            bytes: 0,
        };
        group.rafts[0].campaign(NOW).unwrap();
        group.settle();
        assert_eq!(group.rafts[0].role(), Role::Leader);
        group
    }

    /// Does what `i` wants done.
    fn carry_out(&mut self, i: usize) {
        let raft = &mut self.rafts[i];
        let id = raft.id();
        while raft.has_output() {
            raft.drain(&mut self.out);
            self.flights.extend(self.out.send.drain(..).map(|e| (id, e)));
            if let Some(append) = self.out.append.take() {
                self.flights.extend(append.gated.into_iter().map(|e| (id, e)));
                if let Some(token) = append.token {
                    raft.appended(NOW, token);
                }
            }
            if let Some(apply) = self.out.apply.take() {
                for entry in apply.entries() {
                    self.applied += 1;
                    self.bytes += entry.data.len() as u64;
                }
                raft.applied(NOW, apply.token);
            }
        }
    }

    /// Carries out and delivers until nothing is left.
    fn settle(&mut self) {
        (0..self.rafts.len()).for_each(|i| self.carry_out(i));
        while !self.flights.is_empty() {
            std::mem::swap(&mut self.flights, &mut self.arriving);
            let mut arriving = std::mem::take(&mut self.arriving);
            for (from, envelope) in arriving.drain(..) {
                let to = usize::try_from(envelope.to.value() - 1).unwrap();
                self.rafts[to].handle_message(NOW, from, envelope.message).unwrap();
                self.carry_out(to);
            }
            self.arriving = arriving;
        }
    }

    /// A block of so many entries: proposed, replicated, durable, committed and applied by all.
    fn commit(&mut self, entries: usize, data: &[u8]) {
        let room = entries * (data.len() + 8);
        let mut proposal = Proposal::with_capacity(self.config.limits(), room);
        for _ in 0..entries {
            proposal.push(EntryBody::Normal(data)).unwrap();
        }
        self.rafts[0].propose(NOW, proposal).map_err(|(error, _)| error).unwrap();
        self.settle();
    }
}

/// Allocations of [`BLOCKS`] blocks of so many entries, in the steady state.
fn of_blocks(entries: usize) -> u64 {
    let mut group = Group::new();
    let data = [0x5A; 16];
    (0..WARM_UP).for_each(|_| group.commit(entries, &data));
    let (applied, bytes) = (group.applied, group.bytes);
    let found = allocations(|| (0..BLOCKS).for_each(|_| group.commit(entries, &data)));
    // What was measured is the whole way, on all three.
    let expected = 3 * (BLOCKS * entries) as u64;
    assert_eq!((group.applied - applied, group.bytes - bytes), (expected, expected * 16));
    found
}

#[test]
fn the_core_allocates_per_block_and_not_per_entry() {
    let [few, many] = [64, 1_024].map(of_blocks);
    let blocks = BLOCKS as u64;
    println!("allocations of {blocks} blocks: {few} with 64 entries each, {many} with 1024");
    assert!(few > 0, "the counter counts");
    assert_eq!(few, many, "allocations per entry");
    assert_eq!(few % blocks, 0, "every block costs the same");
    println!("allocations per entry: 0 (per block: {})", few / blocks);
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(black_box(Box::new(7)))), 1);
    assert_eq!(allocations(|| ()), 0);
    let mut growing = vec![0_u8; 1];
    assert_eq!(allocations(|| growing.reserve_exact(1 << 20)), 1, "a reallocation is one");
    assert_eq!(allocations(|| drop(black_box(vec![0_u8; 9]))), 1, "zeroed memory is one");
}
