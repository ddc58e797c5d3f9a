//! `serde` for actors, dots and vectors: canonical forms only, as in the byte forms.
//!
//! Counters and a [`Replica`] are text in human-readable formats. Other ids are the caller's own
//! type, in its own form: a `u64` is a bare number, good up to 2⁵³ where JSON readers use doubles.

use crate::codec::ENTRIES_MAX;
use crate::entries::Entries;
use crate::{Actor, Dot, Replica, VectorClock, VersionVector};
use alloc::string::{String, ToString};
use core::fmt;
use core::marker::PhantomData;
use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Digits without a sign or leading zeros, so that one number has one text.
fn number(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|number| number.to_string() == text)
}

/// A counter: text in human-readable formats, as a JSON number loses bits above 2⁵³. // H29
struct Counter(u64);

impl Serialize for Counter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(&self.0)
        } else {
            serializer.serialize_u64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Counter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let counter = if deserializer.is_human_readable() {
            number(&String::deserialize(deserializer)?)
        } else {
            Some(u64::deserialize(deserializer)?)
        };
        let counter = counter.filter(|counter| *counter > 0);
        counter.map(Self).ok_or_else(|| D::Error::custom("a counter is a number from 1 on"))
    }
}

/// `"node.incarnation"` in human-readable formats, a pair of numbers otherwise.
impl Serialize for Replica {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            (self.node, self.incarnation).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Replica {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parts = if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.split_once('.').and_then(|(node, life)| Some((number(node)?, number(life)?)))
        } else {
            Some(<(u64, u64)>::deserialize(deserializer)?)
        };
        let parts = parts.map(|(node, incarnation)| Self { node, incarnation });
        parts.ok_or_else(|| D::Error::custom("a replica is written node.incarnation"))
    }
}

/// A pair of actor and counter.
impl<A: Serialize> Serialize for Dot<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.actor, Counter(self.counter)).serialize(serializer)
    }
}

impl<'de, A: Deserialize<'de>> Deserialize<'de> for Dot<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (actor, Counter(counter)) = Deserialize::deserialize(deserializer)?;
        Ok(Self { actor, counter })
    }
}

impl<A: Actor + Serialize> Serialize for Entries<Dot<A>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.len()))?;
        for entry in self.as_slice() {
            list.serialize_element(entry)?;
        }
        list.end()
    }
}

struct InOrder<A>(PhantomData<A>);

impl<'de, A: Actor + Deserialize<'de>> Visitor<'de> for InOrder<A> {
    type Value = Entries<Dot<A>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {ENTRIES_MAX} pairs of actor and counter, by actor")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Self::Value, S::Error> {
        let mut entries = Entries::new();
        // What the list says of its length is not believed: it grows with what is there.
        while let Some(entry) = list.next_element::<Dot<A>>()? {
            if entries.len() == ENTRIES_MAX {
                return Err(S::Error::invalid_length(ENTRIES_MAX + 1, &self));
            }
            if entries.as_slice().last().is_some_and(|last: &Dot<A>| last.actor >= entry.actor) {
                return Err(S::Error::custom("actors are not in order"));
            }
            entries.push(entry);
        }
        Ok(entries)
    }
}

impl<'de, A: Actor + Deserialize<'de>> Deserialize<'de> for Entries<Dot<A>> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(InOrder(PhantomData))
    }
}

/// A list of pairs of actor and counter, by actor.
impl<A: Actor + Serialize> Serialize for VectorClock<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.entries.serialize(serializer)
    }
}

impl<'de, A: Actor + Deserialize<'de>> Deserialize<'de> for VectorClock<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Entries::deserialize(deserializer).map(|entries| Self { entries })
    }
}

/// A list of pairs of actor and counter, by actor.
impl<A: Actor + Serialize> Serialize for VersionVector<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.entries.serialize(serializer)
    }
}

impl<'de, A: Actor + Deserialize<'de>> Deserialize<'de> for VersionVector<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Entries::deserialize(deserializer).map(|entries| Self { entries })
    }
}
