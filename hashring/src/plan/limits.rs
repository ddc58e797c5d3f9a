//! How much may move at a time.

use super::PlanError;

/// Limits of a [`Planner`](crate::Planner), checked when it is made.
///
/// # Examples
/// ```
/// use quorate_hashring::PlanLimits;
///
/// let gentle = PlanLimits::default().incoming(1).outgoing(1).total(8);
/// assert_ne!(gentle, PlanLimits::default());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanLimits {
    incoming: u16,
    outgoing: u16,
    total: u16,
    attempts_max: u16,
}

impl PlanLimits {
    /// Moves that a node receives at a time. Default: 2 · range: 1 to 65,535 · too small: slow ·
    /// too large: the node serves badly meanwhile.
    #[must_use]
    pub const fn incoming(mut self, moves: u16) -> Self {
        self.incoming = moves;
        self
    }

    /// Moves that a node sends at a time. Default: 2 · range: 1 to 65,535 · too small: slow · too
    /// large: the node serves badly meanwhile.
    #[must_use]
    pub const fn outgoing(mut self, moves: u16) -> Self {
        self.outgoing = moves;
        self
    }

    /// Moves that run at a time in all. Default: 64 · range: 1 to 65,535 · too small: slow · too
    /// large: the network is full.
    #[must_use]
    pub const fn total(mut self, moves: u16) -> Self {
        self.total = moves;
        self
    }

    /// Failures after which a move is stuck. Default: 8 · range: 1 to 1,000 · too small: a short
    /// outage stops the plan · too large: it is noticed late.
    #[must_use]
    pub const fn attempts_max(mut self, attempts: u16) -> Self {
        self.attempts_max = attempts;
        self
    }

    pub(super) const fn incoming_max(&self) -> u16 {
        self.incoming
    }

    pub(super) const fn outgoing_max(&self) -> u16 {
        self.outgoing
    }

    pub(super) const fn total_max(&self) -> u16 {
        self.total
    }

    pub(super) const fn attempts(&self) -> u16 {
        self.attempts_max
    }

    pub(super) fn validate(&self) -> Result<(), PlanError> {
        let all = [
            ("incoming", self.incoming, u16::MAX),
            ("outgoing", self.outgoing, u16::MAX),
            ("total", self.total, u16::MAX),
            ("attempts_max", self.attempts_max, 1_000),
        ];
        match all.into_iter().find(|(_, value, max)| *value == 0 || value > max) {
            None => Ok(()),
            Some((name, value, max)) => Err(PlanError::OutOfRange { name, value, min: 1, max }),
        }
    }
}

impl Default for PlanLimits {
    fn default() -> Self {
        Self { incoming: 2, outgoing: 2, total: 64, attempts_max: 8 }
    }
}
