//! Two engines that both believe to lead, over two gateways of one database whose connections and server are killed:
//! what was acknowledged stays, and only one entry is acknowledged at a place.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use journal_core::codec::batch;
use journal_core::{
    AppendReply, AppendRequest, ChainHash, Entry, EntryKind, FenceReply, FenceRequest, Tail, VoterConfig,
};
use journal_store::testing::PostgresServer;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use types::{Command, Epoch, LogId, Seq, Timestamp};
use wire::convert;
use wire::pb::journal::v1 as pb;

use crate::shared::{assert_verified, shared};
use crate::support::{Gateway, SHARD, START, commands, epoch};

/// Leaderships each of the two engines tries to get.
const TERMS: usize = 20;
/// Batches of a leadership, at most.
const BATCHES: usize = 40;
/// Requests under way.
const PIPELINE: usize = 6;
/// Times a leader looks for a gateway that works before it gives up: a restart of the server takes a second or two.
const TRIES: usize = 400;
/// A gateway that says nothing for so long is left.
const SILENCE: Duration = Duration::from_secs(2);

/// What all sides know.
struct World {
    gateways: Vec<Gateway>,
    epochs: AtomicU64,
    clock: AtomicU64,
    /// Hash of every acknowledged entry.
    acknowledged: Mutex<BTreeMap<Seq, ChainHash>>,
    commands: Vec<Command>,
}

/// One leadership.
struct Term<'a> {
    world: &'a World,
    log_id: LogId,
    epoch: Epoch,
    tail: Tail,
    /// Up to here the voter said yes.
    matched: Tail,
    waiting: Vec<Entry>,
    stream: Option<(mpsc::Sender<pb::AppendRequest>, Streaming<pb::AppendResponse>)>,
}

impl World {
    fn acknowledge(&self, entry: &Entry) {
        let before = self.acknowledged.lock().unwrap().insert(entry.seq, entry.chain);
        assert!(before.is_none_or(|chain| chain == entry.chain), "two entries were acknowledged at {}", entry.seq);
    }

    fn highest(&self) -> Seq {
        self.acknowledged.lock().unwrap().last_key_value().map_or(Seq(0), |(seq, _)| *seq)
    }

    fn gateway(&self, rng: &mut StdRng) -> &Gateway {
        &self.gateways[rng.random_range(0..self.gateways.len())]
    }

    /// Asks until somebody grants the epoch or knows a newer one.
    async fn elect(&self, rng: &mut StdRng) -> Option<Term<'_>> {
        let epoch = epoch(self.epochs.fetch_add(1, Ordering::SeqCst) + 1);
        for _ in 0..TRIES {
            let floor = self.highest();
            let request = FenceRequest { log_id: LogId(0), shard: SHARD, epoch, config: VoterConfig::default() };
            let answer = self.gateway(rng).journal().fence(convert::fence_request_to_pb(&request)).await;
            match answer.map(|answer| convert::fence_reply(answer.get_ref()).unwrap()) {
                Ok(FenceReply::Granted(granted)) => {
                    assert!(granted.last.seq >= floor, "{} was acknowledged, {:?}", floor, granted.last);
                    let (log_id, tail) = (granted.log_id, granted.last);
                    return Some(Term {
                        world: self,
                        log_id,
                        epoch,
                        tail,
                        matched: tail,
                        waiting: Vec::new(),
                        stream: None,
                    });
                }
                Ok(FenceReply::Refused { .. }) => return None,
                Ok(FenceReply::Failed { .. }) | Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                Ok(reply) => panic!("{reply:?}"),
            }
        }
        panic!("nobody answers");
    }
}

impl Term<'_> {
    fn seal(&mut self, kind: EntryKind, payload: Bytes) {
        let now = Timestamp(START + self.world.clock.fetch_add(1, Ordering::SeqCst));
        let entry = Entry::seal(self.log_id, self.epoch, self.tail.seq.next(), kind, now, self.tail.chain, payload);
        self.tail = entry.tail();
        self.waiting.push(entry);
    }

    /// Sends entries that follow `after`; whether that was possible.
    fn send(&mut self, after: Tail, entries: Vec<Entry>) -> bool {
        let request = AppendRequest {
            log_id: self.log_id,
            shard: SHARD,
            epoch: self.epoch,
            config_generation: 0,
            prev_seq: after.seq,
            prev_chain: after.chain,
            entries,
            commit: self.matched.seq,
            head_trim: Seq(0),
            round: 0,
        };
        let request = convert::append_request_to_pb(request);
        self.stream.as_ref().is_some_and(|(requests, _)| requests.try_send(request).is_ok())
    }

    /// A stream over one of the gateways, on which everything without an answer is sent again.
    async fn connect(&mut self, rng: &mut StdRng) {
        let (requests, sent) = mpsc::channel(256);
        if let Ok(replies) = self.world.gateway(rng).journal().append(ReceiverStream::new(sent)).await {
            self.stream = Some((requests, replies.into_inner()));
            if !self.send(self.matched, self.waiting.clone()) {
                self.stream = None;
            }
        }
    }

    /// Leads until it is deposed or has nothing more to write.
    async fn lead(mut self, rng: &mut StdRng) {
        // Whoever led before may go on meanwhile, if it is let.
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..20))).await;
        self.seal(EntryKind::EpochStart, Bytes::new());
        let mut left = rng.random_range(0..BATCHES);
        let mut lost = 0;
        while left > 0 || !self.waiting.is_empty() {
            if self.stream.is_none() || rng.random_ratio(1, 25) {
                lost += 1;
                assert!(lost < TRIES, "no gateway works");
                self.stream = None;
                self.connect(rng).await;
            }
            if left > 0 && self.waiting.len() < PIPELINE {
                let mut payload = Vec::new();
                let from = rng.random_range(0..self.world.commands.len() - 4);
                batch::encode(&self.world.commands[from..from + 4], &mut payload);
                let before = self.tail;
                self.seal(EntryKind::Batch, payload.into());
                left -= 1;
                let entry = self.waiting[self.waiting.len() - 1].clone();
                if !self.send(before, vec![entry]) {
                    self.stream = None;
                }
                continue;
            }
            let Some((_, replies)) = &mut self.stream else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            match tokio::time::timeout(SILENCE, replies.message()).await {
                Ok(Ok(Some(reply))) => match convert::append_reply(&reply).unwrap() {
                    AppendReply::Ok(ok) => self.accepted(ok.match_seq),
                    AppendReply::Refused { promised } => {
                        assert!(promised.number > self.epoch.number);
                        return;
                    }
                    AppendReply::Failed { .. } | AppendReply::Mismatch(_) => {
                        self.stream = None;
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    reply => panic!("{reply:?}"),
                },
                Ok(Ok(None) | Err(_)) | Err(_) => self.stream = None,
            }
        }
    }

    fn accepted(&mut self, up_to: Seq) {
        let count = self.waiting.iter().take_while(|entry| entry.seq <= up_to).count();
        for entry in self.waiting.drain(..count) {
            self.world.acknowledge(&entry);
            self.matched = entry.tail();
        }
    }
}

/// Kills connections, and now and then the whole server, until it is told to stop.
fn disturb(server: &mut PostgresServer, url: &str, seed: u64, stop: &AtomicBool) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut round = 0;
    while !stop.load(Ordering::SeqCst) {
        #[expect(clippy::disallowed_methods, reason = "faults come at random times, not after something")]
        std::thread::sleep(Duration::from_millis(rng.random_range(20..200)));
        round += 1;
        if round % 12 == 0 {
            server.kill();
            server.launch();
        } else {
            let some = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE application_name = 'hivemind-journal' AND random() < 0.5";
            server.sql(url, some);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_leaders_over_two_gateways_lose_and_double_nothing() {
    for seed in [1, 2] {
        let mut server = PostgresServer::start();
        let url = server.database();
        let dir = tempfile::tempdir().unwrap();
        let gateways =
            vec![Gateway::start(shared(&url), dir.path()).await, Gateway::start(shared(&url), dir.path()).await];
        let world = World {
            gateways,
            epochs: AtomicU64::new(0),
            clock: AtomicU64::new(0),
            acknowledged: Mutex::default(),
            commands: commands(47 + seed, 400),
        };
        let stop = AtomicBool::new(false);
        let engine = async |number: u64| {
            let mut rng = StdRng::seed_from_u64(seed << 8 | number);
            for _ in 0..TERMS {
                if let Some(term) = world.elect(&mut rng).await {
                    term.lead(&mut rng).await;
                }
                // The other one may lead for a while.
                tokio::time::sleep(Duration::from_millis(rng.random_range(0..200))).await;
            }
        };
        std::thread::scope(|scope| {
            let disturbance = scope.spawn(|| disturb(&mut server, &url, seed, &stop));
            tokio::task::block_in_place(|| {
                let engines = async { tokio::join!(engine(1), engine(2)) };
                // Also when an engine has something to complain about the server must be let go.
                let run = std::panic::AssertUnwindSafe(|| tokio::runtime::Handle::current().block_on(engines));
                let outcome = std::panic::catch_unwind(run);
                stop.store(true, Ordering::SeqCst);
                disturbance.join().unwrap();
                outcome.unwrap_or_else(|complaint| std::panic::resume_unwind(complaint));
            });
        });
        let mut rng = StdRng::seed_from_u64(seed);
        let end = world.elect(&mut rng).await.expect("nobody else wants to lead").tail.seq;
        let acknowledged = std::mem::take(&mut *world.acknowledged.lock().unwrap());
        assert!(acknowledged.len() > 50, "seed {seed}: only {} entries were acknowledged", acknowledged.len());
        for gateway in &world.gateways {
            let log = log(gateway).await;
            assert_eq!(log.len() as u64, end.0, "seed {seed}");
            for (seq, chain) in &acknowledged {
                let there = log.get(seq);
                assert_eq!(there, Some(chain), "seed {seed}: entry {seq} was acknowledged");
            }
        }
        for gateway in world.gateways {
            gateway.stop().await;
        }
        assert_verified(&shared(&url), dir.path(), end.0);
    }
}

/// The hash of every entry, as a gateway reads the log.
async fn log(gateway: &Gateway) -> BTreeMap<Seq, ChainHash> {
    let request = pb::ReadRequest { from_seq: 1, committed_only: true, ..pb::ReadRequest::default() };
    let mut parts = gateway.journal().read(request).await.unwrap().into_inner();
    let mut log = BTreeMap::new();
    while let Some(part) = parts.message().await.unwrap() {
        let log_id = convert::log_id("log_id", &part.log_id).unwrap();
        let entries = convert::entries(log_id, part.entries).unwrap();
        log.extend(entries.into_iter().map(|entry| (entry.seq, entry.chain)));
    }
    log
}
