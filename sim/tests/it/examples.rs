//! Each example runs, and shows what it says. That of the disk is in `disk::example`.

#[path = "../../examples/lease.rs"]
#[expect(dead_code, reason = "a program of its own; the test calls what it calls")]
mod lease;

#[test]
fn the_lease_needs_its_margin_and_its_fence() {
    let text = lease::run();
    print!("{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with("margin false, fence true: exclusive lease at "), "{text}");
    assert!(lines[1].starts_with("margin true, fence false: monotone written at "), "{text}");
    let refused = lines[2].strip_prefix("margin true, fence true: well, ").unwrap();
    assert!(!refused.starts_with("0 "), "{text}");
}
