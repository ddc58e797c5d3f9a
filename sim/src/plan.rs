//! Plans as text: written for people, read back exactly.

mod disk;
mod word;

pub(crate) use disk::{class_of, count as count_disk};

use crate::disk::{CrashDisk, DiskFault};
use crate::{Fault, Plan, Plane, Shape, SimTime};
use quorate_transport::NodeId;
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use word::{unword, word};

/// Steps of one plan.
pub(crate) const STEPS_MAX: usize = 100_000;

/// A plan that does not parse.
///
/// # Examples
/// ```
/// use quorate_sim::Plan;
/// let error = "2.000s pause n1\n1.000s resume n1".parse::<Plan>().unwrap_err();
/// assert_eq!(error.line, 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: expected {expected}, found {found:?}")]
#[non_exhaustive]
pub struct PlanError {
    /// The line, from 1.
    pub line: usize,
    /// What should stand there.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

impl PlanError {
    pub(crate) fn new(line: usize, expected: &str, found: &str) -> Self {
        Self { line, expected: expected.to_owned(), found: found.to_owned() }
    }

    /// Never: the same text fails again.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        false
    }
}

// --- Writing -----------------------------------------------------------------------------------

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|(at, fault)| writeln!(f, "{at} {fault}"))
    }
}

impl fmt::Display for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Both => "both",
            Self::Lanes => "lanes",
            Self::Datagrams => "datagrams",
        })
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Halves => f.write_str("halves"),
            Self::Ring => f.write_str("ring"),
            Self::Isolate(node) => write!(f, "isolate=n{node}"),
            Self::IsolateMarked(mark) => write!(f, "isolate-marked={}", word(mark)),
            Self::Bridge(node) => write!(f, "bridge=n{node}"),
            Self::Groups(groups) => {
                f.write_str("groups=")?;
                for (i, group) in groups.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { "|" })?;
                    let names: Vec<String> = group.iter().map(|node| format!("n{node}")).collect();
                    f.write_str(&names.join(","))?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let yes = |yes: bool| if yes { "yes" } else { "no" };
        match self {
            Self::Partition { shape, plane } => write!(f, "partition {shape} plane={plane}"),
            Self::Block { from, to, plane } => write!(f, "block n{from} n{to} plane={plane}"),
            Self::Clog { from, to, for_ } => {
                let for_ = SimTime::ZERO.saturating_add(*for_);
                write!(f, "clog n{from} n{to} for={for_}")
            }
            Self::Delay { percent } => write!(f, "delay percent={percent}"),
            Self::Loss { ppm } => write!(f, "loss ppm={ppm}"),
            Self::Duplicate { ppm } => write!(f, "duplicate ppm={ppm}"),
            Self::Corrupt { ppm } => write!(f, "corrupt ppm={ppm}"),
            Self::BreakSessions { node, silent } => {
                write!(f, "break n{node} silent={}", yes(*silent))
            }
            Self::Heal { swizzle } => write!(f, "heal swizzle={}", yes(*swizzle)),
            Self::Crash { node, disk } => write!(f, "crash n{node} disk={disk}"),
            Self::CrashMarked { mark, disk, down } => {
                let down = SimTime::ZERO.saturating_add(*down);
                write!(f, "crash-marked {} disk={disk} down={down}", word(mark))
            }
            Self::CrashMid { node, operations } => {
                write!(f, "crash-mid n{node} operations={operations}")
            }
            Self::Restart { node } => write!(f, "restart n{node}"),
            Self::Wipe { node } => write!(f, "wipe n{node}"),
            Self::Pause { node } => write!(f, "pause n{node}"),
            Self::PauseMarked { mark, for_ } => {
                let for_ = SimTime::ZERO.saturating_add(*for_);
                write!(f, "pause-marked {} for={for_}", word(mark))
            }
            Self::Resume { node } => write!(f, "resume n{node}"),
            Self::Slow { node, percent } => write!(f, "slow n{node} percent={percent}"),
            Self::ClockStep { node, by_ns } => write!(f, "clock-step n{node} by_ns={by_ns}"),
            Self::ClockRate { node, ppm } => write!(f, "clock-rate n{node} ppm={ppm}"),
            Self::ClockBound { node, lie_ns } => write!(f, "clock-bound n{node} lie_ns={lie_ns}"),
            Self::Disk { node, fault } => write!(f, "disk n{node} {fault}"),
        }
    }
}

// --- Reading -----------------------------------------------------------------------------------

impl FromStr for Plan {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let mut plan = Self::default();
        for (line, text) in (1..).zip(text.lines()) {
            if !text.trim().is_empty() {
                plan.push_line(line, text)?;
            }
        }
        Ok(plan)
    }
}

impl Plan {
    /// Reads one step.
    pub(crate) fn push_line(&mut self, line: usize, text: &str) -> Result<(), PlanError> {
        if self.steps.len() == STEPS_MAX {
            return Err(PlanError::new(line, "at most 100000 steps", text));
        }
        let (time, fault) = text.trim().split_once(' ').unwrap_or_else(|| (text.trim(), ""));
        let wrong = |expected: &str, found: &str| PlanError::new(line, expected, found);
        let at = parse_time(time).ok_or_else(|| wrong("a time such as 12.350s", time))?;
        if self.steps.last().is_some_and(|(before, _)| *before > at) {
            return Err(wrong("a time no earlier than the one before", time));
        }
        let fault = parse_fault(fault).map_err(|Wrong(expected, found)| wrong(expected, &found))?;
        self.steps.push((at, fault));
        Ok(())
    }
}

const FOR: &str = "for= and a time such as 1.500s";

/// What was expected, and what stands there.
pub(crate) struct Wrong(pub(crate) &'static str, pub(crate) String);

/// A fault is read without its line number: 1 stands for it.
impl FromStr for Fault {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        parse_fault(text).map_err(|Wrong(expected, found)| PlanError::new(1, expected, &found))
    }
}

/// Seconds with up to nine digits behind the point: `12.350s`.
pub(crate) fn parse_time(text: &str) -> Option<SimTime> {
    let (seconds, digits) = text.strip_suffix('s')?.split_once('.').unwrap_or_else(|| {
        let whole = text.strip_suffix('s').unwrap_or(text);
        (whole, "0")
    });
    let is_number = |s: &str| !s.is_empty() && s.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(seconds) || !is_number(digits) || digits.len() > 9 {
        return None;
    }
    let nanos: u64 = format!("{digits:0<9}").parse().ok()?;
    let seconds: u64 = seconds.parse().ok()?;
    let nanos = seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?;
    Some(SimTime::from_nanos(nanos))
}

/// The words of a fault behind its name.
struct Words<'a>(std::str::SplitWhitespace<'a>);

impl<'a> Words<'a> {
    fn next(&mut self) -> &'a str {
        self.0.next().unwrap_or("")
    }

    fn node(&mut self) -> Result<NodeId, Wrong> {
        node(self.next())
    }

    /// The value of `name=value`.
    fn value(&mut self, name: &str, expected: &'static str) -> Result<&'a str, Wrong> {
        let word = self.next();
        let value = word.strip_prefix(name).and_then(|rest| rest.strip_prefix('='));
        value.ok_or_else(|| Wrong(expected, word.to_owned()))
    }

    fn number<T: FromStr>(&mut self, name: &str, expected: &'static str) -> Result<T, Wrong> {
        let value = self.value(name, expected)?;
        value.parse().map_err(|_| Wrong(expected, value.to_owned()))
    }

    fn time(&mut self, name: &str, expected: &'static str) -> Result<Duration, Wrong> {
        let value = self.value(name, expected)?;
        let time = parse_time(value).ok_or_else(|| Wrong(expected, value.to_owned()))?;
        Ok(time.since(SimTime::ZERO))
    }

    fn yes(&mut self, name: &str, expected: &'static str) -> Result<bool, Wrong> {
        match self.value(name, expected)? {
            "yes" => Ok(true),
            "no" => Ok(false),
            other => Err(Wrong(expected, other.to_owned())),
        }
    }

    fn plane(&mut self) -> Result<Plane, Wrong> {
        let expected = "plane=both, lanes or datagrams";
        match self.value("plane", expected)? {
            "both" => Ok(Plane::Both),
            "lanes" => Ok(Plane::Lanes),
            "datagrams" => Ok(Plane::Datagrams),
            other => Err(Wrong(expected, other.to_owned())),
        }
    }
}

pub(crate) fn node(word: &str) -> Result<NodeId, Wrong> {
    let number = word.strip_prefix('n').and_then(|digits| digits.parse().ok());
    let node = number.and_then(NodeId::try_new);
    node.ok_or_else(|| Wrong("a node such as n2", word.to_owned()))
}

fn parse_fault(text: &str) -> Result<Fault, Wrong> {
    let mut words = Words(text.split_whitespace());
    let name = words.next();
    let fault = parse_named(name, &mut words)?;
    match words.0.next() {
        None => Ok(fault),
        Some(more) => Err(Wrong("the end of the line", more.to_owned())),
    }
}

fn parse_named(name: &str, words: &mut Words<'_>) -> Result<Fault, Wrong> {
    let w = words;
    Ok(match name {
        "partition" => Fault::Partition { shape: shape(w.next())?, plane: w.plane()? },
        "block" => Fault::Block { from: w.node()?, to: w.node()?, plane: w.plane()? },
        "clog" => Fault::Clog { from: w.node()?, to: w.node()?, for_: w.time("for", FOR)? },
        "delay" => Fault::Delay { percent: w.number("percent", "percent=N")? },
        "loss" => Fault::Loss { ppm: w.number("ppm", "ppm=N")? },
        "duplicate" => Fault::Duplicate { ppm: w.number("ppm", "ppm=N")? },
        "corrupt" => Fault::Corrupt { ppm: w.number("ppm", "ppm=N")? },
        "break" => {
            Fault::BreakSessions { node: w.node()?, silent: w.yes("silent", "silent=yes or no")? }
        }
        "heal" => Fault::Heal { swizzle: w.yes("swizzle", "swizzle=yes or no")? },
        "crash" => Fault::Crash { node: w.node()?, disk: crash_disk(w)? },
        "crash-marked" => Fault::CrashMarked {
            mark: mark(w.next())?,
            disk: crash_disk(w)?,
            down: w.time("down", "down= and a time such as 1.500s")?,
        },
        "crash-mid" => {
            Fault::CrashMid { node: w.node()?, operations: w.number("operations", "operations=N")? }
        }
        "restart" => Fault::Restart { node: w.node()? },
        "wipe" => Fault::Wipe { node: w.node()? },
        "pause" => Fault::Pause { node: w.node()? },
        "pause-marked" => Fault::PauseMarked { mark: mark(w.next())?, for_: w.time("for", FOR)? },
        "resume" => Fault::Resume { node: w.node()? },
        "slow" => Fault::Slow { node: w.node()?, percent: w.number("percent", "percent=N")? },
        "clock-step" => Fault::ClockStep { node: w.node()?, by_ns: w.number("by_ns", "by_ns=N")? },
        "clock-rate" => Fault::ClockRate { node: w.node()?, ppm: w.number("ppm", "ppm=N")? },
        "clock-bound" => {
            Fault::ClockBound { node: w.node()?, lie_ns: w.number("lie_ns", "lie_ns=N")? }
        }
        "disk" => Fault::Disk { node: w.node()?, fault: disk_fault(w)? },
        other => return Err(Wrong("a fault", other.to_owned())),
    })
}

fn mark(word: &str) -> Result<Cow<'static, str>, Wrong> {
    let mark = unword(word).map(Cow::Owned);
    mark.ok_or_else(|| Wrong("a mark, its spaces written as %20", word.to_owned()))
}

fn crash_disk(words: &mut Words<'_>) -> Result<CrashDisk, Wrong> {
    let expected = "disk=random, lose-unsynced, keep-all or state:N";
    let value = words.value("disk", expected)?;
    disk::parse_crash(value).ok_or_else(|| Wrong(expected, value.to_owned()))
}

fn disk_fault(words: &mut Words<'_>) -> Result<DiskFault, Wrong> {
    let word = words.next();
    disk::parse_fault(word).ok_or_else(|| Wrong("a disk fault", word.to_owned()))
}

fn shape(word: &str) -> Result<Shape, Wrong> {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    Ok(match (name, value) {
        ("halves", "") => Shape::Halves,
        ("ring", "") => Shape::Ring,
        ("isolate", one) => Shape::Isolate(node(one)?),
        ("isolate-marked", word) => Shape::IsolateMarked(mark(word)?),
        ("bridge", one) => Shape::Bridge(node(one)?),
        ("groups", groups) => {
            let group = |names: &str| names.split(',').map(node).collect::<Result<Vec<_>, _>>();
            Shape::Groups(groups.split('|').map(group).collect::<Result<_, _>>()?)
        }
        _ => return Err(Wrong("a shape of a partition", word.to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: &str = include_str!("plan/every.plan");

    #[test]
    fn every_fault_is_read_and_written_as_it_was() {
        let plan: Plan = EVERY.parse().unwrap();
        assert_eq!(plan.to_string(), EVERY);
        let down = Duration::from_millis(1_500);
        let crash = Fault::CrashMarked { mark: "now leads".into(), disk: CrashDisk::Random, down };
        assert!(plan.steps.iter().any(|(_, fault)| *fault == crash));
        let classes = plan.steps.iter().filter(|(_, fault)| fault.class().is_some());
        assert_eq!(classes.count(), plan.steps.len() - 3, "heal, restart and resume mend");
    }

    #[test]
    fn what_a_marked_fault_lacks_is_named() {
        for (text, expected) in [
            ("crash-marked", "a mark, its spaces written as %20"),
            ("crash-marked now leads", "disk=random, lose-unsynced, keep-all or state:N"),
            ("crash-marked a disk=random", "down= and a time such as 1.500s"),
            ("crash-marked a disk=random down=1", "down= and a time such as 1.500s"),
            ("pause-marked a%2 for=1s", "a mark, its spaces written as %20"),
            ("pause-marked a", "for= and a time such as 1.500s"),
            ("pause-marked a for=1s n2", "the end of the line"),
        ] {
            assert_eq!(text.parse::<Fault>().unwrap_err().expected, expected, "{text}");
        }
    }
}
