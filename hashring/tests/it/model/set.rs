//! A set of 128-bit sums and a map of packed keys, with open addressing: one array each.

/// The sums of the states seen so far. Two of 10⁸ states share one with probability 10⁻²³.
pub(super) struct Seen {
    slots: Vec<u128>,
    len: usize,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self { slots: vec![0; 1 << 16], len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether it is new.
    pub(super) fn insert(&mut self, sum: u128) -> bool {
        if self.len * 10 > self.slots.len() * 7 {
            let larger = vec![0; self.slots.len() * 2];
            for old in std::mem::replace(&mut self.slots, larger) {
                if old != 0 {
                    place(&mut self.slots, old);
                }
            }
        }
        let is_new = place(&mut self.slots, sum.max(1));
        self.len += usize::from(is_new);
        is_new
    }
}

fn place(slots: &mut [u128], sum: u128) -> bool {
    let mask = slots.len() - 1;
    let mut at = usize::try_from(sum & u128::from(u32::MAX)).unwrap() & mask;
    loop {
        if slots[at] == sum {
            return false;
        }
        if slots[at] == 0 {
            slots[at] = sum;
            return true;
        }
        at = (at + 1) & mask;
    }
}

/// What real objects answered, by everything that the answer depends on.
pub(super) struct Memo<V> {
    slots: Vec<Option<(u64, V)>>,
    len: usize,
}

impl<V: Copy> Memo<V> {
    pub(super) fn new() -> Self {
        Self { slots: vec![None; 1 << 12], len: 0 }
    }

    pub(super) fn find(&self, key: u64) -> Option<V> {
        let mut at = self.start(key);
        while let Some((other, value)) = &self.slots[at] {
            if *other == key {
                return Some(*value);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        None
    }

    pub(super) fn insert(&mut self, key: u64, value: V) {
        if self.len * 2 > self.slots.len() {
            let larger = vec![None; self.slots.len() * 2];
            for (key, value) in std::mem::replace(&mut self.slots, larger).into_iter().flatten() {
                self.place(key, value);
            }
        }
        self.place(key, value);
        self.len += 1;
    }

    pub(super) fn insert_new(&mut self, key: u64, value: V) {
        if self.find(key).is_none() {
            self.insert(key, value);
        }
    }

    fn place(&mut self, key: u64, value: V) {
        let mut at = self.start(key);
        while self.slots[at].is_some() {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = Some((key, value));
    }

    fn start(&self, key: u64) -> usize {
        let mixed = key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        usize::try_from(mixed).unwrap() & (self.slots.len() - 1)
    }
}
