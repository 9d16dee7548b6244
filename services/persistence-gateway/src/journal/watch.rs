//! Looks after a storage that other gateways write to as well: what they commit and promise is noticed here, by one
//! statement for all shards, ten times a second while somebody waits for it and once a second otherwise.
//!
//! Deliberately absent: entries; and anything a vote or an acknowledgement rests on. Those ask the storage themselves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use journal_store::StoreError;
use journal_store::postgres::{PostgresLookout, Sessions, Sighting, Timeouts};
use tokio::sync::oneshot;
use types::ShardId;

use super::client::Message;
use super::writer::Published;

/// Between two looks while somebody follows a log.
const FOLLOWED: Duration = Duration::from_millis(100);
/// Between two looks otherwise.
const IDLE: Duration = Duration::from_secs(1);
/// How often a writer thread is told that its log has grown elsewhere: often enough for it to be little behind when a
/// leader comes, rarely enough to cost nothing.
const CATCH_UP: Duration = Duration::from_secs(1);
/// How long somebody who asks waits for a look; then what is known has to do.
const LOOK_LIMIT: Duration = Duration::from_millis(250);
/// Time limits of a look: nobody waits for a slow one.
const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_secs(1), statement: Duration::from_secs(1), call: Duration::from_secs(1) };
/// Questions that may wait for one look; all are answered by it.
const QUESTIONS: usize = 256;

/// Looks after the shared storage of a gateway. Clones are handles of the same watch; it ends with the last one.
#[derive(Clone, Debug)]
pub struct Watch {
    wake: SyncSender<Question>,
    followers: Arc<AtomicUsize>,
    journals: Journals,
    sessions: Sessions,
    away: Away,
}

/// Since when the storage was not seen; `None` while it is.
type Away = Arc<Mutex<Option<Instant>>>;

/// Somebody waits for what others write.
#[derive(Debug)]
pub struct Following(Arc<AtomicUsize>);

/// Who wants a look at once; `None` only wants shorter waits from now on.
type Question = Option<oneshot::Sender<()>>;

/// The journals looked after.
type Journals = Arc<Mutex<BTreeMap<ShardId, Journal>>>;

#[derive(Debug)]
struct Journal {
    /// Owned by the writer thread.
    published: Weak<Published>,
    /// Owned by the handles, whose end is the writer's end.
    queue: Weak<SyncSender<Message>>,
    told: Option<(Sighting, Instant)>,
}

impl Watch {
    /// Starts to look at the database at `url`.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a malformed URL, [`StoreError::Io`] when the system gives no thread.
    pub fn spawn(url: &str, shards: &[ShardId]) -> Result<Self, StoreError> {
        let lookout = PostgresLookout::new(url, shards.iter().copied(), TIMEOUTS)?;
        let sessions = lookout.sessions();
        let (wake, questions) = sync_channel(QUESTIONS);
        let (followers, journals) = (Arc::<AtomicUsize>::default(), Journals::default());
        let away = Away::default();
        let (counted, known, unseen) = (Arc::clone(&followers), Arc::clone(&journals), Arc::clone(&away));
        std::thread::Builder::new()
            .name("journal-watch".to_owned())
            .spawn(move || run(lookout, &questions, &counted, &known, &unseen))
            .map_err(|source| StoreError::Io {
                operation: "start a thread",
                path: "journal watch".to_owned(),
                source,
            })?;
        Ok(Self { wake, followers, journals, sessions, away })
    }

    /// For how long the storage was not seen; zero while it is.
    #[must_use]
    pub fn away(&self) -> Duration {
        self.away.lock().unwrap_or_else(PoisonError::into_inner).map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Its session on the server.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Replaces its session. Returns when that is done, or has taken too long.
    pub async fn renew(&self) {
        self.sessions.renew();
        self.look().await;
    }

    /// Looks after one more journal.
    pub(super) fn add(&self, shard: ShardId, published: &Arc<Published>, queue: &Arc<SyncSender<Message>>) {
        let journal = Journal { published: Arc::downgrade(published), queue: Arc::downgrade(queue), told: None };
        self.journals.lock().unwrap_or_else(PoisonError::into_inner).insert(shard, journal);
    }

    /// Looks often until the result is dropped.
    #[must_use]
    pub(super) fn follow(&self) -> Following {
        // Relaxed: a number that a loop reads; nothing else depends on it.
        self.followers.fetch_add(1, Ordering::Relaxed);
        // Full: it is awake.
        let _ = self.wake.try_send(None);
        Following(Arc::clone(&self.followers))
    }

    /// Looks now. Returns when that is done, or has taken too long.
    pub(super) async fn look(&self) {
        let (done, answer) = oneshot::channel();
        if self.wake.try_send(Some(done)).is_ok() {
            // Too late or failed: what is known is all there is.
            let _ = tokio::time::timeout(LOOK_LIMIT, answer).await;
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn run(
    mut lookout: PostgresLookout,
    questions: &Receiver<Question>,
    followers: &AtomicUsize,
    journals: &Journals,
    away: &Mutex<Option<Instant>>,
) {
    loop {
        let wait = if followers.load(Ordering::Relaxed) > 0 { FOLLOWED } else { IDLE };
        let mut asked: Vec<Question> = match questions.recv_timeout(wait) {
            Ok(question) => vec![question],
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        asked.extend(questions.try_iter());
        match lookout.look() {
            Ok(sightings) => {
                if away.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
                    tracing::info!("journal database seen again");
                }
                let mut journals = journals.lock().unwrap_or_else(PoisonError::into_inner);
                for sighting in sightings {
                    if let Some(journal) = journals.get_mut(&sighting.shard) {
                        journal.seen(sighting);
                    }
                }
                drop(journals);
                for question in asked.into_iter().flatten() {
                    // Whoever asked may have given up.
                    let _ = question.send(());
                }
            }
            Err(error) => {
                let mut away = away.lock().unwrap_or_else(PoisonError::into_inner);
                if away.is_none() {
                    *away = Some(Instant::now());
                    tracing::warn!(%error, "journal database not seen, trying again");
                }
            }
        }
    }
}

impl Journal {
    fn seen(&mut self, sighting: Sighting) {
        let (Some(published), Some(queue)) = (self.published.upgrade(), self.queue.upgrade()) else { return };
        if published.volatile.load(Ordering::Relaxed) {
            // Full: it is told with the next look.
            let _ = queue.try_send(Message::Back);
        }
        published.sight.promised(sighting.promised);
        published.grown(sighting.tail);
        if sighting.single {
            published.committed(sighting.tail);
        }
        let now = Instant::now();
        if self.told.is_none_or(|(told, at)| told != sighting && now.saturating_duration_since(at) >= CATCH_UP) {
            let Sighting { promised, tail, base, .. } = sighting;
            let news = Message::Seen { promised: promised.number, tail, base };
            // Full: there is more important work, and another look.
            if queue.try_send(news).is_ok() {
                self.told = Some((sighting, now));
            }
        }
    }
}
