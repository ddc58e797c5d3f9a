//! Stub.
use crate::CommonArgs;
use crate::cluster::Error;
use clap::Args;
#[derive(Args, Clone)]
pub(crate) struct DemoArgs {
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    #[command(flatten)]
    common: CommonArgs,
}
pub(crate) fn run(_args: &DemoArgs) -> Result<bool, Error> { Ok(true) }
