//! Secrets that are easy to recognise, in every place that a node has for one; then everything that it says, answers and
//! writes is searched for them: logs, commands, errors, HTTP, gRPC, files, and what it copied into its database.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use integration_tests::node::{Node, channel_with};
use integration_tests::raw::Raw;
use integration_tests::record::{settle, wait_projected};
use integration_tests::requests::Requests;
use integration_tests::{LOOK_AGAIN, http, tool};
use journal_store::testing::PostgresServer;
use serde_json::Value;
use service_kit::auth::{local, new_entry};
use service_kit::{Accounts, Role};
use tokio_stream::StreamExt;
use tonic::Request;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use wire::api_key::ApiKey;
use wire::transport::Channel;

use crate::keys::{methods, walk};
use crate::tls::issue;

/// How long anything may take to be so, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whoever asks for a stream waits this long for each message of it.
const MESSAGE_LIMIT: Duration = Duration::from_secs(1);

/// Messages looked at of one stream.
const MESSAGES: usize = 20;

/// Files that hold a secret because they are its place.
const PLACES: [&str; 5] = ["production.toml", "other.toml", "node.key", "local.key", "tls.key"];

/// Configurations that cannot be used, because of a line that holds a secret.
const BROKEN: [&str; 3] = ["broken-1.toml", "broken-2.toml", "broken-3.toml"];

/// What each GET shows; those with parameters ask for all there is.
const PATHS: [&str; 19] = [
    "/",
    "/health",
    "/health/consensus",
    "/livez?verbose",
    "/readyz?verbose",
    "/admin/activity",
    "/admin/audit?limit=500",
    "/admin/audit/verify",
    "/admin/book?symbol=BTC-USD",
    "/admin/config",
    "/admin/database/pool-status",
    "/admin/incident?from=1h",
    "/admin/incident?from=1h&format=markdown",
    "/admin/instruments",
    "/admin/log-level",
    "/admin/memory-profile",
    "/admin/notifications",
    "/console/console.js",
    "/nothing",
];

/// Commands that show something or fail; `{}` is the directory of the test.
const COMMANDS: [&str; 42] = [
    "config show --config {}/production.toml",
    "config show --config {}/production.toml --output json",
    "config validate --config {}/broken-1.toml",
    "config validate --config {}/broken-2.toml",
    "config validate --config {}/broken-3.toml",
    "run --config {}/broken-1.toml",
    "admin config show",
    "admin config show --output json",
    "admin config validate {}/broken-1.toml",
    "admin config validate {}/broken-2.toml",
    "admin config validate {}/broken-3.toml",
    "admin config diff {}/broken-2.toml",
    "admin config diff {}/other.toml",
    "admin config diff {}/other.toml --output json",
    "admin --config {}/broken-1.toml config set max_connections=7 --dry-run",
    "admin --config {}/production.toml config set max_connections=7 --dry-run",
    "admin --config {}/production.toml config set max_connections=7 --dry-run --output json",
    "admin --config {}/broken-1.toml backup list",
    "admin config reload --reason drill",
    "admin log-level",
    "admin status",
    "admin status --output json",
    "admin top --frames 1",
    "admin doctor",
    "admin doctor --output json",
    "admin healthcheck",
    "admin support-bundle --directory {}/bundle",
    "admin consensus status",
    "admin database pool-status",
    "admin database optimize-connections",
    "admin database reset-pools",
    "admin memory profile --output json",
    "admin backup create",
    "admin backup list --output json",
    "admin backup verify latest",
    "admin notify list --output json",
    "admin audit search --output json",
    "admin audit verify",
    "admin incident report --from 1h",
    "admin incident report --from 1h --output json",
    "admin keys list --output json",
    "admin keys revoke the-viewer --yes",
];

/// What nobody may be shown, each under the name of what it is.
struct Canaries(BTreeMap<String, String>);

/// Where one was found, and which.
#[derive(Default)]
struct Leaks {
    found: Vec<String>,
    searched: usize,
}

impl Canaries {
    fn key(&mut self, key: &ApiKey) {
        let secret = key.reveal()[key.id().len() + "hm__".len()..].to_owned();
        self.0.insert(format!("the secret of the key {}", key.id()), secret);
    }

    /// A canary that is part of a value.
    fn word(&mut self, what: &str) -> String {
        let word = format!("canary-{what}-c4n4ry");
        self.0.insert(what.to_owned(), word.clone());
        word
    }

    /// Every line of a private key.
    fn private_key(&mut self, pem: &str) {
        for (number, line) in pem.lines().enumerate().filter(|(_, line)| !line.starts_with("-----")) {
            self.0.insert(format!("line {number} of the private key"), line.to_owned());
        }
    }

    fn of(&self, bytes: &[u8]) -> Vec<&str> {
        let text = String::from_utf8_lossy(bytes);
        self.0.iter().filter(|(_, secret)| text.contains(secret.as_str())).map(|(what, _)| what.as_str()).collect()
    }
}

impl Leaks {
    fn search(&mut self, canaries: &Canaries, place: &str, bytes: &[u8]) {
        self.searched += 1;
        self.found.extend(canaries.of(bytes).iter().map(|what| format!("{what} in {place}")));
    }
}

/// A node that was given all of them.
struct Planted {
    directory: PathBuf,
    node: Node,
    server: PostgresServer,
    url: String,
    canaries: Canaries,
    keys: HashMap<Role, ApiKey>,
}

impl Planted {
    async fn start(directory: &Path) -> Result<Self> {
        let mut canaries = Canaries(BTreeMap::new());
        let server = tokio::task::block_in_place(PostgresServer::start);
        let url = server.database();
        let keys_dir = directory.join("keys");
        fs::create_dir(&keys_dir)?;
        let (mut keys, mut file) = (HashMap::new(), String::new());
        for role in Role::ALL {
            let (key, entry) = new_entry(&format!("the-{role}"), role, Accounts::All)?;
            canaries.key(&key);
            keys.insert(role, key);
            file += &entry;
        }
        fs::write(keys_dir.join("keys.toml"), file)?;
        let processes = new_entry("processes", Role::Node, Accounts::All)?.0;
        canaries.key(&processes);
        fs::write(keys_dir.join("node.key"), processes.reveal())?;
        let (issued, tls) = (issue()?, directory.join("tls"));
        issued.write(&tls)?;
        canaries.private_key(&issued.private_key);
        let configuration = configuration(&mut canaries, &url, &keys_dir, &tls);
        let node = Node::start(directory, "all", &configuration).await?;
        canaries.key(&local::read(&node.data())?);
        node.history_ready().await?;

        // A line that does not end, a value of the wrong kind, an address that is none: each holds a secret.
        let broken = [("h:1/d\"", "h:1/d"), ("_url = ", "_url = 5 "), ("url = \"postgres://", "url = \"postgres:")];
        for (file, (good, bad)) in BROKEN.iter().zip(broken) {
            fs::write(directory.join(file), configuration.replace(good, bad))?;
        }
        let other = configuration.replace("c4n4ry", "c4n4ry-other").replace("connections = 20", "connections = 21");
        fs::write(directory.join("other.toml"), other)?;
        Ok(Self { directory: directory.to_owned(), node, server, url, canaries, keys })
    }

    /// Calls a command, which may fail, and gives what it says.
    fn call(&self, command: &str) -> Result<tool::Said> {
        let directory = self.directory.to_str().context("a readable path")?;
        let mut words: Vec<String> = command.split(' ').map(|word| word.replace("{}", directory)).collect();
        if words[0] == "admin" {
            // The first look at memory reads the line tables of an unoptimised program.
            let rest = ["--data-dir", "data", "--timeout", "60"].map(str::to_owned);
            words.splice(1..1, rest);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        tool::hive(&words, &self.directory)
    }

    fn search_command(&self, leaks: &mut Leaks, command: &str) -> Result<tool::Said> {
        let said = self.call(command)?;
        leaks.search(&self.canaries, command, format!("{}{}", said.out, said.err).as_bytes());
        Ok(said)
    }

    /// Orders, so that there is something to show; a webhook that cannot be delivered; a database that is away.
    async fn trouble(&self, leaks: &mut Leaks) -> Result<()> {
        let channel = channel_with(&self.node.grpc, Some(&self.keys[&Role::Trader]));
        let (mut requests, mut last) = (Requests::new(5, 1, "canary"), 0);
        for _ in 0..20 {
            let one = settle(requests.next().context("endless")?, || channel.clone()).await?;
            requests.learn(&one.report);
            last = one.report.place.as_ref().map_or(last, |place| place.seq);
        }
        wait_projected(&self.node.channel(), last).await?;
        for command in ["admin notify security --reason drill", "admin notify message drill"] {
            let said = self.search_command(leaks, command)?;
            ensure!(said.code == 0, "{command}: {}{}", said.out, said.err);
        }
        let begin = Instant::now();
        loop {
            let said = self.call("admin notify list --output json")?;
            let listed: Value = serde_json::from_str(&said.out)?;
            let all = listed["notifications"].as_array().context("a list")?;
            if all.iter().filter(|one| one["last_error"].is_string()).count() >= 2 {
                break;
            }
            ensure!(begin.elapsed() < PATIENCE, "not two deliveries were tried: {listed}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let (wrong, _) = new_entry("the-admin", Role::Admin, Accounts::All)?;
        for header in [format!("Bearer {}", wrong.reveal()), format!("Basic {}", wrong.reveal())] {
            let header = format!("Authorization: {header}\r\n");
            let answer = http::request_with(&self.node.admin, "POST", "/admin/config/reload", &header).await?;
            ensure!(answer.status == 401, "{answer:?}");
            ensure!(!answer.body.contains(&wrong.reveal()[20..]), "a wrong key is told back: {answer:?}");
        }
        ensure!(!self.node.log().contains(&wrong.reveal()[20..]), "a wrong key is in the log");
        Ok(())
    }

    async fn search_http(&self, leaks: &mut Leaks) -> Result<()> {
        let header = format!("Authorization: Bearer {}\r\n", self.keys[&Role::Admin].reveal());
        for path in PATHS {
            let answer = http::request_with(&self.node.admin, "GET", path, &header).await?;
            leaks.search(&self.canaries, path, answer.body.as_bytes());
        }
        let metrics = http::request_with(&self.node.metrics, "GET", "/metrics", &header).await?;
        ensure!(metrics.status == 200, "{metrics:?}");
        leaks.search(&self.canaries, "/metrics", metrics.body.as_bytes());
        let file = self.directory.join("production.toml");
        let good = fs::read(&file)?;
        for broken in BROKEN {
            fs::copy(self.directory.join(broken), &file)?;
            let refused = http::request_with(&self.node.admin, "POST", "/admin/config/reload", &header).await?;
            ensure!(refused.status == 422, "{broken}: {refused:?}");
            leaks.search(&self.canaries, &format!("the refusal of {broken}"), refused.body.as_bytes());
            for path in ["/admin/config", "/health"] {
                let answer = http::request_with(&self.node.admin, "GET", path, &header).await?;
                leaks.search(&self.canaries, &format!("{path} with {broken}"), answer.body.as_bytes());
            }
        }
        fs::write(&file, good)?;
        Ok(())
    }

    /// An empty request to each method, as whoever may do most.
    async fn search_grpc(&self, leaks: &mut Leaks) -> Result<()> {
        for role in [Role::Admin, Role::Node] {
            let channel = channel_with(&self.node.grpc, Some(&self.keys[&role]));
            for path in methods()? {
                let answer = answer(&channel, &path).await.with_context(|| path.clone())?;
                leaks.search(&self.canaries, &path, &answer);
            }
        }
        Ok(())
    }

    /// What is left when the node has ended: its log and every file but the places of the secrets, and the database.
    async fn search_what_is_left(self, leaks: &mut Leaks) -> Result<()> {
        let Self { directory, node, server, url, canaries, .. } = self;
        ensure!(node.terminate().await?.success(), "it ends in order");
        // However long it is.
        leaks.search(&canaries, "the log", &fs::read(directory.join("node.log"))?);
        let mut files = Vec::new();
        walk(&directory, &mut files)?;
        let name = |file: &Path| file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (places, others): (Vec<PathBuf>, Vec<PathBuf>) =
            files.into_iter().partition(|file| [&PLACES[..], &BROKEN].concat().contains(&name(file).as_str()));
        for file in others {
            leaks.search(&canaries, &file.display().to_string(), &fs::read(&file)?);
        }
        // What is looked for can be found, where it is.
        let mut planted = Vec::new();
        for file in &places {
            planted.extend(canaries.of(&fs::read(file)?).into_iter().map(str::to_owned));
        }
        for what in canaries.0.keys().filter(|what| !what.contains("key the-")) {
            ensure!(planted.contains(what), "{what} was not even planted: {planted:?}");
        }
        let tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'";
        for table in tokio::task::block_in_place(|| server.sql(&url, tables)).lines() {
            let rows = format!("SELECT t::text FROM {table} AS t");
            let rows = tokio::task::block_in_place(|| server.sql(&url, &rows));
            leaks.search(&canaries, &format!("the table {table}"), rows.as_bytes());
        }
        Ok(())
    }
}

/// Of a node that says as much as it can, and has all its secrets.
fn configuration(canaries: &mut Canaries, url: &str, keys_dir: &Path, tls: &Path) -> String {
    let url = url.replace("postgres@", &format!("postgres:{}@", canaries.word("database-password")));
    let replica = format!("postgres://u:{}@h:1/d", canaries.word("replica-password"));
    let mut hook = |name: &str| format!("http://127.0.0.1:1/{}", canaries.word(name));
    let (security, page, message) = (hook("security-webhook"), hook("status-webhook"), hook("notification-webhook"));
    let (certificate, key, ca) = (tls.join("tls.crt"), tls.join("tls.key"), tls.join("ca.pem"));
    format!(
        "[log]\nlevel = \"debug\"\n[audit]\naudit_level = \"verbose\"\n[memory]\nenable_memory_profiling = true\n\
         [security]\nkeys_dir = {keys_dir:?}\n[security.tls]\ncertificate = {certificate:?}\nprivate_key = {key:?}\n\
         client_ca = {ca:?}\n[notifications]\nsecurity_webhook = \"{security}\"\nstatus_page_webhook = \"{page}\"\n\
         notification_webhook = \"{message}\"\n[persistence_gateway]\njournal.backend = \"postgres\"\n\
         history.database = \"postgres\"\n[persistence_gateway.database]\nurl = \"{url}\"\nmax_connections = 20\n\
         connection_timeout = \"2s\"\nreplica_url = \"{replica}\"\nuse_read_replica = true\n"
    )
}

/// Everything that an empty call is answered with: messages, or the error.
async fn answer(channel: &Channel, path: &str) -> Result<Vec<u8>> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.map_err(anyhow::Error::from_boxed)?;
    let mut request = Request::new(tokio_stream::once(Bytes::new()));
    request.set_timeout(MESSAGE_LIMIT * 10);
    let mut all = Vec::new();
    match client.streaming(request, path.parse::<PathAndQuery>()?, Raw).await {
        Err(status) => all.extend(format!("{status:?}").bytes()),
        Ok(answer) => {
            let mut messages = answer.into_inner().take(MESSAGES);
            while let Ok(Some(message)) = tokio::time::timeout(MESSAGE_LIMIT, messages.next()).await {
                match message {
                    Ok(bytes) => all.extend(bytes),
                    Err(status) => all.extend(format!("{status:?}").bytes()),
                }
            }
        }
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r56_r57_r61_r77_r79_r87_no_secret_is_in_anything_that_is_said_or_written() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut planted = Planted::start(directory.path()).await?;
    let mut leaks = Leaks::default();
    planted.trouble(&mut leaks).await?;
    for command in COMMANDS {
        planted.search_command(&mut leaks, command)?;
    }
    planted.search_http(&mut leaks).await?;
    // Without its database: errors of connections know where they were to go.
    tokio::task::block_in_place(|| planted.server.kill());
    for command in ["admin database pool-status", "admin database reset-pools", "admin status", "admin doctor"] {
        planted.search_command(&mut leaks, command)?;
    }
    tokio::task::block_in_place(|| planted.server.launch());
    planted.node.history_ready().await?;
    // Half a private key: it cannot be used, and its text is in no message.
    let key = directory.path().join("tls/tls.key");
    let whole = fs::read_to_string(&key)?;
    fs::write(&key, &whole[..whole.len() / 2])?;
    let begin = Instant::now();
    while !planted.node.log().contains("certificates cannot be used") {
        ensure!(begin.elapsed() < PATIENCE, "nothing is said about a broken key");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    fs::write(&key, whole)?;
    planted.search_grpc(&mut leaks).await?;
    planted.search_what_is_left(&mut leaks).await?;
    assert!(leaks.found.is_empty(), "{:#?}", leaks.found);
    println!("{} answers, outputs and files were searched", leaks.searched);
    Ok(())
}
