//! Bad input against a real node: nothing but clear errors, no panic, no change of state.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use integration_tests::node::Node;
use integration_tests::raw::Raw;
use integration_tests::record::send;
use integration_tests::requests::Requests;
use rand::{Rng, RngCore};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request};
use wire::pb::marketdata::v1::GetStateDigestRequest;
use wire::pb::marketdata::v1::market_data_service_client::MarketDataServiceClient;
use wire::status::{ApiError, ErrorCode};
use wire::transport::Channel;

/// Hostile requests in total.
const REQUESTS: usize = 100_000;

/// Calls in flight at one time.
const LANES: usize = 32;

/// Methods that are called with garbage. Those that only read or that check before they journal.
const METHODS: [&str; 12] = [
    "/hivemind.orders.v1.OrderService/SubmitOrder",
    "/hivemind.orders.v1.OrderService/CancelOrder",
    "/hivemind.orders.v1.OrderService/ReplaceOrder",
    "/hivemind.orders.v1.OrderService/MassCancel",
    "/hivemind.orders.v1.OrderService/GetOrder",
    "/hivemind.marketdata.v1.MarketDataService/GetBook",
    "/hivemind.admin.v1.InstrumentService/DefineInstrument",
    "/hivemind.admin.v1.InstrumentService/SetInstrumentState",
    "/hivemind.history.v1.HistoryService/ListOrders",
    "/hivemind.history.v1.HistoryService/ListExecutions",
    "/hivemind.history.v1.HistoryService/ListTrades",
    "/hivemind.journal.v1.JournalService/Fence",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_hostile_requests_change_nothing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::start(directory.path(), "all", crate::PLAIN).await?;
    let channel = node.channel();
    let mut requests = Requests::new(1, 1, "before");
    for _ in 0..200 {
        let report = send(channel.clone(), requests.next().unwrap()).await?;
        requests.learn(&report);
    }
    let before = digest(&channel).await?;

    let lanes: Vec<_> = (0..LANES as u64).map(|lane| tokio::spawn(storm(lane, channel.clone()))).collect();
    let mut refused = 0;
    for lane in lanes {
        refused += lane.await??;
    }
    assert!(refused > REQUESTS / 2, "only {refused} requests were refused: the storm was too tame");
    assert_eq!(digest(&channel).await?, before, "a hostile request changed the state");
    let report = send(channel, requests.next().unwrap()).await?;
    assert!(report.place.is_some(), "the node still trades");
    assert!(!node.log().contains("panicked"), "{}", node.log_end());
    assert!(node.terminate().await?.success());
    Ok(())
}

async fn digest(channel: &Channel) -> Result<(u64, String)> {
    let mut client = MarketDataServiceClient::new(channel.clone());
    let answer = client.get_state_digest(GetStateDigestRequest::default()).await?.into_inner();
    Ok((answer.open_orders, answer.state_hash))
}

/// Returns how many requests were refused as invalid.
async fn storm(seed: u64, channel: Channel) -> Result<usize> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut refused = 0;
    for _ in 0..REQUESTS / LANES {
        let method = METHODS[random.random_range(0..METHODS.len())];
        let mut client = Grpc::new(channel.clone());
        client.ready().await.map_err(anyhow::Error::from_boxed)?;
        let mut request = Request::new(garbage(&mut random));
        request.set_timeout(Duration::from_secs(10));
        match client.unary(request, PathAndQuery::from_static(method), Raw).await {
            // Reads may answer; so may a request that happens to be empty where empty is allowed.
            Ok(_) => {}
            Err(status) => {
                let refusal = matches!(
                    status.code(),
                    Code::InvalidArgument
                        | Code::NotFound
                        | Code::OutOfRange
                        | Code::ResourceExhausted
                        | Code::FailedPrecondition
                );
                // A read may ask for a position that the log will not reach for ages.
                let read = method.ends_with("/GetOrder")
                    || method.ends_with("/GetBook")
                    || method.ends_with("/ListInstruments");
                let too_early = read && ApiError::from_status(&status).code == ErrorCode::NotReady;
                assert!(refusal || too_early, "{method} was answered {status:?}");
                refused += 1;
            }
        }
    }
    Ok(refused)
}

/// Random bytes; protobuf-like fields with extreme values; now and then something far too long.
fn garbage(random: &mut ChaCha8Rng) -> Bytes {
    let mut out = Vec::new();
    match random.random_range(0..100) {
        0 => out.resize(random.random_range(100_000..2_000_000), b'A'),
        1..30 => {
            out.resize(random.random_range(1..200), 0);
            random.fill_bytes(&mut out);
        }
        _ => {
            for _ in 0..random.random_range(0..12) {
                field(random, &mut out);
            }
        }
    }
    Bytes::from(out)
}

fn field(random: &mut ChaCha8Rng, out: &mut Vec<u8>) {
    let number: u64 = random.random_range(1..14);
    if random.random_bool(0.5) {
        varint(number << 3, out);
        let extremes = [0, 1, 2, 7, 99, i64::MAX as u64, u64::MAX, u64::MAX - 1, 1 << 63, u64::from(u32::MAX)];
        varint(extremes[random.random_range(0..extremes.len())], out);
    } else {
        varint(number << 3 | 2, out);
        // Never a valid account and text together: symbols here hold a space or a control character.
        let text = ["", " ", "BTC USD", "\u{0}", "ÄÖ", "'; DROP TABLE orders; --", "\u{7f}\u{7f}"];
        let text = text[random.random_range(0..text.len())].repeat(random.random_range(1..20));
        varint(text.len() as u64, out);
        out.extend_from_slice(text.as_bytes());
    }
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
