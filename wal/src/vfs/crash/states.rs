//! Which states a power cut is asked for: all of them, telling ones, or one that is drawn.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::pending::{Choice, Pending};
use super::{Left, PowerCut, mix};
use crate::width::index;

/// Up to this many states all are given; 12 units cannot have more.
const EXHAUSTIVE_STATES: u64 = 1 << 12;
/// Distinct samples are looked for so often, per state asked for.
const TRIES: u64 = 4;

/// The states of a [`PowerCut`], each built when it is asked for.
///
/// # Examples
/// ```
/// # use std::path::Path;
/// use quorate_wal::vfs::{MemVfs, OpenMode, Vfs};
/// let disk = MemVfs::new();
/// disk.open(Path::new("f"), OpenMode::CreateNew)?.write_at(b"abc", 0)?;
/// let states = disk.power_cut().states(100);
/// assert!(states.is_exhaustive());
/// // No name; or the name of a file that is empty, or has zeros, or the text.
/// let texts: Vec<_> = states.map(|left| left.disk.contents(Path::new("f")).ok()).collect();
/// assert_eq!(texts.len(), 4);
/// assert!(texts.contains(&Some(vec![0; 3])) && texts.contains(&Some(b"abc".to_vec())));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct CrashStates {
    cut: PowerCut,
    choices: Choices,
}

/// Which states are given, one after the other.
#[derive(Debug)]
pub(super) struct Choices {
    source: Source,
    exhaustive: bool,
    max: u64,
    given: u64,
}

#[derive(Debug)]
enum Source {
    /// Every `all / parts`th of all; `next` is the number of the next choice to look at, `index`
    /// says how many states came before it.
    All {
        next: u64,
        index: u64,
        all: u64,
        parts: u64,
    },
    Samples {
        next: u64,
        rng: u64,
        seen: BTreeSet<u64>,
    },
}

impl Choices {
    pub(super) fn of(pending: &Pending, max: usize) -> Self {
        let max = max as u64;
        let (next, index) = (0, 0);
        let count = pending.count();
        let exhaustive = count.is_some_and(|all| all <= max);
        let source = match count {
            Some(_) if exhaustive => Source::All { next, index, all: 1, parts: 1 },
            Some(all) => Source::All { next, index, all: all - 1, parts: max.max(2) - 1 },
            None => Source::Samples { next, rng: 0x0005_a3b1, seen: BTreeSet::new() },
        };
        Self { source, exhaustive, max, given: 0 }
    }

    pub(super) fn next(&mut self, pending: &Pending) -> Option<Choice> {
        if self.given == self.max {
            return None;
        }
        let choice = match &mut self.source {
            Source::All { next, index, all, parts } => {
                pending.advance(next, index, self.given * *all / *parts)
            }
            Source::Samples { next, rng, seen } => pending.sample(self.max, next, rng, seen),
        };
        self.given += 1;
        choice
    }
}

impl CrashStates {
    pub(super) fn new(cut: PowerCut, max: usize) -> Self {
        Self { choices: Choices::of(&cut.pending, max), cut }
    }

    /// Whether these are all states there can be.
    #[must_use]
    pub const fn is_exhaustive(&self) -> bool {
        self.choices.exhaustive
    }
}

impl Iterator for CrashStates {
    type Item = Left;

    fn next(&mut self) -> Option<Left> {
        let choice = self.choices.next(&self.cut.pending)?;
        Some(self.cut.build(&choice))
    }
}

impl Pending {
    /// How many states there are; none if there are too many to try all.
    pub(super) fn count(&self) -> Option<u64> {
        let product = self.product();
        (product <= EXHAUSTIVE_STATES)
            .then(|| (0..product).filter(|&k| self.allowed(k).is_some()).count() as u64)
    }

    fn allowed(&self, k: u64) -> Option<Choice> {
        let mut choice = self.numbered(k);
        (!self.close(&mut choice)).then_some(choice)
    }

    /// The `wanted`th state, where `*next` is the number of the next choice to look at and
    /// `*index` says how many states came before it.
    pub(super) fn advance(&self, next: &mut u64, index: &mut u64, wanted: u64) -> Option<Choice> {
        while *next < self.product() {
            let choice = self.allowed(*next);
            *next += 1;
            if let Some(choice) = choice {
                *index += 1;
                if *index > wanted {
                    return Some(choice);
                }
            }
        }
        None
    }

    /// The next sample that was not seen: nothing and everything, then a quarter each for only
    /// one, all but one, and prefixes, the rest drawn.
    fn sample(
        &self,
        max: u64,
        next: &mut u64,
        rng: &mut u64,
        seen: &mut BTreeSet<u64>,
    ) -> Option<Choice> {
        let digits = self.radices.len() as u64;
        let share = (max / 4).clamp(1, digits);
        while *next < 2 + 3 * share + TRIES * max {
            let n = *next;
            *next += 1;
            let at = index((n.saturating_sub(2) % share) * digits / share);
            let mut choice = match n {
                0 => vec![0; self.radices.len()],
                1 => self.everything(),
                n if n < 2 + 3 * share => self.telling((n - 2) / share, at),
                _ => self.seeded(rng),
            };
            self.close(&mut choice);
            if seen.insert(fingerprint(&choice)) {
                return Some(choice);
            }
        }
        None
    }

    fn everything(&self) -> Choice {
        self.radices.iter().map(|radix| radix - 1).collect()
    }

    /// Only the digit at `at` (and the sizes and names that show it), all but that, or those
    /// before it.
    fn telling(&self, style: u64, at: usize) -> Choice {
        let mut choice = Choice::new();
        let keeps = |i: usize| match style {
            0 => i == at,
            1 => i != at,
            _ => i < at,
        };
        for file in &self.files {
            let first = choice.len();
            let whole = style == 0 && at > first && at < first + file.digits();
            choice.push(if whole || keeps(first) { file.sizes } else { 0 });
            for slot in 0..file.slots.len() {
                let kept = keeps(first + 1 + slot);
                choice.push(if kept { file.slots[slot].newest() } else { 0 });
            }
        }
        let about_a_file = at < choice.len();
        for dir in &self.dirs {
            for radix in dir.radices() {
                let kept = keeps(choice.len()) || (style == 0 && about_a_file);
                choice.push(if kept { radix - 1 } else { 0 });
            }
        }
        choice
    }

    /// Every state is possible; those that stopped somewhere in the order of the operations, or
    /// lost just one thing, are likely.
    pub(super) fn seeded(&self, rng: &mut u64) -> Choice {
        let mut choice = Choice::with_capacity(self.radices.len());
        for file in &self.files {
            let style = mix(rng) % 6;
            let pick = index(mix(rng) % (file.pieces.len() as u64 + 1));
            let slot = mix(rng) % (file.slots.len() as u64).max(1);
            let whole = mix(rng) & 1 == 1;
            match style {
                0 => choice.extend(file.prefix(0)),
                1 => choice.extend(file.prefix(file.pieces.len())),
                2 => choice.extend(file.prefix(pick)),
                _ => {
                    let sizes = if whole { file.sizes } else { draw(rng, file.sizes + 1) };
                    choice.push(sizes);
                    choice.extend((0_u64..).zip(&file.slots).map(|(i, s)| match style {
                        3 if i == slot => 0,
                        3 => s.newest(),
                        4 if i == slot => s.newest(),
                        4 => 0,
                        _ => draw(rng, s.radix()),
                    }));
                }
            }
        }
        for dir in &self.dirs {
            let pick = mix(rng) % (u64::from(dir.ops) + 1);
            // Independent draws would hardly ever leave a long prefix.
            let mixed = dir.needs.is_some() && mix(rng).is_multiple_of(2);
            choice.extend((0_u64..).zip(dir.radices()).map(|(i, radix)| match &dir.needs {
                None => u32::try_from(pick).unwrap_or(0),
                Some(_) if mixed => draw(rng, radix),
                Some(_) => u32::from(i < pick),
            }));
        }
        self.close(&mut choice);
        choice
    }
}

fn draw(rng: &mut u64, below: u32) -> u32 {
    u32::try_from(mix(rng) % u64::from(below.max(1))).unwrap_or(0)
}

fn fingerprint(choice: &Choice) -> u64 {
    let mut hasher = DefaultHasher::new();
    choice.hash(&mut hasher);
    hasher.finish()
}
