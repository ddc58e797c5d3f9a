//! A node that lost its disk comes back as the member that it was, and votes as if it never had.

use crate::toys::{Toy, election};
use quorate_sim::{Campaign, Class, Swarm};

pub(crate) fn campaign(bug: bool) -> Campaign<Toy> {
    let classes = [Class::Delay, Class::Clog, Class::Crash, Class::Pause];
    super::campaign("identity-reused", bug, &classes, |bug| {
        let mistake = if bug { election::Mistake::IdentityReused } else { election::Mistake::None };
        election::toy(mistake)
    })
    .swarm(Swarm::quiet().only(&classes).minority(1))
    .require(&["leader"])
}
