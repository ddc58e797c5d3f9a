//! `kv demo`: three child processes under load from real Redis clients. The leader is killed, a
//! follower is paused, both come back; then the history is judged: nothing acknowledged may be
//! missing, and what clients saw must be linearizable.

mod children;
mod history;
mod linearizable;
mod load;

use crate::CommonArgs;
use crate::cluster::Error;
use children::Children;
use clap::Args;
use history::{History, Summary};
use load::Load;
use quorate_clocks::{Clock as _, SystemClock};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[derive(Args, Clone)]
pub(crate) struct DemoArgs {
    /// How long the load lasts
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(8..=3_600))]
    seconds: u64,
    /// Clients that write and read
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=64))]
    clients: u64,
    /// Where the data is kept; emptied first. Default: a new folder that is removed at the end
    #[arg(long)]
    dir: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
}

/// What is done to the nodes, at which share of the time.
const PLAN: [(u64, Deed); 4] =
    [(25, Deed::KillLeader), (45, Deed::Restart), (60, Deed::PauseFollower), (75, Deed::Resume)];

#[derive(Clone, Copy)]
enum Deed {
    KillLeader,
    Restart,
    PauseFollower,
    Resume,
}

/// True if nothing acknowledged was lost and the history is linearizable.
#[expect(clippy::print_stdout, reason = "the timeline and the verdict are what it is run for")]
pub(crate) fn run(args: &DemoArgs) -> Result<bool, Error> {
    let temporary = std::env::temp_dir().join(format!("kv-demo-{}", std::process::id()));
    let dir = args.dir.clone().unwrap_or_else(|| temporary.clone());
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    let verdict = judge(args, &dir);
    if dir == temporary {
        std::fs::remove_dir_all(&temporary)?;
    }
    let summary = verdict?;
    println!("{summary}");
    Ok(summary.is_sound())
}

fn judge(args: &DemoArgs, dir: &std::path::Path) -> Result<Summary, Error> {
    let clock = SystemClock::new();
    let mut children = Children::start(dir, args.common.cluster, args.common.election_timeout)?;
    children.wait_until_all_serve(Duration::from_secs(30))?;
    let history = Arc::new(History::default());
    let load = Load::start(&children.addresses(), args.clients, &history);
    let begun = clock.monotonic();
    let total = Duration::from_secs(args.seconds);
    let mut plan = PLAN.into_iter().peekable();
    let mut victim = 0;
    for second in 1..=args.seconds {
        let mut deeds = Vec::new();
        while let Some((_, deed)) = plan.next_if(|(share, _)| second * 100 >= share * args.seconds)
        {
            deeds.push(children.perform(deed, &mut victim)?);
        }
        let due = begun.saturating_add(Duration::from_secs(second));
        // A person watches: a line a second.
        std::thread::sleep(due.since(clock.monotonic()));
        timeline(second, &children, &history, &deeds);
    }
    debug_assert!(clock.monotonic().since(begun) >= total);
    load.stop()?;
    children.wait_until_all_serve(Duration::from_secs(30))?;
    let summary = history.judge(&children)?;
    children.stop()?;
    Ok(summary)
}

#[expect(clippy::print_stdout, reason = "the timeline is what it is run for")]
fn timeline(second: u64, children: &Children, history: &History, deeds: &[String]) {
    let leader = children.leader().map_or_else(|| "-".to_owned(), |id| id.to_string());
    let (writes, reads) = history.rates();
    let deeds = deeds.join(", ");
    println!("{second:>4} s  leader {leader}  {writes:>6} writes/s  {reads:>6} reads/s  {deeds}");
}
