//! Every interleaving of a writer and a reader of `Snapshot`, the sequence lock under `KernelNtp`.

use loom::sync::Arc;
use loom::thread;
use quorate_clocks::testing::Snapshot;

/// A reader gets the words of one store, or none; never a mixture.
#[test]
fn loom_snapshot_is_never_torn() {
    loom::model(|| {
        let cell = Arc::new(Snapshot::new([0, 0]));
        let writer = cell.clone();
        let writer = thread::spawn(move || {
            writer.store([1, 1]);
            writer.store([2, 2]);
        });
        if let Some([a, b]) = cell.load() {
            assert_eq!(a, b);
        }
        writer.join().unwrap();
        assert_eq!(cell.load(), Some([2, 2]));
    });
}
