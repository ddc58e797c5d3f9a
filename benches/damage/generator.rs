//! The records, the states of a directory, and what is done to it.

use std::collections::BTreeMap;
use std::path::Path;

pub(crate) const RECORDS: u64 = 80;
const SECTOR: usize = 512;

/// The record of a number: of any length, and telling its number all through.
pub(crate) fn record(n: u64) -> Vec<u8> {
    let words = 1 + (n * 37 % 112) as usize;
    (0..words as u64).flat_map(|i| (n * 1_000_003 + i).to_le_bytes()).collect()
}

/// The files of a directory.
pub(crate) type State = BTreeMap<String, Vec<u8>>;

pub(crate) fn state(dir: &Path) -> State {
    let items = std::fs::read_dir(dir).expect("readable").map(|item| item.expect("readable"));
    let file = |item: std::fs::DirEntry| {
        let name = item.file_name().to_string_lossy().into_owned();
        // A file may go while it is copied: one that is being prepared.
        std::fs::read(item.path()).ok().map(|bytes| (name, bytes))
    };
    items.filter_map(file).collect()
}

pub(crate) fn restore(dir: &Path, state: &State) {
    for (name, bytes) in state {
        std::fs::write(dir.join(name), bytes).expect("room");
    }
}

/// One kind of damage at one place.
pub(crate) struct Damage {
    pub(crate) what: String,
    /// The group that was acknowledged last is hit.
    pub(crate) last: bool,
    pub(crate) state: State,
}

/// Everything that is done to the state behind the last acknowledgement. `earlier`: the state
/// before the last group, which tells what is the last group's.
pub(crate) fn damages(earlier: &State, now: &State) -> Vec<Damage> {
    let mut all = Vec::new();
    for (name, bytes) in now {
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if used == 0 || name.to_uppercase().contains("LOCK") {
            continue;
        }
        let before = earlier.get(name);
        for at in places(bytes, used) {
            for (kind, changed) in at_place(bytes, used, at) {
                if changed == *bytes {
                    continue;
                }
                let first = changed.iter().zip(bytes).position(|(a, b)| a != b);
                let first = first.unwrap_or(changed.len());
                let old = before.and_then(|b| b.get(first));
                let last = old != bytes.get(first);
                let mut state = now.clone();
                state.insert(name.clone(), changed);
                all.push(Damage { what: format!("{kind} {name} at {at}"), last, state });
            }
        }
    }
    all
}

/// Places spread over what is in use, the beginning and the end more closely.
fn places(bytes: &[u8], used: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..used).step_by(997).collect();
    places.extend((0..used.min(64)).step_by(16));
    places.extend((used.saturating_sub(700)..used).step_by(59));
    places.retain(|at| *at < bytes.len());
    places.sort_unstable();
    places.dedup();
    places
}

fn at_place(bytes: &[u8], used: usize, at: usize) -> Vec<(&'static str, Vec<u8>)> {
    let sector = at / SECTOR * SECTOR;
    let end = (sector + SECTOR).min(bytes.len());
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = bytes.to_vec();
        change(&mut changed);
        changed
    };
    let mut all = vec![
        ("flip", with(&|b| b[at] ^= 1 << (at % 8))),
        ("zero 16 B", with(&|b| b[at..(at + 16).min(used)].fill(0))),
        ("noise 16 B", with(&|b| noise(&mut b[at..(at + 16).min(used)], at))),
    ];
    // Whole sectors not for every place in one.
    if at - sector < 293 {
        all.push(("zero sector", with(&|b| b[sector..end].fill(0))));
        all.push(("noise sector", with(&|b| noise(&mut b[sector..end], at))));
        let other = (sector / SECTOR * 7 + 3) % (used / SECTOR).max(1) * SECTOR;
        let upto = (other + end - sector).min(bytes.len());
        all.push((
            "misdirected sector",
            with(&|b| {
                let copy = bytes[other..upto].to_vec();
                b[sector..sector + copy.len()].copy_from_slice(&copy);
            }),
        ));
        all.push(("truncate", with(&|b| b.truncate(at))));
    }
    all
}

fn noise(bytes: &mut [u8], seed: usize) {
    let mut state = seed as u64 + 1;
    for byte in bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = (state >> 56) as u8;
    }
}

/// Healthy logs: the last group was not synced, so of the sectors it changed any may be missing;
/// lengths are the new ones or the old ones.
pub(crate) fn torn(earlier: &State, now: &State) -> Vec<State> {
    let mut all = vec![now.clone(), earlier.clone()];
    let changed: Vec<(&String, usize)> = now
        .iter()
        .flat_map(|(name, bytes)| {
            let old = earlier.get(name).map_or(&[][..], |old| old);
            let differs = move |at: &usize| {
                let part = |from: &[u8]| {
                    let upto = (at + SECTOR).min(from.len());
                    from.get(*at..upto).unwrap_or(&[]).to_vec()
                };
                part(bytes) != part(old)
            };
            (0..bytes.len()).step_by(SECTOR).filter(differs).map(move |at| (name, at))
        })
        .collect();
    if changed.len() > 10 || now.keys().ne(earlier.keys()) {
        return all;
    }
    for kept in 0..1_u32 << changed.len() {
        let mut state = now.clone();
        for (i, (name, at)) in changed.iter().enumerate() {
            if kept >> i & 1 == 0 {
                let bytes = state.get_mut(*name).expect("it is there");
                let upto = (at + SECTOR).min(bytes.len());
                let old = &earlier[*name];
                for (to, byte) in bytes[*at..upto].iter_mut().enumerate() {
                    *byte = old.get(at + to).copied().unwrap_or(0);
                }
            }
        }
        all.push(state);
    }
    all
}
