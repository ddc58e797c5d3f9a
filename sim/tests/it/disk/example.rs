//! The example runs, and shows what it says.

use expect_test::expect;

#[path = "../../../examples/disk.rs"]
#[expect(dead_code, reason = "a program of its own; the test calls what it calls")]
mod disk;

#[test]
fn the_example_marks_what_is_lost_until_it_syncs() {
    let text = disk::run().unwrap();
    let expected = expect![[r#"
        write, rename: all states after a power cut
          0: settings="volume=3"  <- LOST
          1: settings="volume=3" settings.new=""  <- LOST
          2: settings="volume=3" settings.new="\x00\x00\x00\x00\x00\x00\x00\x00\x00"  <- LOST
          3: settings="volume=3" settings.new="volume=11"  <- LOST
          4: settings=""  <- LOST
          5: settings="\x00\x00\x00\x00\x00\x00\x00\x00\x00"  <- LOST
          6: settings="volume=11"

        write, sync file, rename, sync directory: all states after a power cut
          0: settings="volume=11"
    "#]];
    expected.assert_eq(&text);
}
