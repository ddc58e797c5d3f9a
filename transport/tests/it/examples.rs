//! Each example runs.

use crate::support::*;
use crate::tcp::{bind, guarded};
use quorate_transport::*;

#[path = "../../examples/echo.rs"]
#[expect(dead_code, reason = "its command line is for processes; the test calls what it calls")]
mod echo;
#[cfg(feature = "tls")]
#[path = "../../examples/mtls.rs"]
mod mtls;
#[path = "../../examples/quickstart.rs"]
mod quickstart;
#[path = "../../examples/quorum.rs"]
#[expect(dead_code, reason = "its `main` prints; the test reads")]
mod quorum;
#[path = "../../examples/snapshot.rs"]
mod snapshot;

#[test]
fn quickstart_runs() {
    quickstart::main().unwrap();
}

#[tokio::test]
async fn quorum_hears_a_majority_and_then_the_rest() {
    let mut out = Vec::new();
    guarded("the votes", quorum::run(&mut out)).await.unwrap();
    let said = String::from_utf8(out).unwrap();
    // Four of five can come at once on one thread.
    assert!(said.starts_with("a majority: "), "{said}");
    assert!(said.contains(" of 5 said yes\n"), "{said}");
    assert!(said.ends_with("node 5 may have executed it: no answer within the deadline\n"));
}

#[test]
fn snapshot_runs() {
    snapshot::main().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn echo_answers_and_says_why_it_is_refused() {
    let transport = bind(1, 1);
    let at = transport.local_addr().unwrap().to_string();
    let endpoint = Endpoint::start(transport, EndpointConfig::default()).unwrap();
    tokio::spawn(echo::serve(endpoint.channel(CHANNEL, ChannelOptions::new()).unwrap()));
    let args = |cluster: String| {
        ["call", "--to", &at, "--node", "9", "--cluster", &cluster, "hello"].map(str::to_owned)
    };
    let answer = guarded("an answer", echo::run(&args(CLUSTER.to_string()))).await.unwrap();
    assert_eq!(answer, "hello");
    let foreign = args(ClusterId::new(1).to_string());
    let refused = guarded("a refusal", echo::run(&foreign)).await.unwrap_err();
    assert_eq!(refused.to_string(), "refused: WrongCluster");
}

#[cfg(feature = "tls")]
#[test]
fn mtls_says_who_is_refused_and_why() {
    mtls::main().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let [talked, refused] = runtime.block_on(guarded("both", mtls::run())).unwrap();
    assert_eq!(talked, "node 1 called node 2, both proven: true");
    assert_eq!(refused, "node 3: dial failed: refused: identity not proven");
}

#[cfg(feature = "tls")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn echo_answers_over_tls_whoever_can_prove_to_be_somebody() {
    let authority = crate::tls::Authority::new();
    let dir = std::env::temp_dir().join(format!("quorate-echo-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (chain, key) = authority.pair(9);
    for (name, pem) in [("ca", authority.pem()), ("chain", chain), ("key", key)] {
        std::fs::write(dir.join(name).with_extension("pem"), pem).unwrap();
    }
    let server = crate::tls::bind_tls(1, authority.identity(1));
    let at = server.local_addr().unwrap().to_string();
    let endpoint = Endpoint::start(server, EndpointConfig::default()).unwrap();
    tokio::spawn(echo::serve(endpoint.channel(CHANNEL, ChannelOptions::new()).unwrap()));
    let cluster = CLUSTER.to_string();
    let call = |node: &str| {
        let dir = dir.to_str().unwrap();
        let args =
            ["call", "--to", &at, "--node", node, "--cluster", &cluster, "--tls", dir, "hello"];
        args.map(str::to_owned)
    };
    let answer = guarded("an answer", echo::run(&call("9"))).await.unwrap();
    assert_eq!(answer, "hello");
    let refused = guarded("a refusal", echo::run(&call("8"))).await.unwrap_err();
    assert_eq!(refused.to_string(), "refused: Identity");
    std::fs::remove_dir_all(&dir).unwrap();
}
