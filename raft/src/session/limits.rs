//! [`SessionLimits`]: what a session may hold, decided once for all replicas.

use core::time::Duration;

/// The limits of a session. They travel in the entry that opens it: every replica then keeps the
/// same table, whatever its own configuration says.
///
/// # Examples
/// ```
/// use quorate_raft::SessionLimits;
/// use std::time::Duration;
///
/// let limits = SessionLimits::new(Duration::from_secs(60)).window(16);
/// assert_eq!((limits.ttl_ms(), limits.window_value()), (60_000, 16));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    ttl_ms: u64,
    sessions_max: u32,
    window: u32,
    reply_bytes_max: u32,
}

impl SessionLimits {
    /// Bytes in an entry.
    pub(crate) const LEN: usize = 24;
    /// Most sessions that any entry may allow.
    pub(crate) const SESSIONS_CEILING: u32 = 1 << 20;
    /// Widest window that any entry may allow.
    pub(crate) const WINDOW_CEILING: u32 = 1 << 16;
    /// Largest reply that any entry may let the table keep.
    pub(crate) const REPLY_CEILING: u32 = 16 << 20;

    /// A session that lives `ttl` of group time beyond its last use; at least 1 ms. The rest:
    /// 65,536 sessions, 1,024 requests, 64 KiB a reply.
    #[must_use]
    pub fn new(ttl: Duration) -> Self {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
        Self { ttl_ms, sessions_max: 65_536, window: 1_024, reply_bytes_max: 64 << 10 }
    }

    /// Sessions of the group when this one is open: others go if there are more. 1–1 Mi.
    #[must_use]
    pub fn sessions_max(mut self, sessions: u32) -> Self {
        self.sessions_max = sessions.clamp(1, Self::SESSIONS_CEILING);
        self
    }

    /// How far a request may be ahead of what was acknowledged. 1–65,536.
    #[must_use]
    pub fn window(mut self, requests: u32) -> Self {
        self.window = requests.clamp(1, Self::WINDOW_CEILING);
        self
    }

    /// Largest reply that is kept for a repetition. 0–16 MiB.
    #[must_use]
    pub fn reply_bytes_max(mut self, bytes: u32) -> Self {
        self.reply_bytes_max = bytes.min(Self::REPLY_CEILING);
        self
    }

    /// Group time in milliseconds that the session lives beyond its last use.
    #[must_use]
    pub const fn ttl_ms(&self) -> u64 {
        self.ttl_ms
    }

    /// As [`sessions_max`](Self::sessions_max).
    #[must_use]
    pub const fn sessions_max_value(&self) -> u32 {
        self.sessions_max
    }

    /// As [`window`](Self::window).
    #[must_use]
    pub const fn window_value(&self) -> u32 {
        self.window
    }

    /// As [`reply_bytes_max`](Self::reply_bytes_max).
    #[must_use]
    pub const fn reply_bytes_max_value(&self) -> u32 {
        self.reply_bytes_max
    }

    /// Whether a reader accepts these numbers.
    pub(crate) const fn is_valid(&self) -> bool {
        self.ttl_ms > 0
            && self.sessions_max > 0
            && self.sessions_max <= Self::SESSIONS_CEILING
            && self.window > 0
            && self.window <= Self::WINDOW_CEILING
            && self.reply_bytes_max <= Self::REPLY_CEILING
    }

    /// As in an entry: little-endian, so the first field of a pair is the low half.
    pub(crate) fn to_words(self) -> [u64; 3] {
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        [self.ttl_ms, pair(self.sessions_max, self.window), pair(self.reply_bytes_max, 0)]
    }

    /// `None`: numbers out of range, or set where there must be zeros.
    #[expect(clippy::cast_possible_truncation, reason = "takes words apart into their halves")]
    pub(crate) fn from_words([ttl_ms, sessions_window, reply]: [u64; 3]) -> Option<Self> {
        let limits = Self {
            ttl_ms,
            sessions_max: sessions_window as u32,
            window: (sessions_window >> 32) as u32,
            reply_bytes_max: reply as u32,
        };
        (limits.is_valid() && reply >> 32 == 0).then_some(limits)
    }
}
