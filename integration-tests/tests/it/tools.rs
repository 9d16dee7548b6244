//! The clients operators have, grpcurl and `buf curl`, against a real node: list, describe and call every service;
//! wrong input names the field.

use std::path::PathBuf;

use anyhow::Result;
use integration_tests::node::Node;
use integration_tests::tool::{self, Said};

const SERVICES: [&str; 14] = [
    "grpc.health.v1.Health",
    "hivemind.admin.v1.ActivityService",
    "hivemind.admin.v1.AdminService",
    "hivemind.admin.v1.ConfigService",
    "hivemind.admin.v1.InstrumentService",
    "hivemind.admin.v1.NodeActivityService",
    "hivemind.admin.v1.NodeConfigService",
    "hivemind.admin.v1.NodeService",
    "hivemind.admin.v1.TradingService",
    "hivemind.consensus.v1.ConsensusService",
    "hivemind.history.v1.HistoryService",
    "hivemind.journal.v1.JournalService",
    "hivemind.marketdata.v1.MarketDataService",
    "hivemind.orders.v1.OrderService",
];

/// One call of each service that needs no state: method, request, a word of the answer.
const CALLS: [(&str, &str, &str); 19] = [
    (
        "hivemind.orders.v1.OrderService/SubmitOrder",
        r#"{"account_id":1,"client_order_id":"tool-1","symbol":"BTC-USD","side":"SIDE_BUY","order_type":"ORDER_TYPE_LIMIT","price":"5000000","quantity":"1000000"}"#,
        "ORDER_STATUS_NEW",
    ),
    (
        "hivemind.orders.v1.OrderService/ReplaceOrder",
        r#"{"account_id":1,"client_order_id":"tool-2","symbol":"BTC-USD","original_client_order_id":"tool-1","price":"5000100","quantity":"1000000"}"#,
        "ORDER_STATUS_NEW",
    ),
    ("hivemind.orders.v1.OrderService/GetOrder", r#"{"account_id":1,"client_order_id":"tool-1"}"#, "5000100"),
    (
        "hivemind.orders.v1.OrderService/CancelOrder",
        r#"{"account_id":1,"client_order_id":"tool-3","symbol":"BTC-USD","original_client_order_id":"tool-1"}"#,
        "ORDER_STATUS_CANCELED",
    ),
    (
        "hivemind.orders.v1.OrderService/MassCancel",
        r#"{"account_id":1,"client_order_id":"tool-4"}"#,
        "ORDER_STATUS_CANCELED",
    ),
    ("hivemind.marketdata.v1.MarketDataService/ListInstruments", "{}", "BTC-USD"),
    ("hivemind.marketdata.v1.MarketDataService/GetBook", r#"{"symbol":"BTC-USD"}"#, "BTC-USD"),
    ("hivemind.history.v1.HistoryService/GetHistoryStatus", "{}", "projected"),
    ("hivemind.history.v1.HistoryService/ListTrades", "{}", ""),
    ("hivemind.consensus.v1.ConsensusService/GetConsensusStatus", "{}", "embedded"),
    ("hivemind.journal.v1.JournalService/LeaderSeen", "{}", "epoch"),
    ("hivemind.admin.v1.AdminService/GetHealth", "{}", "order_engine"),
    ("hivemind.admin.v1.NodeService/GetNodeMemory", "{}", "allocated"),
    ("hivemind.admin.v1.ActivityService/GetActivity", "{}", "journal"),
    ("hivemind.admin.v1.NodeActivityService/GetNodeMetrics", "{}", "trading_operation_duration_seconds"),
    (
        "hivemind.admin.v1.TradingService/SetTrading",
        r#"{"order":{"dry_run":true},"action":"TRADING_ACTION_KILL"}"#,
        "INSTRUMENT_STATE_HALTED",
    ),
    ("hivemind.admin.v1.ConfigService/GetConfig", "{}", "log.level"),
    ("hivemind.admin.v1.NodeConfigService/CheckNodeConfig", "{}", "CONFIG_RESULT_UNCHANGED"),
    (
        "hivemind.admin.v1.InstrumentService/SetInstrumentState",
        r#"{"symbol":"AAPL","state":"INSTRUMENT_STATE_HALTED"}"#,
        "ORDER_STATUS_DONE",
    ),
];

/// Wrong requests and the field that must be named.
const WRONG: [(&str, &str, &str); 7] = [
    ("hivemind.orders.v1.OrderService/SubmitOrder", "{}", "order_type"),
    (
        "hivemind.orders.v1.OrderService/SubmitOrder",
        r#"{"account_id":1,"client_order_id":"w-1","symbol":"BTC-USD","side":77,"order_type":1,"price":"1","quantity":"1"}"#,
        "side",
    ),
    (
        "hivemind.orders.v1.OrderService/CancelOrder",
        r#"{"account_id":1,"client_order_id":"w-2","symbol":"BTC-USD"}"#,
        "target",
    ),
    ("hivemind.marketdata.v1.MarketDataService/GetBook", r#"{"symbol":"BTC-USD","depth":100000}"#, "depth"),
    ("hivemind.history.v1.HistoryService/ListOrders", r#"{"page_token":"nonsense"}"#, "page_token"),
    ("hivemind.admin.v1.InstrumentService/DefineInstrument", "{}", "instrument"),
    ("hivemind.admin.v1.TradingService/SetTrading", "{}", "action"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r50_grpcurl_lists_describes_and_calls_every_service() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::start(directory.path(), "all", crate::PLAIN).await?;
    let grpcurl = |arguments: &[&str]| -> Result<Said> {
        let mut all = vec!["-plaintext"];
        all.extend_from_slice(arguments);
        tool::run(&PathBuf::from("grpcurl"), &all, directory.path())
    };
    let list = grpcurl(&[&node.grpc, "list"])?;
    assert_eq!(list.code, 0, "{}", list.err);
    for service in SERVICES {
        assert!(list.out.contains(service), "{service} is not listed:\n{}", list.out);
        let described = grpcurl(&[&node.grpc, "describe", service])?;
        assert!(described.out.contains("rpc "), "{service}: {}{}", described.out, described.err);
    }
    let key = format!("authorization: Bearer {}", node.key()?.reveal());
    for (method, request, word) in CALLS {
        let said = grpcurl(&["-H", &key, "-d", request, &node.grpc, method])?;
        assert!(said.code == 0 && said.out.contains(word), "{method}: {}{}", said.out, said.err);
    }
    for (method, request, field) in WRONG {
        let said = grpcurl(&["-H", &key, "-d", request, &node.grpc, method])?;
        assert!(said.err.contains("InvalidArgument") && said.err.contains(field), "{method} {request}: {}", said.err);
    }
    let health = grpcurl(&[
        "-d",
        r#"{"service":"hivemind.orders.v1.OrderService"}"#,
        &node.grpc,
        "grpc.health.v1.Health/Check",
    ])?;
    assert!(health.out.contains("SERVING"), "{}{}", health.out, health.err);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r50_buf_curl_lists_and_calls_every_service() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::start(directory.path(), "all", crate::PLAIN).await?;
    let base = format!("http://{}", node.grpc);
    let buf = |arguments: &[&str]| -> Result<Said> {
        let mut all = vec!["curl", "--protocol", "grpc", "--http2-prior-knowledge"];
        all.extend_from_slice(arguments);
        tool::run(&PathBuf::from("buf"), &all, directory.path())
    };
    let key = format!("authorization: Bearer {}", node.key()?.reveal());
    let list = buf(&["--list-services", &base])?;
    for service in SERVICES {
        assert!(list.out.contains(service), "{service} is not listed:\n{}{}", list.out, list.err);
    }
    for (method, request, word) in CALLS {
        let said = buf(&["-H", &key, "-d", request, &format!("{base}/{method}")])?;
        assert!(said.code == 0 && said.out.contains(word), "{method}: {}{}", said.out, said.err);
    }
    for (method, request, field) in WRONG {
        let said = buf(&["-H", &key, "-d", request, &format!("{base}/{method}")])?;
        assert!(said.err.contains("invalid_argument") && said.err.contains(field), "{method}: {}", said.err);
    }
    Ok(())
}
