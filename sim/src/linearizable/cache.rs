//! What the search has seen: states by number, and configurations, compared exactly.

use std::hash::{Hash, Hasher};

use crate::plant::planted;

/// Words that configurations take at most, 1 GiB: beyond it the search gives up. Counted, not
/// measured, so that a verdict does not depend on the machine (H30).
const WORDS_MAX: usize = 1 << 27;

/// How many sets of unknown operations are kept for one key as a list that is looked through.
/// More of them are found by exact comparison only.
const SETS_MAX: u32 = 64;

/// No number.
const NONE: u32 = u32::MAX;

/// A hash that is the same on every machine and in every run.
#[derive(Debug, Default)]
struct Fold(u64);

impl Fold {
    fn word(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn words(&mut self, words: &[u64]) {
        words.iter().for_each(|word| self.word(*word));
    }
}

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            self.word(chunk.iter().fold(1, |word, byte| word << 8 | u64::from(*byte)));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.word(n.into());
    }

    fn write_u32(&mut self, n: u32) {
        self.word(n.into());
    }

    fn write_u64(&mut self, n: u64) {
        self.word(n);
    }

    fn write_i64(&mut self, n: i64) {
        self.word(n.cast_unsigned());
    }

    fn write_usize(&mut self, n: usize) {
        self.word(u64::try_from(n).unwrap_or(u64::MAX));
    }

    fn finish(&self) -> u64 {
        // The last factor moved everything up: the table looks at the low bits.
        self.0 ^ self.0 >> 32
    }
}

/// Numbers by hash: open addressing, at most half full.
#[derive(Debug)]
struct Table {
    slots: Vec<u32>,
    hashes: Vec<u64>,
}

impl Table {
    fn new() -> Self {
        Self { slots: vec![NONE; 64], hashes: Vec::new() }
    }

    /// The number of what has this hash and is it; a new one if there is none.
    fn find(&mut self, hash: u64, mut is: impl FnMut(usize) -> bool) -> (usize, bool) {
        if self.hashes.len() * 2 >= self.slots.len() {
            self.grow();
        }
        let mut slot = self.slot(hash);
        loop {
            match self.slots[slot] {
                NONE => break,
                found => {
                    let found = found as usize;
                    if self.hashes[found] == hash && is(found) {
                        return (found, false);
                    }
                }
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        let number = self.hashes.len();
        self.slots[slot] = narrow(number);
        self.hashes.push(hash);
        (number, true)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
    fn slot(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    fn grow(&mut self) {
        self.slots = vec![NONE; self.slots.len() * 4];
        for (number, hash) in self.hashes.iter().enumerate() {
            let mut slot = self.slot(*hash);
            while self.slots[slot] != NONE {
                slot = (slot + 1) & (self.slots.len() - 1);
            }
            self.slots[slot] = narrow(number);
        }
    }
}

/// The limit of words keeps all numbers far below.
fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(NONE)
}

/// Every state that was met, once.
#[derive(Debug)]
pub(super) struct States<S> {
    all: Vec<S>,
    table: Table,
}

impl<S: Eq + Hash> States<S> {
    pub(super) fn new() -> Self {
        Self { all: Vec::new(), table: Table::new() }
    }

    /// The number of a state.
    pub(super) fn number(&mut self, state: S) -> u32 {
        let mut hasher = Fold::default();
        state.hash(&mut hasher);
        let all = &self.all;
        let (number, new) = self.table.find(hasher.finish(), |number| all[number] == state);
        if new {
            self.all.push(state);
        }
        narrow(number)
    }

    /// The state of a number.
    pub(super) fn state(&self, number: u32) -> &S {
        &self.all[number as usize]
    }
}

/// One set of unknown operations, and the next one of the same key.
#[derive(Clone, Copy, Debug)]
struct Set {
    from: usize,
    len: usize,
    next: u32,
}

/// What is known of a key.
#[derive(Clone, Copy, Debug)]
struct Key {
    from: usize,
    len: usize,
    /// The list of its sets, and how long it is.
    sets: u32,
    count: u32,
}

/// Every configuration that was met.
///
/// A configuration is which completed operations are in the order, which unknown ones, and the
/// state. The first and the last are the key. Of two configurations of one key, the one that used
/// fewer unknown operations can do all that the other can: so one that used all that another did
/// is as good as seen.
#[derive(Debug)]
pub(super) struct Cache {
    words: Vec<u64>,
    keys: Vec<Key>,
    sets: Vec<Set>,
    table: Table,
    scratch: Vec<u64>,
    words_max: usize,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self {
            words: Vec::new(),
            keys: Vec::new(),
            sets: Vec::new(),
            table: Table::new(),
            scratch: Vec::new(),
            words_max: WORDS_MAX,
        }
    }

    /// Whether it holds as much as it may.
    pub(super) fn is_full(&self) -> bool {
        // A key takes five words besides its own, a set four.
        self.words.len() + 5 * self.keys.len() + 4 * self.sets.len() >= self.words_max
    }

    /// Notes a configuration; says whether it was new. `used` has no zero at its end.
    pub(super) fn note(&mut self, key: &[u64], used: &[u64]) -> bool {
        let number = self.key(key);
        let known = self.keys[number];
        let mut next = known.sets;
        while next != NONE {
            let set = self.sets[next as usize];
            if subset(&self.words[set.from..set.from + set.len], used) {
                return false;
            }
            next = set.next;
        }
        if known.count >= SETS_MAX {
            return self.exactly(key, used);
        }
        let set = Set { from: self.words.len(), len: used.len(), next: known.sets };
        self.words.extend_from_slice(used);
        self.keys[number].sets = narrow(self.sets.len());
        self.keys[number].count += 1;
        self.sets.push(set);
        true
    }

    /// The number of a key, which it has from now on.
    fn key(&mut self, key: &[u64]) -> usize {
        let mut hasher = Fold::default();
        hasher.words(key);
        let (words, keys) = (&self.words, &self.keys);
        let same = |number: usize| {
            let known = keys[number];
            words[known.from..known.from + known.len] == *key
        };
        let (number, new) = self.table.find(hasher.finish(), same);
        if new {
            let from = self.words.len();
            self.words.extend_from_slice(key);
            self.keys.push(Key { from, len: key.len(), sets: NONE, count: 0 });
        }
        number
    }

    /// As [`note`](Self::note), by comparison of the whole.
    fn exactly(&mut self, key: &[u64], used: &[u64]) -> bool {
        let mut whole = std::mem::take(&mut self.scratch);
        whole.clear();
        // No other key begins like this: its first word is a number of 32 bits.
        whole.extend([u64::MAX, u64::try_from(key.len()).unwrap_or(u64::MAX)]);
        whole.extend_from_slice(key);
        whole.extend_from_slice(used);
        let before = self.keys.len();
        self.key(&whole);
        self.scratch = whole;
        self.keys.len() > before
    }
}

/// Whether every bit of `a` is in `b`.
fn subset(a: &[u64], b: &[u64]) -> bool {
    let (a, b) = if planted("used_turned_round") { (b, a) } else { (a, b) };
    a.len() <= b.len() && a.iter().zip(b).all(|(a, b)| a & !b == 0)
}

#[cfg(test)]
mod tests {
    use super::{Cache, SETS_MAX, States};

    #[test]
    fn states_are_numbered_once() {
        let mut states = States::new();
        let numbers: Vec<u32> = (0..1_000_u64).map(|n| states.number(n << 32)).collect();
        assert_eq!(numbers, (0..1_000).collect::<Vec<_>>());
        for n in 0..1_000_u32 {
            assert_eq!(states.number(u64::from(n) << 32), n);
            assert_eq!(*states.state(n), u64::from(n) << 32);
        }
    }

    #[test]
    fn a_configuration_is_new_unless_one_that_used_no_more_was_seen() {
        let mut cache = Cache::new();
        assert!(cache.note(&[1], &[0b110]));
        assert!(!cache.note(&[1], &[0b110]), "the same");
        assert!(!cache.note(&[1], &[0b111]), "it used more");
        assert!(!cache.note(&[1], &[0b110, 1]));
        assert!(cache.note(&[1], &[0b010]), "it used less");
        assert!(cache.note(&[2], &[0b110]), "another state");
        assert!(cache.note(&[1, 0], &[0b110]), "another set of completed ones");
        assert!(cache.note(&[1], &[]) && !cache.note(&[1], &[1 << 63]));
    }

    #[test]
    fn many_sets_of_one_key_are_told_apart_exactly() {
        let mut cache = Cache::new();
        let sets: Vec<[u64; 1]> =
            (0..512_u64).filter(|set| set.count_ones() == 4).map(|set| [set]).collect();
        assert!(sets.len() > SETS_MAX as usize);
        assert!(sets.iter().all(|set| cache.note(&[7, 7], set)));
        assert!(sets.iter().all(|set| !cache.note(&[7, 7], set)));
    }

    #[test]
    fn it_says_when_it_is_full() {
        let mut cache = Cache { words_max: 100, ..Cache::new() };
        let noted = (0..).take_while(|n| !cache.is_full() && cache.note(&[*n], &[])).count();
        assert_eq!(noted, 10);
    }
}
