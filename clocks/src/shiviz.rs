//! [`ShivizLog`]: events with their vector clocks, in the text that `ShiViz` draws as a space-time
//! diagram.

use crate::{Dot, VectorClock};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::Write;
use std::string::String;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

const HOSTS_MAX: usize = 4_096;
const NAME_BYTES_MAX: usize = 64;

/// A host of one [`ShivizLog`]; in another log it is somebody else.
///
/// # Examples
/// ```
/// use quorate_clocks::ShivizLog;
///
/// let log = ShivizLog::new(Vec::new());
/// let [a, b] = ["a", "b"].map(|name| log.host(name).unwrap());
/// assert_ne!(a, b);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(u16);

/// Writes the events of a distributed execution, each with its vector clock.
///
/// Two lines for each event: the host and its clock as JSON, then what happened. That is the form
/// `ShiViz` reads without any setting, `(?<host>\S*) (?<clock>{.*})\n(?<event>.*)`. A host's own
/// entry rises by exactly 1 for each of its events, from 1; anything else is refused.
///
/// Mostly used by way of [`TraceProcess`]es. Shared by reference, also between threads.
///
/// # Cost
/// One `write_all` for each event, under a lock; the caller brings a `BufWriter` if that is slow.
///
/// # Limits
/// 4,096 hosts with names of 1 to 64 characters out of `A-Z a-z 0-9 _ . : -`. Line ends and other
/// control characters in texts are written as `\u{..}`. // H32
///
/// # Examples
/// ```
/// use quorate_clocks::{ShivizLog, VectorClock};
///
/// let log = ShivizLog::new(Vec::new());
/// let host = log.host("db:1")?;
/// let mut clock = VectorClock::new();
/// clock.tick(host);
/// log.event(host, &clock, "opened\nthe log")?;
/// let text = String::from_utf8(log.into_inner()).unwrap();
/// assert_eq!(text, "db:1 {\"db:1\":1}\nopened\\u{a}the log\n");
/// # Ok::<(), quorate_clocks::TraceError>(())
/// ```
///
/// # Source
/// Beschastnikh et al. 2016, "Debugging distributed systems" (`ShiViz`).
#[derive(Debug)]
pub struct ShivizLog<W> {
    state: Mutex<State<W>>,
}

#[derive(Debug)]
struct State<W> {
    out: W,
    /// By number: name, and how many events it has had.
    hosts: Vec<(String, u64)>,
    numbers: BTreeMap<String, HostId>,
    /// A write failed half way, so the text may end within a line.
    broken: bool,
}

impl<W: Write> ShivizLog<W> {
    /// A log without hosts; nothing is written yet.
    #[must_use]
    pub const fn new(out: W) -> Self {
        let numbers = BTreeMap::new();
        Self { state: Mutex::new(State { out, hosts: Vec::new(), numbers, broken: false }) }
    }

    /// Adds a host.
    ///
    /// # Errors
    /// [`TraceError::Name`], [`TraceError::Known`], [`TraceError::Full`].
    pub fn host(&self, name: &str) -> Result<HostId, TraceError> {
        let mut state = self.lock();
        // A blank or a line end in a name would be read as another event. // H32
        let fine = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(fine) {
            return Err(TraceError::Name { name: name.escape_debug().take(80).collect() });
        }
        if state.numbers.contains_key(name) {
            return Err(TraceError::Known { name: name.into() });
        }
        let number = u16::try_from(state.hosts.len()).ok().filter(|n| usize::from(*n) < HOSTS_MAX);
        let id = HostId(number.ok_or(TraceError::Full { limit: HOSTS_MAX })?);
        state.hosts.push((name.into(), 0));
        state.numbers.insert(name.into(), id);
        Ok(id)
    }

    /// Writes one event of `host` with the clock it had after it.
    ///
    /// # Errors
    /// [`TraceError::Unknown`] if the clock names a host of another log, [`TraceError::Skipped`] if
    /// the host's own entry is not one more than at its last event, [`TraceError::Io`] and from
    /// then on [`TraceError::Broken`].
    pub fn event(
        &self,
        host: HostId,
        clock: &VectorClock<HostId>,
        text: &str,
    ) -> Result<(), TraceError> {
        let mut state = self.lock();
        if state.broken {
            return Err(TraceError::Broken);
        }
        let (name, have) = state.known(host)?;
        let got = clock.get(host);
        if got != have + 1 {
            return Err(TraceError::Skipped { name: name.into(), have, got });
        }
        let lines = state.lines(name, clock, text)?;
        if let Err(error) = state.out.write_all(lines.as_bytes()) {
            state.broken = true;
            return Err(TraceError::Io(error));
        }
        state.hosts[usize::from(host.0)].1 = got;
        Ok(())
    }

    /// Gives the writer back; nothing is buffered here.
    pub fn into_inner(self) -> W {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).out
    }

    /// No writer leaves the state half changed, so a panic of one does not matter.
    fn lock(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W> State<W> {
    fn known(&self, host: HostId) -> Result<(&str, u64), TraceError> {
        let known = self.hosts.get(usize::from(host.0));
        let (name, events) = known.ok_or(TraceError::Unknown { number: host.0 })?;
        Ok((name, *events))
    }

    fn lines(
        &self,
        name: &str,
        clock: &VectorClock<HostId>,
        text: &str,
    ) -> Result<String, TraceError> {
        let mut lines = String::from(name);
        for (at, Dot { actor, counter }) in clock.iter().enumerate() {
            lines.push_str(if at == 0 { " {\"" } else { ", \"" });
            lines.push_str(self.known(actor)?.0);
            // Writing to a String does not fail.
            let _ = write!(lines, "\":{counter}");
        }
        lines.push_str("}\n");
        for c in text.chars() {
            // The dot of the reader's expression stops at the two separators as well. // H32
            if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
                lines.extend(c.escape_unicode());
            } else {
                lines.push(c);
            }
        }
        lines.push('\n');
        Ok(lines)
    }
}

/// One process that writes its events to a [`ShivizLog`] and carries its own clock.
///
/// # Examples
/// ```
/// use quorate_clocks::{ShivizLog, TraceProcess};
///
/// let log = ShivizLog::new(Vec::new());
/// let mut ada = TraceProcess::new(&log, "ada")?;
/// let mut bob = TraceProcess::new(&log, "bob")?;
/// let stamp = ada.send("asks")?; // travels with the message
/// bob.receive(stamp, "hears")?;
/// bob.local("thinks")?;
/// let text = String::from_utf8(log.into_inner()).unwrap();
/// assert_eq!(text.lines().nth(2), Some("bob {\"ada\":1, \"bob\":1}"));
/// # Ok::<(), quorate_clocks::TraceError>(())
/// ```
#[derive(Debug)]
pub struct TraceProcess<'a, W> {
    log: &'a ShivizLog<W>,
    host: HostId,
    clock: VectorClock<HostId>,
}

impl<'a, W: Write> TraceProcess<'a, W> {
    /// A process without events, with a name that no other one in the log has.
    ///
    /// # Errors
    /// Those of [`ShivizLog::host`].
    pub fn new(log: &'a ShivizLog<W>, name: &str) -> Result<Self, TraceError> {
        Ok(Self { log, host: log.host(name)?, clock: VectorClock::new() })
    }

    /// Something happened here.
    ///
    /// # Errors
    /// [`TraceError::Io`], [`TraceError::Broken`]; the process is as it was.
    pub fn local(&mut self, text: &str) -> Result<(), TraceError> {
        self.event(self.clock.clone(), text)
    }

    /// A message leaves; the stamp goes with it.
    ///
    /// # Errors
    /// [`TraceError::Io`], [`TraceError::Broken`]; the process is as it was.
    pub fn send(&mut self, text: &str) -> Result<TraceStamp, TraceError> {
        self.local(text)?;
        Ok(TraceStamp { clock: self.clock.clone() })
    }

    /// A message arrived with this stamp.
    ///
    /// # Errors
    /// [`TraceError::Io`], [`TraceError::Broken`], and [`TraceError::Unknown`] for a stamp of
    /// another log; the process is as it was.
    pub fn receive(&mut self, stamp: TraceStamp, text: &str) -> Result<(), TraceError> {
        let mut clock = stamp.clock;
        clock.merge(&self.clock);
        self.event(clock, text)
    }

    fn event(&mut self, mut clock: VectorClock<HostId>, text: &str) -> Result<(), TraceError> {
        clock.tick(self.host);
        self.log.event(self.host, &clock, text)?;
        self.clock = clock;
        Ok(())
    }
}

/// What a traced message carries. Clone it for a message to several.
///
/// # Examples
/// ```
/// use quorate_clocks::{ShivizLog, TraceProcess};
///
/// let log = ShivizLog::new(Vec::new());
/// let mut leader = TraceProcess::new(&log, "leader")?;
/// let stamp = leader.send("append 7")?;
/// for name in ["follower-1", "follower-2"] {
///     TraceProcess::new(&log, name)?.receive(stamp.clone(), "appended 7")?;
/// }
/// # Ok::<(), quorate_clocks::TraceError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the message it belongs to carries it to its receiver"]
pub struct TraceStamp {
    clock: VectorClock<HostId>,
}

/// Why something was not written to a [`ShivizLog`].
///
/// # Examples
/// ```
/// use quorate_clocks::{ShivizLog, TraceError};
///
/// let log = ShivizLog::new(Vec::new());
/// let error = log.host("two words").unwrap_err();
/// assert!(matches!(error, TraceError::Name { .. }));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum TraceError {
    /// Effect: no host was added. The name is empty, too long, or has a character that would end
    /// it; a retry fails again.
    Name {
        /// Its beginning, escaped.
        name: String,
    },
    /// Effect: no host was added. Another one has this name; a retry fails again.
    Known {
        /// The name.
        name: String,
    },
    /// Effect: no host was added. There are as many as a log takes.
    Full {
        /// How many.
        limit: usize,
    },
    /// Effect: nothing was written. The log has no host of this number: it is one of another log.
    Unknown {
        /// The number.
        number: u16,
    },
    /// Effect: nothing was written. The host's own entry is not one more than at its last event.
    Skipped {
        /// Whose.
        name: String,
        /// Its events so far.
        have: u64,
        /// What the clock says.
        got: u64,
    },
    /// Effect: part of the event may stand in the log, which takes no more.
    Io(std::io::Error),
    /// Effect: nothing was written. An earlier write failed; begin another log.
    Broken,
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { name } => write!(f, "`{name}` cannot be the name of a host"),
            Self::Known { name } => write!(f, "there is a host `{name}` already"),
            Self::Full { limit } => write!(f, "the log has its {limit} hosts"),
            Self::Unknown { number } => write!(f, "the log has no host {number}"),
            Self::Skipped { name, have, got } => {
                write!(f, "event {got} of `{name}` follows its event {have}")
            }
            Self::Io(error) => write!(f, "the event was not written: {error}"),
            Self::Broken => f.write_str("an earlier event was not written"),
        }
    }
}

impl std::error::Error for TraceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}
