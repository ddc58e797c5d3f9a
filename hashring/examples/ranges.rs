//! Key ranges: an authority splits, moves and merges them; a client with an old idea of them finds
//! its way. Run: `cargo run -p quorate-hashring --example ranges`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use quorate_hashring::{CacheConfig, KeyRange, NodeId, RangeCache, RangeId, RangeMap};
use std::error::Error;

fn show(title: &str, map: &RangeMap) {
    println!("{title}:");
    for range in map.iter() {
        let text = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
        let end = range.end.as_deref().map_or_else(|| "…".to_owned(), text);
        let (id, epoch, nodes) = (range.id, range.epoch, &range.replicas);
        println!(
            "  {:>2} to {end:<2} range {id} at epoch {epoch} on {nodes:?}",
            text(&range.start)
        );
    }
}

/// A client's request: it names the range that it believes in, and learns when it was wrong.
fn request(cache: &mut RangeCache, map: &RangeMap, key: &[u8]) -> KeyRange {
    loop {
        let Some(known) = cache.locate(key).cloned() else {
            println!("  client: knows nothing of {:?}, asks", String::from_utf8_lossy(key));
            let _ = cache.learn(map.locate(key).clone());
            continue;
        };
        match map.check(key, known.id, known.epoch) {
            Ok(range) => return range.clone(),
            Err(stale) => {
                println!("  client: range {} is stale, learns {}", known.id, stale.fresh.len());
                for range in stale.fresh {
                    let _ = cache.learn(range);
                }
            }
        }
    }
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let [a, b, c, d] = [1, 2, 3, 4].map(NodeId::new);
    let map = RangeMap::new(RangeId::new(1), &[a, b, c])?;
    show("one range", &map);
    let mut cache = RangeCache::new(CacheConfig::default())?;
    request(&mut cache, &map, b"mango");

    let whole = map.locate(b"mango");
    let map = map.split(whole.id, whole.epoch, b"m", RangeId::new(2))?;
    let right = map.locate(b"mango");
    let map = map.reassign(right.id, right.epoch, &[b, c, d])?;
    show("split, and the right half moved", &map);
    let range = request(&mut cache, &map, b"mango");
    println!("  client: mango is in range {} on {:?}", range.id, range.replicas);

    // A change that was decided on an older state is refused; so is a merge before the data moved.
    let left = map.locate(b"apple");
    for refused in [
        map.reassign(range.id, left.epoch, &[a]),
        map.merge((left.id, left.epoch), (range.id, range.epoch)),
    ] {
        println!(
            "refused: {}",
            refused.map_or_else(|error| error.to_string(), |_| "no".to_owned())
        );
    }
    let map = map.reassign(left.id, left.epoch, &[b, c, d])?;
    let (left, right) = (map.locate(b"apple"), map.locate(b"mango"));
    let map = map.merge((left.id, left.epoch), (right.id, right.epoch))?;
    show("merged", &map);
    request(&mut cache, &map, b"apple");
    println!("cache: {:?}", cache.stats());
    let bytes = map.encode();
    assert_eq!(RangeMap::decode(&bytes)?, map);
    println!("encoded: {} bytes", bytes.len());
    Ok(())
}
