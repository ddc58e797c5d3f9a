//! The grammar of the scripts: cases of a directive, input lines and expected output.

use quorate_raft::ConfOp;
use quorate_transport::NodeId;

#[derive(Debug)]
pub(super) struct Arg {
    pub(super) key: String,
    pub(super) values: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Case {
    /// Line of the directive in its file, from 1.
    pub(super) line: usize,
    pub(super) verb: String,
    /// In the order written: it matters.
    pub(super) args: Vec<Arg>,
    /// The lines between the directive and its output.
    pub(super) input: Vec<String>,
    pub(super) expected: String,
}

impl Case {
    pub(super) fn arg(&self, key: &str) -> Option<&Arg> {
        self.args.iter().find(|arg| arg.key == key && !arg.values.is_empty())
    }

    /// The single value of `key=value`.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        self.arg(key).map(|arg| arg.values[0].as_str())
    }

    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.value(key).map(|v| v.parse().unwrap())
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        self.value(key) == Some("true")
    }

    /// The list of `key=(1,2)`, or of `key=1`.
    pub(super) fn numbers(&self, key: &str) -> Vec<u64> {
        let values = self.arg(key).map_or(&[][..], |arg| &arg.values);
        values.iter().filter(|v| !v.is_empty()).map(|v| v.parse().unwrap()).collect()
    }

    /// The operations of a membership change, `v1 l2 r3 u4`.
    pub(super) fn ops(&self) -> Vec<ConfOp> {
        self.input.iter().flat_map(|line| line.split_whitespace()).map(op).collect()
    }

    /// Arguments without a value that are numbers: node ids, mostly.
    pub(super) fn plain(&self) -> Vec<u64> {
        self.args
            .iter()
            .filter(|a| a.values.is_empty())
            .filter_map(|a| a.key.parse().ok())
            .collect()
    }
}

const KINDS: [&str; 4] = ["v", "l", "r", "u"];

fn op(token: &str) -> ConfOp {
    let (kind, id) = token.split_at(1);
    let kind = KINDS.iter().position(|k| *k == kind).unwrap_or_else(|| panic!("token {token}"));
    let Some(id) = NodeId::try_new(id.parse().unwrap()) else { return nobody(kind) };
    match kind {
        0 => ConfOp::Voter(id, None),
        1 => ConfOp::Learner(id, None),
        2 => ConfOp::Remove(id),
        _ => ConfOp::Update(id),
    }
}

/// An operation on node 0: it counts, has no effect, and is printed as it was given. This project
/// has no such node; updates, which have no effect either, of the last four ids stand for it.
fn nobody(kind: usize) -> ConfOp {
    ConfOp::Update(NodeId::new(u64::MAX - kind as u64))
}

/// The token of an operation on node 0, if this is one.
pub(super) fn token_of_nobody(id: NodeId) -> Option<String> {
    let kind = usize::try_from(u64::MAX - id.value()).ok()?;
    KINDS.get(kind).map(|kind| format!("{kind}0"))
}

pub(super) fn cases(text: &str) -> Vec<Case> {
    let lines: Vec<&str> = text.lines().collect();
    let mut cases = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        if lines[at].trim().is_empty() || lines[at].starts_with('#') {
            at += 1;
            continue;
        }
        let line = at + 1;
        let (verb, args) = directive(lines[at]);
        at += 1;
        let begin = at;
        while lines.get(at).is_some_and(|l| !is_separator(l)) {
            at += 1;
        }
        let input = lines[begin..at].iter().map(|l| (*l).to_owned()).collect();
        let (expected, next) = expected_output(&lines, at + 1);
        at = next;
        cases.push(Case { line, verb, args, input, expected });
    }
    cases
}

/// The output that begins at line `at`, and the line behind it.
fn expected_output(lines: &[&str], at: usize) -> (String, usize) {
    // `----` twice: the output may hold empty lines and ends at the next such pair.
    if lines.get(at).is_some_and(|l| is_separator(l)) {
        let begin = at + 1;
        let end = (begin..lines.len())
            .find(|i| is_separator(lines[*i]) && lines.get(i + 1).is_some_and(|l| is_separator(l)))
            .unwrap_or(lines.len());
        return (lines[begin..end].join("\n"), end + 2);
    }
    let end = (at..lines.len()).find(|i| lines[*i].trim().is_empty()).unwrap_or(lines.len());
    (lines[at.min(end)..end].join("\n"), end)
}

fn is_separator(line: &str) -> bool {
    line.trim_end() == "----"
}

fn directive(line: &str) -> (String, Vec<Arg>) {
    let mut words = split_outside_parentheses(line).into_iter();
    let verb = words.next().unwrap();
    (verb, words.map(|word| arg(&word)).collect())
}

fn split_outside_parentheses(line: &str) -> Vec<String> {
    let (mut words, mut word, mut depth) = (Vec::new(), String::new(), 0);
    for c in line.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if c.is_whitespace() && depth == 0 {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
        } else if !(c.is_whitespace() && depth > 0) {
            word.push(c);
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

fn arg(word: &str) -> Arg {
    let Some((key, value)) = word.split_once('=') else {
        return Arg { key: word.to_owned(), values: Vec::new() };
    };
    let inner = value.strip_prefix('(').and_then(|v| v.strip_suffix(')'));
    let values = match inner {
        Some(list) => list.split(',').map(|v| v.trim().to_owned()).collect(),
        None => vec![value.to_owned()],
    };
    Arg { key: key.to_owned(), values }
}
