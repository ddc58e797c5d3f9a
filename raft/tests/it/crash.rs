//! Every state a power cut can leave of a `WalLog`: bounded runs, cut at every change of the disk,
//! and of each cut the states that the unsynced may leave behind. Whatever is found must be what
//! the log was at some moment at or after the last answer.
//!
//! What a disk may leave, and how many of the states are tried if there are very many:
//! `quorate_wal::vfs::MemVfs::crash_states`.

use crate::store::owner;
use quorate_raft::{
    AppendRequest, Block, Completion, EntryBody, GroupId, HardState, Limits, LogId, LogIndex,
    LogStore as _, Membership, OpenLog, Proposal, SnapshotMeta, StoreError, Term, WalLog,
};
use quorate_transport::NodeId;
use quorate_wal::vfs::{DirOrder, MemVfs};
use quorate_wal::{Config, Wal};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

const GROUP: GroupId = GroupId::new(1);
/// Of each cut: all there are, if little is unsynced, else a choice of them.
const STATES_MAX: usize = 24;
/// More changes than any run makes.
const CHANGES_MAX: u64 = 1_000;

/// One call of the store.
enum Step {
    Append {
        hard: Option<HardState>,
        install: Option<SnapshotMeta>,
        blocks: Vec<Block>,
        sync: bool,
    },
    Compact(SnapshotMeta),
}

struct Run {
    name: &'static str,
    steps: Vec<Step>,
    /// Whether each answer is waited for before the next call.
    waits: bool,
}

/// What a log is at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Image {
    hard: HardState,
    mark: Option<SnapshotMeta>,
    entries: Vec<(LogId, Vec<u8>)>,
}

impl Image {
    fn start(&self) -> LogIndex {
        self.mark.as_ref().map_or(LogIndex::ZERO, |mark| mark.last.index)
    }

    fn begin(&mut self, hard: Option<HardState>, install: Option<&SnapshotMeta>) {
        self.hard = hard.unwrap_or(self.hard);
        if let Some(mark) = install {
            self.entries.clear();
            self.mark = Some(mark.clone());
        }
    }

    fn add(&mut self, block: &Block) {
        self.entries.retain(|(id, _)| id.index < block.first());
        self.entries.extend(block.iter().map(|e| (e.id, e.data.to_vec())));
    }

    fn compact(&mut self, mark: &SnapshotMeta) {
        self.entries.retain(|(id, _)| id.index > mark.last.index);
        self.mark = Some(mark.clone());
    }

    fn of(log: &OpenLog) -> Self {
        let entries = log.blocks.iter().flat_map(Block::iter);
        let entries = entries.map(|e| (e.id, e.data.to_vec())).collect();
        Self { hard: log.hard, mark: log.mark.clone(), entries }
    }
}

/// What the log may be, in order; with each how many steps are complete then. An append that does
/// not fit in a batch may be there in part, from its front, behind its hard state.
fn images(steps: &[Step]) -> Vec<(usize, Image)> {
    let (mut all, mut image) = (vec![(0, Image::default())], Image::default());
    for (done, step) in steps.iter().enumerate() {
        match step {
            Step::Append { hard, install, blocks, .. } => {
                image.begin(*hard, install.as_ref());
                for block in blocks {
                    all.push((done, image.clone()));
                    image.add(block);
                }
            }
            Step::Compact(mark) => image.compact(mark),
        }
        all.push((done + 1, image.clone()));
    }
    all
}

fn block(term: u64, prev: LogId, entries: &[&str]) -> Block {
    let mut p = Proposal::new(&Limits::default());
    entries.iter().for_each(|data| p.push(EntryBody::Normal(data.as_bytes())).unwrap());
    p.stamp(GROUP, Term::new(term), prev, 0)
}

fn hard(term: u64, commit: u64) -> HardState {
    HardState::new(Term::new(term), Some(NodeId::new(1)), LogIndex::new(commit))
}

fn mark(term: u64, index: u64) -> SnapshotMeta {
    SnapshotMeta::new(LogId::new(term, index), Membership::of_voters(&[1, 2, 3].map(NodeId::new)))
}

fn append(hard: Option<HardState>, blocks: Vec<Block>) -> Step {
    Step::Append { hard, install: None, blocks, sync: true }
}

fn install(hard: Option<HardState>, mark: SnapshotMeta, blocks: Vec<Block>) -> Step {
    Step::Append { hard, install: Some(mark), blocks, sync: true }
}

fn hard_only(hard: HardState, sync: bool) -> Step {
    Step::Append { hard: Some(hard), install: None, blocks: Vec::new(), sync }
}

fn at(term: u64, index: u64) -> LogId {
    LogId::new(term, index)
}

fn runs() -> Vec<Run> {
    let appends = || {
        (1..=5).map(|n| {
            let prev = if n == 1 { LogId::ZERO } else { at(n - 1, 2 * n - 2) };
            append(Some(hard(n, 2 * n - 2)), vec![block(n, prev, &["a", "b"])])
        })
    };
    let large = "x".repeat(5_000);
    let many = (0..6).map(|n| block(2, at(if n == 0 { 1 } else { 2 }, n + 1), &[&large]));
    let run = |name, steps| Run { name, steps, waits: true };
    vec![
        run("appends with hard state", appends().collect()),
        Run { name: "appends that do not wait", steps: appends().collect(), waits: false },
        run(
            "replacing appends",
            vec![
                append(Some(hard(1, 0)), vec![block(1, LogId::ZERO, &["a", "b", "c", "d"])]),
                append(Some(hard(2, 1)), vec![block(2, at(1, 2), &["X"])]),
                append(Some(hard(3, 1)), vec![block(3, at(1, 1), &["Y", "Z"])]),
                append(None, vec![block(3, at(3, 3), &["after"])]),
            ],
        ),
        run(
            "install of a snapshot",
            vec![
                append(Some(hard(1, 1)), vec![block(1, LogId::ZERO, &["a", "b", "c", "d", "e"])]),
                install(Some(hard(3, 3)), mark(3, 3), Vec::new()),
                append(None, vec![block(3, at(3, 3), &["new"])]),
                install(Some(hard(4, 9)), mark(4, 9), vec![block(4, at(4, 9), &["together"])]),
            ],
        ),
        run(
            "compaction",
            vec![
                append(Some(hard(1, 4)), vec![block(1, LogId::ZERO, &["a", "b", "c", "d"])]),
                Step::Compact(mark(1, 2)),
                append(None, vec![block(1, at(1, 4), &["e"])]),
                Step::Compact(mark(1, 5)),
                append(Some(hard(1, 5)), vec![block(1, at(1, 5), &["f"])]),
            ],
        ),
        run(
            "founding mark",
            vec![
                install(None, mark(0, 0), Vec::new()),
                hard_only(hard(1, 0), true),
                append(None, vec![block(1, LogId::ZERO, &["first"])]),
            ],
        ),
        run(
            "hard state only",
            vec![
                hard_only(hard(1, 0), true),
                append(None, vec![block(1, LogId::ZERO, &["a"])]),
                // A commit index that moved may stay in memory.
                hard_only(hard(1, 1), false),
                hard_only(hard(2, 1), true),
                append(Some(hard(3, 1)), vec![block(3, at(1, 1), &["b"])]),
            ],
        ),
        run(
            "an append of several batches",
            vec![
                append(Some(hard(1, 0)), vec![block(1, LogId::ZERO, &["a"])]),
                append(Some(hard(2, 1)), many.collect()),
            ],
        ),
    ]
}

fn open(disk: &Arc<MemVfs>) -> Result<WalLog, String> {
    let config =
        Config::embedded().segment_bytes(1 << 16).batch_bytes_max(1 << 13).build().unwrap();
    let opened = Wal::open_on(disk.clone(), Path::new("log"), config, None);
    opened.map(|(wal, _)| WalLog::new(wal)).map_err(|error| error.to_string())
}

type Answer = Receiver<Result<(), StoreError>>;

fn call(store: &mut WalLog, step: &Step) -> Option<Answer> {
    match step {
        Step::Append { hard, install, blocks, sync } => {
            let (tx, rx) = channel();
            let done = Completion::new(move |result| drop(tx.send(result)));
            let request = AppendRequest::new(*hard, blocks, install.as_ref(), *sync);
            store.append(GROUP, request, done);
            Some(rx)
        }
        // It may take its time, and says nothing.
        Step::Compact(mark) => {
            store.compact(GROUP, mark).unwrap();
            None
        }
    }
}

/// Waits; false if an answer was that it failed. The first failure is final, so what is answered is
/// answered in order.
fn all_answered(waiting: &mut Vec<(usize, Answer)>, answered: &mut usize) -> bool {
    waiting.drain(..).all(|(done, answer)| {
        let ok = answer.recv().unwrap().is_ok();
        *answered = if ok { done } else { *answered };
        ok
    })
}

/// Lives until the end or the power cut. The log's identity if it was opened, and how many steps
/// were answered as durable.
fn live(disk: &Arc<MemVfs>, run: &Run) -> (Option<quorate_raft::StoreId>, usize) {
    let Ok(mut store) = open(disk) else { return (None, 0) };
    let Ok(log) = store.open(GROUP, owner()) else { return (None, 0) };
    let (mut answered, mut waiting) = (0, Vec::new());
    for (n, step) in run.steps.iter().enumerate() {
        let answer = call(&mut store, step);
        let durable = matches!(step, Step::Append { sync: true, .. });
        waiting.extend(answer.filter(|_| durable).map(|answer| (n + 1, answer)));
        if run.waits && !all_answered(&mut waiting, &mut answered) {
            break;
        }
    }
    let _whole = all_answered(&mut waiting, &mut answered);
    (Some(log.store), answered)
}

fn judge(run: &Run, legal: &[(usize, Image)], answered: usize, log: &OpenLog) {
    let found = Image::of(log);
    let fits = legal.iter().any(|(done, image)| *done >= answered && *image == found);
    assert!(fits, "{}: {answered} steps answered, found {found:#?}", run.name);
    // What the images imply, in the words of the contract.
    let mut expected = found.start();
    for (id, _) in &found.entries {
        expected = expected.next();
        assert_eq!(id.index, expected, "{}: the log has a hole", run.name);
        assert!(id.term <= log.hard.term, "{}: hard state older than its blocks", run.name);
    }
    assert_eq!(log.last.index, expected, "{}: the last entry", run.name);
    let runs = log.runs.iter().map(|run| (run.first, run.term));
    let mut terms: Vec<_> = found.entries.iter().map(|(id, _)| (id.index, id.term)).collect();
    terms.dedup_by_key(|(_, term)| *term);
    assert!(runs.eq(terms), "{}: runs of terms", run.name);
}

/// A recovered log takes what comes next.
fn goes_on(store: &mut WalLog, log: &OpenLog) -> LogId {
    let term = log.hard.term.value().max(1);
    let next = block(term, log.last, &["next"]);
    let last = next.last();
    let step = append(Some(hard(term, log.hard.commit.value())), vec![next]);
    call(store, &step).unwrap().recv().unwrap().unwrap();
    last
}

#[test]
fn every_crash_state_of_a_log_is_one_it_was_in() {
    let (runs, mut cuts, mut states) = (runs(), 0_u64, 0_u64);
    for run in &runs {
        let legal = images(&run.steps);
        for change in 0..CHANGES_MAX {
            let disk = Arc::new(MemVfs::new());
            // Names survive in any combination, and what a file grew by may hold old bytes.
            disk.dir_order(DirOrder::Reordered);
            disk.stale_blocks(true);
            disk.power_off_after(change);
            let (identity, answered) = live(&disk, run);
            cuts += 1;
            for (n, state) in disk.crash_states(STATES_MAX).into_iter().enumerate() {
                states += 1;
                let state = Arc::new(state);
                let mut store = open(&state).unwrap();
                let log = store.open(GROUP, owner()).unwrap();
                judge(run, &legal, answered, &log);
                assert!(identity.is_none_or(|id| id == log.store), "another identity");
                if n % 4 == 0 {
                    let last = goes_on(&mut store, &log);
                    drop(store);
                    assert_eq!(open(&state).unwrap().open(GROUP, owner()).unwrap().last, last);
                }
            }
            // The power stayed on to the end.
            if disk.changes() < change {
                break;
            }
        }
    }
    println!("crash states of logs: {} runs, {cuts} cuts, {states} states", runs.len());
    assert!(states > 1_000, "only {states} states");
}
