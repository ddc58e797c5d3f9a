//! Bytes per snapshot, counted by the allocator.

use crate::keys::{cluster, table};
use quorate_benches::Table;
use quorate_benches::count::counted;
use quorate_hashring::{Maglev, MaglevConfig, Ring, RingConfig, Rules, View};

pub(crate) fn measure(lines: &mut Table) {
    let topology = cluster(100, 5);
    let mut say = |name: &str, live: i64| lines.say(&format!("Memory of {name}: {live} bytes"));
    let (_topology, bytes) = counted(|| cluster(100, 5));
    say("a topology of 100 nodes", bytes.live);
    let (held, bytes) = counted(|| table(&topology, 12, 3));
    say("a table of 4,096 rows of three", bytes.live);
    let (_view, bytes) = counted(|| View::initial(held.clone()));
    say("a settled view over it, besides the table", bytes.live);
    let ring = || Ring::build(&topology, &Rules::new(3), &RingConfig::default());
    let (ring, bytes) = counted(|| ring().expect("feasible"));
    let tokens = ring.tokens().len();
    say(&format!("a ring of {tokens} tokens, three replicas"), bytes.live);
    let maglev = || Maglev::build(&topology, &MaglevConfig::default()).expect("prime");
    let (_maglev, bytes) = counted(maglev);
    say("a Maglev table of 65,537 slots", bytes.live);
}
