//! What the answers are worth.

use crate::generator::{self, RECORDS, State, damages, record, restore, torn};
use crate::subjects::{Said, Subject, Told};
use quorate_benches::device::Place;
use std::path::Path;

pub(crate) const HEAD: &str = "| log | damages (proven + last group) | harmless | named | hinted | silent losses | splices \
     | healthy logs | healthy refused | healthy lost |\n|---|---|---|---|---|---|---|---|---|---|\n";

#[derive(Default)]
struct Counts {
    proven: u64,
    last: u64,
    harmless: u64,
    named: u64,
    hinted: u64,
    silent: [u64; 2],
    splices: u64,
    healthy: u64,
    refused: u64,
    lost: u64,
    first: Vec<String>,
}

/// How much of the beginning was read as it was written; `None` if something else was read.
fn sound(records: &[Vec<u8>]) -> Option<u64> {
    let count = records.len() as u64;
    let same = records.iter().zip(1..).all(|(read, n)| *read == record(n));
    same.then_some(count)
}

/// Writes all records, with the states between which the last groups lie.
fn written(place: &Place, subject: &dyn Subject) -> [State; 3] {
    let dir = place.dir("origin");
    let mut log = subject.open(&dir).expect("an empty directory");
    let mut states = Vec::new();
    for n in 1..=RECORDS + 1 {
        assert!(log.append(&record(n)), "{} appends", subject.name());
        if n >= RECORDS - 1 {
            states.push(generator::state(&dir));
        }
    }
    states.try_into().expect("three of them")
}

pub(crate) fn judge(place: &Place, subject: &dyn Subject) -> String {
    let [earlier, acknowledged, unsynced] = written(place, subject);
    let mut counts = Counts::default();
    for state in torn(&acknowledged, &unsynced) {
        let dir = place.dir("healthy");
        restore(&dir, &state);
        counts.healthy += 1;
        match subject.read(&dir) {
            Said::Refused => counts.refused += 1,
            Said::Read { records, .. } => match sound(&records) {
                Some(count) if count >= RECORDS => {}
                _ => counts.lost += 1,
            },
        }
    }
    for damage in damages(&earlier, &acknowledged) {
        let dir = place.dir("damaged");
        restore(&dir, &damage.state);
        if damage.last {
            counts.last += 1
        } else {
            counts.proven += 1
        };
        one(&mut counts, subject, &dir, &damage);
    }
    for example in &counts.first {
        eprintln!("{}: {example}", subject.name());
    }
    let Counts { proven, last, harmless, named, hinted, silent, splices, .. } = counts;
    let (healthy, refused, lost) = (counts.healthy, counts.refused, counts.lost);
    let damages = proven + last;
    format!(
        "| {} | {damages} ({proven} + {last}) | {harmless} | {named} | {hinted} | {} ({} + {}) \
         | {splices} | {healthy} | {refused} | {lost} |\n",
        subject.name(),
        silent[0] + silent[1],
        silent[0],
        silent[1],
    )
}

fn one(counts: &mut Counts, subject: &dyn Subject, dir: &Path, damage: &generator::Damage) {
    let Said::Read { records, told } = subject.read(dir) else {
        counts.named += 1;
        return;
    };
    let Some(count) = sound(&records) else {
        counts.splices += 1;
        counts.first.push(format!("splice: {}", damage.what));
        return;
    };
    match told {
        _ if count >= RECORDS => counts.harmless += 1,
        // Torn or rotten, acknowledged or not: a hint, like a cut.
        Told::From(from) if from <= count => counts.hinted += 1,
        Told::Cut => counts.hinted += 1,
        _ => {
            counts.silent[usize::from(damage.last)] += 1;
            if counts.first.len() < 5 {
                let what = &damage.what;
                counts.first.push(format!("silent: {what}, {count} of {RECORDS} read"));
            }
        }
    }
    again(counts, subject, dir, count, damage);
}

/// Appends to what was read, opens again: the same and the new, nothing that had been gone.
fn again(
    counts: &mut Counts,
    subject: &dyn Subject,
    dir: &Path,
    count: u64,
    damage: &generator::Damage,
) {
    const NEW: u64 = 1_000_000;
    let Some(mut log) = subject.open(dir) else { return };
    let appended = (0..3).take_while(|n| log.append(&record(NEW + n))).count();
    drop(log);
    let Said::Read { records, .. } = subject.read(dir) else { return };
    let (old, new) = records.split_at(records.len().min(count as usize));
    let fits = sound(old) == Some(count)
        && new.iter().zip(NEW..).all(|(read, n)| *read == record(n))
        && new.len() == appended;
    if !fits {
        counts.splices += 1;
        if counts.first.len() < 5 {
            counts.first.push(format!("splice after appending: {}", damage.what));
        }
    }
}
