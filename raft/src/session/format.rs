//! The session table in a snapshot file. Layout: FORMAT.md. The file's checksum covers it.

use super::{FrozenSessions, Kept, SessionTable, State};
use crate::SessionId;
use crate::session::SessionLimits;
use bytes::{Buf as _, BufMut as _};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};

const VERSION: u32 = 1;
const HEAD_LEN: usize = 8;
const SESSION_LEN: usize = 48;
const REPLY_LEN: usize = 16;
/// In place of a reply's length: it was too large to keep.
const TOO_LARGE: u32 = u32::MAX;

impl FrozenSessions {
    /// Bytes that [`write_to`](Self::write_to) writes; none without sessions.
    #[must_use]
    pub fn encoded_bytes(&self) -> u64 {
        if self.sessions.len() == 0 {
            return 0;
        }
        let sessions = self.sessions.sorted();
        let replies = sessions.iter().flat_map(|(_, state)| state.replies.values());
        let replies: u64 = replies.map(|kept| REPLY_LEN as u64 + kept.bytes().len() as u64).sum();
        (HEAD_LEN + self.sessions.len() * SESSION_LEN) as u64 + replies
    }

    /// Writes the table as a snapshot file holds it.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.sessions.len() == 0 {
            return Ok(());
        }
        let mut head = Vec::with_capacity(HEAD_LEN);
        head.put_u32_le(VERSION);
        head.put_u32_le(count(self.sessions.len()));
        out.write_all(&head)?;
        let sessions = self.sessions.sorted();
        sessions.into_iter().try_for_each(|(id, state)| write_session(id, state, out))
    }
}

/// Lengths of what the limits keep far below a u32.
fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

impl Kept {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Reply(reply) => reply,
            // Between two batches nothing is pending.
            Self::TooLarge | Self::Pending => &[],
        }
    }
}

fn write_session(id: SessionId, state: &State, out: &mut dyn Write) -> io::Result<()> {
    let mut head = Vec::with_capacity(SESSION_LEN);
    for word in [id.value(), state.ttl_ms, state.used_ms, state.low] {
        head.put_u64_le(word);
    }
    for half in [state.window, state.reply_bytes_max, count(state.replies.len()), 0] {
        head.put_u32_le(half);
    }
    out.write_all(&head)?;
    for (seq, kept) in &state.replies {
        let len = match kept {
            Kept::Reply(reply) => count(reply.len()),
            Kept::TooLarge | Kept::Pending => TOO_LARGE,
        };
        let mut head = [0_u8; REPLY_LEN];
        let mut fields = &mut head[..];
        fields.put_u64_le(*seq);
        fields.put_u32_le(len);
        out.write_all(&head)?;
        out.write_all(kept.bytes())?;
    }
    Ok(())
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("session table: {what}"))
}

/// What is left of the section. Nothing is allocated that it cannot hold.
struct Section<'a> {
    input: &'a mut dyn Read,
    left: u64,
}

impl Section<'_> {
    /// Fails before anything is read if the section is too short for `bytes`.
    fn expect(&self, bytes: u64) -> io::Result<()> {
        if bytes > self.left { Err(invalid("truncated")) } else { Ok(()) }
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.expect(N as u64)?;
        self.input.read_exact(&mut bytes)?;
        self.left -= N as u64;
        Ok(bytes)
    }

    fn bytes(&mut self, len: u32) -> io::Result<Vec<u8>> {
        self.expect(u64::from(len))?;
        let mut bytes = vec![0; len as usize];
        self.input.read_exact(&mut bytes)?;
        self.left -= u64::from(len);
        Ok(bytes)
    }

    fn session(&mut self) -> io::Result<(SessionId, State)> {
        let head = self.array::<SESSION_LEN>()?;
        let mut r = &head[..];
        let id = SessionId::new(r.get_u64_le());
        let (ttl_ms, used_ms, low) = (r.get_u64_le(), r.get_u64_le(), r.get_u64_le());
        let (window, reply_bytes_max) = (r.get_u32_le(), r.get_u32_le());
        let (replies, zero) = (r.get_u32_le(), r.get_u32_le());
        let in_range = (1..=SessionLimits::WINDOW_CEILING).contains(&window)
            && reply_bytes_max <= SessionLimits::REPLY_CEILING
            && ttl_ms > 0
            && id > SessionId::ZERO;
        if !in_range || replies > window || zero != 0 {
            return Err(invalid("session out of range"));
        }
        self.expect(u64::from(replies) * REPLY_LEN as u64)?;
        let state =
            State { ttl_ms, window, reply_bytes_max, used_ms, low, replies: BTreeMap::new() };
        self.replies(state, replies).map(|state| (id, state))
    }

    fn replies(&mut self, mut state: State, replies: u32) -> io::Result<State> {
        let (mut before, last) = (state.low, state.low.saturating_add(u64::from(state.window)));
        for _ in 0..replies {
            let head = self.array::<REPLY_LEN>()?;
            let mut r = &head[..];
            let (seq, len, zero) = (r.get_u64_le(), r.get_u32_le(), r.get_u32_le());
            if seq <= before || seq > last || zero != 0 {
                return Err(invalid("reply out of order"));
            }
            before = seq;
            let kept = match len {
                TOO_LARGE => Kept::TooLarge,
                len if len > state.reply_bytes_max => return Err(invalid("reply too large")),
                len => Kept::Reply(self.bytes(len)?.into()),
            };
            state.replies.insert(seq, kept);
        }
        Ok(state)
    }
}

impl SessionTable {
    /// The table of a snapshot file's section, which is `bytes` long.
    ///
    /// # Errors
    /// `InvalidData` if it is not one of this version; those of `input`. Lengths are checked
    /// against what is left before anything is allocated.
    pub fn read_from(input: &mut dyn Read, bytes: u64) -> io::Result<Self> {
        let mut table = Self::new();
        if bytes == 0 {
            return Ok(table);
        }
        let mut section = Section { input, left: bytes };
        let head = section.array::<HEAD_LEN>()?;
        let mut r = &head[..];
        let (version, sessions) = (r.get_u32_le(), r.get_u32_le());
        if version != VERSION {
            return Err(invalid(&format!("version {version}, expected {VERSION}")));
        }
        if sessions == 0 || sessions > SessionLimits::SESSIONS_CEILING {
            return Err(invalid("number of sessions"));
        }
        section.expect(u64::from(sessions) * SESSION_LEN as u64)?;
        let mut before = SessionId::ZERO;
        for _ in 0..sessions {
            let (id, state) = section.session()?;
            if id <= before {
                return Err(invalid("sessions out of order"));
            }
            before = id;
            table.insert(id, state);
        }
        if section.left > 0 {
            return Err(invalid("trailing bytes"));
        }
        Ok(table)
    }
}
