//! A read that answers without storing what it answers: the next one may find an older value.

use crate::toys::{Toy, register};
use quorate_sim::{Campaign, Class};

pub(crate) fn campaign(bug: bool) -> Campaign<Toy> {
    let classes = [Class::Partition, Class::Clog, Class::Delay, Class::Crash, Class::Break];
    super::campaign("stale-read", bug, &classes, |bug| {
        Toy::new(move |sim| drop(register::setup(sim, 3, 3, bug)))
    })
}
