//! A node as a process: its directory, configuration, addresses, logs and death.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use service_kit::auth::local;
use wire::api_key::{ApiKey, Credentials};
use wire::pb::history::v1::ListOrdersRequest;
use wire::pb::history::v1::history_service_client::HistoryServiceClient;
use wire::transport::{Address, Channel, ClientOptions, connect};

use crate::ports;
use crate::tool::{self, Said};
use crate::{LOOK_AGAIN, until};

/// How long a node may take to come up, or to come to a state, on a busy machine before a test gives up.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long a node may take to end after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// A running node.
#[derive(Debug)]
pub struct Node {
    directory: PathBuf,
    child: Child,
    /// Address of its gRPC services.
    pub grpc: String,
    /// Address of its admin HTTP.
    pub admin: String,
    /// Address of its metrics.
    pub metrics: String,
}

/// A process as its clients reach it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its configured name.
    pub name: String,
    /// Address of its gRPC services.
    pub address: String,
    /// To there, with a key if one is needed.
    pub channel: Channel,
}

/// The server's binary: beside the test binary's directory, or what `HIVE_SERVER_BIN` names.
///
/// # Errors
/// When it was not built.
pub fn server_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("HIVE_SERVER_BIN") {
        return Ok(path.into());
    }
    let test = std::env::current_exe()?;
    let profile = test.ancestors().nth(2).context("a test binary lies in target/<profile>/deps")?;
    let binary = profile.join("hive-mind-server");
    ensure!(binary.exists(), "{} is missing: build it with `cargo build -p hive-mind-server`", binary.display());
    Ok(binary)
}

/// A channel to a node that listens at `address`, now or later.
#[must_use]
pub fn channel(address: &str) -> Channel {
    channel_with(address, None)
}

/// The same with an API key.
#[must_use]
pub fn channel_with(address: &str, key: Option<&ApiKey>) -> Channel {
    channel_showing(address, Credentials::new(key))
}

/// The same with whatever key the credentials hold at the time of a call.
#[must_use]
pub fn channel_showing(address: &str, credentials: Credentials) -> Channel {
    let options = ClientOptions { credentials, ..ClientOptions::default() };
    connect(&Address::Tcp(format!("http://{address}")), &options)
}

impl Node {
    /// Starts a node in `directory` with `configuration` (TOML; addresses and the data directory are added) and waits
    /// until it is ready. `roles` as for `--roles`.
    ///
    /// # Errors
    /// When it ends or does not become ready in time; the error holds the end of its log.
    pub async fn start(directory: &Path, roles: &str, configuration: &str) -> Result<Self> {
        let mut node = Self::launch(directory, roles, configuration).await?;
        node.ready().await?;
        Ok(node)
    }

    /// Starts a node and waits only until its ports are bound.
    ///
    /// # Errors
    /// When it ends or does not bind in time.
    pub async fn launch(directory: &Path, roles: &str, configuration: &str) -> Result<Self> {
        let address = || ports::take().map(|port| format!("127.0.0.1:{port}"));
        let (grpc, admin, metrics) = (address()?, address()?, address()?);
        Self::launch_at(directory, roles, configuration, [&grpc, &admin, &metrics]).await
    }

    /// The same on all addresses of the machine; those of loopback are told.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_anywhere(directory: &Path, roles: &str, configuration: &str) -> Result<Self> {
        let address = || ports::take().map(|port| format!("0.0.0.0:{port}"));
        let (grpc, admin, metrics) = (address()?, address()?, address()?);
        let mut node = Self::launch_at(directory, roles, configuration, [&grpc, &admin, &metrics]).await?;
        for address in [&mut node.grpc, &mut node.admin, &mut node.metrics] {
            *address = address.replace("0.0.0.0", "127.0.0.1");
        }
        node.ready().await?;
        Ok(node)
    }

    /// SIGKILL, and a new process in its place: same directory, same ports. Waits until it is ready.
    ///
    /// # Errors
    /// When it cannot be reaped, or as [`Self::start`].
    pub async fn kill_and_start(self, roles: &str, configuration: &str) -> Result<Self> {
        let directory = self.directory.clone();
        let (grpc, admin, metrics) = (self.grpc.clone(), self.admin.clone(), self.metrics.clone());
        self.kill()?;
        let mut node = Self::launch_at(&directory, roles, configuration, [&grpc, &admin, &metrics]).await?;
        node.ready().await?;
        Ok(node)
    }

    /// `listen`: gRPC, admin, metrics.
    pub(crate) async fn launch_at(
        directory: &Path,
        roles: &str,
        configuration: &str,
        listen: [&str; 3],
    ) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let file = directory.join("production.toml");
        fs::write(&file, configuration)?;
        let addresses = directory.join("data").join("node.json");
        let _ = fs::remove_file(&addresses);
        let log = File::options().create(true).append(true).open(directory.join("node.log"))?;
        let child = Command::new(server_binary()?)
            .args(["run", "--roles", roles, "--config"])
            .arg(&file)
            .env("HIVE__NODE__DATA_DIR", directory.join("data"))
            .env("HIVE__LISTEN__GRPC", listen[0])
            .env("HIVE__LISTEN__ADMIN", listen[1])
            .env("HIVE__LISTEN__METRICS", listen[2])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut node = Self {
            directory: directory.to_owned(),
            child,
            grpc: String::new(),
            admin: String::new(),
            metrics: String::new(),
        };
        let begin = Instant::now();
        loop {
            if let Ok(text) = fs::read_to_string(&addresses)
                && let Ok(found) = serde_json::from_str::<Value>(&text)
                && found["pid"] == node.child.id()
            {
                let address = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
                node.grpc = address("grpc");
                node.admin = address("admin");
                node.metrics = address("metrics");
                return Ok(node);
            }
            node.check_alive()?;
            ensure!(begin.elapsed() < START_LIMIT, "the node did not bind its ports:\n{}", node.log_end());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until `/readyz` says yes.
    ///
    /// # Errors
    /// When the node ends or is not ready in time.
    pub async fn ready(&mut self) -> Result<()> {
        let begin = Instant::now();
        loop {
            if let Ok(answer) = crate::http::get(&self.admin, "/readyz").await
                && answer.status == 200
            {
                return Ok(());
            }
            self.check_alive()?;
            ensure!(begin.elapsed() < START_LIMIT, "the node did not become ready:\n{}", self.log_end());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// A channel to its gRPC services, with the key of whoever may read its directory.
    #[must_use]
    pub fn channel(&self) -> Channel {
        channel_with(&self.grpc, local::read(&self.data()).ok().as_ref())
    }

    /// Waits until its history answers, which a node is ready without: the tables are made by the projector's first look.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn history_ready(&self) -> Result<()> {
        let begin = Instant::now();
        let mut history = HistoryServiceClient::new(self.channel());
        while let Err(status) = history.list_orders(ListOrdersRequest::default()).await {
            ensure!(begin.elapsed() < START_LIMIT, "the history never answered: {status}\n{}", self.log_end());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// Calls `admin` as whoever is beside it: found by its data directory, opened with the key there.
    ///
    /// # Errors
    /// When the command cannot be started.
    pub fn admin(&self, arguments: &[&str]) -> Result<Said> {
        let data = self.data();
        let data = data.to_str().context("a path of text")?;
        tool::hive(&[&["admin", "--data-dir", data][..], arguments].concat(), &self.directory)
    }

    /// The document that such a call answers.
    ///
    /// # Errors
    /// When its exit code is not 0, or it is no document.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        self.admin(&[arguments, &["--output", "json"]].concat())?.json(0)
    }

    /// Writes its configuration anew and has it read.
    ///
    /// # Errors
    /// When it cannot be written, or the process is gone.
    pub fn reload(&self, configuration: &str) -> Result<()> {
        fs::write(self.directory.join("production.toml"), configuration)?;
        self.signal(Signal::HUP)
    }

    /// A document that its admin HTTP answers with 200.
    ///
    /// # Errors
    /// When it answers otherwise.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let answer = crate::http::get(&self.admin, path).await?;
        ensure!(answer.status == 200, "{path}: {answer:?}");
        Ok(serde_json::from_str(&answer.body)?)
    }

    /// A value of its metrics; `name` has all labels.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metric(&self, name: &str) -> Result<Option<f64>> {
        let text = crate::http::get(&self.metrics, "/metrics").await?.body;
        Ok(text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()))
    }

    /// Waits until a value of its metrics is this one.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn until_metric(&self, name: &str, wanted: f64) -> Result<()> {
        until(&format!("{name} is {wanted}"), async || Ok(self.metric(name).await? == Some(wanted)))
            .await
            .with_context(|| self.log_end())
    }

    /// The key of whoever may read its directory.
    ///
    /// # Errors
    /// When it has written none.
    pub fn key(&self) -> Result<ApiKey> {
        local::read(&self.data()).context("the node's local.key")
    }

    /// The line of a request over HTTP that shows this key.
    ///
    /// # Errors
    /// As [`Self::key`].
    pub fn key_header(&self) -> Result<String> {
        Ok(format!("Authorization: Bearer {}\r\n", self.key()?.reveal()))
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, as the kernel's out-of-memory killer or a power cut of the process would.
    ///
    /// # Errors
    /// When the process cannot be reaped.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn terminate(mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(begin.elapsed() < STOP_LIMIT, "the node did not end after SIGTERM:\n{}", self.log_end());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a pid is positive")?;
        kill_process(pid, signal).context("send a signal to the node")
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_end(&self) -> String {
        let text = self.log();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Its whole log, of all starts in this directory.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("node.log")).unwrap_or_default()
    }

    fn check_alive(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the node ended with {status}:\n{}", self.log_end());
        }
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
