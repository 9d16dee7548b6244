//! `BackupService`, and the thread on which a backup is made: at the lowest priority, like the projector, so that no
//! acknowledgement waits for it.
//!
//! Deliberately absent: checking and restoring; those are done where the backup is, with no node running.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use service_kit::audit::{Act, Outcome};
use service_kit::{Caller, NodeContext, clock};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};
use tonic::{Request, Response, Status};
use types::Seq;
use wire::convert::log_id_to_pb;
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::backup_service_server::BackupService;
use wire::pb::consensus::v1::Order;
use wire::status::{ApiError, ErrorCode};

use super::create::{Create, Source};
use super::manifest::{Manifest, ShardPart};
use super::{BackupError, Listed, Location};
use crate::config::Config;
use crate::history::{HistoryError, HistoryReader};
use crate::journal::JournalHandle;
use crate::metrics::BackupMetrics;

/// How long a backup waits for the history to contain what was committed when it was ordered.
const HISTORY_WAITS: Duration = Duration::from_secs(60);
/// How long the leader may take to tell what it has acknowledged.
const LEADER_TELLS: Duration = Duration::from_secs(2);
/// Between two looks at the history while it is waited for.
const LOOK: Duration = Duration::from_millis(100);
/// Lowest scheduling priority.
const NICE: i32 = 19;
/// Longest id of an order, and longest texts of it, characters.
const ID_MAX: usize = 64;
const TEXT_MAX: usize = 256;

/// Makes and lists the backups of a gateway. Clones share their state.
#[derive(Clone)]
pub(crate) struct Backups(Arc<Inner>);

struct Inner {
    config: Config,
    context: NodeContext,
    location: Location,
    journals: Vec<JournalHandle>,
    reader: HistoryReader,
    metrics: BackupMetrics,
    /// Held while one is made.
    making: Arc<Mutex<()>>,
}

impl std::fmt::Debug for Backups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Backups").field(&self.0.location).finish()
    }
}

/// What was asked for, and what came of it.
struct Made {
    manifest: Manifest,
    repeated: bool,
}

impl Backups {
    pub(crate) fn new(
        config: &Config,
        context: &NodeContext,
        journals: Vec<JournalHandle>,
        reader: HistoryReader,
    ) -> Self {
        let location = Location::of(config, &context.data_dir);
        let metrics = BackupMetrics::new();
        Self(Arc::new(Inner {
            config: config.clone(),
            context: context.clone(),
            location,
            journals,
            reader,
            metrics,
            making: Arc::default(),
        }))
    }

    /// Tells when the newest backup was made, from the place where they are.
    pub(crate) async fn look(&self) {
        let inner = Arc::clone(&self.0);
        let listed = tokio::task::spawn_blocking(move || inner.location.list()).await;
        let newest = match listed {
            Ok(Ok(list)) => list.into_iter().rev().find_map(|(_, manifest)| manifest.ok()),
            _ => None,
        };
        if let Some(us) = newest.and_then(|manifest| clock::parse_rfc3339(&manifest.created_at)) {
            self.0.metrics.newest.set(seconds(us));
        }
    }

    fn place(&self) -> String {
        self.0.location.to_string()
    }

    /// Goes on when the caller has gone, and is recorded all the same.
    async fn create(&self, caller: Caller, order: Order) -> Result<Made, ApiError> {
        let alone = Arc::clone(&self.0.making).try_lock_owned();
        let alone = alone.map_err(|_| ApiError::precondition(BackupError::Busy.to_string()))?;
        let this = self.clone();
        let work = tokio::spawn(async move { this.make(caller, order, alone).await });
        match work.await {
            Ok(made) => made.map_err(|error| refuse(&error)),
            Err(error) => Err(ApiError::internal(format!("a backup ended badly: {error}"))),
        }
    }

    async fn make(&self, caller: Caller, order: Order, alone: OwnedMutexGuard<()>) -> Result<Made, BackupError> {
        if let Some(manifest) = self.made_before(&order.request_id).await? {
            return Ok(Made { manifest, repeated: true });
        }
        let started = Instant::now();
        let made = self.attempt(&order).await;
        drop(alone);
        let mut act = Act::ordered("backup.create", caller, &order);
        act.target = self.place();
        match &made {
            Ok(manifest) => {
                let (ms, bytes) = (started.elapsed().as_millis(), manifest.bytes());
                tracing::info!(id = manifest.id, bytes, rows = manifest.rows, ms, "backup made");
                self.0.metrics.newest.set(seconds(clock::now_us()));
                self.0.metrics.duration.record(started.elapsed());
                act.after = json!({ "id": manifest.id, "bytes": bytes });
            }
            Err(error) => {
                tracing::error!(%error, "no backup made");
                self.0.metrics.failures.increment(1);
                act.result = Outcome::Failed(error.to_string());
            }
        }
        self.0.context.audit.record(act);
        Ok(Made { manifest: made?, repeated: false })
    }

    async fn made_before(&self, request_id: &str) -> Result<Option<Manifest>, BackupError> {
        if request_id.is_empty() {
            return Ok(None);
        }
        let (inner, wanted) = (Arc::clone(&self.0), request_id.to_owned());
        let listed = tokio::task::spawn_blocking(move || inner.location.list()).await;
        let listed = listed.map_err(|error| BackupError::System(error.to_string()))??;
        Ok(listed.into_iter().filter_map(|(_, manifest)| manifest.ok()).find(|m| m.request_id == wanted))
    }

    async fn attempt(&self, order: &Order) -> Result<Manifest, BackupError> {
        self.history_has_what_is_committed().await?;
        let (id, us) = name_of_now();
        let mut manifest = Manifest::new(id, clock::rfc3339(us), self.0.context.name.clone());
        manifest.request_id.clone_from(&order.request_id);
        manifest.actor.clone_from(&order.actor);
        manifest.reason.clone_from(&order.reason);
        let source = |journal: &JournalHandle| Source {
            shard: journal.shard(),
            log_id: journal.log_id(),
            log: journal.log(),
            snapshots: journal.snapshots(),
        };
        let create = Create {
            config: self.0.config.clone(),
            data_dir: self.0.context.data_dir.clone(),
            location: self.0.location.clone(),
            shards: self.0.journals.iter().map(source).collect(),
            configuration: self.0.context.config.as_ref().map(|door| text(&door.state())).unwrap_or_default(),
            manifest,
        };
        apart(create).await
    }

    /// Waits until everything that was acknowledged before the order is in the history, and so in the backup.
    async fn history_has_what_is_committed(&self) -> Result<(), BackupError> {
        let started = Instant::now();
        for journal in &self.0.journals {
            journal.look().await;
            let wanted = committed(journal).await;
            loop {
                let cursors = match self.0.reader.cursors().await {
                    Ok(cursors) => cursors,
                    // The projector makes the tables a moment after the start.
                    Err(HistoryError::Refused(_)) if started.elapsed() < HISTORY_WAITS => Vec::new(),
                    Err(error) => return Err(error.into()),
                };
                let cursor = cursors.iter().find(|(shard, _)| *shard == journal.shard());
                let reached = cursor.map_or(Seq(0), |(_, cursor)| cursor.seq);
                if cursor.is_some() && reached >= wanted {
                    break;
                }
                if started.elapsed() > HISTORY_WAITS {
                    return Err(BackupError::Behind {
                        shard: journal.shard(),
                        history: reached.0,
                        journal: wanted.0,
                        waited_s: started.elapsed().as_secs(),
                    });
                }
                // The projector says to nobody how far it is; its next transaction comes within its linger.
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(())
    }

    fn shards_now(&self) -> Vec<pb::BackupShard> {
        let shard = |journal: &JournalHandle| pb::BackupShard {
            shard: journal.shard().0,
            log_id: log_id_to_pb(journal.log_id()),
            seq: journal.commit().borrow().0,
            state_hash: Default::default(),
        };
        self.0.journals.iter().map(shard).collect()
    }
}

/// Up to where a journal is committed, everything that was acknowledged until now included: the leader answers at once,
/// and tells its gateways with the next unit, or a moment later. Without a leader it is what is known.
async fn committed(journal: &JournalHandle) -> Seq {
    let (tail, mut commit) = (journal.tail(), journal.commit());
    // Whether it came in time or the journal has ended: what is known then is all there is.
    let _ = tokio::time::timeout(LEADER_TELLS, commit.wait_for(|commit| *commit >= tail)).await;
    *journal.commit().borrow()
}

/// Every key with its value and where that comes from; secrets are replaced by the door.
fn text(config: &pb::NodeConfig) -> String {
    config.values.iter().map(|value| format!("{} = {}  # {}\n", value.key, value.value, value.origin)).collect()
}

/// On a thread and a runtime of its own.
async fn apart(create: Create) -> Result<Manifest, BackupError> {
    let (done, answer) = oneshot::channel();
    let system = |error: std::io::Error| BackupError::System(error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(system)?;
    let work = move || {
        // Only this thread, and those that it starts.
        if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
            tracing::warn!(%error, "backup runs at normal priority");
        }
        // Nobody listens any more if the process is going down.
        let _ = done.send(runtime.block_on(create.run()));
    };
    std::thread::Builder::new().name("backup".to_owned()).spawn(work).map_err(system)?;
    answer.await.map_err(|_| BackupError::System("the backup's thread panicked; the log says why".to_owned()))?
}

/// A name that sorts by time, and its time.
pub(super) fn name_of_now() -> (String, u64) {
    let us = clock::now_us();
    (name_of(us, rand::random()), us)
}

/// The second, the microsecond in it, and a number that keeps two of one microsecond apart.
fn name_of(us: u64, number: u16) -> String {
    let time: String = clock::rfc3339(us).chars().take_while(|&c| c != '.').filter(|c| !"-:".contains(*c)).collect();
    format!("{time}Z-{:05x}{:03x}", us % 1_000_000, number & 0xfff)
}

#[expect(clippy::cast_precision_loss, reason = "seconds since 1970, far below 2^52 microseconds")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn refuse(error: &BackupError) -> ApiError {
    match error {
        BackupError::Behind { .. } | BackupError::History(_) => ApiError::not_ready(error.to_string()),
        BackupError::Place { .. } | BackupError::Busy | BackupError::Target(_) => {
            ApiError::precondition(error.to_string())
        }
        BackupError::Unknown { .. } => ApiError::not_found(error.to_string()),
        BackupError::Damaged { .. } | BackupError::Inconsistent { .. } => {
            ApiError::new(ErrorCode::DataLoss, error.to_string())
        }
        BackupError::Journal(_) | BackupError::Replay(_) | BackupError::System(_) | BackupError::Unfinished(_) => {
            ApiError::internal(error)
        }
    }
}

fn check_order(order: Option<Order>) -> Result<Order, ApiError> {
    let order = order.unwrap_or_default();
    let printable = |text: &str| text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if order.request_id.len() > ID_MAX || !printable(&order.request_id) {
        return Err(ApiError::invalid("order.request_id", format!("at most {ID_MAX} printable ASCII characters")));
    }
    for (field, text) in [("order.actor", &order.actor), ("order.reason", &order.reason)] {
        if text.chars().count() > TEXT_MAX {
            return Err(ApiError::invalid(field, format!("at most {TEXT_MAX} characters")));
        }
    }
    Ok(order)
}

fn described(manifest: Manifest, place: &str) -> pb::Backup {
    let size = manifest.bytes();
    let id16 =
        |text: &str| u128::from_str_radix(text, 16).map(|id| id.to_be_bytes().to_vec().into()).unwrap_or_default();
    let shard = |part: &ShardPart| pb::BackupShard {
        shard: part.shard,
        log_id: id16(&part.log_id),
        seq: part.seq,
        state_hash: id16(&part.state_hash),
    };
    pb::Backup {
        created_us: clock::parse_rfc3339(&manifest.created_at).unwrap_or_default(),
        size,
        rows: manifest.rows,
        shards: manifest.shards.iter().map(shard).collect(),
        place: PathBuf::from(place).join(&manifest.id).display().to_string(),
        id: manifest.id,
        actor: manifest.actor,
        reason: manifest.reason,
        node: manifest.node,
        damage: String::new(),
    }
}

#[tonic::async_trait]
impl BackupService for Backups {
    async fn create_backup(
        &self,
        request: Request<pb::CreateBackupRequest>,
    ) -> Result<Response<pb::CreateBackupResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let order = check_order(request.into_inner().order)?;
        if order.dry_run {
            let backup = pb::Backup { place: self.place(), shards: self.shards_now(), ..pb::Backup::default() };
            return Ok(Response::new(pb::CreateBackupResponse { backup: Some(backup), repeated_request: false }));
        }
        let Made { manifest, repeated } = self.create(caller, order).await?;
        let backup = Some(described(manifest, &self.place()));
        Ok(Response::new(pb::CreateBackupResponse { backup, repeated_request: repeated }))
    }

    async fn list_backups(
        &self,
        _: Request<pb::ListBackupsRequest>,
    ) -> Result<Response<pb::ListBackupsResponse>, Status> {
        let inner = Arc::clone(&self.0);
        let listed = tokio::task::spawn_blocking(move || inner.location.list()).await;
        let listed = listed.map_err(ApiError::internal)?.map_err(|error| refuse(&error))?;
        let place = self.place();
        let backup = |(id, manifest): Listed| match manifest {
            Ok(manifest) => described(manifest, &place),
            Err(error) => pb::Backup { id, damage: error.to_string(), ..pb::Backup::default() },
        };
        Ok(Response::new(pb::ListBackupsResponse { backups: listed.into_iter().map(backup).collect(), place }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r79_a_later_backup_stands_behind_an_earlier_one_of_the_same_second() {
        let earlier = name_of(1_795_470_687_000_009, u16::MAX);
        let later = name_of(1_795_470_687_000_010, 0);
        assert!(earlier < later && later < name_of(1_795_470_688_000_000, 0), "{earlier} {later}");
        assert_eq!(earlier.len(), "20261123T181325Z-1f2e3d4c".len());
    }
}
