//! What an operator sees of a running node and does to it, by command line, HTTP and console.

use anyhow::{Context, Result};
use integration_tests::node::Node;
use integration_tests::{http, tool, until};
use serde_json::{Value, json};
use wire::pb::orders::v1::order_service_client::OrderServiceClient;
use wire::pb::orders::v1::{OrderStatus, OrderType, RejectReason, Side, SubmitOrderRequest, SubmitOrderResponse};

async fn buy(node: &Node, id: &str, price: i64) -> Result<SubmitOrderResponse> {
    let request = SubmitOrderRequest {
        account_id: 7,
        client_order_id: id.to_owned(),
        symbol: "BTC-USD".to_owned(),
        side: Side::Buy.into(),
        order_type: OrderType::Limit.into(),
        price,
        quantity: 1_000_000,
        ..SubmitOrderRequest::default()
    };
    Ok(OrderServiceClient::new(node.channel()).submit_order(request).await?.into_inner())
}

/// The state of BTC-USD and the orders in its book, over HTTP.
async fn market(node: &Node) -> Result<(String, u64)> {
    let instruments = node.get("/admin/instruments").await?;
    let all = instruments["instruments"].as_array().context("a list")?;
    let state = all.iter().find(|one| one["symbol"] == "BTC-USD").context("BTC-USD")?["state"].clone();
    let book = node.get("/admin/book?symbol=BTC-USD").await?;
    let orders = book["bids"].as_array().context("bids")?.iter().filter_map(|level| level["orders"].as_u64()).sum();
    Ok((state.as_str().context("a word")?.to_owned(), orders))
}

/// R57: halt, resume and kill switch do what they say, twice is once, a dry run is none, and the severest one is not begun
/// by accident.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r57_trading_is_halted_resumed_and_killed() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::start(directory.path(), "all", crate::PLAIN).await?;
    let order = |arguments: &[&str]| node.admin(&[arguments, &["--output", "json"]].concat());
    for (id, price) in [("a", 5_000_000), ("b", 5_000_100)] {
        buy(&node, id, price).await?;
    }
    assert_eq!(market(&node).await?, ("continuous".to_owned(), 2));

    let change = node.json(&["halt", "BTC-USD", "--reason", "drill"])?["changes"][0].clone();
    assert_eq!((&change["before"], &change["after"]), (&json!("continuous"), &json!("halted")), "{change}");
    assert_eq!(market(&node).await?, ("halted".to_owned(), 2), "orders stay");
    let refused = buy(&node, "c", 5_000_000).await?.report.context("a report")?;
    assert_eq!(
        (refused.status(), refused.reject_reason()),
        (OrderStatus::Rejected, RejectReason::InstrumentNotTrading)
    );
    let again = node.json(&["halt", "BTC-USD"])?["changes"][0].clone();
    assert!(again["note"].as_str().is_some_and(|note| note.starts_with("no change")), "{again}");
    assert_eq!(order(&["resume", "BTC-USD"])?.code, 0);

    for (arguments, code) in [
        (&["kill-switch", "--all"][..], 2),
        (&["kill-switch", "--all", "--yes"], 2),
        (&["kill-switch", "--all", "--confirm=BTC-USD"], 5),
        (&["kill-switch", "--all", "--dry-run"], 0),
        (&["halt"], 2),
        (&["halt", "NOPE"], 5),
    ] {
        let said = order(arguments)?;
        assert_eq!(said.json(code)?["error"].is_object(), code != 0, "{arguments:?}: {}", said.out);
    }
    assert_eq!(market(&node).await?, ("continuous".to_owned(), 2), "nothing of that was done");

    let killed = node.json(&["kill-switch", "BTC-USD", "--confirm=BTC-USD", "--reason", "runaway"])?;
    assert_eq!(killed["changes"][0]["resting_orders"], 2, "{killed}");
    assert_eq!(market(&node).await?, ("halted".to_owned(), 0));
    let resumed =
        http::post(&node.admin, "/admin/trading/resume", Some(&node.key()?), &json!({"all": true, "reason": "over"}))
            .await?;
    assert_eq!(resumed.status, 200, "{}", resumed.body);
    assert_eq!(market(&node).await?, ("continuous".to_owned(), 0));
    assert!(node.log().contains("trading.kill_switch"), "it is on the record");
    assert!(node.terminate().await?.success());
    Ok(())
}

/// R57: one screen, an examination with its exit code, a probe, a live view, a bundle whose checksums hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r57_status_doctor_healthcheck_top_and_bundle() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::start(directory.path(), "all", crate::PLAIN).await?;
    let ask = |arguments: &[&str]| node.admin(&[arguments, &["--output", "json"]].concat());
    buy(&node, "a", 5_000_000).await?;

    // A node takes orders before its history is open.
    until("it is well", async || Ok(ask(&["healthcheck", "--strict"])?.code == 0)).await?;
    let well = node.json(&["doctor"])?;
    assert_eq!(well["failed"], 0, "{well}");
    let status = node.json(&["status"])?;
    assert_eq!(status["status"], "ok", "{status}");
    assert_eq!(status["shards"][0]["leader"], "hive-mind-0", "{status}");
    assert!(status["latency_us"]["requests"].as_u64() >= Some(1), "{status}");
    let frame = node.json(&["top", "--frames", "1"])?;
    assert!(frame["seconds"].as_f64() > Some(0.5) && frame["instances"][0]["leads"] == json!([0]), "{frame}");
    assert_eq!(ask(&["healthcheck"])?.code, 0);
    assert_eq!(ask(&["healthcheck", "--component", "history", "--strict"])?.code, 0);
    assert_eq!(ask(&["healthcheck", "--component", "nonsense"])?.code, 4);

    assert_eq!(ask(&["consensus", "pause", "--reason", "drill"])?.code, 0);
    let found = ask(&["doctor", "--strict"])?.json(4)?;
    let check = found["checks"].as_array().context("checks")?.iter().find(|check| check["name"] == "elections");
    assert!(check.is_some_and(|check| check["hint"].as_str().is_some_and(|hint| hint.contains("resume"))), "{found}");
    assert_eq!(ask(&["consensus", "resume"])?.code, 0);

    let bundle = node.json(&["support-bundle", "--directory", "bundle"])?;
    let files = bundle["files"].as_array().context("files")?;
    for wanted in ["status.json", "examination.json", "leadership.json", "activity.json", "metrics-hive-mind-0.txt"] {
        let file = files.iter().find(|file| file["name"] == wanted).with_context(|| format!("no {wanted}"))?;
        let bytes = std::fs::read(directory.path().join("bundle").join(wanted))?;
        assert_eq!(file["blake3"], blake3::hash(&bytes).to_hex().to_string().as_str(), "{wanted}");
    }
    let secret = std::fs::read_to_string(node.data().join("local.key"))?;
    for file in std::fs::read_dir(directory.path().join("bundle"))? {
        let text = std::fs::read_to_string(file?.path())?;
        assert!(!text.contains(secret.trim()), "no secret leaves the node");
    }
    let completion = tool::hive(&["admin", "completion", "bash"], directory.path())?;
    assert!(completion.code == 0 && completion.out.contains("kill-switch"), "{}", completion.err);

    assert!(node.terminate().await?.success());
    let gone = tool::hive(&["admin", "--target", "http://127.0.0.1:1", "doctor"], directory.path())?;
    assert_eq!(gone.code, 6, "{}{}", gone.out, gone.err);
    assert!(gone.out.contains("connection") && gone.out.contains("->"), "{}", gone.out);
    Ok(())
}

/// R47, R48: acts are POST with a JSON body and nothing else; what is wrong is named; the console comes with its policy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r47_r48_acts_are_posts_and_wrong_ones_are_told_why() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::start(directory.path(), "all", crate::PLAIN).await?;
    assert_eq!(http::get(&node.admin, "/admin/trading/halt").await?.status, 405);
    assert_eq!(http::request(&node.admin, "POST", "/admin/trading/halt").await?.status, 401, "without a key");
    let plain = http::request_with(&node.admin, "POST", "/admin/trading/halt", &node.key_header()?).await?;
    assert!(plain.status == 400 && plain.body.contains("content-type"), "{plain:?}");
    for (path, body, status, field) in [
        ("/admin/trading/halt", json!({}), 400, "symbols"),
        ("/admin/trading/halt", json!({"all": true, "symbols": ["AAPL"]}), 400, "symbols"),
        ("/admin/trading/halt", json!({"al": true}), 400, "body"),
        ("/admin/trading/halt", json!({"symbols": ["NOPE"]}), 404, ""),
        ("/admin/consensus/force-election", json!({}), 400, "shard"),
        ("/admin/consensus/force-election", json!({"shard": 0}), 409, ""),
        ("/admin/consensus/drain", json!({}), 400, "engine"),
        ("/admin/consensus/pause", json!({"dry_run": true}), 200, ""),
    ] {
        let answer = http::post(&node.admin, path, Some(&node.key()?), &body).await?;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.body);
        let told: Value = serde_json::from_str(&answer.body)?;
        assert_eq!(told["field"].as_str().unwrap_or_default(), field, "{path} {body}: {told}");
    }
    let consensus = node.get("/health/consensus").await?;
    assert_eq!(consensus["policy"]["paused"], false, "a dry run pauses nothing");
    for path in ["/", "/console/style.css", "/console/console.js", "/console/charts.js"] {
        assert_eq!(http::get(&node.admin, path).await?.status, 200, "{path}");
    }
    assert!(node.terminate().await?.success());
    Ok(())
}
