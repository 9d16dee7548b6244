//! The life of a node: start everything, wait for the first reason to stop, stop in order. Absent: sockets, routes.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use wire::transport::InProcessListener;

use super::socket::{Incoming, Policy};
use super::{Node, NodeError, admin, grpc, grpc_health};
use crate::metrics::{self, Exporter, UPKEEP_INTERVAL};
use crate::tls::Protocol;
use crate::{NodeContext, Pools, Service, Shutdown, audit};

/// How long an abandoned service may take to notice that it was.
const ABANDON_GRACE: Duration = Duration::from_millis(500);

/// A service that is running. Ends with the node, also if that is dropped instead of stopped.
struct Running {
    name: &'static str,
    shutdown: Shutdown,
    task: AbortOnDropHandle<()>,
}

/// Somebody has ended.
struct End {
    name: &'static str,
    /// `None` for a service that ended without an error.
    error: Option<NodeError>,
}

pub(super) async fn run(
    node: Node,
    services: Vec<Box<dyn Service>>,
    in_process: Option<InProcessListener>,
    shutdown: Shutdown,
) -> Result<(), NodeError> {
    let Node { grpc: grpc_listener, admin: admin_listener, metrics: metrics_listener, listen, options } = node;
    let context = options.context.clone();
    metrics::describe();
    metrics::record_build_info(context.version, &context.roles);
    let (routes, reporter) = grpc::routes(&services, &context, &options.exporter)?;
    reporter.set_service_status(grpc::ALWAYS_SERVING, tonic_health::ServingStatus::Serving).await;
    grpc_health::apply(&reporter, None, &context.components.snapshot()).await;

    // Everybody reports an end at most once, so nobody waits for room.
    let (ends, mut ended) = mpsc::channel(services.len() + 4);
    let close = CancellationToken::new();
    let mut doors = Doors { ends: ends.clone(), tasks: Vec::new() };
    let admin_routes = admin::admin_router(&services, &context);
    let metrics_routes = admin::metrics_router(options.exporter.clone(), context.auth.clone());
    let [grpc_in, admin_in, metrics_in] = incoming(&context, [grpc_listener, admin_listener, metrics_listener])?;
    doors.open("grpc", grpc::serve_network(grpc_in, routes.clone(), context.clone(), close.clone()));
    doors.open("admin", admin::serve(admin_in, admin_routes, close.clone()));
    doors.open("metrics", admin::serve(metrics_in, metrics_routes, close.clone()));
    if let Some(listener) = in_process {
        doors.open("in-process", grpc::serve_in_process(listener, routes, context.tracer.clone(), close.clone()));
    }
    let follow = grpc_health::follow(context.components.clone(), reporter.clone(), close.clone());
    let memory = context.memory.clone().watch(context.components.clone());
    let conditions = audit::conditions::record(context.audit.clone(), context.components.clone());
    let mut background = vec![
        tokio::spawn(upkeep(options.exporter, context.pools.clone())),
        tokio::spawn(follow),
        tokio::spawn(memory),
        tokio::spawn(conditions),
    ];
    background.extend(follow_files(&context, &close));
    let _background: Vec<_> = background.into_iter().map(AbortOnDropHandle::new).collect();
    tracing::info!(node = context.name, grpc = %listen.grpc, admin = %listen.admin, metrics = %listen.metrics, "listening");
    let running: Vec<Running> = services.into_iter().map(|service| start(service, &ends)).collect();

    let mut first_error = tokio::select! {
        () = shutdown.draining() => None,
        Some(end) = ended.recv() => Some(end.error.unwrap_or(NodeError::Ended { name: end.name })),
    };
    if let Some(error) = &first_error {
        tracing::error!(%error, "stopping because of an error");
        shutdown.drain();
    }

    // Readiness first, and gRPC health without waiting for the task that follows it.
    context.components.set_draining();
    grpc_health::apply(&reporter, None, &context.components.snapshot()).await;
    let deadline = Instant::now() + options.drain_timeout;
    for service in running.into_iter().rev() {
        if let Err(error) = drain(service, deadline, &shutdown).await {
            tracing::error!(%error, "service not drained");
            first_error.get_or_insert(error);
        }
    }
    while let Ok(end) = ended.try_recv() {
        if let Some(error) = end.error {
            tracing::error!(%error, "failed while stopping");
            first_error.get_or_insert(error);
        }
    }
    close.cancel();
    doors.close(Instant::now() + options.close_timeout).await;
    context.audit.flush().await;
    context.tracer.flush().await;
    tracing::info!(node = context.name, "stopped");
    first_error.map_or(Ok(()), Err)
}

/// Opens the doors. gRPC, admin, metrics.
fn incoming(context: &NodeContext, listeners: [TcpListener; 3]) -> Result<[Incoming; 3], NodeError> {
    let open = |listener, door, protocol| {
        let policy = Policy { tls: context.tls.clone(), plaintext: context.auth.plaintext(), protocol };
        Incoming::new(listener, policy).map_err(|error| NodeError::Door { door, message: error.to_string() })
    };
    let [grpc, admin, metrics] = listeners;
    Ok([
        open(grpc, "grpc", Protocol::H2)?,
        open(admin, "admin", Protocol::Http1)?,
        open(metrics, "metrics", Protocol::Http1)?,
    ])
}

/// Keeps keys and certificates as their files are.
fn follow_files(context: &NodeContext, close: &CancellationToken) -> Vec<JoinHandle<()>> {
    let component = context.auth.has_keys().then(|| context.components.register_optional("auth"));
    let mut tasks = vec![tokio::spawn(context.auth.clone().follow(component, close.clone()))];
    tasks.extend(context.tls.clone().map(|tls| tokio::spawn(tls.follow(close.clone()))));
    tasks
}

/// Runs a service on its own task.
fn start(service: Box<dyn Service>, ends: &mpsc::Sender<End>) -> Running {
    let (name, shutdown, ends) = (service.name(), Shutdown::new(), ends.clone());
    let own = shutdown.clone();
    let task = tokio::spawn(async move {
        let error = match AssertUnwindSafe(service.run(own.clone())).catch_unwind().await {
            Ok(Ok(())) => None,
            Ok(Err(source)) => Some(NodeError::Service { name, source }),
            Err(panic) => Some(NodeError::Panicked { name, message: panic_message(&*panic) }),
        };
        // An orderly end is news only if nobody asked for it.
        if error.is_some() || !own.is_draining() {
            ends.send(End { name, error }).await.ok();
        }
    });
    Running { name, shutdown, task: AbortOnDropHandle::new(task) }
}

/// Lets a service finish, until the deadline or until the node is told to stop at once.
async fn drain(service: Running, deadline: Instant, node: &Shutdown) -> Result<(), NodeError> {
    let Running { name, shutdown, mut task } = service;
    tracing::debug!(service = name, "draining");
    shutdown.drain();
    let in_time = tokio::select! {
        done = timeout_at(deadline, &mut task) => done.is_ok(),
        () = node.stopped() => false,
    };
    if in_time {
        return Ok(());
    }
    shutdown.stop();
    if timeout_at(Instant::now() + ABANDON_GRACE, &mut task).await.is_err() {
        task.abort();
    }
    Err(NodeError::DrainTimeout { name })
}

/// The servers of a node. A node that is dropped while serving leaves nothing listening.
struct Doors {
    ends: mpsc::Sender<End>,
    tasks: Vec<(&'static str, AbortOnDropHandle<()>)>,
}

impl Doors {
    /// Serves on a task of its own: the main task does not run on the worker threads.
    fn open(&mut self, door: &'static str, server: impl Future<Output = Result<(), String>> + Send + 'static) {
        let ends = self.ends.clone();
        let task = tokio::spawn(async move {
            let error = match AssertUnwindSafe(server).catch_unwind().await {
                Ok(Ok(())) => return,
                Ok(Err(message)) => NodeError::Door { door, message },
                Err(panic) => NodeError::Panicked { name: door, message: panic_message(&*panic) },
            };
            ends.send(End { name: door, error: Some(error) }).await.ok();
        });
        self.tasks.push((door, AbortOnDropHandle::new(task)));
    }

    /// Waits for open calls, and ends those that are left at the deadline.
    async fn close(&mut self, deadline: Instant) {
        for (door, task) in &mut self.tasks {
            if timeout_at(deadline, &mut *task).await.is_err() {
                tracing::debug!(door, "closing with open calls");
                task.abort();
            }
        }
    }
}

async fn upkeep(exporter: Exporter, pools: Pools) {
    let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        ticks.tick().await;
        metrics::record_pools(&pools.snapshot());
        exporter.run_upkeep();
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}
