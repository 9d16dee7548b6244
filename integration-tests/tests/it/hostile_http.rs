//! Bad requests to the HTTP doors of a real node: clear errors only, no 500, no panic, and the node goes on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::node::Node;
use rand::{Rng, RngCore};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use service_kit::auth::local;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Hostile requests in total; those over gRPC come on top.
const REQUESTS: usize = 20_000;

/// Requests under way at one time.
const LANES: usize = 16;

/// A server that neither answers nor closes would hold up the test for ever.
const PATIENCE: Duration = Duration::from_secs(60);

const METHODS: [&str; 9] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "BREW", "get"];

const PATHS: [&str; 12] = [
    "/",
    "/livez",
    "/readyz",
    "/health",
    "/health/consensus",
    "/metrics",
    "/admin/database/pool-status",
    "/admin/memory-profile",
    "/admin/database/reset-pools",
    "/admin/config",
    "/console/",
    "/admin/../../etc/passwd",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r48_hostile_requests_over_http_are_refused_in_order() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::start(directory.path(), "all", crate::PLAIN).await?;
    let key = local::read(&node.data())?.reveal().to_owned();
    let lanes: Vec<_> = (0..LANES as u64)
        .map(|lane| tokio::spawn(storm(lane, [node.admin.clone(), node.metrics.clone()], key.clone())))
        .collect();
    let mut refused = 0;
    for lane in lanes {
        refused += lane.await??;
    }
    assert!(refused > REQUESTS / 2, "only {refused} requests were refused: the storm was too tame");
    let after = integration_tests::http::get(&node.admin, "/health").await?;
    assert_eq!(after.status, 200, "{}", after.body);
    let log = node.log();
    assert!(!log.contains("panic") && !log.contains(&key[20..]), "{}", node.log_end());
    assert!(node.terminate().await?.success());
    Ok(())
}

async fn storm(seed: u64, addresses: [String; 2], key: String) -> Result<usize> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut refused = 0;
    for _ in 0..REQUESTS / LANES {
        let request = request(&mut random, &key);
        let address = &addresses[usize::from(random.random_bool(0.1))];
        let status = tokio::time::timeout(PATIENCE, exchange(address, &request)).await;
        let shown = String::from_utf8_lossy(&request[..request.len().min(300)]).replace(&key, "***");
        let status = status.with_context(|| format!("no answer to {shown:?}"))??;
        // What is no HTTP may be answered by closing; 503 is how health tells that something is down.
        if let Some(status) = status {
            ensure!((200..500).contains(&status) || status == 503, "{status} for {shown:?}");
        }
        refused += usize::from(status.is_none_or(|status| status >= 400));
    }
    Ok(refused)
}

/// Sends the bytes as they are, and returns the status of the answer, if there is one.
async fn exchange(address: &str, request: &[u8]) -> Result<Option<u16>> {
    let mut stream = TcpStream::connect(address).await?;
    // Whoever refuses may close before everything was sent.
    let _ = stream.write_all(request).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer);
    let code = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    Ok(code.and_then(|code| code.parse().ok()))
}

fn request(random: &mut ChaCha8Rng, key: &str) -> Vec<u8> {
    let method = METHODS[random.random_range(0..METHODS.len())];
    let mut path = PATHS[random.random_range(0..PATHS.len())].to_owned();
    match random.random_range(0..6) {
        0 => path += &format!("?{}", noise(random, 40)),
        1 => path = format!("/{}", noise(random, 200)),
        2 => path += "?verbose&exclude=a&timeout_ms=99999999999999999999",
        3 => path = path.replace('/', "//%00%ff/"),
        _ => {}
    }
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n");
    match random.random_range(0..7) {
        0 => head += &format!("Authorization: {}\r\n", noise(random, 60)),
        1 => head += &format!("Authorization: Bearer hm_{}_{}\r\n", noise(random, 8), "0".repeat(64)),
        2 => head += &format!("Authorization: Bearer {}\r\n", "A".repeat(random.random_range(1..9_000))),
        // With a key that opens everything, what can only be read.
        3 | 4 if matches!(method, "GET" | "HEAD" | "OPTIONS") => head += &format!("Authorization: Bearer {key}\r\n"),
        5 => head += &format!("x-request-id: {}\r\nContent-Type: application/json\r\n", noise(random, 100)),
        _ => {}
    }
    let mut body = vec![0; random.random_range(0..300)];
    random.fill_bytes(&mut body);
    match random.random_range(0..4) {
        0 => head += &format!("Content-Length: {}\r\n\r\n", body.len()),
        1 => head += "Content-Length: 18446744073709551616\r\n\r\n",
        2 => head += "Transfer-Encoding: chunked\r\n\r\n",
        _ => {
            body.clear();
            head += "\r\n";
        }
    }
    let mut bytes = head.into_bytes();
    bytes.extend(body);
    bytes
}

/// Characters of all kinds, those that mean something in a URL or a header among them.
fn noise(random: &mut ChaCha8Rng, most: usize) -> String {
    const ALPHABET: &[u8] = b"abcXYZ019-_.~%&=?/#[]{}\\\"'<>;:@!$()*+,|^` \t\x01\x7f";
    (0..random.random_range(1..most)).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
}
