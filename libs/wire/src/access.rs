//! Who may call which method: one table beside the contracts. A method that is not in it may be called by administrators
//! only, and a test fails until it is.
//!
//! Deliberately absent: how a caller is recognised (`service-kit`), and for which accounts it may trade (the handlers see
//! the message; the table does not).

use std::collections::HashMap;
use std::sync::LazyLock;

/// What a caller must be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Anybody: whoever balances load must see whether the node lives.
    Open,
    /// See the market, and orders of one's accounts.
    Read,
    /// See the system: health, pools, memory, configuration, audit.
    Inspect,
    /// Send orders for one's accounts.
    Trade,
    /// Act on the system.
    Act,
    /// Act on one process: operators, and the process that an operator asked to act on all of them.
    NodeAct,
    /// Act on the keys of one process: administrators, and the process that one of them asked.
    NodeAdmin,
    /// Take part in the cluster: journal and leadership.
    Peer,
    /// Everything else.
    Admin,
}

use Access::{Act, Admin, Inspect, NodeAct, NodeAdmin, Open, Peer, Read, Trade};

/// Methods by service. Services in the order of their names.
const RULES: &[(&str, &[(&str, Access)])] = &[
    ("grpc.health.v1.Health", &[("Check", Open), ("Watch", Open)]),
    ("grpc.reflection.v1.ServerReflection", &[("ServerReflectionInfo", Read)]),
    ("grpc.reflection.v1alpha.ServerReflection", &[("ServerReflectionInfo", Read)]),
    ("hivemind.admin.v1.ActivityService", &[("GetActivity", Inspect), ("GetMetrics", Inspect)]),
    (
        "hivemind.admin.v1.AdminService",
        &[("GetHealth", Inspect), ("GetMemoryProfile", Inspect), ("GetPoolStatus", Inspect)],
    ),
    ("hivemind.admin.v1.AuditService", &[("SearchAudit", Inspect), ("VerifyAudit", Inspect)]),
    ("hivemind.admin.v1.AuditStoreService", &[("AppendAudit", Peer), ("GetAuditCopy", Peer)]),
    ("hivemind.admin.v1.BackupService", &[("CreateBackup", Act), ("ListBackups", Inspect)]),
    (
        "hivemind.admin.v1.ConfigService",
        &[("CheckConfig", Act), ("GetConfig", Inspect), ("ReloadConfig", Act), ("SetLogLevel", Act)],
    ),
    ("hivemind.admin.v1.DatabaseService", &[("OptimizeConnections", Act), ("ResetPools", Act)]),
    ("hivemind.admin.v1.IncidentService", &[("GetIncidentReport", Inspect)]),
    ("hivemind.admin.v1.InstrumentService", &[("DefineInstrument", NodeAct), ("SetInstrumentState", NodeAct)]),
    ("hivemind.admin.v1.KeyService", &[("ListKeys", Act), ("RevokeKey", Admin), ("RotateKey", Admin)]),
    ("hivemind.admin.v1.MemoryService", &[("DumpHeap", Act), ("LookAtMemory", Inspect), ("SetMemoryProfiling", Act)]),
    ("hivemind.admin.v1.NodeActivityService", &[("GetNodeMetrics", Inspect)]),
    ("hivemind.admin.v1.NodeAuditService", &[("SearchNodeAudit", Inspect), ("VerifyNodeAudit", Inspect)]),
    (
        "hivemind.admin.v1.NodeConfigService",
        &[
            ("CheckNodeConfig", NodeAct),
            ("GetNodeConfig", Inspect),
            ("ReloadNodeConfig", NodeAct),
            ("SetNodeLogLevel", NodeAct),
        ],
    ),
    ("hivemind.admin.v1.NodeDatabaseService", &[("OptimizeNodeConnections", NodeAct), ("ResetNodePools", NodeAct)]),
    ("hivemind.admin.v1.NodeKeyService", &[("ListNodeKeys", NodeAct), ("RevokeNodeKey", NodeAdmin)]),
    (
        "hivemind.admin.v1.NodeMemoryService",
        &[("DumpNodeHeap", NodeAct), ("LookAtNodeMemory", Inspect), ("SetNodeMemoryProfiling", NodeAct)],
    ),
    (
        "hivemind.admin.v1.NodeService",
        &[("GetNodeHealth", Inspect), ("GetNodeMemory", Inspect), ("GetNodePools", Inspect)],
    ),
    ("hivemind.admin.v1.NotificationService", &[("ListNotifications", Inspect), ("SendNotification", Act)]),
    ("hivemind.admin.v1.TradingService", &[("SetTrading", Act)]),
    (
        "hivemind.consensus.v1.ConsensusService",
        &[
            ("AcquireLeadership", Peer),
            ("DrainEngine", NodeAct),
            ("ForceElection", NodeAct),
            ("GetConsensusStatus", Inspect),
            ("Heartbeat", Peer),
            ("ReleaseLeadership", Peer),
            ("RestartConsensus", NodeAct),
            ("SetElections", NodeAct),
        ],
    ),
    (
        "hivemind.history.v1.HistoryService",
        &[("GetHistoryStatus", Read), ("ListExecutions", Read), ("ListOrders", Read), ("ListTrades", Read)],
    ),
    (
        "hivemind.journal.v1.JournalService",
        &[("Append", Peer), ("Fence", Peer), ("LeaderSeen", Peer), ("Read", Peer), ("ReadSnapshot", Peer)],
    ),
    (
        "hivemind.marketdata.v1.MarketDataService",
        &[
            ("GetBook", Read),
            ("GetStateDigest", Read),
            ("ListInstruments", Read),
            ("StreamBook", Read),
            ("StreamTrades", Read),
        ],
    ),
    (
        "hivemind.orders.v1.OrderService",
        &[
            ("CancelOrder", Trade),
            ("GetOrder", Read),
            ("GetTopology", Read),
            ("MassCancel", Trade),
            ("OrderSession", Trade),
            ("ReplaceOrder", Trade),
            ("SubmitOrder", Trade),
        ],
    ),
];

/// Methods whose answers are streams: they may outlive the key they were opened with.
const STREAMS: &[&str] = &[
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/hivemind.consensus.v1.ConsensusService/Heartbeat",
    "/hivemind.journal.v1.JournalService/Append",
    "/hivemind.journal.v1.JournalService/Read",
    "/hivemind.journal.v1.JournalService/ReadSnapshot",
    "/hivemind.marketdata.v1.MarketDataService/StreamBook",
    "/hivemind.marketdata.v1.MarketDataService/StreamTrades",
    "/hivemind.orders.v1.OrderService/OrderSession",
];

static BY_PATH: LazyLock<HashMap<String, Access>> = LazyLock::new(|| {
    let methods = |(service, methods): &'static (&str, &[(&str, Access)])| {
        methods.iter().map(move |(method, access)| (format!("/{service}/{method}"), *access))
    };
    RULES.iter().flat_map(methods).collect()
});

/// What a call of this path needs: `/package.Service/Method`.
#[must_use]
pub fn of_method(path: &str) -> Access {
    rule(path).unwrap_or(Admin)
}

/// The rule of a method; `None` if there is none.
#[must_use]
pub fn rule(path: &str) -> Option<Access> {
    BY_PATH.get(path).copied()
}

/// Whether a call of this path is the first that a trace shows, where nobody before it began one: whatever trades. The
/// requests of a session do, one by one, and not the session.
#[must_use]
pub fn begins_trace(path: &str) -> bool {
    rule(path) == Some(Trade) && !streams(path)
}

/// Whether the answer of this method is a stream.
#[must_use]
pub fn streams(path: &str) -> bool {
    STREAMS.contains(&path)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message;

    use super::*;

    #[test]
    fn every_method_has_a_rule_and_every_rule_a_method() {
        let all = methods();
        let there: BTreeSet<_> = all.iter().map(|(path, _)| path.clone()).collect();
        assert!(there.len() > 30, "the descriptors hold the services: {there:?}");
        let ruled: BTreeSet<_> = BY_PATH.keys().filter(|path| !path.starts_with("/grpc.")).cloned().collect();
        let (without, too_many): (Vec<_>, Vec<_>) =
            (there.difference(&ruled).collect(), ruled.difference(&there).collect());
        assert!(without.is_empty(), "methods without a rule in access.rs, so for administrators only: {without:#?}");
        assert!(too_many.is_empty(), "rules for methods that are not there: {too_many:#?}");
    }

    /// Paths of all methods of ours, and whether their answers are streams.
    fn methods() -> Vec<(String, bool)> {
        let files = prost_types::FileDescriptorSet::decode(crate::FILE_DESCRIPTOR_SET).expect("descriptors");
        let mut all = Vec::new();
        for file in &files.file {
            for service in &file.service {
                let path = |name: &str| format!("/{}.{}/{name}", file.package(), service.name());
                all.extend(service.method.iter().map(|method| (path(method.name()), method.server_streaming())));
            }
        }
        all
    }

    #[test]
    fn streams_are_known_as_such() {
        let there: BTreeSet<_> = methods().into_iter().filter(|(_, stream)| *stream).map(|(path, _)| path).collect();
        let known: BTreeSet<_> =
            STREAMS.iter().filter(|path| !path.starts_with("/grpc.")).map(|&path| path.to_owned()).collect();
        assert_eq!(there, known);
    }

    #[test]
    fn what_trades_begins_a_trace() {
        let begin: Vec<_> = methods().into_iter().map(|(path, _)| path).filter(|path| begins_trace(path)).collect();
        let service = "/hivemind.orders.v1.OrderService";
        let expected = ["SubmitOrder", "CancelOrder", "ReplaceOrder", "MassCancel"];
        assert_eq!(begin, expected.map(|method| format!("{service}/{method}")));
    }

    #[test]
    fn what_has_no_rule_is_for_administrators() {
        assert_eq!(of_method("/hivemind.orders.v1.OrderService/SubmitOrder"), Trade);
        for path in ["", "/", "/hivemind.orders.v1.OrderService/Submit", "/hivemind.orders.v1.OrderService/submitOrder"]
        {
            assert_eq!(of_method(path), Admin, "{path}");
        }
    }
}
