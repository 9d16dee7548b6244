//! `admin backup`: a running gateway makes one; the others read the place where backups are kept and need no node, since
//! they are wanted most when there is none.
//!
//! Deliberately absent: what a backup is made of; the gateway's library knows that.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use persistence_gateway::backup::{BackupError, Checked, Listed, Location, RestoreOptions, Restored};
use serde::Serialize;
use service_kit::audit::{Act, Audit, Outcome};
use service_kit::data_dir::DataDirError;
use service_kit::{Caller, DataDir, NodeContext, clock};
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::backup_service_client::BackupServiceClient;

use super::asked::{Asked, answered};
use super::ordered::Ordered;
use crate::cli::{EXIT_DIFFERENCE, EXIT_OK};
use crate::config::{Misconfigured, ServerConfig};
use crate::output::line;

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Makes a backup on a gateway while it trades, and prints its id.
    ///
    /// It holds everything that was acknowledged before the order. Large ones take longer than the usual --timeout;
    /// the work goes on when the wait is over, and the same --request-id asks for its result.
    Create {
        #[command(flatten)]
        order: Ordered,
    },
    /// Lists the backups, the newest last. Needs no running node.
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Reads a whole backup: every file against its hash, the journal replayed, the history compared. Needs no running
    /// node.
    Verify {
        /// Its id, or "latest".
        id: String,
        #[command(flatten)]
        place: Place,
    },
    /// Puts a backup into the data directory of a stopped node. What was there is kept under another name.
    ///
    /// The backup is checked first; a damaged one changes nothing. The restored log is a new history: engines and
    /// gateways that still follow the old one are refused.
    Restore {
        /// Its id, or "latest".
        id: String,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        order: Ordered,
    },
}

/// Where backups are.
#[derive(Args, Debug)]
pub(crate) struct Place {
    /// Directory of the backups; the configured one if not given.
    #[arg(long, value_name = "DIR")]
    location: Option<PathBuf>,
}

pub(super) async fn run(command: BackupCommand, asked: &Asked) -> Result<u8> {
    match command {
        BackupCommand::Create { order } => create(asked, &order).await,
        BackupCommand::List { place } => list(asked, &place),
        BackupCommand::Verify { id, place } => {
            let location = place.location(asked)?;
            let checked = tokio::task::spawn_blocking(move || location.check(&id)).await??;
            asked.report(&Verified { ok: true, checked: &checked }, Verified::print)?;
            Ok(EXIT_OK)
        }
        BackupCommand::Restore { id, place, order } => restore(asked, id, &place, &order).await,
    }
}

impl Place {
    fn location(&self, asked: &Asked) -> Result<Location> {
        match &self.location {
            Some(directory) => Ok(Location::new(directory)),
            None => Ok(Location::of(&config(asked)?.persistence_gateway, &asked.data_dir())),
        }
    }
}

fn config(asked: &Asked) -> Result<ServerConfig> {
    Ok(ServerConfig::load(asked.config()).context(Misconfigured)?.value)
}

async fn create(asked: &Asked, order: &Ordered) -> Result<u8> {
    let client = &mut BackupServiceClient::new(asked.channel()?);
    let request = asked.request(pb::CreateBackupRequest { order: Some(order.order()) })?;
    let answer = answered(client.create_backup(request).await)?;
    let backup = answer.backup.unwrap_or_default();
    let created = Created {
        dry_run: order.dry_run,
        repeated_request: answer.repeated_request,
        id: if backup.id.is_empty() { None } else { Some(backup.id) },
        place: backup.place,
        bytes: backup.size,
        rows: backup.rows,
        shards: backup.shards.into_iter().map(CreatedShard::from).collect(),
    };
    asked.report(&created, Created::print)?;
    Ok(EXIT_OK)
}

fn list(asked: &Asked, place: &Place) -> Result<u8> {
    let location = place.location(asked)?;
    let backups: Vec<Shown> = location.list()?.into_iter().map(Shown::from).collect();
    let damaged = backups.iter().any(|backup| backup.damage.is_some());
    let list = List { place: location.to_string(), backups };
    asked.report(&list, List::print)?;
    Ok(if damaged { EXIT_DIFFERENCE } else { EXIT_OK })
}

async fn restore(asked: &Asked, id: String, place: &Place, order: &Ordered) -> Result<u8> {
    let (config, data_dir, location) = (config(asked)?, asked.data_dir(), place.location(asked)?);
    let id = location.resolve(&id)?;
    order.confirm(&format!("the state of {} is replaced by that of backup {id}", data_dir.display()))?;
    // A running node would go on with what is replaced beneath it. A dry run changes nothing and may look beside it.
    let lock = if order.dry_run { None } else { Some(DataDir::lock(&data_dir).map_err(running)?) };
    let options = RestoreOptions {
        config: config.persistence_gateway,
        data_dir: data_dir.clone(),
        location,
        id,
        dry_run: order.dry_run,
    };
    let audit = if order.dry_run {
        Audit::none()
    } else {
        let context = NodeContext::new(&config.node.name, vec![], &data_dir);
        let component = context.components.register_optional("audit");
        Audit::open(&data_dir, &config.node.name, &config.audit, component)?
    };
    let restored = tokio::task::spawn_blocking(move || options.run()).await?;
    let act = Act::ordered("backup.restore", Caller::local(), &order.order());
    let after = restored.as_ref().ok().map(serde_json::to_value).transpose()?.unwrap_or_default();
    let result = match &restored {
        Ok(_) => Outcome::Ok,
        Err(error) => Outcome::Failed(error.to_string()),
    };
    audit.record(Act { target: data_dir.display().to_string(), after, result, ..act });
    audit.flush().await;
    drop(lock);
    asked.report(&restored?, print_restored)?;
    Ok(EXIT_OK)
}

/// Which is a refusal, since nothing was changed.
fn running(error: DataDirError) -> anyhow::Error {
    match error {
        DataDirError::InUse { .. } => BackupError::Target(format!("{error}: stop the node first")).into(),
        error => error.into(),
    }
}

#[derive(Serialize)]
struct Created {
    dry_run: bool,
    repeated_request: bool,
    id: Option<String>,
    place: String,
    bytes: u64,
    rows: u64,
    shards: Vec<CreatedShard>,
}

#[derive(Serialize)]
struct CreatedShard {
    shard: u32,
    seq: u64,
    state_hash: String,
}

#[derive(Serialize)]
struct List {
    place: String,
    backups: Vec<Shown>,
}

#[derive(Serialize)]
struct Shown {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<String>,
    created_at: Option<String>,
    bytes: u64,
    rows: u64,
    shards: usize,
    reason: String,
}

#[derive(Serialize)]
struct Verified<'a> {
    ok: bool,
    #[serde(flatten)]
    checked: &'a Checked,
}

impl From<pb::BackupShard> for CreatedShard {
    fn from(shard: pb::BackupShard) -> Self {
        let state_hash = shard.state_hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { shard: shard.shard, seq: shard.seq, state_hash }
    }
}

impl From<Listed> for Shown {
    fn from((id, manifest): Listed) -> Self {
        match manifest {
            Ok(manifest) => Self {
                id,
                damage: None,
                bytes: manifest.bytes(),
                rows: manifest.rows,
                shards: manifest.shards.len(),
                created_at: Some(manifest.created_at),
                reason: manifest.reason,
            },
            Err(error) => Self {
                id,
                damage: Some(error.to_string()),
                created_at: None,
                bytes: 0,
                rows: 0,
                shards: 0,
                reason: String::new(),
            },
        }
    }
}

impl Created {
    /// The id alone: scripts take it.
    fn print(&self) {
        match &self.id {
            Some(id) => line(id),
            None => {
                line(&format!("a backup would be made in {}", self.place));
                self.shards.iter().for_each(|CreatedShard { shard, seq, .. }| {
                    line(&format!("  shard {shard}, up to entry {seq} or later"));
                });
            }
        }
    }
}

impl List {
    fn print(&self) {
        if self.backups.is_empty() {
            line(&format!("no backups in {}", self.place));
        }
        for backup in &self.backups {
            let Shown { id, damage, bytes, rows, shards, reason, .. } = backup;
            line(&match damage {
                Some(damage) => format!("{id}  DAMAGED: {damage}"),
                None => {
                    let age = age(backup.created_at.as_deref());
                    format!("{id}  {age:>10} old  {bytes:>12} bytes  {rows:>10} rows  {shards} shards  {reason}")
                }
            });
        }
    }
}

impl Verified<'_> {
    fn print(&self) {
        let Checked { manifest, shards, rows } = self.checked;
        line(&format!(
            "{}: {} files, {} bytes, {rows} rows: good",
            manifest.id,
            manifest.files.len(),
            manifest.bytes()
        ));
        for (shard, part) in shards.iter().zip(&manifest.shards) {
            line(&format!(
                "  shard {}: {} entries replayed, to entry {}",
                shard.shard, shard.entries_replayed, part.seq
            ));
            line(&format!("    {} rows compared, state hash {}", shard.rows_compared, shard.state_hash));
        }
    }
}

fn print_restored(restored: &Restored) {
    let done = if restored.dry_run { "good, and would be restored" } else { "restored" };
    line(&format!("{}: {done}, {} rows of history", restored.id, restored.rows));
    for shard in &restored.shards {
        let log = shard.log_id.as_ref().map(|log| format!(", log {log}")).unwrap_or_default();
        line(&format!("  shard {}: from entry {} on{log}, state hash {}", shard.shard, shard.seq, shard.state_hash));
    }
    for kept in &restored.kept {
        line(&format!("  kept what was there: {}", kept.display()));
    }
}

/// How long ago, in the largest unit that fits.
fn age(created_at: Option<&str>) -> String {
    let Some(us) = created_at.and_then(clock::parse_rfc3339) else { return "?".to_owned() };
    let seconds = clock::now_us().saturating_sub(us) / 1_000_000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
