//! DVV sets against a model that keeps every write with its history.

use crate::model::{History, events, relation};
use crate::support::{Rng, cases, each_seed};
use proptest::prelude::*;
use quorate_clocks::{Causality, DvvSet, VersionVector};
use std::collections::BTreeMap;

type Set = DvvSet<u16, u64>;

/// One key on some servers, and clients that read here and write there.
struct World {
    /// Every write ever: its value and what its writer had seen.
    writes: BTreeMap<(u16, u64), (u64, History)>,
    servers: Vec<(Option<Set>, History)>,
    clients: Vec<Option<(VersionVector<u16>, History)>>,
    next: u64,
}

impl World {
    fn new(servers: usize) -> Self {
        let (servers, clients) = (vec![(None, History::new()); servers], vec![None; 3]);
        Self { writes: BTreeMap::new(), servers, clients, next: 1 }
    }

    /// What is alive to someone who knows `known`: the writes in it that no write in it had seen.
    fn alive(&self, known: &History) -> Vec<u64> {
        let seen = |event| known.iter().any(|other| self.writes[other].1.contains(event));
        let alive = known.iter().filter(|event| !seen(*event));
        let mut values: Vec<u64> = alive.map(|event| self.writes[event].0).collect();
        values.sort_unstable();
        values
    }

    fn step(&mut self, kind: u64, one: u64, other: u64) {
        let pick = |n: u64, len: usize| usize::try_from(n % len as u64).unwrap();
        let (here, there) = (pick(one, self.servers.len()), pick(other, self.servers.len()));
        let client = pick(other, self.clients.len());
        match kind % 6 {
            0 => {
                let (set, known) = &self.servers[here];
                self.clients[client] = set.as_ref().map(|set| (set.context(), known.clone()));
            }
            1..4 => self.write(here, client),
            _ => {
                if let (Some(set), known) = self.servers[there].clone() {
                    let (mine, history) = &mut self.servers[here];
                    *mine = Some(mine.as_ref().map_or_else(|| set.clone(), |mine| mine.sync(&set)));
                    history.extend(known);
                }
            }
        }
        self.check(here);
    }

    fn write(&mut self, here: usize, client: usize) {
        let actor = u16::try_from(here).unwrap();
        let value = self.next;
        self.next += 1;
        let (write, seen) = match &self.clients[client] {
            Some((context, seen)) => (DvvSet::with_context(context, value), seen.clone()),
            None => (DvvSet::new(value), History::new()),
        };
        let (set, known) = &mut self.servers[here];
        known.extend(&seen);
        let last = known.iter().filter(|(a, _)| *a == actor).map(|(_, n)| *n).max().unwrap_or(0);
        known.insert((actor, last + 1));
        self.writes.insert((actor, last + 1), (value, seen));
        *set = Some(write.update(set.as_ref(), actor));
    }

    fn check(&self, server: usize) {
        let (Some(set), known) = &self.servers[server] else { return };
        assert_eq!(events(set.context().iter()), *known);
        let mut values: Vec<u64> = set.values().copied().collect();
        values.sort_unstable();
        assert_eq!(values, self.alive(known), "{set:?}");
        let (entries, anonymous) = set.parts();
        assert!(anonymous.is_empty());
        for (actor, counter, values) in entries {
            for (age, value) in (0..).zip(values) {
                assert_eq!(self.writes[&(actor, counter - age)].0, *value, "{set:?}");
            }
        }
    }

    /// `sync` of all that the servers hold.
    fn check_laws(&self) {
        let sets: Vec<&(Option<Set>, History)> =
            self.servers.iter().filter(|(set, _)| set.is_some()).collect();
        let set = |at: usize| sets[at].0.as_ref().unwrap();
        for a in 0..sets.len() {
            assert_eq!(&set(a).sync(set(a)), set(a));
            for b in 0..sets.len() {
                let both = set(a).sync(set(b));
                assert_eq!(both, set(b).sync(set(a)));
                let expected = relation(&sets[a].1, &sets[b].1);
                assert_eq!(set(a).causality(set(b)), expected);
                if expected == Causality::Before {
                    assert_eq!(&both, set(b));
                }
                for c in 0..sets.len() {
                    assert_eq!(both.sync(set(c)), set(a).sync(&set(b).sync(set(c))));
                }
            }
        }
    }
}

#[test]
fn no_write_is_lost_and_no_ghost_returns() {
    each_seed(400, "dvv_model::no_write_is_lost_and_no_ghost_returns", |seed| {
        let mut rng = Rng::new(seed);
        let mut world = World::new(2 + usize::try_from(rng.below(5)).unwrap());
        for _ in 0..40 {
            world.step(rng.next(), rng.next(), rng.next());
        }
        world.check_laws();
    });
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn sync_is_a_join(
        servers in 2..=6_usize,
        steps in prop::collection::vec((0..6_u64, 0..6_u64, 0..6_u64), 0..40),
    ) {
        let mut world = World::new(servers);
        for (kind, one, other) in steps {
            world.step(kind, one, other);
        }
        world.check_laws();
    }

    /// With values that no server has taken: still the same from both sides, and of itself.
    #[test]
    fn sync_with_anonymous_values_commutes(
        steps in prop::collection::vec((0..6_u64, 0..3_u64, 0..3_u64), 0..20),
        anonymous in prop::collection::vec(prop::collection::vec(1000..1005_u64, 0..3), 3),
    ) {
        let mut world = World::new(3);
        for (kind, one, other) in steps {
            world.step(kind, one, other);
        }
        let sets: Vec<Set> = world.servers.iter().zip(anonymous).filter_map(|((set, _), more)| {
            let set = set.as_ref()?;
            let entries = set.parts().0.map(|(a, n, values)| (a, n, values.to_vec())).collect();
            Some(DvvSet::from_parts(entries, more).unwrap())
        }).collect();
        for a in &sets {
            prop_assert_eq!(canonical(&a.sync(a)), canonical(a));
            for b in &sets {
                prop_assert_eq!(canonical(&a.sync(b)), canonical(&b.sync(a)));
            }
        }
    }
}

type Entry = (u16, u64, Vec<u64>);

/// Anonymous values as a set.
fn canonical(set: &Set) -> (Vec<Entry>, Vec<u64>) {
    let (entries, anonymous) = set.parts();
    let mut anonymous = anonymous.to_vec();
    anonymous.sort_unstable();
    anonymous.dedup();
    (entries.map(|(actor, n, values)| (actor, n, values.to_vec())).collect(), anonymous)
}
