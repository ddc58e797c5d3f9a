//! An echo server and its client.
//! `serve --listen A --node N --cluster HEX` answers every call on channel 16 with its own body and
//! every message on 16 with a message; `call --to A --node N --cluster HEX TEXT` learns who listens
//! at A, calls it and prints the answer. A refused handshake prints `refused: <status>`, exit 1.

use quorate_transport::{
    Address, CallOptions, Channel, ChannelId, ChannelOptions, DialError, DownReason, Endpoint,
    EndpointConfig, Identity, Inbound, Incarnation, Role, TcpConfig, TcpTransport,
};
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

const ECHO: ChannelId = ChannelId::new(16);

/// The value after `--name`.
fn option<'a>(args: &'a [String], name: &str) -> Result<&'a str, String> {
    let at = args.iter().position(|arg| arg == name).ok_or_else(|| format!("{name} is missing"))?;
    args.get(at + 1).map(String::as_str).ok_or_else(|| format!("{name} needs a value"))
}

/// Answers until the endpoint is shut down.
pub async fn serve(mut channel: Channel) {
    while let Some(inbound) = channel.recv().await {
        // An answer that cannot be sent is the caller's to notice.
        let _ = match inbound {
            Inbound::Call { body, reply, .. } => reply.reply(body),
            Inbound::Message { from, lane, body } => channel.send(from.node, lane, body),
            _ => Ok(()),
        };
    }
}

/// Runs `serve` (for ever) or `call`.
///
/// # Errors
/// Why there is no answer.
pub async fn run(args: &[String]) -> Result<String, Box<dyn Error>> {
    let started = std::time::UNIX_EPOCH.elapsed()?.as_nanos();
    let life = Incarnation::new(u64::try_from(started)?);
    let cluster = option(args, "--cluster")?.parse()?;
    let me = Identity::new(cluster, option(args, "--node")?.parse()?, life);
    let serves = args.first().is_some_and(|arg| arg == "serve");
    let (me, config) = if serves {
        (me, TcpConfig::lan().listen(option(args, "--listen")?.parse()?))
    } else {
        (me.with_role(Role::Client), TcpConfig::lan())
    };
    let transport = TcpTransport::bind(me, config.build()?)?;
    let endpoint = Endpoint::start(transport, EndpointConfig::default())?;
    let channel = endpoint.channel(ECHO, ChannelOptions::new())?;
    if serves {
        serve(channel).await;
        return Ok("closed".to_owned());
    }
    let server = endpoint.discover(&option(args, "--to")?.parse::<Address>()?).await?;
    let text = args.last().ok_or("TEXT is missing")?.clone().into_bytes();
    let answer = channel.call(server.node, text, CallOptions::within(Duration::from_secs(5)));
    Ok(String::from_utf8(answer.await?.to_vec())?)
}

/// Runs the command line.
pub fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match runtime.block_on(run(&args)) {
        Ok(answer) => writeln!(std::io::stdout(), "{answer}")?,
        Err(error) => {
            match error.downcast_ref() {
                Some(DialError::Failed(reason @ DownReason::Refused(_))) => {
                    writeln!(std::io::stderr(), "{reason}")?;
                }
                _ => writeln!(std::io::stderr(), "{error}")?,
            }
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
