//! Crash states against a reference written apart: plain byte arrays, every subset of what is
//! unsynced, and rules for which subsets may be.

use std::collections::{BTreeMap, BTreeSet};

use quorate_sim::{CrashDisk, DirModel, DiskConfig, SimDisk};
use quorate_wal::vfs::{OpenMode, Vfs, VfsFile};

use super::seeds::Draw;

/// What is on a disk: names and contents.
type Picture = BTreeMap<String, Vec<u8>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Write(usize, usize),
    SetLen(usize),
    SyncData,
    Rename,
    Remove,
    Create,
    SyncDir,
}

const ALPHABET: [Op; 12] = [
    Op::Write(0, 512),
    Op::Write(300, 400),
    Op::Write(600, 200),
    Op::Write(1024, 100),
    Op::SetLen(0),
    Op::SetLen(600),
    Op::SetLen(1024),
    Op::SyncData,
    Op::Rename,
    Op::Remove,
    Op::Create,
    Op::SyncDir,
];
/// The one file there is at first, all of it durable.
const BEFORE: [u8; 700] = [1; 700];
const UNITS_MAX: usize = 8;

/// Something that a power cut may lose.
#[derive(Clone, Debug)]
enum Event {
    Size(usize),
    Bytes {
        at: usize,
        len: usize,
        fill: u8,
    },
    /// Names before the operation, and what they are after it: an empty name is no name.
    Name {
        from: &'static str,
        to: &'static str,
        file: u32,
    },
}

/// The reference. File 0 is the one written to, file 1 is created empty by `Create`.
#[derive(Clone, Debug)]
struct Reference {
    durable: Vec<u8>,
    names: BTreeMap<&'static str, u32>,
    events: Vec<Event>,
    now: Vec<u8>,
    now_names: BTreeMap<&'static str, u32>,
}

fn apply_name(names: &mut BTreeMap<&'static str, u32>, event: &Event) {
    let Event::Name { from, to, file } = event else { return };
    if from.is_empty() {
        names.insert(to, *file);
    } else if let Some(file) = names.remove(from)
        && !to.is_empty()
    {
        names.insert(to, file);
    }
}

fn apply_bytes(bytes: &mut Vec<u8>, event: &Event) {
    match event {
        Event::Size(len) => bytes.resize(*len, 0),
        Event::Bytes { at, len, fill } => {
            for i in *at..at + len {
                if i < bytes.len() {
                    bytes[i] = *fill;
                }
            }
        }
        Event::Name { .. } => {}
    }
}

impl Reference {
    fn new() -> Self {
        let names = BTreeMap::from([("f", 0)]);
        let (durable, now) = (BEFORE.to_vec(), BEFORE.to_vec());
        Self { durable, names: names.clone(), events: Vec::new(), now, now_names: names }
    }

    fn push(&mut self, event: Event) {
        apply_bytes(&mut self.now, &event);
        apply_name(&mut self.now_names, &event);
        self.events.push(event);
    }

    /// Does it; whether the file system allows it.
    fn run(&mut self, op: Op, fill: u8) -> bool {
        match op {
            Op::Write(at, len) => {
                let mut from = at;
                while from < at + len {
                    let to = (from / 512 * 512 + 512).min(at + len);
                    if to > self.now.len() {
                        self.push(Event::Size(to));
                    }
                    self.push(Event::Bytes { at: from, len: to - from, fill });
                    from = to;
                }
            }
            Op::SetLen(len) => {
                if len != self.now.len() {
                    self.push(Event::Size(len));
                }
            }
            Op::SyncData => {
                self.durable.clone_from(&self.now);
                self.events.retain(|event| matches!(event, Event::Name { .. }));
            }
            Op::SyncDir => {
                self.names.clone_from(&self.now_names);
                self.events.retain(|event| !matches!(event, Event::Name { .. }));
            }
            Op::Rename | Op::Remove => {
                let to = if op == Op::Rename { "g" } else { "" };
                if !self.now_names.contains_key("f") {
                    return false;
                }
                self.push(Event::Name { from: "f", to, file: 0 });
            }
            Op::Create => {
                if self.now_names.contains_key("h") {
                    return false;
                }
                self.push(Event::Name { from: "", to: "h", file: 1 });
            }
        }
        true
    }

    /// Whether the `later` event can be there without the `earlier` one.
    fn independent(earlier: &Event, later: &Event, model: DirModel) -> bool {
        match (earlier, later) {
            (Event::Size(_), Event::Size(_)) => false,
            (Event::Bytes { at: a, .. }, Event::Bytes { at: b, .. }) => a / 512 != b / 512,
            (Event::Name { from, to, .. }, Event::Name { from: f, to: t, .. }) => {
                let common = |a: &str, b: &str| !a.is_empty() && a == b;
                let shared = [(from, f), (from, t), (to, f), (to, t)];
                model == DirModel::Reordered && !shared.iter().any(|(a, b)| common(a, b))
            }
            _ => true,
        }
    }

    /// What may be lost; nobody sees what happens to a file that has no name any more.
    fn units(&self) -> usize {
        let nameable = self.names.values().any(|file| *file == 0);
        self.events.iter().filter(|e| nameable || matches!(e, Event::Name { .. })).count()
    }

    fn states(&self, model: DirModel) -> BTreeSet<Picture> {
        let mut states = BTreeSet::new();
        for mask in 0..1_u32 << self.events.len() {
            let kept = |i: usize| mask >> i & 1 == 1;
            let events = || self.events.iter().enumerate();
            let possible = events().filter(|(i, _)| kept(*i)).all(|(i, later)| {
                let mut missing = events().take(i).filter(|(j, _)| !kept(*j));
                missing.all(|(_, earlier)| Self::independent(earlier, later, model))
            });
            if !possible {
                continue;
            }
            let (mut bytes, mut names) = (self.durable.clone(), self.names.clone());
            for (_, event) in events().filter(|(i, _)| kept(*i)) {
                apply_bytes(&mut bytes, event);
                apply_name(&mut names, event);
            }
            let content = |file: u32| if file == 0 { bytes.clone() } else { Vec::new() };
            states.insert(names.iter().map(|(n, f)| ((*n).to_owned(), content(*f))).collect());
        }
        states
    }
}

/// The same script on the disk.
struct Subject {
    disk: SimDisk,
    file: std::sync::Arc<dyn VfsFile>,
}

impl Subject {
    fn new(seed: u64, config: DiskConfig) -> Self {
        let disk = SimDisk::new(seed, config);
        let vfs = disk.vfs();
        let file = vfs.open("f".as_ref(), OpenMode::CreateNew).unwrap();
        file.write_at(&BEFORE, 0).unwrap();
        file.sync_all().unwrap();
        vfs.sync_dir("".as_ref()).unwrap();
        Self { disk, file }
    }

    fn run(&self, op: Op, fill: u8) -> bool {
        let vfs = self.disk.vfs();
        match op {
            Op::Write(at, len) => self.file.write_at(&vec![fill; len], at as u64).is_ok(),
            Op::SetLen(len) => self.file.set_len(len as u64).is_ok(),
            Op::SyncData => self.file.sync_data().is_ok(),
            Op::Rename => vfs.rename("f".as_ref(), "g".as_ref()).is_ok(),
            Op::Remove => vfs.remove("f".as_ref()).is_ok(),
            Op::Create => vfs.open("h".as_ref(), OpenMode::CreateNew).is_ok(),
            Op::SyncDir => vfs.sync_dir("".as_ref()).is_ok(),
        }
    }
}

/// What is on a disk on which everything is durable.
fn picture(disk: &SimDisk) -> Picture {
    let names = disk.files().into_iter().map(|(path, _)| path);
    names.map(|p| (p.to_string_lossy().into_owned(), disk.read_durable(&p).unwrap())).collect()
}

fn config(model: DirModel) -> DiskConfig {
    DiskConfig::instant().dir_model(model).trace_operations_max(0).build().unwrap()
}

fn fill(i: usize) -> u8 {
    u8::try_from(10 + i).unwrap()
}

/// Both after a script; nothing if the script has more units than are looked at.
fn both(script: &[Op], seed: u64, model: DirModel) -> Option<(Subject, Reference)> {
    let (subject, mut reference) = (Subject::new(seed, config(model)), Reference::new());
    for (i, op) in script.iter().enumerate() {
        let allowed = reference.run(*op, fill(i));
        assert_eq!(subject.run(*op, fill(i)), allowed, "{script:?} at {i}");
    }
    (reference.events.len() <= UNITS_MAX).then_some((subject, reference))
}

/// All scripts of up to four operations.
fn scripts() -> impl Iterator<Item = Vec<Op>> {
    (1..=4_u32).flat_map(|len| {
        (0..12_usize.pow(len))
            .map(move |n| (0..len).map(|i| ALPHABET[n / 12_usize.pow(i) % 12]).collect::<Vec<_>>())
    })
}

fn agrees(script: &[Op], model: DirModel) -> Option<usize> {
    let (subject, reference) = both(script, 1, model)?;
    let states = subject.disk.crash_states(4096);
    assert!(states.is_exhaustive(), "{script:?}");
    let found: BTreeSet<Picture> = states.map(|disk| picture(&disk)).collect();
    let expected = reference.states(model);
    assert_eq!(found, expected, "{script:?} {model:?}");
    let units = subject.disk.snapshot().crash(CrashDisk::LoseUnsynced).units;
    assert_eq!(units, reference.units() as u64, "{script:?}");
    Some(found.len())
}

#[test]
fn crash_states_are_those_of_a_brute_force_over_subsets() {
    let (mut compared, mut states, mut largest) = (0, 0, 0);
    for script in scripts() {
        let names = |op: &&Op| matches!(op, Op::Rename | Op::Remove | Op::Create);
        // Without two operations on names both models are one.
        let models = match script.iter().filter(names).count() {
            0 | 1 => &[DirModel::Ordered][..],
            _ => &[DirModel::Ordered, DirModel::Reordered],
        };
        for model in models {
            if let Some(n) = agrees(&script, *model) {
                (compared, states, largest) = (compared + 1, states + n, largest.max(n));
            }
        }
    }
    assert!(compared > 18_000 && states > 100_000 && largest > 50, "{compared} {states} {largest}");
}

#[test]
fn a_random_crash_reaches_every_state_that_is_listed() {
    let mut draw = Draw::new(5);
    let (mut scripts_seen, mut states_seen) = (0, 0);
    while scripts_seen < 60 {
        let script: Vec<Op> = (0..3).map(|_| ALPHABET[draw.below(12)]).collect();
        let model = if draw.below(2) == 0 { DirModel::Ordered } else { DirModel::Reordered };
        let Some((subject, _)) = both(&script, 0, model) else { continue };
        let mut missing: BTreeSet<Picture> =
            subject.disk.crash_states(4096).map(|disk| picture(&disk)).collect();
        scripts_seen += 1;
        states_seen += missing.len();
        let listed = missing.clone();
        for seed in 1.. {
            if missing.is_empty() {
                break;
            }
            assert!(seed < 20_000, "{script:?} {model:?} never gave {missing:?}");
            let (subject, _) = both(&script, seed, model).unwrap();
            subject.disk.crash(CrashDisk::Random);
            let found = picture(&subject.disk);
            assert!(listed.contains(&found), "{script:?}: a state that is not listed");
            missing.remove(&found);
        }
    }
    assert!(states_seen > 300, "{states_seen}");
}

#[test]
fn a_state_has_its_number() {
    let script = [Op::Write(300, 400), Op::Create, Op::Write(600, 200), Op::Rename];
    let (subject, _) = both(&script, 1, DirModel::Reordered).unwrap();
    let states: Vec<Picture> = subject.disk.crash_states(4096).map(|d| picture(&d)).collect();
    let base = subject.disk.snapshot();
    for (n, state) in states.iter().enumerate() {
        for round in [0, states.len()] {
            let disk = base.snapshot();
            disk.crash(CrashDisk::State((n + round) as u64));
            assert_eq!(picture(&disk), *state, "{n}");
        }
    }
    // Killed is not lost: the next life still has all of it unsynced.
    let killed = base.snapshot();
    assert_eq!(killed.crash(CrashDisk::KeepAll).lost, 0);
    let again: Vec<Picture> = killed.crash_states(4096).map(|d| picture(&d)).collect();
    assert_eq!(again, states);
}
