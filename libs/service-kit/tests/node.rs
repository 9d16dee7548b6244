//! A node on real sockets: what each door answers.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::HashSet;
use std::net::SocketAddr;

use prost::Message;
use service_kit::NodeContext;
use service_kit::metrics::Exporter;
use service_kit::node::{Listen, Node, NodeError, NodeOptions};
use tokio_stream::StreamExt;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use wire::pb::admin::v1 as admin;
use wire::pb::admin::v1::node_service_client::NodeServiceClient;
use wire::transport::{Address, ClientOptions, connect, in_process};

use support::{get, options, request, serve};

/// Ends a test that would otherwise wait for ever.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

#[tokio::test]
async fn r46_probes_tell_who_is_not_ready() {
    let node = serve(options("probes"), vec![]).await;
    let engine = node.context.components.register("order_engine");
    let history = node.context.components.register_optional("history");
    let at = node.at.admin;

    assert_eq!((get(at, "/livez").await.status, get(at, "/livez?verbose").await.status), (200, 200));
    let starting = get(at, "/readyz").await;
    assert_eq!(starting.status, 503);
    assert!(starting.body.contains("[-]order_engine failed: starting"), "{}", starting.body);
    assert_eq!(get(at, "/readyz?exclude=order_engine").await.status, 200);

    engine.ok();
    history.down("database is away");
    assert_eq!((get(at, "/readyz").await.status, get(at, "/readyz").await.body.as_str()), (200, "ok"));
    let verbose = get(at, "/readyz?verbose&exclude=nobody").await;
    assert_eq!(
        verbose.body,
        "[+]history down, not required: database is away\n[+]order_engine ok\nwarn: nothing to exclude by the name \
         nobody\nreadyz check passed\n"
    );
    engine.degraded("slow disk");
    assert_eq!(get(at, "/readyz").await.status, 200);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn r48_wrong_requests_are_answered_in_json() {
    let node = serve(options("wrong"), vec![]).await;
    let at = node.at.admin;
    let unknown = get(at, "/nothing?x=1").await;
    assert_eq!((unknown.status, &unknown.json()["error"]), (404, &"not_found".into()));
    let post = request(at, "POST", "/livez", "Content-Length: 0\r\n").await;
    assert_eq!((post.status, &post.json()["error"]), (405, &"method_not_allowed".into()));
    assert!(post.header("allow").is_some_and(|allow| allow.contains("GET")), "{}", post.head);
    for (path, field) in [
        ("/readyz?verbos", "verbos"),
        ("/readyz?verbose=maybe", "verbose"),
        ("/readyz?exclude", "exclude"),
        ("/livez?exclude=a", "exclude"),
    ] {
        let bad = get(at, path).await;
        assert_eq!((bad.status, &bad.json()["field"]), (400, &field.into()), "{path}");
    }
    assert_eq!(get(node.at.metrics, "/").await.status, 404);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn r49_r68_every_metric_has_help_and_seconds_have_an_exact_millisecond() {
    let node = serve(options("metrics"), vec![]).await;
    node.context.components.register("order_engine").ok();
    metrics::describe_histogram!("test_operation_duration_seconds", "For this test.");
    metrics::histogram!("test_operation_duration_seconds").record(0.0005);
    let answer = get(node.at.metrics, "/metrics").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/plain; version=0.0.4; charset=utf-8")));
    let named = |kind: &str| -> HashSet<String> {
        let of_kind = |line: &str| Some(line.strip_prefix(kind)?.split(' ').next()?.to_owned());
        answer.body.lines().filter_map(of_kind).collect()
    };
    let (help, types) = (named("# HELP "), named("# TYPE "));
    assert_eq!(types.difference(&help).collect::<Vec<_>>(), Vec::<&String>::new());
    for name in
        ["process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds", "hive_mind_build_info"]
    {
        assert!(types.contains(name), "{name} in {types:?}");
    }
    for line in ["_bucket{le=\"0.001\"} 1", "_bucket{le=\"0.0005\"} 1", "_bucket{le=\"0.0004\"} 0", "_count 1"] {
        assert!(answer.body.contains(&format!("test_operation_duration_seconds{line}\n")), "{line}: {}", answer.body);
    }
    node.stop().await.unwrap();
}

#[tokio::test]
async fn both_reflections_describe_every_service() {
    let node = serve(options("reflection"), vec![]).await;
    let services = prost_types::FileDescriptorSet::decode(wire::FILE_DESCRIPTOR_SET).unwrap();
    let mut expected: HashSet<String> = services
        .file
        .iter()
        .flat_map(|file| file.service.iter().map(|service| format!("{}.{}", file.package(), service.name())))
        .collect();
    expected.insert("grpc.health.v1.Health".to_owned());

    macro_rules! listed {
        ($version:ident) => {{
            use tonic_reflection::pb::$version as pb;
            let ask = pb::ServerReflectionRequest {
                host: String::new(),
                message_request: Some(pb::server_reflection_request::MessageRequest::ListServices(String::new())),
            };
            let mut client = pb::server_reflection_client::ServerReflectionClient::new(node.channel());
            let mut answers = client.server_reflection_info(tokio_stream::once(ask)).await.unwrap().into_inner();
            match answers.next().await.unwrap().unwrap().message_response {
                Some(pb::server_reflection_response::MessageResponse::ListServicesResponse(list)) => {
                    list.service.into_iter().map(|service| service.name).collect::<HashSet<_>>()
                }
                other => panic!("{other:?}"),
            }
        }};
    }
    use tonic_reflection::pb::v1;
    let details = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::FileContainingSymbol(
            "google.rpc.BadRequest".to_owned(),
        )),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(node.channel());
    let mut answers = client.server_reflection_info(tokio_stream::once(details)).await.unwrap().into_inner();
    match answers.next().await.unwrap().unwrap().message_response {
        Some(v1::server_reflection_response::MessageResponse::FileDescriptorResponse(_)) => {}
        other => panic!("tools must be able to show the details of an error: {other:?}"),
    }
    for (version, listed) in [("v1", listed!(v1)), ("v1alpha", listed!(v1alpha))] {
        assert_eq!(expected.difference(&listed).collect::<Vec<_>>(), Vec::<&String>::new(), "{version}");
    }
    node.stop().await.unwrap();
}

#[tokio::test]
async fn grpc_health_follows_the_components_and_wakes_watchers() {
    let node = serve(options("health"), vec![]).await;
    let engine = node.context.components.register("order_engine");
    engine.serves("hivemind.orders.v1.OrderService");
    engine.ok();
    let mut client = HealthClient::new(node.channel());
    let ask = |service: &str| HealthCheckRequest { service: service.to_owned() };
    let mut watch = client.watch(ask("hivemind.orders.v1.OrderService")).await.unwrap().into_inner();
    let mut whole = client.watch(ask("")).await.unwrap().into_inner();
    // What the first message says depends on who is faster; what the stream settles on does not.
    let settled = async |stream: &mut tonic::Streaming<_>, wanted: ServingStatus| {
        let wanted_one = async {
            loop {
                let message: tonic_health::pb::HealthCheckResponse = stream.next().await.unwrap().unwrap();
                if message.status() == wanted {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wanted_one).await.expect("the watcher is told");
    };
    settled(&mut watch, ServingStatus::Serving).await;
    settled(&mut whole, ServingStatus::Serving).await;
    engine.down("journal lost");
    settled(&mut watch, ServingStatus::NotServing).await;
    settled(&mut whole, ServingStatus::NotServing).await;
    engine.degraded("one voter of three is away");
    settled(&mut watch, ServingStatus::Serving).await;

    let own = client.check(ask("hivemind.admin.v1.NodeService")).await.unwrap().into_inner();
    assert_eq!(own.status(), ServingStatus::Serving);
    let nobody = client.check(ask("hivemind.nobody.v1.Nobody")).await.unwrap_err();
    assert_eq!(nobody.code(), Code::NotFound);

    node.shutdown.drain();
    settled(&mut watch, ServingStatus::NotServing).await;
    settled(&mut whole, ServingStatus::NotServing).await;
    node.end.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_instance_answers_for_itself_over_tcp_and_in_process() {
    let (handle, listener) = in_process();
    let node = Node::bind(options("itself")).await.unwrap();
    let (at, context, shutdown) = (node.addresses(), node.context().clone(), service_kit::Shutdown::new());
    context.components.register("order_engine").ok();
    context.components.register_optional("history").degraded("behind");
    context.memory.register("book", || 4711);
    let end = tokio::spawn(node.serve(vec![], Some(listener), shutdown.clone()));

    let addresses = [Address::Tcp(format!("http://{}", at.grpc)), Address::InProcess(handle)];
    for address in addresses {
        let mut client = NodeServiceClient::new(connect(&address, &ClientOptions::default()));
        let health = client.get_node_health(admin::GetNodeHealthRequest {}).await.unwrap().into_inner().health.unwrap();
        assert_eq!((health.node.as_str(), health.status()), ("itself", admin::ComponentStatus::Degraded));
        let seen: Vec<_> = health.components.iter().map(|c| (c.name.as_str(), c.status(), c.required)).collect();
        let (ok, degraded) = (admin::ComponentStatus::Ok, admin::ComponentStatus::Degraded);
        assert_eq!(seen, [("history", degraded, false), ("order_engine", ok, true)]);
        let memory = client.get_node_memory(admin::GetNodeMemoryRequest {}).await.unwrap().into_inner().memory.unwrap();
        assert_eq!(memory.components["book"], 4711);
        assert!(memory.rss > 1 << 20);
    }
    shutdown.drain();
    end.await.unwrap().unwrap();
}

#[tokio::test]
async fn request_ids_are_taken_over_or_made() {
    let node = serve(options("ids"), vec![]).await;
    let own = request(node.at.admin, "GET", "/livez", "x-request-id: complaint-17\r\n").await;
    assert_eq!(own.header("x-request-id"), Some("complaint-17"));
    let replaced = request(node.at.admin, "GET", "/livez", "x-request-id: a b\r\n").await;
    assert!(replaced.header("x-request-id").is_some_and(|id| id.len() > 16 && id != "a b"), "{}", replaced.head);

    let mut client = NodeServiceClient::new(node.channel());
    let mut ask = Request::new(admin::GetNodeHealthRequest {});
    ask.metadata_mut().insert("x-request-id", "grpc-1".parse().unwrap());
    let answer = client.get_node_health(ask).await.unwrap();
    assert_eq!(answer.metadata().get("x-request-id").unwrap(), "grpc-1");
    let made = client.get_node_health(admin::GetNodeHealthRequest {}).await.unwrap();
    assert!(made.metadata().get("x-request-id").is_some());
    node.stop().await.unwrap();
}

#[tokio::test]
async fn addresses_outside_the_machine_and_taken_ports_are_refused() {
    for (door, text) in [("grpc", "0.0.0.0:0"), ("admin", "10.1.2.3:80"), ("metrics", "[::]:0")] {
        let address: SocketAddr = text.parse().unwrap();
        let mut listen = Listen::any_port();
        match door {
            "grpc" => listen.grpc = address,
            "admin" => listen.admin = address,
            _ => listen.metrics = address,
        }
        let error = Node::bind(NodeOptions { listen, ..options("outside") }).await.unwrap_err();
        let message = error.to_string();
        assert!(message.contains(text) && message.contains(door) && message.contains("127.0.0.1"), "{message}");
        assert!(matches!(error, NodeError::NotLoopback { .. }));
    }
    let first = Node::bind(options("first")).await.unwrap();
    let context = NodeContext::new("second", vec![], "unused");
    let listen = Listen { metrics: first.addresses().metrics, ..Listen::any_port() };
    let taken = Node::bind(NodeOptions::new(listen, context, Exporter::install().unwrap())).await.unwrap_err();
    assert!(matches!(taken, NodeError::Bind { door: "metrics", .. }), "{taken}");
}
