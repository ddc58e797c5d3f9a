//! `serve --listen A --node N --cluster HEX [--tls DIR]` answers every call on channel 16 with its
//! own body and every message with a message; `call --to A --node N --cluster HEX [--tls DIR] TEXT`
//! learns who listens at A, calls it and prints the answer. DIR holds ca.pem, chain.pem, key.pem. A
//! refused handshake prints `refused: <status>`, exit 1.

use quorate_transport::*;
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

/// The value after `--name`.
fn option<'a>(args: &'a [String], name: &str) -> Result<&'a str, String> {
    let at = args.iter().position(|arg| arg == name).ok_or_else(|| format!("{name} is missing"))?;
    args.get(at + 1).map(String::as_str).ok_or_else(|| format!("{name} needs a value"))
}

fn seal(config: TcpConfigBuilder, args: &[String]) -> Result<TcpConfigBuilder, Box<dyn Error>> {
    let Ok(dir) = option(args, "--tls") else { return Ok(config) };
    #[cfg(feature = "tls")]
    return {
        let pem = |name: &str| std::fs::read(format!("{dir}/{name}.pem"));
        Ok(config.tls(TlsIdentity::from_pem(&pem("ca")?, &pem("chain")?, &pem("key")?)?))
    };
    #[cfg(not(feature = "tls"))]
    Err(format!("--tls {dir} needs the feature tls").into())
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
    let life = Incarnation::new(u64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_nanos())?);
    let cluster = option(args, "--cluster")?.parse()?;
    let me = Identity::new(cluster, option(args, "--node")?.parse()?, life);
    let serves = args.first().is_some_and(|arg| arg == "serve");
    let (me, config) = if serves {
        (me, TcpConfig::lan().listen(option(args, "--listen")?.parse()?))
    } else {
        (me.with_role(Role::Client), TcpConfig::lan())
    };
    let transport = TcpTransport::bind(me, seal(config, args)?.build()?)?;
    let endpoint = Endpoint::start(transport, EndpointConfig::default())?;
    let channel = endpoint.channel(ChannelId::new(16), ChannelOptions::new())?;
    if serves {
        serve(channel).await;
        return Ok("closed".to_owned());
    }
    let found = endpoint.discover(&option(args, "--to")?.parse::<Address>()?).await;
    let server = found.map_err(|error| match error {
        DialError::Failed(DownReason::Refused(status)) => format!("refused: {status:?}"),
        other => other.to_string(),
    })?;
    let text = args.last().ok_or("TEXT is missing")?.clone().into_bytes();
    let answer = channel.call(server.node, text, CallOptions::within(Duration::from_secs(5)));
    Ok(String::from_utf8(answer.await?.to_vec())?)
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let answer = runtime.block_on(run(&args));
    let told = answer.as_ref().map_or_else(ToString::to_string, Clone::clone);
    writeln!(std::io::stdout(), "{told}")?;
    Ok(if answer.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
