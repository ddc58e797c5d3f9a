//! [`Config`]: timeouts, limits and switches of one replica.

use crate::Limits;
use crate::membership::MEMBERS_MAX;
use crate::session::SessionLimits;
use core::fmt;
use core::time::Duration;

const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// How a follower learns that the commit index moved when there is nothing else to send.
///
/// # Examples
/// ```
/// use quorate_raft::{CommitNotify, Config};
/// let config = Config::lan().commit_notify(CommitNotify::Lazy).build().unwrap();
/// # let _ = config;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CommitNotify {
    /// A small message without an answer. The default.
    OneWay,
    /// With the next append or heartbeat: fewest messages, followers apply later.
    Lazy,
    /// An empty append that is acknowledged, as in the reference implementation.
    Append,
}

/// What becomes of a membership change that a leader refuses.
///
/// # Examples
/// ```
/// use quorate_raft::ConfRefusal;
/// assert_ne!(ConfRefusal::Error, ConfRefusal::Noop);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfRefusal {
    /// It is refused with a [`ConfError`](crate::ConfError). The default.
    Error,
    /// An empty entry takes its place, as in the reference implementation: to the proposer it looks
    /// accepted.
    Noop,
}

/// The settings of a replica, checked. Made by [`Config::local`], [`lan`](Config::lan),
/// [`wan`](Config::wan), or [`reference`](Config::reference) and [`ConfigDraft::build`].
///
/// # Examples
/// ```
/// use quorate_raft::Config;
/// use std::time::Duration;
///
/// let config = Config::lan().election_timeout(Duration::from_secs(2)).build().unwrap();
/// let bad = Config::lan().election_timeout(Duration::ZERO).inflight_messages_max(0).build();
/// assert_eq!(bad.unwrap_err().violations().len(), 3); // all of them at once
/// # let _ = config;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub(crate) election_timeout: Duration,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) pre_vote: bool,
    pub(crate) check_quorum: bool,
    pub(crate) commit_in_votes: bool,
    pub(crate) commit_notify: CommitNotify,
    pub(crate) conf_refusal: ConfRefusal,
    /// A leader checks changes before it appends them; off only in scripts.
    pub(crate) conf_validation: bool,
    pub(crate) step_down_on_removal: bool,
    /// A node that knows no members takes a snapshot first, never entries.
    pub(crate) blank_needs_snapshot: bool,
    pub(crate) forward_in_core: bool,
    /// A vote is asked for only once the own term, vote and log are durable. // H11
    pub(crate) gate_votes: bool,
    /// A candidate asks those again who have not answered, once in a heartbeat interval.
    pub(crate) ask_again: bool,
    /// Every answered heartbeat makes a leader send again, not only one in a heartbeat interval.
    pub(crate) resend_each_heartbeat: bool,
    pub(crate) lease_reads: bool,
    pub(crate) lease: bool,
    pub(crate) lease_slack: Duration,
    pub(crate) apply_before_durable: bool,
    pub(crate) limits: Limits,
    pub(crate) append_bytes_max: u64,
    pub(crate) inflight_messages_max: usize,
    pub(crate) inflight_bytes_max: u64,
    pub(crate) uncommitted_bytes_max: u64,
    pub(crate) apply_bytes_max: u64,
    pub(crate) proposal_queue_max: usize,
    pub(crate) proposal_queue_bytes_max: usize,
    pub(crate) reads_pending_max: usize,
    pub(crate) log_cache_bytes: u64,
    pub(crate) log_bytes_max: u64,
    pub(crate) log_trailing_bytes: u64,
    pub(crate) snapshot_chunk_bytes: u32,
    pub(crate) snapshot_rate: u64,
    pub(crate) snapshots_sending_max: usize,
    pub(crate) disk_stall: Duration,
    pub(crate) promote_lag: u64,
    pub(crate) conf_timeout: Duration,
    pub(crate) propose_deadline: Duration,
    pub(crate) session_ttl_max: Duration,
    pub(crate) sessions_max: u32,
    pub(crate) session_window: u32,
    pub(crate) reply_bytes_max: u32,
}

impl Config {
    /// One machine: election timeout 300 ms.
    pub fn local() -> ConfigDraft {
        ConfigDraft::with_timeout(Duration::from_millis(300))
    }

    /// One data centre: election timeout 1 s.
    pub fn lan() -> ConfigDraft {
        ConfigDraft::with_timeout(Duration::from_secs(1))
    }

    /// Across regions: election timeout 3 s, 4 MiB in flight to each peer.
    pub fn wan() -> ConfigDraft {
        ConfigDraft::with_timeout(Duration::from_secs(3)).inflight_bytes_max(4 << 20)
    }

    /// The behaviour of the reference implementation, for its test scripts: no `PreVote`, no
    /// `CheckQuorum`, acknowledged commit notices, proposals forwarded by the core, no byte limits.
    /// A tick is 1 ms, a heartbeat 1 tick, an election timeout 3. Not for production.
    pub fn reference() -> ConfigDraft {
        let mut draft = ConfigDraft::with_timeout(Duration::from_millis(3));
        let c = &mut draft.config;
        c.heartbeat_interval = Duration::from_millis(1);
        c.pre_vote = false;
        c.check_quorum = false;
        c.commit_in_votes = false;
        c.commit_notify = CommitNotify::Append;
        c.conf_refusal = ConfRefusal::Noop;
        c.step_down_on_removal = false;
        c.blank_needs_snapshot = false;
        c.forward_in_core = true;
        c.gate_votes = false;
        c.ask_again = false;
        c.resend_each_heartbeat = true;
        c.limits = Limits::UNLIMITED;
        c.append_bytes_max = u64::MAX;
        c.inflight_messages_max = (1 << 31) - 1;
        c.inflight_bytes_max = u64::MAX;
        c.uncommitted_bytes_max = u64::MAX;
        c.apply_bytes_max = u64::MAX;
        c.log_cache_bytes = u64::MAX;
        draft.reference = true;
        draft
    }

    /// The election timeout T.
    #[must_use]
    pub const fn election_timeout_value(&self) -> Duration {
        self.election_timeout
    }

    /// What blocks of this group may hold.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }
}

/// Settings being chosen.
///
/// # Examples
/// ```
/// use quorate_raft::{Config, ConfigDraft};
///
/// let draft: ConfigDraft = Config::local().pre_vote(true).log_bytes_max(64 << 20);
/// assert!(draft.build().is_ok());
/// ```
#[derive(Clone, Debug)]
#[must_use = "a draft does nothing until it is built"]
pub struct ConfigDraft {
    config: Config,
    reference: bool,
}

/// One setter per line of the table: name, field, type, documentation.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $ty:ty;)*) => {
        impl ConfigDraft {$(
            $(#[$doc])*
            pub fn $name(mut self, value: $ty) -> Self {
                self.config.$name = value;
                self
            }
        )*}
    };
}

setters! {
    /// T, the election timeout: a follower without a leader for T to 2 T campaigns. Default 300 ms
    /// (local), 1 s (lan), 3 s (wan) · 10 ms–10 min · too small → needless elections · too large →
    /// long gaps after a crash. Set [`heartbeat_interval`](Self::heartbeat_interval) too.
    election_timeout: Duration;
    /// H, the interval of heartbeats. Default T/10 · 1 ms–T/2 · too small → load · too large → late
    /// detection, slow reads.
    heartbeat_interval: Duration;
    /// Ask before campaigning, so that a rejoining node does not depose a leader. Default on.
    pre_vote: bool;
    /// A leader that hears no quorum for T steps down, and followers that hear a leader refuse
    /// votes. Default on · off → stale leaders.
    check_quorum: bool;
    /// Lease reads: this node promises each leader it answers not to vote for another for T, and as
    /// a leader serves `Read::Lease` from such promises. Default off. Costs nothing while nobody
    /// reads; after a crash or a start elections take up to a tenth of T longer (the drift of a
    /// slewed clock). Needs [`check_quorum`](Self::check_quorum): without it a leader follows
    /// whoever comes with a higher term, while its voters, bound by their promises, elect nobody.
    /// May differ between members: those without it promise nothing and serve no leases.
    lease: bool;
    /// How long before a lease ends a leader stops to trust it: on top of the drift of the clocks,
    /// which is counted anyway, for what a clock does not know of itself. Default 10 ms · 0–T/2 ·
    /// too large → leases hardly ever hold.
    lease_slack: Duration;
    /// Votes tell the commit index, so that it survives a leader that died before spreading it.
    /// Default on.
    commit_in_votes: bool;
    /// How the commit index spreads when there is nothing else to send. Default `OneWay`.
    commit_notify: CommitNotify;
    /// What becomes of a membership change that a leader refuses. Default `Error`.
    conf_refusal: ConfRefusal;
    /// A leader that a membership change removed or demoted steps down. Default on · off → it leads
    /// on, idle, until another is elected.
    step_down_on_removal: bool;
    /// Entries may be handed out for application before the local disk has them. Default off · on →
    /// the application may run ahead of the local disk after a crash.
    apply_before_durable: bool;
    /// What one block may hold; the same on every member. Default 1 MiB less 4 KiB for
    /// entries, 512 KiB and 16,384
    /// entries a block. A block must fit the log ([`LogStore::block_bytes_max`]) and a frame.
    ///
    /// [`LogStore::block_bytes_max`]: crate::LogStore::block_bytes_max
    limits: Limits;
    /// Bytes of one append message. Default 512 KiB · ≥ 4 KiB · too small → many messages · too
    /// large → latency, memory.
    append_bytes_max: u64;
    /// Append messages in flight to a peer. Default 64 · 1–2³¹ · too small → bound by the round
    /// trip · too large → memory, drops at the transport.
    inflight_messages_max: usize;
    /// Append bytes in flight to a peer. Default 2 MiB (wan 4 MiB) · ≥ `append_bytes_max` · as
    /// above.
    inflight_bytes_max: u64;
    /// Bytes a leader appends beyond what its machine has applied; each entry counts 64 more than
    /// its data. Default 64 MiB · ≥ 1 entry · too small →
    /// early `Busy` · too large → memory.
    uncommitted_bytes_max: u64;
    /// Bytes handed out for application and not yet applied. Default 16 MiB · ≥ 1 entry · as above.
    /// When four times as many are committed and not applied, a leader refuses proposals
    /// ([`BusyWhy::Apply`](crate::BusyWhy::Apply)) and a follower stops acknowledging appends.
    apply_bytes_max: u64;
    /// Proposals waiting for the core. Default 8,192 · 1–1 Mi · too small → early `Busy`.
    proposal_queue_max: usize;
    /// Bytes of proposals waiting for the core. Default 16 MiB · ≥ 1 entry.
    proposal_queue_bytes_max: usize;
    /// Reads waiting for confirmation. Default 65,536 · 1–1 Mi · too small → early `Busy`.
    reads_pending_max: usize;
    /// Bytes of the log's end kept in memory. Default 32 MiB · 0–64 GiB · too small → loads from
    /// disk for lagging peers · too large → memory.
    log_cache_bytes: u64;
    /// Bytes of log after which a snapshot is made. Default 256 MiB · > `log_trailing_bytes` · too
    /// small → frequent snapshots · too large → replay time, disk.
    log_bytes_max: u64;
    /// Bytes of log kept behind a snapshot for followers that lag a little. Default 32 MiB.
    log_trailing_bytes: u64;
    /// Bytes of one snapshot chunk. Default 256 KiB · 4 KiB–4 MiB · too small → slow catch-up.
    snapshot_chunk_bytes: u32;
    /// Bytes a second of all snapshots that this node sends. Default 64 MiB/s · 0 (no limit), or
    /// 64 KiB/s and more · too small → a member that needs a snapshot waits for long, and the log
    /// may be compacted past it again · too large → the log shares wire and disk with it.
    snapshot_rate: u64;
    /// Snapshots that this node sends at the same time; other members wait for their turn. Default
    /// 2 · 1–64 · too small → members catch up one after the other · too large → memory, disk.
    snapshots_sending_max: usize;
    /// How long a write may take before a leader hands leadership over. Default T as the preset has
    /// it · ≥ 1 ms · too small → needless transfers · too large → clients wait for a disk that
    /// stands still.
    disk_stall: Duration;
    /// Bytes of log that a learner may lack when it is promoted. Default 1 MiB · too small → under
    /// load it may never be promoted · too large → commits wait for a voter that lags.
    promote_lag: u64;
    /// How long [`Members`] waits for a learner to catch up. Default 10 min. What it began goes on.
    ///
    /// [`Members`]: https://docs.rs/quorate-raft/latest/quorate_raft/struct.Members.html
    conf_timeout: Duration;
    /// How long a proposal or read looks for a leader before it gives up. Default 10 T · too small
    /// → failures during elections.
    propose_deadline: Duration;
    /// Longest time to live of a session opened from this node, in group time. Default 1 h ·
    /// 1 ms–1 year · too small → clients that pause find their session expired · too large → the
    /// sessions of clients that are gone stay in memory and snapshots.
    session_ttl_max: Duration;
    /// Sessions of the group when one is opened from this node; the least recently used makes room.
    /// Default 65,536 · 1–1 Mi · too small → sessions in use expire · too large → memory, snapshot
    /// size. Travels with the session, as do the next two: a member that is configured otherwise
    /// keeps the same table.
    sessions_max: u32;
    /// Requests of a session that may be under way. Default 1,024 · 1–65,536 · too small → clients
    /// wait for their own oldest request · too large → memory: replies are kept for that many.
    session_window: u32;
    /// Largest reply that is kept for a repeated request. Default 64 KiB · 0–16 MiB · too small →
    /// `Outcome::ReplyLost` · too large → memory, snapshot size.
    reply_bytes_max: u32;
}

impl ConfigDraft {
    fn with_timeout(t: Duration) -> Self {
        let config = Config {
            election_timeout: t,
            heartbeat_interval: t / 10,
            pre_vote: true,
            check_quorum: true,
            commit_in_votes: true,
            commit_notify: CommitNotify::OneWay,
            conf_refusal: ConfRefusal::Error,
            conf_validation: true,
            step_down_on_removal: true,
            blank_needs_snapshot: true,
            forward_in_core: false,
            gate_votes: true,
            ask_again: true,
            resend_each_heartbeat: false,
            lease_reads: false,
            lease: false,
            lease_slack: Duration::from_millis(10),
            apply_before_durable: false,
            limits: Limits::default(),
            append_bytes_max: 512 << 10,
            inflight_messages_max: 64,
            inflight_bytes_max: 2 << 20,
            uncommitted_bytes_max: 64 << 20,
            apply_bytes_max: 16 << 20,
            proposal_queue_max: 8_192,
            proposal_queue_bytes_max: 16 << 20,
            reads_pending_max: 65_536,
            log_cache_bytes: 32 << 20,
            log_bytes_max: 256 << 20,
            log_trailing_bytes: 32 << 20,
            snapshot_chunk_bytes: 256 << 10,
            snapshot_rate: 64 << 20,
            snapshots_sending_max: 2,
            disk_stall: t,
            promote_lag: 1 << 20,
            conf_timeout: Duration::from_secs(600),
            propose_deadline: t * 10,
            session_ttl_max: Duration::from_secs(3_600),
            sessions_max: 65_536,
            session_window: 1_024,
            reply_bytes_max: 64 << 10,
        };
        Self { config, reference: false }
    }

    /// For the test scripts: without, a leader appends any membership change.
    #[doc(hidden)]
    pub fn conf_validation(mut self, on: bool) -> Self {
        self.config.conf_validation = on;
        self
    }

    /// For the test scripts: a follower that believes in its leader's lease does not forget it.
    #[doc(hidden)]
    pub fn lease_reads(mut self, on: bool) -> Self {
        self.config.lease_reads = on;
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`ConfigError`] with every violation, not just the first.
    pub fn build(self) -> Result<Config, ConfigError> {
        let c = &self.config;
        let mut v = Vec::new();
        let mut check = |ok: bool, text: String| {
            if !ok {
                v.push(text);
            }
        };
        let (t, h) = (c.election_timeout, c.heartbeat_interval);
        let (t_min, h_min) = (Duration::from_millis(10), Duration::from_millis(1));
        check(
            self.reference || (t_min..=Duration::from_secs(600)).contains(&t),
            format!("election_timeout {t:?}: expected 10ms to 10min"),
        );
        check(
            h >= h_min && h <= t / 2,
            format!("heartbeat_interval {h:?}: expected 1ms to {:?}", t / 2),
        );
        check(!c.lease || c.check_quorum, "lease without check_quorum: expected both".to_owned());
        check(
            !c.lease || c.lease_slack <= t / 2,
            format!("lease_slack {:?}: expected 0ns to {:?}", c.lease_slack, t / 2),
        );
        let apply_min = if self.reference { 1 } else { 1 << 10 };
        let ranges = [
            ("append_bytes_max", c.append_bytes_max, 4 << 10, u64::MAX),
            ("inflight_messages_max", c.inflight_messages_max as u64, 1, 1 << 31),
            ("inflight_bytes_max", c.inflight_bytes_max, c.append_bytes_max, u64::MAX),
            ("uncommitted_bytes_max", c.uncommitted_bytes_max, 1 << 10, u64::MAX),
            ("apply_bytes_max", c.apply_bytes_max, apply_min, u64::MAX),
            ("proposal_queue_max", c.proposal_queue_max as u64, 1, 1 << 20),
            ("proposal_queue_bytes_max", c.proposal_queue_bytes_max as u64, 1 << 10, u64::MAX),
            ("reads_pending_max", c.reads_pending_max as u64, 1, 1 << 20),
            ("log_bytes_max", c.log_bytes_max, c.log_trailing_bytes.saturating_add(1), u64::MAX),
            ("snapshot_chunk_bytes", u64::from(c.snapshot_chunk_bytes), 4 << 10, 4 << 20),
            ("snapshots_sending_max", c.snapshots_sending_max as u64, 1, MEMBERS_MAX as u64),
            ("sessions_max", c.sessions_max.into(), 1, SessionLimits::SESSIONS_CEILING.into()),
            ("session_window", c.session_window.into(), 1, SessionLimits::WINDOW_CEILING.into()),
            ("reply_bytes_max", c.reply_bytes_max.into(), 0, SessionLimits::REPLY_CEILING.into()),
        ];
        check(
            c.snapshot_rate == 0 || c.snapshot_rate >= 64 << 10,
            format!("snapshot_rate {}: expected 0, or 65536 and more", c.snapshot_rate),
        );
        let ttl = c.session_ttl_max;
        check(
            (h_min..=YEAR).contains(&ttl),
            format!("session_ttl_max {ttl:?}: expected 1ms to {YEAR:?}"),
        );
        for (name, value, min, max) in ranges {
            check((min..=max).contains(&value), format!("{name} {value}: expected {min} to {max}"));
        }
        if v.is_empty() { Ok(self.config) } else { Err(ConfigError { violations: v }) }
    }
}

/// Every setting that is out of range.
///
/// # Examples
/// ```
/// use quorate_raft::{Config, ConfigError};
///
/// let e: ConfigError = Config::lan().inflight_messages_max(0).build().unwrap_err();
/// assert_eq!(e.to_string(), "inflight_messages_max 0: expected 1 to 2147483648");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    violations: Vec<String>,
}

impl ConfigError {
    /// One line per violation.
    #[must_use]
    pub fn violations(&self) -> &[String] {
        &self.violations
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.violations.join("; "))
    }
}

impl core::error::Error for ConfigError {}
