//! [`Fault`]: everything that can go wrong, as data.

use crate::disk::{CrashDisk, DiskFault};
use crate::{Class, SimTime};
use quorate_transport::NodeId;
use std::borrow::Cow;
use std::time::Duration;

/// Which messages a cut is for.
///
/// # Examples
/// ```
/// assert_ne!(quorate_sim::Plane::Lanes, quorate_sim::Plane::Both);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Plane {
    /// Lanes and datagrams.
    Both,
    /// Lanes alone: datagrams pass.
    Lanes,
    /// Datagrams alone: lanes pass.
    Datagrams,
}

/// Who hears whom during a partition.
///
/// # Shape
/// Nodes that a shape does not name hear everybody.
///
/// # Examples
/// ```
/// use quorate_sim::{NodeId, Shape};
/// let [a, b, c] = [1, 2, 3].map(NodeId::new);
/// let split = Shape::Groups(vec![vec![a], vec![b, c]]);
/// assert_ne!(split, Shape::Bridge(a));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shape {
    /// Two groups, each node in one of them by chance, none empty.
    Halves,
    /// These groups; none of them needs to be a majority. // H24
    Groups(Vec<Vec<NodeId>>),
    /// One node alone.
    Isolate(NodeId),
    /// The node that last reached that mark, alone: a leader, say.
    IsolateMarked(Cow<'static, str>),
    /// Two groups by chance that do not hear each other, and one node that hears all.
    Bridge(NodeId),
    /// Each node hears its two neighbours, in the order of their numbers.
    Ring,
}

/// Something that goes wrong, or is mended.
///
/// # Shape
/// As text: one line without the time, see [`Plan`](crate::Plan).
///
/// # Examples
/// ```
/// use quorate_sim::{Fault, NodeId};
/// let fault = Fault::Pause { node: NodeId::new(2) };
/// assert_eq!(fault.to_string(), "pause n2");
/// assert_eq!("pause n2".parse(), Ok(fault));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Groups of nodes do not hear each other, until [`Heal`](Self::Heal).
    Partition {
        /// Which groups.
        shape: Shape,
        /// Which messages.
        plane: Plane,
    },
    /// One node hears nothing from another, until [`Heal`](Self::Heal).
    Block {
        /// Who is not heard.
        from: NodeId,
        /// By whom.
        to: NodeId,
        /// Which messages.
        plane: Plane,
    },
    /// Nothing arrives in one direction for a while; then everything does.
    Clog {
        /// Who is not heard.
        from: NodeId,
        /// By whom.
        to: NodeId,
        /// For how long.
        for_: Duration,
    },
    /// Everything takes so many per cent of its time; 100 ends it.
    Delay {
        /// Per cent.
        percent: u32,
    },
    /// So many of a million datagrams are lost; 0 ends it. Frames of lanes never are. // H1
    Loss {
        /// Of a million.
        ppm: u32,
    },
    /// So many of a million datagrams arrive more than once; 0 ends it.
    Duplicate {
        /// Of a million.
        ppm: u32,
    },
    /// So many of a million datagrams and frames have bits flipped; a session that carried one
    /// breaks. 0 ends it.
    Corrupt {
        /// Of a million.
        ppm: u32,
    },
    /// All sessions of a node break.
    BreakSessions {
        /// Whose.
        node: NodeId,
        /// Whether nobody says so: both ends find out by themselves.
        silent: bool,
    },
    /// Ends partitions, blocks and clogs.
    Heal {
        /// Pair by pair within two seconds, in any order, instead of all at once.
        swizzle: bool,
    },
    /// A node dies.
    Crash {
        /// Which.
        node: NodeId,
        /// What is left of its disk.
        disk: CrashDisk,
    },
    /// The node that last reached a mark dies, a leader, say, and starts again after a while.
    /// Nothing happens if it is down, or a client, or nobody reached the mark.
    CrashMarked {
        /// Which mark.
        mark: Cow<'static, str>,
        /// What is left of the node's disk.
        disk: CrashDisk,
        /// When it starts again, counted from now.
        down: Duration,
    },
    /// A node dies in the middle of a handler: from that disk operation on everything fails.
    CrashMid {
        /// Which.
        node: NodeId,
        /// The operation, counted from now; 1 is the next one.
        operations: u64,
    },
    /// A dead node starts again, with what is left of its disk, in a new incarnation. // H26
    Restart {
        /// Which.
        node: NodeId,
    },
    /// A node dies and its disk is empty when it comes back.
    Wipe {
        /// Which.
        node: NodeId,
    },
    /// A node stands still; its clocks and its kernel go on.
    Pause {
        /// Which.
        node: NodeId,
    },
    /// The node that last reached a mark stands still for a while.
    PauseMarked {
        /// Which mark.
        mark: Cow<'static, str>,
        /// For how long.
        for_: Duration,
    },
    /// A node that stands still goes on.
    Resume {
        /// Which.
        node: NodeId,
    },
    /// A node takes so many per cent of its time for everything that begins from now on: handlers,
    /// polls, work of its disk at once or put off, turns of workers. A stalled disk stalls no
    /// longer for it. 100 ends it.
    Slow {
        /// Which.
        node: NodeId,
        /// Per cent.
        percent: u32,
    },
    /// A node's wall clock jumps.
    ClockStep {
        /// Whose.
        node: NodeId,
        /// Nanoseconds, forward if positive.
        by_ns: i64,
    },
    /// A node's clocks run fast by so many millionths from now on.
    ClockRate {
        /// Whose.
        node: NodeId,
        /// Millionths; negative is slow.
        ppm: i32,
    },
    /// A node's error interval is too narrow by so much on either side; 0 ends it.
    ClockBound {
        /// Whose.
        node: NodeId,
        /// Nanoseconds.
        lie_ns: u64,
    },
    /// Something happens to a node's disk.
    Disk {
        /// Whose.
        node: NodeId,
        /// What.
        fault: DiskFault,
    },
}

impl Fault {
    /// The class it is counted under; `None` for what mends.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        Some(match self {
            Self::Partition { .. } => Class::Partition,
            Self::Block { .. } => Class::OneWay,
            Self::Clog { .. } => Class::Clog,
            Self::Delay { percent: 100 } | Self::Slow { percent: 100, .. } => return None,
            Self::Delay { .. } => Class::Delay,
            Self::Slow { .. } => Class::Slow,
            Self::Loss { ppm: 0 } | Self::Duplicate { ppm: 0 } | Self::Corrupt { ppm: 0 } => {
                return None;
            }
            Self::Loss { .. } => Class::Loss,
            Self::Duplicate { .. } => Class::Duplicate,
            Self::Corrupt { .. } => Class::Corrupt,
            Self::BreakSessions { .. } => Class::Break,
            Self::Crash { .. } | Self::CrashMarked { .. } => Class::Crash,
            Self::CrashMid { .. } => Class::CrashMid,
            Self::Wipe { .. } => Class::Wipe,
            Self::Pause { .. } | Self::PauseMarked { .. } => Class::Pause,
            Self::ClockStep { .. } => Class::ClockStep,
            Self::ClockRate { ppm, .. } if *ppm != 0 => Class::ClockRate,
            Self::ClockBound { lie_ns, .. } if *lie_ns != 0 => Class::ClockBound,
            Self::Disk { fault, .. } => return crate::plan::class_of(fault),
            Self::Heal { .. }
            | Self::Restart { .. }
            | Self::Resume { .. }
            | Self::ClockRate { .. }
            | Self::ClockBound { .. } => return None,
        })
    }

    /// The node it names, if it names one.
    #[must_use]
    pub const fn node(&self) -> Option<NodeId> {
        match self {
            Self::BreakSessions { node, .. }
            | Self::Crash { node, .. }
            | Self::CrashMid { node, .. }
            | Self::Restart { node }
            | Self::Wipe { node }
            | Self::Pause { node }
            | Self::Resume { node }
            | Self::Slow { node, .. }
            | Self::ClockStep { node, .. }
            | Self::ClockRate { node, .. }
            | Self::ClockBound { node, .. }
            | Self::Disk { node, .. } => Some(*node),
            Self::Partition { .. }
            | Self::Block { .. }
            | Self::Clog { .. }
            | Self::Delay { .. }
            | Self::Loss { .. }
            | Self::Duplicate { .. }
            | Self::Corrupt { .. }
            | Self::CrashMarked { .. }
            | Self::PauseMarked { .. }
            | Self::Heal { .. } => None,
        }
    }
}

/// Faults, and when they happen.
///
/// # Shape
/// Times never go back. As text one step a line, times in seconds: `12.350s crash n2 disk=random`.
/// A space in a mark or path is written as `%20`:
/// `3.000s crash-marked leader%20elected disk=keep-all down=0.500s`.
///
/// # Examples
/// ```
/// use quorate_sim::{Fault, NodeId, Plan};
/// let plan: Plan = "1.500s pause n2\n3.000s resume n2\n".parse()?;
/// assert_eq!(plan.steps[1].1, Fault::Resume { node: NodeId::new(2) });
/// assert_eq!(plan.to_string(), "1.500s pause n2\n3.000s resume n2\n");
/// let wrong = "1.500s paus n2".parse::<Plan>().unwrap_err();
/// assert_eq!(wrong.to_string(), "line 1: expected a fault, found \"paus\"");
/// # Ok::<(), quorate_sim::PlanError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a list of steps is all there is to it")]
pub struct Plan {
    /// What happens when.
    pub steps: Vec<(SimTime, Fault)>,
}
