//! A read that answers without storing what it answers: the next one may find an older value.

use crate::toys::{Toy, ms, register};
use quorate_sim::{Campaign, Class, Swarm};

pub(crate) fn campaign(bug: bool) -> Campaign<Toy> {
    let classes = [Class::Loss, Class::Partition, Class::Clog, Class::Crash, Class::Break];
    super::campaign("stale-read", bug, &classes, |bug| {
        Toy::new(move |sim| register::setup(sim, 3, ms(10), bug))
    })
    .swarm(Swarm::quiet().only(&classes).range(Class::Loss, 50_000..=300_000))
    .require(&["read", "written"])
}
