//! A store on two replicas that keeps concurrent writes as siblings until somebody merges them: no
//! write is lost, and none that was replaced comes back.

use quorate_clocks::{DvvSet, Replica, VersionVector};
use std::collections::BTreeMap;

type Versions = DvvSet<Replica, String>;

struct Store {
    me: Replica,
    keys: BTreeMap<String, Versions>,
}

impl Store {
    fn new(node: u64) -> Self {
        // The incarnation must be durable before it is used: see `Replica`.
        Self { me: Replica { node, incarnation: 1 }, keys: BTreeMap::new() }
    }

    /// The siblings, and the context to write with.
    fn read(&self, key: &str) -> (Vec<&str>, VersionVector<Replica>) {
        let Some(versions) = self.keys.get(key) else { return (vec![], VersionVector::new()) };
        (versions.values().map(String::as_str).collect(), versions.context())
    }

    /// A client writes with the context it has read, `false` if there are too many siblings.
    fn write(&mut self, key: &str, context: &VersionVector<Replica>, value: &str) -> bool {
        let write = Versions::with_context(context, value.to_owned());
        match write.try_update(self.keys.get(key), self.me, 8) {
            Ok(versions) => {
                self.keys.insert(key.to_owned(), versions);
                true
            }
            Err(_) => false,
        }
    }

    /// Anti-entropy: takes what the other one has.
    fn pull(&mut self, other: &Self) {
        for (key, theirs) in &other.keys {
            let both = self.keys.get(key).map_or_else(|| theirs.clone(), |ours| ours.sync(theirs));
            self.keys.insert(key.clone(), both);
        }
    }
}

#[allow(clippy::print_stdout, reason = "an example talks to its reader")]
pub(crate) fn main() {
    let (mut east, mut west) = (Store::new(1), Store::new(2));
    assert!(east.write("cart", &VersionVector::new(), "milk"));
    west.pull(&east);

    // Two clients read the same cart and write on different sides of a partition.
    let (_, context) = east.read("cart");
    assert!(east.write("cart", &context, "milk, eggs"));
    assert!(west.write("cart", &context, "milk, tea"));

    // It heals: both sides hold both carts, and the old one is gone.
    east.pull(&west);
    west.pull(&east);
    assert_eq!(east.read("cart"), west.read("cart"));
    let (siblings, context) = west.read("cart");
    println!("siblings: {siblings:?}");
    assert_eq!(siblings, ["milk, eggs", "milk, tea"]);

    // Whoever reads both can replace both.
    assert!(west.write("cart", &context, "milk, eggs, tea"));
    east.pull(&west);
    println!("merged: {:?}", east.read("cart").0);
    assert_eq!(east.read("cart").0, ["milk, eggs, tea"]);
}
