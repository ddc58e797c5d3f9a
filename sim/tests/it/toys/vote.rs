//! A vote that is forgotten in a crash is given twice.

use crate::toys::{Toy, election};
use quorate_sim::{Campaign, Class};

pub(crate) fn campaign(bug: bool) -> Campaign<Toy> {
    let classes = [Class::Crash, Class::Delay, Class::Clog, Class::Pause, Class::Slow];
    super::campaign("vote-not-persisted", bug, &classes, |bug| {
        let mistake =
            if bug { election::Mistake::VoteNotPersisted } else { election::Mistake::None };
        election::toy(mistake)
    })
    .require(&["leader"])
}
