//! A node that writes down all it sends and hears on its lanes, and what must hold of that.

use quorate_sim::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub(crate) const CHANNEL: ChannelId = ChannelId::new(16);

/// What one life of a node did and heard, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Accepted { to: u64, lane: Lane, number: u64 },
    Refused { to: u64, error: SendError },
    Up { peer: u64, life: u64, lane: Lane, session: u64 },
    Down { peer: u64, lane: Lane, session: u64 },
    Got { from: u64, life: u64, lane: Lane, sent_by: u64, number: u64 },
}

/// By node and life.
pub(crate) type Lives = BTreeMap<(u64, u64), Vec<(SimTime, Entry)>>;

/// Everything that all nodes wrote down.
#[derive(Clone, Default)]
pub(crate) struct Log(Rc<RefCell<Lives>>);

impl Log {
    fn write(&self, ctx: &mut Ctx<'_>, entry: Entry) {
        let key = (ctx.id().value(), ctx.incarnation().value());
        let at = ctx.true_time();
        self.0.borrow_mut().entry(key).or_default().push((at, entry));
    }

    pub(crate) fn lives(&self) -> Lives {
        self.0.borrow().clone()
    }

    /// What one node heard on all lanes from another, in any life.
    pub(crate) fn got(&self, node: u64, from: u64) -> Vec<(SimTime, u64)> {
        let lives = self.lives();
        let of_node = lives.into_iter().filter(|((of, _), _)| *of == node);
        let entries = of_node.flat_map(|(_, entries)| entries);
        let got = entries.filter_map(|(at, entry)| match entry {
            Entry::Got { from: sender, number, .. } if sender == from => Some((at, number)),
            _ => None,
        });
        got.collect()
    }

    /// When a node saw which sessions with a peer begin and end.
    pub(crate) fn links(&self, node: u64, with: u64) -> Vec<(SimTime, bool, u64)> {
        let lives = self.lives();
        let of_node = lives.into_iter().filter(|((of, _), _)| *of == node);
        let entries = of_node.flat_map(|(_, entries)| entries);
        let links = entries.filter_map(|(at, entry)| match entry {
            Entry::Up { peer, session, .. } if peer == with => Some((at, true, session)),
            Entry::Down { peer, session, .. } if peer == with => Some((at, false, session)),
            _ => None,
        });
        links.collect()
    }
}

/// Sends numbered messages when the test says so.
pub(crate) struct Talker {
    log: Log,
    numbers: BTreeMap<(u64, usize), u64>,
}

impl Talker {
    pub(crate) fn new(log: &Log) -> Self {
        Self { log: log.clone(), numbers: BTreeMap::new() }
    }

    /// Sends so many bytes; the number of the message, if it was accepted.
    pub(crate) fn say(
        &mut self,
        ctx: &mut Ctx<'_>,
        to: u64,
        lane: Lane,
        len: usize,
    ) -> Result<u64, SendError> {
        let next = self.numbers.entry((to, lane.index())).or_insert(0);
        let (id, life) = (ctx.id().value(), ctx.incarnation().value());
        let mut body: Vec<u8> =
            [id, life, to, *next].iter().flat_map(|word| word.to_le_bytes()).collect();
        body.resize(len.max(32), 0xa5);
        match ctx.send(NodeId::new(to), lane, CHANNEL, body) {
            Ok(()) => {
                let number = *next;
                *next += 1;
                self.log.write(ctx, Entry::Accepted { to, lane, number });
                Ok(number)
            }
            Err(error) => {
                self.log.write(ctx, Entry::Refused { to, error });
                Err(error)
            }
        }
    }
}

impl Node for Talker {
    fn on_message(&mut self, ctx: &mut Ctx<'_>, from: Peer, lane: Lane, _: ChannelId, body: Bytes) {
        let word = |i: usize| u64::from_le_bytes(body[i * 8..i * 8 + 8].try_into().unwrap());
        assert_eq!((word(0), word(2)), (from.node.value(), ctx.id().value()), "a message strayed");
        assert!(body[32..].iter().all(|byte| *byte == 0xa5), "a body was altered");
        let (life, sent_by) = (from.incarnation.value(), word(1));
        let entry = Entry::Got { from: from.node.value(), life, lane, sent_by, number: word(3) };
        self.log.write(ctx, entry);
    }

    fn on_link(&mut self, ctx: &mut Ctx<'_>, event: &LinkEvent) {
        let entry = match event {
            LinkEvent::Up { peer, lane, session } => Entry::Up {
                peer: peer.node.value(),
                life: peer.incarnation.value(),
                lane: *lane,
                session: session.value(),
            },
            LinkEvent::Down { node, lane, session, .. } => {
                Entry::Down { peer: node.value(), lane: *lane, session: session.value() }
            }
            other => panic!("{other:?}"),
        };
        self.log.write(ctx, entry);
    }
}

/// A session as one end saw it.
#[derive(Clone, Debug, Default)]
pub(crate) struct End {
    /// The peer's life.
    pub(crate) with: (u64, u64),
    pub(crate) down: bool,
    pub(crate) got: Vec<u64>,
    /// Accepted while it was up.
    pub(crate) accepted: Vec<u64>,
}

/// What was covered, so that a test can ask for enough of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) messages: u64,
    pub(crate) sessions: u64,
    pub(crate) cut_short: u64,
}

/// Holds a log against the contract of lanes; `quiet` says that the world was healed and had time
/// to settle.
pub(crate) fn judge(lives: &Lives, quiet: bool) -> Counted {
    let mut ends: BTreeMap<(u64, (u64, u64)), End> = BTreeMap::new();
    let mut newest: BTreeMap<(u64, u64, u64, usize), u64> = BTreeMap::new();
    let mut counted = Counted::default();
    for (me, entries) in lives {
        let mut open: BTreeMap<(u64, usize), u64> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (at, entry) in entries {
            let context = format!("node {} in life {} at {at}: {entry:?}", me.0, me.1);
            match *entry {
                Entry::Up { peer, life, lane, session } => {
                    let before = open.insert((peer, lane.index()), session);
                    assert_eq!(before, None, "two ups without a down: {context}");
                    assert!(seen.insert(session), "up twice: {context}");
                    let end = End { with: (peer, life), ..End::default() };
                    ends.insert((session, *me), end);
                }
                Entry::Down { peer, lane, session } => {
                    let before = open.remove(&(peer, lane.index()));
                    assert_eq!(before, Some(session), "down of what was not up: {context}");
                    ends.get_mut(&(session, *me)).unwrap().down = true;
                }
                Entry::Got { from, life, lane, sent_by, number } => {
                    let session = open.get(&(from, lane.index()));
                    let session = *session.unwrap_or_else(|| panic!("no session: {context}"));
                    let end = ends.get_mut(&(session, *me)).unwrap();
                    assert_eq!(
                        (from, life),
                        end.with,
                        "another life than the session's: {context}"
                    );
                    assert_eq!(life, sent_by, "a message under a wrong name: {context}");
                    end.got.push(number);
                    counted.messages += 1;
                    let last = newest.insert((me.0, from, life, lane.index()), number);
                    assert!(last.is_none_or(|last| last < number), "again or late: {context}");
                }
                Entry::Accepted { to, lane, number } => {
                    if let Some(session) = open.get(&(to, lane.index())) {
                        ends.get_mut(&(*session, *me)).unwrap().accepted.push(number);
                    }
                }
                Entry::Refused { .. } => {}
            }
        }
    }
    judge_sessions(lives, &ends, quiet, &mut counted);
    counted
}

fn judge_sessions(
    lives: &Lives,
    ends: &BTreeMap<(u64, (u64, u64)), End>,
    quiet: bool,
    counted: &mut Counted,
) {
    let last_life = |node: u64| lives.keys().filter(|(of, _)| *of == node).map(|key| key.1).max();
    for ((session, me), end) in ends {
        let context = format!("session {session} from {me:?} to {:?}", end.with);
        let whole = end.got.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        assert!(whole, "a message is missing within {context}: {:?}", end.got);
        counted.sessions += 1;
        let Some(other) = ends.get(&(*session, end.with)) else { continue };
        assert_eq!(other.with, *me, "the ends of {context} differ");
        // What I accepted while it was up, and what of that the other end got on it.
        let mine: BTreeSet<u64> = end.accepted.iter().copied().collect();
        let arrived: Vec<u64> = other.got.iter().copied().filter(|n| mine.contains(n)).collect();
        assert_eq!(arrived, end.accepted[..arrived.len()], "no prefix in {context}");
        counted.cut_short += u64::from(arrived.len() < end.accepted.len());
        let alive = |of: (u64, u64)| last_life(of.0) == Some(of.1);
        if quiet && alive(*me) && alive(end.with) {
            assert_eq!(end.down, other.down, "only one end learned of the end of {context}");
            if !end.down {
                assert_eq!(arrived, end.accepted, "messages are missing in {context}");
            }
        }
    }
}
