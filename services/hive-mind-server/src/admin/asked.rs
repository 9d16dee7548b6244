//! Which node is asked, with which key, for how long, and how its answer is printed: what every command of `admin` has.
//!
//! Deliberately absent: what is asked.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde::{Deserialize, Serialize};
use service_kit::auth::local;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};
use wire::status::{ApiError, ErrorCode};
use wire::transport::{Address, Channel, ClientOptions, connect};

use crate::cli::{Output, client_tls};
use crate::config::ServerConfig;
use crate::output;
use crate::run::ADDRESSES_FILE;

/// Where a node listens unless told otherwise.
const USUAL_TARGET: &str = "http://127.0.0.1:8080";

/// Arguments of all commands; they may stand anywhere behind `admin`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Asked {
    /// gRPC address of a node, http://host:port or https://host:port. Without one, that of the node in --data-dir; without that,
    /// http://127.0.0.1:8080.
    #[arg(long, global = true, value_name = "ADDRESS", env = "HIVE_TARGET", help_heading = "Whom to ask")]
    target: Option<String>,
    /// Data directory of a running node: its node.json says where it listens, its local.key opens it.
    #[arg(long, global = true, value_name = "DIR", help_heading = "Whom to ask")]
    data_dir: Option<PathBuf>,
    /// Configuration of the node; says where its data directory is if --data-dir does not.
    #[arg(long, global = true, value_name = "FILE", env = "HIVE_CONFIG", help_heading = "Whom to ask")]
    config: Option<PathBuf>,
    /// API key. Without one, the local.key in the data directory of the node on this machine.
    #[arg(
        long,
        global = true,
        value_name = "KEY",
        env = "HIVE_API_KEY",
        hide_env_values = true,
        help_heading = "Whom to ask"
    )]
    key: Option<String>,
    /// Certificates of the authorities that an https address is checked against, PEM.
    #[arg(long, global = true, value_name = "FILE", env = "HIVE_CA", help_heading = "Whom to ask")]
    ca: Option<PathBuf>,
    /// Longest wait for an answer, seconds.
    #[arg(
        long,
        global = true,
        value_name = "SECONDS",
        default_value_t = 15,
        value_parser = clap::value_parser!(u64).range(1..=3_600),
        help_heading = "Whom to ask"
    )]
    timeout: u64,
    /// How to print the result, and an error.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) output: Output,
}

#[derive(Deserialize)]
struct NodeFile {
    grpc: String,
}

impl Asked {
    /// The way to the node. Connects with the first call.
    pub(super) fn channel(&self) -> Result<Channel> {
        let tls = client_tls(self.ca.as_deref())?;
        let options = ClientOptions { tls, ..ClientOptions::default() };
        Ok(connect(&self.target()?.parse::<Address>()?, &options))
    }

    /// A request with the key and the time limit of this command.
    pub(super) fn request<T>(&self, message: T) -> Result<Request<T>> {
        let mut request = Request::new(message);
        request.set_timeout(self.limit());
        if let Some(key) = self.key()? {
            let value = MetadataValue::try_from(format!("Bearer {key}")).ok();
            // The text of the error would hold the key.
            let mut value = value.context("the API key has characters that no key has: copy it again")?;
            value.set_sensitive(true);
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }

    /// Longest wait for an answer.
    pub(super) fn limit(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// Prints a result as asked for.
    pub(super) fn report<R: Serialize>(&self, report: &R, table: impl FnOnce(&R)) -> Result<()> {
        output::report(report, self.output, table)
    }

    /// The given configuration file, if there is one.
    pub(super) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Data directory of the node on this machine. A configuration that cannot be read is a matter of `config
    /// validate`, not of a command to a running node.
    pub(super) fn data_dir(&self) -> PathBuf {
        let configured = || ServerConfig::load(self.config()).map(|loaded| loaded.value).unwrap_or_default();
        self.data_dir.clone().unwrap_or_else(|| configured().node.data_dir)
    }

    /// Address of the node's gRPC services.
    pub(super) fn target(&self) -> Result<String> {
        match (&self.target, &self.data_dir) {
            (Some(target), _) => Ok(target.clone()),
            (None, Some(directory)) => listening(directory),
            (None, None) => Ok(USUAL_TARGET.to_owned()),
        }
    }

    /// Whether the node is on this machine.
    pub(super) fn is_here(&self) -> Result<bool> {
        Ok(is_loopback(&self.target()?))
    }

    /// The key to show. The local one goes to this machine only.
    fn key(&self) -> Result<Option<String>> {
        if let Some(key) = self.key.as_ref().filter(|key| !key.is_empty()) {
            return Ok(Some(key.clone()));
        }
        if !self.is_here()? {
            return Ok(None);
        }
        // Where no node has run, or one of somebody else, there is none: the node will say if it wants one.
        Ok(local::read(&self.data_dir()).ok().map(|key| key.reveal().to_owned()))
    }
}

/// The answer, or its error with what to do about it.
pub(super) fn answered<T>(answer: Result<Response<T>, Status>) -> Result<T> {
    let mut error = match answer {
        Ok(answer) => return Ok(answer.into_inner()),
        Err(status) => ApiError::from_status(&status),
    };
    if error.code == ErrorCode::Unsupported {
        let said = if error.message.is_empty() { String::new() } else { format!(" ({})", error.message) };
        error.message = format!("the asked node does not offer this: name one that does with --target{said}");
    }
    Err(error.into())
}

fn listening(directory: &Path) -> Result<String> {
    let path = directory.join(ADDRESSES_FILE);
    let text = std::fs::read(&path)
        .with_context(|| format!("cannot read {}: is a node running in that directory?", path.display()))?;
    let file: NodeFile = serde_json::from_slice(&text).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(format!("http://{}", file.grpc))
}

fn is_loopback(target: &str) -> bool {
    let authority = target.split_once("://").map_or(target, |(_, rest)| rest);
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_is_found_by_its_directory() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let missing = listening(directory.path()).expect_err("nothing runs there");
        assert!(format!("{missing:#}").contains("is a node running in that directory?"));
        let file = json!({"pid": 1, "name": "n", "grpc": "127.0.0.1:4711", "admin": "", "metrics": ""});
        std::fs::write(directory.path().join(ADDRESSES_FILE), file.to_string()).expect("written");
        assert_eq!(listening(directory.path()).expect("there is one"), "http://127.0.0.1:4711");
    }

    #[test]
    fn the_local_key_goes_to_this_machine_only() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let made = local::ensure(directory.path()).expect("written");
        let local = made.reveal();
        let asked = |target: &str, key: Option<&str>| Asked {
            target: Some(target.to_owned()),
            data_dir: Some(directory.path().to_owned()),
            config: None,
            key: key.map(str::to_owned),
            ca: None,
            timeout: 15,
            output: Output::Table,
        };
        let key = |asked: Asked| asked.key().expect("the directory can be read");
        for here in ["http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080"] {
            assert_eq!(key(asked(here, None)).as_deref(), Some(local), "{here}");
        }
        for away in ["http://10.0.0.7:8080", "http://localhost.example:8080", "http://hive-mind-service:8080"] {
            assert_eq!(key(asked(away, None)), None, "{away}");
            assert_eq!(key(asked(away, Some("hm_a_b"))).as_deref(), Some("hm_a_b"), "{away}");
        }
        let request = asked("http://127.0.0.1:8080", None).request(()).expect("a key that can be sent");
        assert_eq!(request.metadata().get("authorization").expect("it is shown"), &format!("Bearer {local}"));
        let broken = asked("http://127.0.0.1:8080", Some("hm_a_\u{7f}b")).request(()).expect_err("no key has this");
        assert!(!format!("{broken:#}").contains("hm_a_"), "{broken:#}");
    }
}
