//! What clients ask for, and how that looks on the wire and in the log.

use quorate_sim::specs::{KvOp, KvRet};
use quorate_sim::{Answer, Bytes, CallError, ClientWork, NodeId, Rng};
use std::collections::BTreeMap;
use std::time::Duration;

/// Registers of a group.
pub(crate) const KEYS: usize = 6;

/// A client that asks any node: for reads, writes of values that nobody else writes, and swaps of
/// what it saw last.
#[derive(Clone)]
pub(crate) struct Asks {
    servers: Vec<NodeId>,
    /// The next value it writes.
    fresh: i64,
    /// What each register held when it last heard.
    seen: [i64; KEYS],
}

impl Asks {
    pub(crate) fn new(id: NodeId, servers: &[NodeId]) -> Self {
        let fresh = i64::try_from(id.value()).unwrap() * 100_000;
        Self { servers: servers.to_vec(), fresh, seen: [0; KEYS] }
    }

    fn saw(&mut self, op: &KvOp, value: i64) {
        if let Some(at) = op.key().strip_prefix("key-").and_then(|n| n.parse::<usize>().ok()) {
            self.seen[at] = value;
        }
    }
}

impl ClientWork for Asks {
    type Op = KvOp;
    type Ret = KvRet;

    fn servers(&self, _: &KvOp) -> Vec<NodeId> {
        self.servers.clone()
    }

    fn next(&mut self, rng: &mut Rng) -> KvOp {
        let at = rng.index(KEYS);
        let key = format!("key-{at}");
        self.fresh += 1;
        match rng.below(10) {
            0..5 => KvOp::read(key),
            5..8 => KvOp::write(key, self.fresh),
            _ => KvOp::cas(key, self.seen[at], self.fresh),
        }
    }

    fn request(&mut self, op: &KvOp) -> Bytes {
        encode(op).into()
    }

    fn read(&mut self, op: &KvOp, body: &Bytes) -> KvRet {
        let Some(Said::Done(ret)) = Said::decode(body) else { panic!("not an answer: {body:?}") };
        match (op, ret) {
            (_, KvRet::Value(Some(value))) => self.saw(op, value),
            (KvOp::Write { value, .. }, _) => self.saw(op, *value),
            (KvOp::Cas { new, .. }, KvRet::Swapped(true)) => self.saw(op, *new),
            _ => {}
        }
        ret
    }

    fn classify(&mut self, op: &KvOp, answer: &Result<Bytes, CallError>) -> Answer<KvRet> {
        let changes_nothing = matches!(op, KvOp::Read { .. });
        match answer {
            Ok(body) => match Said::decode(body) {
                Some(Said::AskAt(node)) => Answer::Redirect(node),
                Some(Said::Refused) => Answer::Failed,
                _ => Answer::Ok(self.read(op, body)),
            },
            Err(error) if error.is_definite() || changes_nothing => Answer::Failed,
            Err(_) => Answer::Unknown,
        }
    }

    fn deadline(&self) -> Duration {
        Duration::from_millis(300)
    }

    fn think(&self) -> Duration {
        Duration::from_millis(15)
    }
}

/// An operation as words.
fn encode(op: &KvOp) -> String {
    match op {
        KvOp::Write { key, value } => format!("write {key} {value}"),
        KvOp::Cas { key, expected, new } => format!("cas {key} {expected} {new}"),
        KvOp::Read { key } | KvOp::Delete { key } => format!("read {key}"),
    }
}

/// `None`: not an operation, such as what a leader appends on its own.
pub(crate) fn decode(bytes: &[u8]) -> Option<KvOp> {
    let text = std::str::from_utf8(bytes).ok()?;
    let words: Vec<&str> = text.split(' ').collect();
    let number = |word: &str| word.parse::<i64>().ok();
    match words[..] {
        ["read", key] => Some(KvOp::read(key)),
        ["write", key, value] => Some(KvOp::write(key, number(value)?)),
        ["cas", key, expected, new] => Some(KvOp::cas(key, number(expected)?, number(new)?)),
        _ => None,
    }
}

/// Does what the operation asks for.
pub(crate) fn change(values: &mut BTreeMap<String, i64>, op: &KvOp) -> KvRet {
    let held = values.get(op.key()).copied();
    match op {
        KvOp::Write { key, value } => {
            values.insert(key.to_string(), *value);
            KvRet::Done
        }
        KvOp::Cas { key, expected, new } => {
            let swaps = held == Some(*expected);
            if swaps {
                values.insert(key.to_string(), *new);
            }
            KvRet::Swapped(swaps)
        }
        KvOp::Read { .. } | KvOp::Delete { .. } => KvRet::Value(held),
    }
}

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Done(KvRet),
    /// It was not done, and will not be.
    Refused,
    AskAt(NodeId),
}

impl Said {
    pub(crate) fn encode(self) -> Bytes {
        match self {
            Self::Done(KvRet::Value(None)) => "unset".into(),
            Self::Done(KvRet::Value(Some(value))) => format!("value {value}").into(),
            Self::Done(KvRet::Done) => "written".into(),
            Self::Done(KvRet::Swapped(yes)) => format!("swapped {yes}").into(),
            Self::Refused => "refused".into(),
            Self::AskAt(node) => format!("ask {node}").into(),
        }
    }

    pub(crate) fn decode(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        match text.split_once(' ').unwrap_or((text, "")) {
            ("unset", _) => Some(Self::Done(KvRet::Value(None))),
            ("value", value) => Some(Self::Done(KvRet::Value(Some(value.parse().ok()?)))),
            ("written", _) => Some(Self::Done(KvRet::Done)),
            ("swapped", yes) => Some(Self::Done(KvRet::Swapped(yes.parse().ok()?))),
            ("refused", _) => Some(Self::Refused),
            ("ask", node) => Some(Self::AskAt(NodeId::new(node.parse().ok()?))),
            _ => None,
        }
    }
}
