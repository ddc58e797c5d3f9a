//! [`Violation`]: why a world stopped.

use crate::SimTime;
use quorate_transport::NodeId;
use std::fmt;

/// What a checker, a node or a limit found wrong. The world stops there: every later step answers
/// the same.
///
/// # Examples
/// ```
/// use quorate_sim::*;
///
/// struct Broken;
/// impl Node for Broken {
///     fn on_message(&mut self, _: &mut Ctx<'_>, _: Peer, _: Lane, _: ChannelId, _: Bytes) {}
///     fn check(&self) -> Result<(), String> {
///         Err("log is shorter than its commit index".into())
///     }
/// }
///
/// let mut sim = Sim::new(SimConfig::lan(1).build()?);
/// sim.add(NodeId::new(3), |_| Broken);
/// let violation = sim.run_for(std::time::Duration::from_secs(1)).unwrap_err();
/// assert_eq!((violation.checker.as_str(), violation.node), ("check", Some(NodeId::new(3))));
/// # Ok::<(), ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// Which checker; or `panic`, `check`, `overload`, `livelock`, `limit`, `workload`.
    pub checker: String,
    /// What is wrong.
    pub message: String,
    /// When, in true time.
    pub at: SimTime,
    /// Where, if it is one node.
    pub node: Option<NodeId>,
}

impl Violation {
    pub(crate) fn new(checker: &str, message: String, at: SimTime, node: Option<NodeId>) -> Self {
        Self { checker: checker.to_owned(), message, at, node }
    }

    /// Never: the same run ends the same way.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        false
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.checker, self.at)?;
        if let Some(node) = self.node {
            write!(f, " on node {node}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for Violation {}
