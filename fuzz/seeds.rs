//! Writes the corpora that fuzzing of the transport, replicas, placements, histories and plans begins
//! with, the first from the golden vectors of its FORMAT.md: `cargo run --example seeds` in this directory.
//! Nothing of it is committed.

use quorate_hashring::{
    Assign, Level, Node, NodeId as Member, Quorum, RangeId, RangeMap, Rules, Topology, Transition,
    View,
};
use quorate_raft::{
    Ballot, Block, Body, ConfChange, ConfOp, EntryBody, GroupId, Limits, LogId, LogIndex,
    Membership, Message, Proposal, SnapshotMeta, Term, wire, write_snapshot,
};
use quorate_transport::NodeId;
use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;

const GROUP: GroupId = GroupId::new(1);
const FORMAT: &str = include_str!("../transport/FORMAT.md");
/// One of every fault, which the tests of the simulator read as well.
const PLANS: &str = include_str!("../sim/src/plan/every.plan");

/// The blocks under "Golden vectors", in order.
fn blocks() -> impl Iterator<Item = &'static str> {
    let (_, golden) = FORMAT.split_once("## Golden vectors").expect("the section is there");
    golden.split("```").skip(1).step_by(2)
}

fn bytes(hex: &str) -> impl Iterator<Item = u8> + '_ {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(byte)
}

/// The frames, in order.
fn vectors() -> Vec<Vec<u8>> {
    let block = blocks().next().expect("the vectors stand in a block");
    let mut frames: Vec<Vec<u8>> = Vec::new();
    for line in block.lines() {
        match line.strip_prefix("  ") {
            Some(hex) => frames.last_mut().expect("a name comes first").extend(bytes(hex)),
            None if line.ends_with(':') => frames.push(Vec::new()),
            None => {}
        }
    }
    frames
}

/// The datagram, which has the block behind the frames.
fn datagram() -> Vec<u8> {
    let block = blocks().nth(1).expect("it stands in a block");
    block.lines().filter_map(|line| line.strip_prefix("  ")).flat_map(bytes).collect()
}

fn write(target: &str, seeds: &[Vec<u8>]) -> io::Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&dir)?;
    for (n, seed) in seeds.iter().enumerate() {
        fs::write(dir.join(format!("golden-{n:02}")), seed)?;
    }
    println!("{target}: {} seeds", seeds.len());
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let frames = vectors();
    assert!(frames.len() >= 16, "one of every kind");
    let with = |prefix: &[u8], body: &[u8]| [prefix, body].concat();

    // Each alone as it is and mended, and all in a row: sequences are mended then.
    let mut streams: Vec<_> = frames.iter().map(|frame| with(&[40, 7], frame)).collect();
    streams.extend(frames.iter().map(|frame| with(&[41, 0], frame)));
    streams.push(with(&[41, 99], &frames.concat()));
    write("transport_decoder", &streams)?;

    let (hello, ack) = (&frames[0][32..], &frames[1][32..]);
    let both = with(hello, ack);
    write("transport_handshake", &[with(&[128], &both), with(&[0], ack), with(&[255], hello)])?;

    // As it is, mended, without a body, and for somebody else.
    let whole = datagram();
    assert_eq!(&whole[..2], b"DQ", "its magic");
    let other = with(&whole[..32], &[&[3, 0, 0, 0][..], &whole[36..]].concat());
    let packets =
        [with(&[44], &whole), with(&[47], &whole), with(&[47], &whole[..40]), with(&[45], &other)];
    write("transport_datagram", &packets)?;

    // Up, call, its answer; a call of the peer, answered; a deadline; down.
    let play = [
        &[6, 1][..],
        &[3, 1, 0xff],
        &[0, 5, 1, 0, 1, 0],
        &[1, 4, 1, 0x80, 4, 0, 2, 7, 7],
        &[5, 0],
        &[3, 2, 2, 8, 200, 1],
        &[2, 4, 0, 9, 8, 0, 0, 2, 7, 0, 0, 8, 0],
        &[7, 1, 0],
    ];
    let steps: Vec<_> = play.iter().map(|step| step.to_vec()).collect();
    let muxes = [play.concat(), with(&steps[0], &steps[3]), with(&steps[1], &steps[5])];
    write("transport_mux", &muxes)?;
    write("sim_history", &histories())?;
    write("sim_plan", &plans())?;
    hashring()?;
    Ok(raft()?)
}

/// As the library writes them: one of each kind, of views one of each stage.
fn hashring() -> Result<(), Box<dyn Error>> {
    let node = |id| Node::new(Member::new(id)).at(Level::Zone, &format!("zone {}", id % 3));
    let five = (1..=5).fold(Topology::builder(), |all, id| all.node(node(id))).build()?;
    let six = five.to_builder().node(node(6)).build()?;
    let rules = Rules::new(2).at_most_soft(Level::Zone, 1);
    let table = Assign::new(&five, &rules).partition_bits(3).solve()?.into_table();
    let next = Assign::new(&six, &rules).previous(&table).solve()?.into_table();
    let mut views = vec![View::initial(table.clone())];
    let mut change = Transition::begin(&views[0], next, Quorum::Majority)?;
    while !change.is_finished() {
        if let Some(view) = change.poll_view() {
            change.committed(&view)?;
            views.push(view);
        }
        (1..=6).for_each(|id| change.handle_ack(Member::new(id), change.view().epoch()));
        for moved in change.moves().moves.clone() {
            change.handle_copied(moved.id)?;
        }
    }
    let [one, two] = [1, 2].map(RangeId::new);
    let ranges = RangeMap::new(one, &[Member::new(1), Member::new(2)])?;
    let whole = ranges.locate(b"");
    let halves = ranges.split(whole.id, whole.epoch, b"m", two)?;
    let mut seeds = vec![[&[4], &*five.encode()].concat(), [&[5], &*table.encode()].concat()];
    seeds.extend(views.iter().map(|view| [&[6], &*view.encode()].concat()));
    seeds.extend([&ranges, &halves].map(|map| [&[7], &*map.encode()].concat()));
    write("hashring_decode", &seeds)?;
    // Split, split, reassign, merge, and clients in between.
    let steps =
        [[0, 5, 2, 0], [4, 9, 0, 0], [0, 9, 3, 0], [3, 9, 0, 7], [4, 9, 0, 0], [2, 0, 5, 0]];
    write("hashring_ranges", &[steps.concat(), steps[..3].concat()])?;
    let clusters: Vec<u8> = (0..80).map(|byte: u8| byte.wrapping_mul(37)).collect();
    write("hashring_assign", &[clusters.clone(), clusters[7..].to_vec()])?;
    Ok(())
}

/// As the library writes them.
fn raft() -> io::Result<()> {
    let with = |head: u8, bytes: &[u8]| [&[head][..], bytes].concat();
    let block = block();
    let change = ConfChange::new(vec![ConfOp::Learner(NodeId::new(4), None)]);
    let payload = change.encode();
    // Its head says that it holds a change, and one entry; the target puts the checksums right.
    let mut head = block.as_bytes()[..64].to_vec();
    (head[5], head[48]) = (1, 1);
    let len = (payload.len() as u32).to_le_bytes();
    let change = [&head[..], &[2, 0, 0, 0], &len, &payload].concat();
    let blocks = [with(1, block.as_bytes()), with(1, &change)];
    write("raft_block", &blocks)?;

    let founders = Membership::of_voters(&[1, 2, 3].map(NodeId::new));
    let bodies = [
        Body::Append { prev: LogId::ZERO, commit: LogIndex::new(1), blocks: vec![block.clone()] },
        Body::Accepted { index: LogIndex::new(4) },
        Body::Vote(Ballot::default()),
        Body::VoteResp { granted: true, commit: LogId::ZERO },
        Body::SnapshotRequest { have: LogIndex::ZERO },
        Body::TimeoutNow,
    ];
    let message = |body| wire::encode(&Message::new(GROUP, Term::new(2), body), 9);
    let pieces = bodies.into_iter().filter_map(message);
    write("raft_message", &pieces.map(|p| with(1, &p.concat())).collect::<Vec<_>>())?;
    // Version, kind, and room for what the kind adds.
    let calls = [(1, 8), (2, 80), (3, 12), (4, 24), (5, 16), (5, 44)];
    let call =
        |(kind, len)| with(1, &[&[1, kind][..], &[0; 6], &[1], &[0; 7], &vec![0; len]].concat());
    write("raft_call", &calls.map(call))?;

    let meta = SnapshotMeta::new(LogId::new(2, 3), founders);
    let mut file = Vec::new();
    let state = |w: &mut dyn io::Write| w.write_all(b"state");
    write_snapshot(&mut file, &meta, Box::new(state))?;
    // Promised as term 2, index 3.
    write("raft_snapshot", &[with(1 | 2 << 1 | 3 << 4, &file)])?;
    // The mark stands behind magic, version and its length.
    let len = u32::from_le_bytes([file[8], file[9], file[10], file[11]]) as usize;
    let mark = with(4 | 1, &file[12..12 + len]);
    let hard =
        with(4, &[b"QRM1\x01", &[0; 3][..], &[1], &[0; 7], &[7], &[0; 103], &[0; 4]].concat());
    write("raft_store", &[mark, hard, with(2, block.as_bytes())])
}

fn block() -> Block {
    let mut proposal = Proposal::new(&Limits::default());
    for body in [EntryBody::Noop, EntryBody::Normal(b"one"), EntryBody::Normal(b"two")] {
        proposal.push(body).expect("small");
    }
    proposal.stamp(GROUP, Term::new(2), LogId::ZERO, 7)
}

/// One of each model, in both formats.
fn histories() -> Vec<Vec<u8>> {
    let models: [&[(&str, &str, &str)]; 6] = [
        &[("write", "3", "3"), ("cas", "[3,0]", "[3,0]"), ("read", "null", "0")],
        &[("write", "3", "3"), ("delete", "null", "null"), ("read", "null", "null")],
        &[("add", "-1", "-1"), ("read", "null", "-1")],
        &[("acquire", "null", "7"), ("release", "null", "null")],
        &[("enqueue", "5", "5"), ("dequeue", "null", "5"), ("dequeue", "null", "null")],
        &[("add", "2", "2"), ("read", "null", "[2]")],
    ];
    let mut seeds = Vec::new();
    for (model, operations) in (0..).zip(models) {
        let (mut lines, mut log) = (vec![model], vec![model | 8]);
        for (f, asked, said) in operations {
            let edn = |value: &str| value.replace("null", "nil").replace(',', " ");
            for (kind, value) in [("invoke", asked), ("ok", said)] {
                let answer = if kind == "ok" { ",\"result\":true" } else { "" };
                lines.extend_from_slice(
                    format!(
                        "{{\"process\":1,\"type\":\"{kind}\",\"f\":\"{f}\",\"key\":\"x\",\
                         \"value\":{value}{answer},\"time\":9}}\n"
                    )
                    .as_bytes(),
                );
                log.extend_from_slice(
                    format!("INFO - 1\t:{kind}\t:{f}\t{}\tx\n", edn(value)).as_bytes(),
                );
            }
        }
        seeds.extend([lines, log]);
    }
    seeds
}

/// Each fault as a plan of its own, and all in a row.
fn plans() -> Vec<Vec<u8>> {
    let alone = PLANS.lines().map(|line| line.as_bytes().to_vec());
    alone.chain([PLANS.as_bytes().to_vec()]).collect()
}
