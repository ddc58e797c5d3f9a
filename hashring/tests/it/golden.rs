//! The bytes of FORMAT.md, exactly.

mod placement;
mod ranges;
mod routing;
mod view;

/// Bytes as FORMAT.md shows them: sixteen a line.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let line = |line: &[u8]| {
        let bytes: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        bytes.join(" ")
    };
    bytes.chunks(16).map(line).collect::<Vec<_>>().join("\n")
}

/// The block of FORMAT.md below the line `### <title>`.
#[track_caller]
pub(crate) fn assert_in_format(title: &str, bytes: &[u8]) {
    let format = include_str!("../../FORMAT.md");
    let found = format.split(&format!("### {title}\n")).nth(1).unwrap_or_default();
    let block = found.split("```text\n").nth(1).unwrap_or_default();
    let block = block.split("\n```").next().unwrap_or_default();
    assert_eq!(hex(bytes), block, "FORMAT.md, {title}");
}
