//! A replicated key-value store that any Redis client can talk to: `kv local` starts three nodes in
//! one process, `kv node` one of several processes, `kv demo` kills and pauses nodes under load and
//! judges what is left.

mod cluster;
mod command;
mod demo;
#[cfg(test)]
mod full_disk;
mod local;
mod machine;
mod node;
mod resp;

use clap::{Args, Parser, Subcommand};
use quorate_transport::ClusterId;
use std::path::PathBuf;
use std::time::Duration;

/// Exit statuses.
const SUCCESS: u8 = 0;
const FAILURE: u8 = 1;
const USAGE: u8 = 2;

#[derive(Parser)]
#[command(name = "kv", about = "A replicated key-value store that speaks Redis's protocol")]
struct Cli {
    #[command(subcommand)]
    mode: Option<Mode>,
    #[command(flatten)]
    local: LocalArgs,
}

#[derive(Subcommand)]
enum Mode {
    /// Three nodes in this process, on loopback (the default)
    Local(LocalArgs),
    /// One node
    Node(node::NodeArgs),
    /// Three child processes under load: kills, pauses and restarts them, then judges the history
    Demo(demo::DemoArgs),
}

#[derive(Args, Clone)]
struct LocalArgs {
    /// Where the data is kept, one folder per node
    #[arg(long, default_value = "kv-data")]
    dir: PathBuf,
    /// First of three RESP ports; 0 lets the system choose
    #[arg(long, default_value_t = 6380)]
    port: u16,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Args, Clone)]
struct CommonArgs {
    /// Identity of the cluster, 32 hexadecimal digits
    #[arg(long, default_value = "6b760000000000000000000000000001")]
    cluster: ClusterId,
    /// Milliseconds without a leader before an election
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    election_timeout: u64,
    /// Connections that a node serves at a time
    #[arg(long, default_value_t = 10_000)]
    max_clients: usize,
}

impl CommonArgs {
    const fn election_timeout_duration(&self) -> Duration {
        Duration::from_millis(self.election_timeout)
    }
}

/// Every connection is a file, and the usual limit of 1,024 is far below `--max-clients`.
fn allow_many_connections() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) =
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::warn!(%error, "the limit of open files stays {:?}", limit.current);
    }
}

/// Everything but the process: arguments in, exit status out.
#[expect(clippy::print_stderr, reason = "errors are told to the person who started it")]
pub fn run(args: impl IntoIterator<Item = std::ffi::OsString>) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { USAGE } else { SUCCESS };
        }
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    // A second call in one process keeps the first subscriber.
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    allow_many_connections();
    let mode = cli.mode.unwrap_or(Mode::Local(cli.local));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("kv: {error}");
            return FAILURE;
        }
    };
    let ended = match mode {
        Mode::Local(args) => runtime.block_on(local::run(local::Local {
            dir: args.dir,
            cluster: args.common.cluster,
            port: args.port,
            election_timeout: args.common.election_timeout_duration(),
            max_clients: args.common.max_clients,
        })),
        Mode::Node(args) => match args.check() {
            Ok(setup) => runtime.block_on(node::run(setup)),
            Err(usage) => {
                eprintln!("kv: {usage}");
                return USAGE;
            }
        },
        Mode::Demo(args) => match demo::run(&args) {
            Ok(true) => Ok(()),
            Ok(false) => return FAILURE,
            Err(error) => Err(error),
        },
    };
    match ended {
        Ok(()) => SUCCESS,
        Err(error) => {
            eprintln!("kv: {error}");
            FAILURE
        }
    }
}
