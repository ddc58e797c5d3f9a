//! [`Coverage`]: which faults were injected, which of them changed anything, and which marks were
//! reached.
//!
//! A fault that was configured and never had an effect tests nothing (H3).

use std::collections::BTreeMap;
use std::fmt;

/// A class of faults, as swarms turn them on and counters count them.
///
/// # Examples
/// ```
/// use quorate_sim::Class;
/// assert_eq!(Class::CrashMid.name(), "crash-mid");
/// assert_eq!(Class::from_name("crash-mid"), Some(Class::CrashMid));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Class {
    /// Datagrams are lost. Effective: one was.
    Loss,
    /// Datagrams arrive more than once. Effective: one did.
    Duplicate,
    /// Bits flip. Effective: a datagram was altered, or a session broke.
    Corrupt,
    /// Datagrams overtake each other. Effective: one did.
    Reorder,
    /// Everything takes longer. Effective: a frame or datagram did.
    Delay,
    /// One direction stands still for a while. Effective: something waited.
    Clog,
    /// Groups of nodes do not hear each other. Effective: something was blocked.
    Partition,
    /// One direction of one pair is cut. Effective: something was blocked.
    OneWay,
    /// Sessions break. Effective: one with frames in flight did.
    Break,
    /// Nodes die. Effective: unsynced state or frames were lost.
    Crash,
    /// Nodes die in the middle of a handler. Effective: the operation was reached.
    CrashMid,
    /// Disks vanish. Effective: a disk that held something did.
    Wipe,
    /// Nodes stand still. Effective: an event waited.
    Pause,
    /// Nodes are slow. Effective: an event took longer.
    Slow,
    /// Wall clocks jump. Effective: the node read its clock afterwards.
    ClockStep,
    /// Clocks run faster or slower. Effective: the node read its clock afterwards.
    ClockRate,
    /// Error intervals do not hold true time. Effective: the node read one afterwards.
    ClockBound,
    /// A crash keeps a part of what was not synced. Effective: a part was lost.
    DiskTorn,
    /// A sync fails, or lies. Effective: a caller got the error, or something stayed unsynced.
    DiskSyncError,
    /// The disk stands still. Effective: an operation waited.
    DiskStall,
    /// Stored bytes change. Effective: one was read.
    DiskRot,
    /// The disk is full. Effective: a caller was told.
    DiskSpace,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::Loss,
        Self::Duplicate,
        Self::Corrupt,
        Self::Reorder,
        Self::Delay,
        Self::Clog,
        Self::Partition,
        Self::OneWay,
        Self::Break,
        Self::Crash,
        Self::CrashMid,
        Self::Wipe,
        Self::Pause,
        Self::Slow,
        Self::ClockStep,
        Self::ClockRate,
        Self::ClockBound,
        Self::DiskTorn,
        Self::DiskSyncError,
        Self::DiskStall,
        Self::DiskRot,
        Self::DiskSpace,
    ];

    /// As plans and reports write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Duplicate => "duplicate",
            Self::Corrupt => "corrupt",
            Self::Reorder => "reorder",
            Self::Delay => "delay",
            Self::Clog => "clog",
            Self::Partition => "partition",
            Self::OneWay => "one-way",
            Self::Break => "break",
            Self::Crash => "crash",
            Self::CrashMid => "crash-mid",
            Self::Wipe => "wipe",
            Self::Pause => "pause",
            Self::Slow => "slow",
            Self::ClockStep => "clock-step",
            Self::ClockRate => "clock-rate",
            Self::ClockBound => "clock-bound",
            Self::DiskTorn => "disk-torn",
            Self::DiskSyncError => "disk-sync-error",
            Self::DiskStall => "disk-stall",
            Self::DiskRot => "disk-rot",
            Self::DiskSpace => "disk-space",
        }
    }

    /// The class of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Counts of one class.
///
/// # Examples
/// ```
/// assert_eq!(quorate_sim::Count::default().effective, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Count {
    /// Faults that were applied.
    pub injected: u64,
    /// Times a fault changed something.
    pub effective: u64,
    /// Faults that had nothing to apply to: a crash of a dead node, a restart of a live one.
    pub skipped: u64,
}

/// What a run, or many runs together, covered.
///
/// # Examples
/// ```
/// use quorate_sim::{Class, Coverage};
/// let coverage = Coverage::default();
/// assert_eq!(coverage.class(Class::Crash).effective, 0);
/// assert_eq!(coverage.mark("leader"), 0);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    classes: [Count; Class::ALL.len()],
    marks: BTreeMap<&'static str, u64>,
}

impl Coverage {
    /// Counts of one class.
    #[must_use]
    pub const fn class(&self, class: Class) -> Count {
        self.classes[class.index()]
    }

    /// How often a mark was reached.
    #[must_use]
    pub fn mark(&self, mark: &str) -> u64 {
        self.marks.get(mark).copied().unwrap_or(0)
    }

    /// All marks that were reached, by name.
    pub fn marks(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.marks.iter().map(|(mark, count)| (*mark, *count))
    }

    pub(crate) const fn injected(&mut self, class: Class) {
        self.classes[class.index()].injected += 1;
    }

    pub(crate) const fn effective(&mut self, class: Class) {
        self.effective_times(class, 1);
    }

    pub(crate) const fn effective_times(&mut self, class: Class, times: u64) {
        self.classes[class.index()].effective += times;
    }

    pub(crate) const fn skipped(&mut self, class: Class) {
        self.classes[class.index()].skipped += 1;
    }

    pub(crate) fn reached(&mut self, mark: &'static str) {
        *self.marks.entry(mark).or_insert(0) += 1;
    }

    /// Adds what another run covered.
    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, more) in self.classes.iter_mut().zip(&other.classes) {
            mine.injected += more.injected;
            mine.effective += more.effective;
            mine.skipped += more.skipped;
        }
        for (mark, count) in &other.marks {
            *self.marks.entry(mark).or_insert(0) += count;
        }
    }
}

/// A table: one line for each class that was injected, one for each mark.
impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<16} {:>9} {:>9} {:>8}", "class", "injected", "effective", "skipped")?;
        for class in Class::ALL {
            let count = self.class(class);
            if count != Count::default() {
                let Count { injected, effective, skipped } = count;
                writeln!(f, "{class:<16} {injected:>9} {effective:>9} {skipped:>8}")?;
            }
        }
        for (mark, count) in self.marks() {
            writeln!(f, "reached {mark:<24} {count:>10}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_names_of_their_own() {
        for (i, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class.index(), i);
            assert_eq!(Class::from_name(class.name()), Some(class));
        }
        assert_eq!(Class::from_name("none"), None);
    }

    #[test]
    fn runs_add_up() {
        let mut all = Coverage::default();
        let mut one = Coverage::default();
        one.injected(Class::Loss);
        one.effective(Class::Loss);
        one.reached("leader");
        all.add(&one);
        all.add(&one);
        assert_eq!((all.class(Class::Loss).effective, all.mark("leader")), (2, 2));
        let text = all.to_string();
        assert!(text.contains("loss") && !text.contains("pause"), "{text}");
    }
}
