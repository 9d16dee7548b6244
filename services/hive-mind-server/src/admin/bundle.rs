//! `admin support-bundle`: everything that tells what was going on, in one new directory, with a manifest of checksums:
//! status, examination, leadership, pools, activity, metrics, configuration, instruments, version.
//!
//! Secrets are not in it: the configuration comes from the instances, which leave them out. What could not be had is in
//! the manifest with the reason. Absent: logs, which are standard output and belong to whoever keeps that.

use std::fs;
use std::path::{Path, PathBuf};

use admin_api::view::activity::ActivityView;
use admin_api::view::market::InstrumentsView;
use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use service_kit::clock;
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::activity_service_client::ActivityServiceClient;
use wire::pb::admin::v1::config_service_client::ConfigServiceClient;
use wire::transport::{Channel, PEER_MESSAGE_LIMIT};

use super::asked::{Asked, answered};
use super::doctor;
use super::picture::{self, Picture};
use super::status::Overview;
use super::view::State;
use crate::cli::{EXIT_FAILURE, EXIT_OK};
use crate::output::{chain, line};

/// Where it goes.
#[derive(Args, Debug)]
pub(super) struct Bundle {
    /// Directory to make; must not exist. One in the present directory with the time in its name if not given.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// What is in it. The JSON is the schema, also of `manifest.json`.
#[derive(Debug, Serialize)]
struct Manifest {
    directory: PathBuf,
    /// Microseconds since the Unix epoch.
    at_us: u64,
    target: String,
    version: &'static str,
    files: Vec<File>,
    missing: Vec<Missing>,
}

#[derive(Debug, Serialize)]
struct File {
    name: String,
    bytes: usize,
    /// BLAKE3, 64 hexadecimal digits.
    blake3: String,
}

#[derive(Debug, Serialize)]
struct Missing {
    name: String,
    reason: String,
}

pub(super) async fn run(bundle: Bundle, asked: &Asked) -> Result<u8> {
    let at_us = clock::now_us();
    let directory = bundle.directory.unwrap_or_else(|| format!("hive-mind-bundle-{}", at_us / 1_000_000).into());
    fs::create_dir(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let version = env!("CARGO_PKG_VERSION");
    let (target, files, missing) = (asked.target()?, Vec::new(), Vec::new());
    let mut manifest = Manifest { directory, at_us, target, version, files, missing };
    let channel = asked.channel()?;
    collect(asked, &channel, &mut manifest).await?;
    let text = serde_json::to_vec_pretty(&manifest)?;
    let path = manifest.directory.join("manifest.json");
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    asked.report(&manifest, Manifest::print)?;
    Ok(if manifest.missing.is_empty() { EXIT_OK } else { EXIT_FAILURE })
}

async fn collect(asked: &Asked, channel: &Channel, manifest: &mut Manifest) -> Result<()> {
    manifest.keep("examination.json", doctor::examination(asked).await.map(|found| json!(found)))?;
    match Picture::take(asked, channel).await {
        Ok(picture) => {
            manifest.keep("status.json", Ok(json!(Overview::new(&picture))))?;
            let leadership = picture.consensus.map(|told| json!(State::from(told)));
            manifest.keep("leadership.json", leadership.map_err(Into::into))?;
            let activity = picture.activity.map(|told| json!(ActivityView::from(told)));
            manifest.keep("activity.json", activity.map_err(Into::into))?;
            let instruments = picture.instruments.map(|told| json!(InstrumentsView::from(told)));
            manifest.keep("instruments.json", instruments.map_err(Into::into))?;
        }
        Err(error) => manifest.lack("status.json", &error),
    }
    manifest.keep("configuration.json", configuration(asked, channel).await)?;
    match metrics(asked, channel).await {
        Ok(instances) => {
            for pb::InstanceMetrics { answer, text } in instances {
                let file = format!("metrics-{}.txt", file_name(picture::name(answer.as_ref())));
                match answer.filter(|answer| !answer.error.is_empty()) {
                    Some(silent) => manifest.lack(&file, &anyhow::anyhow!(silent.error)),
                    None => manifest.write(&file, text.as_bytes())?,
                }
            }
        }
        Err(error) => manifest.lack("metrics", &error),
    }
    Ok(())
}

async fn metrics(asked: &Asked, channel: &Channel) -> Result<Vec<pb::InstanceMetrics>> {
    let mut client = ActivityServiceClient::new(channel.clone()).max_decoding_message_size(PEER_MESSAGE_LIMIT);
    Ok(answered(client.get_metrics(asked.request(pb::GetMetricsRequest { timeout_ms: 0 })?).await)?.instances)
}

/// What is in force, key by key, as the instances tell it: without secrets.
async fn configuration(asked: &Asked, channel: &Channel) -> Result<Value> {
    let request = asked.request(pb::GetConfigRequest { timeout_ms: 0, targets: Vec::new() })?;
    let answer = answered(ConfigServiceClient::new(channel.clone()).get_config(request).await)?;
    let value = |value: pb::ConfigValue| json!({"key": value.key, "value": value.value, "origin": value.origin});
    let instance = |instance: pb::InstanceConfig| {
        let values = instance.config.map(|config| config.values.into_iter().map(value).collect::<Vec<_>>());
        json!({"instance": picture::name(instance.answer.as_ref()), "values": values})
    };
    Ok(Value::Array(answer.instances.into_iter().map(instance).collect()))
}

/// A name that is a file's name on every system.
fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '_' }).collect()
}

impl Manifest {
    /// Writes a document, or notes why there is none.
    fn keep(&mut self, name: &str, document: Result<Value>) -> Result<()> {
        match document {
            Ok(document) => self.write(name, &serde_json::to_vec_pretty(&document)?),
            Err(error) => {
                self.lack(name, &error);
                Ok(())
            }
        }
    }

    fn lack(&mut self, name: &str, error: &anyhow::Error) {
        self.missing.push(Missing { name: name.to_owned(), reason: chain(error) });
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let path: &Path = &self.directory.join(name);
        fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        let blake3 = blake3::hash(bytes).to_hex().to_string();
        self.files.push(File { name: name.to_owned(), bytes: bytes.len(), blake3 });
        Ok(())
    }

    fn print(&self) {
        line(&self.directory.display().to_string());
        self.files.iter().for_each(|file| line(&format!("  {} ({} bytes)", file.name, file.bytes)));
        self.missing.iter().for_each(|missing| line(&format!("  no {}: {}", missing.name, missing.reason)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_instances_become_names_of_files() {
        assert_eq!(file_name("http://10.0.0.1:8080"), "http___10.0.0.1_8080");
        assert_eq!(file_name("../../etc/passwd"), ".._.._etc_passwd");
    }
}
