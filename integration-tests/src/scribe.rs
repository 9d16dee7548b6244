//! Keeps the log of a shard as it becomes final, so that the gateways may trim theirs below a snapshot.
//!
//! Deliberately absent: any judgement beyond that each entry continues the one before.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use journal_core::{ChainHash, Entry};
use tokio::task::JoinHandle;
use wire::pb::journal::v1::ReadRequest;
use wire::pb::journal::v1::journal_service_client::JournalServiceClient;
use wire::transport::{Channel, PEER_MESSAGE_LIMIT};

/// Before another gateway is asked for what one did not give.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// How long one gateway is listened to without a word: a stream over a link that ended unnoticed says nothing for ever.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Follows one shard until it is dropped.
#[derive(Debug)]
pub struct Scribe {
    written: Arc<Mutex<Written>>,
    following: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Written {
    entries: Vec<Entry>,
    /// What went wrong for good, or last.
    trouble: String,
}

impl Scribe {
    /// Begins with the first entry; whichever gateway answers will do.
    #[must_use]
    pub fn follow(shard: u32, gateways: Vec<Channel>) -> Self {
        let written = Arc::<Mutex<Written>>::default();
        let following = tokio::spawn(follow(shard, gateways, Arc::clone(&written)));
        Self { written, following }
    }

    /// All final entries up to `last` at least, from the first on.
    ///
    /// # Errors
    /// When they do not come within `limit`; says what went wrong last.
    pub async fn up_to(&self, last: u64, limit: Duration) -> Result<Vec<Entry>> {
        let begin = std::time::Instant::now();
        loop {
            {
                let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
                if written.entries.len() as u64 >= last {
                    return Ok(written.entries.clone());
                }
                ensure!(
                    begin.elapsed() < limit,
                    "the log was followed up to {}, but seq {last} was acknowledged; {}",
                    written.entries.len(),
                    written.trouble
                );
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        self.following.abort();
    }
}

async fn follow(shard: u32, gateways: Vec<Channel>, written: Arc<Mutex<Written>>) {
    for gateway in gateways.iter().cycle() {
        if let Err(error) = copy(shard, gateway.clone(), &written).await {
            written.lock().unwrap_or_else(PoisonError::into_inner).trouble = format!("{error:#}");
        }
        // Gateways come and go; the next one may be away as well.
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

async fn copy(shard: u32, gateway: Channel, written: &Mutex<Written>) -> Result<()> {
    let next = written.lock().unwrap_or_else(PoisonError::into_inner).entries.len() as u64 + 1;
    let request = ReadRequest {
        log_id: vec![0; 16].into(),
        shard,
        from_seq: next,
        to_seq: 0,
        committed_only: true,
        follow: true,
    };
    let mut client = JournalServiceClient::new(gateway).max_decoding_message_size(PEER_MESSAGE_LIMIT);
    let mut parts = client.read(request).await?.into_inner();
    loop {
        let part = tokio::time::timeout(SILENCE_MAX, parts.message()).await.context("nothing came")??;
        let Some(part) = part else { return Ok(()) };
        let log_id = wire::convert::log_id("log_id", &part.log_id)?;
        let entries = wire::convert::entries(log_id, part.entries)?;
        let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            let chain = written.entries.last().map_or(ChainHash::ZERO, |last| last.chain);
            let continues = entry.seq.0 == written.entries.len() as u64 + 1 && entry.prev_chain == chain;
            ensure!(continues, "entry {} does not continue what was final before it", entry.seq);
            written.entries.push(entry);
        }
    }
}
