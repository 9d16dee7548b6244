//! A gateway in this process, a leader that writes to it, and command streams.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use journal_core::codec::batch;
use journal_core::{
    AppendReply, AppendRequest, ChainHash, Entry, EntryKind, FenceReply, FenceRequest, Tail, VoterConfig,
};
use matching::workload::{Profile, Workload};
use persistence_gateway::config::{DatabaseUrl, HistoryDatabase};
use persistence_gateway::{Config, PersistenceGateway};
use service_kit::config::ByteSize;
use service_kit::{NodeContext, Service, ServiceError, Shutdown};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use types::{Command, Epoch, Incarnation, LogId, Seq, ShardId, Timestamp};
use wire::convert;
use wire::pb::history::v1::history_service_client::HistoryServiceClient;
use wire::pb::journal::v1 as pb;
use wire::pb::journal::v1::journal_service_client::JournalServiceClient;
use wire::transport::{Address, Channel, ClientOptions, connect, in_process};

pub(crate) const SHARD: ShardId = ShardId(0);

/// Small segments and frequent snapshots are for the tests that are about them.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.journal.segment_size = ByteSize(256 << 10);
    config
}

pub(crate) fn with_postgres(url: String) -> Config {
    let mut config = config();
    config.history.database = HistoryDatabase::Postgres;
    config.database.url = DatabaseUrl::from(url);
    config.database.max_connections = 4;
    config
}

/// A running gateway.
pub(crate) struct Gateway {
    pub(crate) channel: Channel,
    pub(crate) context: NodeContext,
    shutdown: Shutdown,
    running: JoinHandle<Result<(), ServiceError>>,
}

impl Gateway {
    pub(crate) async fn start(config: Config, data_dir: &Path) -> Self {
        // What a failing test has to tell; a second call changes nothing.
        let _ = tracing_subscriber::fmt().with_test_writer().with_env_filter("info").try_init();
        let context = NodeContext::new("g0", Vec::new(), data_dir);
        let gateway = persistence_gateway::build(config, &context).await.unwrap();
        Self::run(gateway, context)
    }

    pub(crate) fn run(gateway: PersistenceGateway, context: NodeContext) -> Self {
        let mut routes = tonic::service::RoutesBuilder::default();
        gateway.register(&mut routes);
        let (dial, listener) = in_process();
        tokio::spawn(listener.serve(routes.routes(), std::future::pending()));
        let shutdown = Shutdown::new();
        let running = tokio::spawn(Box::new(gateway).run(shutdown.clone()));
        let channel = connect(&Address::InProcess(dial), &ClientOptions::default());
        Self { channel, context, shutdown, running }
    }

    /// An orderly stop: what is committed is in the history afterwards.
    pub(crate) async fn stop(self) {
        self.shutdown.drain();
        self.running.await.unwrap().unwrap();
    }

    pub(crate) fn journal(&self) -> JournalServiceClient<Channel> {
        JournalServiceClient::new(self.channel.clone()).max_decoding_message_size(wire::transport::PEER_MESSAGE_LIMIT)
    }

    pub(crate) fn history(&self) -> HistoryServiceClient<Channel> {
        HistoryServiceClient::new(self.channel.clone())
    }

    /// A detail of the history's component.
    pub(crate) fn history_detail(&self, key: &str) -> Option<String> {
        let snapshot = self.context.components.snapshot();
        snapshot.components.iter().find(|component| component.name == "history")?.details.get(key).cloned()
    }

    /// Waits until a component is in a condition.
    pub(crate) async fn component(&self, name: &str, wanted: service_kit::Condition) {
        let mut changes = self.context.components.changes();
        let wait = async {
            loop {
                let snapshot = self.context.components.snapshot();
                if snapshot.components.iter().any(|component| component.name == name && component.condition == wanted) {
                    return;
                }
                changes.changed().await.unwrap();
            }
        };
        let late = format!("{name} never became {wanted:?}: {:?}", self.context.components.snapshot());
        tokio::time::timeout(Duration::from_secs(120), wait).await.expect(&late);
    }
}

/// A leader of one epoch.
pub(crate) struct Leader {
    pub(crate) log_id: LogId,
    pub(crate) epoch: Epoch,
    pub(crate) tail: Tail,
    pub(crate) commit: Seq,
    now: u64,
    requests: mpsc::Sender<pb::AppendRequest>,
    replies: Streaming<pb::AppendResponse>,
}

pub(crate) fn epoch(number: u64) -> Epoch {
    Epoch { number, owner: Incarnation(u128::from(number) << 64 | 7) }
}

pub(crate) async fn fence(gateway: &Gateway, epoch: Epoch) -> FenceReply {
    let request = FenceRequest { log_id: LogId(0), shard: SHARD, epoch, config: VoterConfig::default() };
    let reply = gateway.journal().fence(convert::fence_request_to_pb(&request)).await.unwrap();
    convert::fence_reply(reply.get_ref()).unwrap()
}

impl Leader {
    /// Fences and opens a stream. `now` is a log time above all before it.
    pub(crate) async fn elect(gateway: &Gateway, number: u64, now: u64) -> Self {
        let epoch = epoch(number);
        let FenceReply::Granted(granted) = fence(gateway, epoch).await else { panic!("not granted") };
        let (requests, sent) = mpsc::channel(64);
        let replies = gateway.journal().append(ReceiverStream::new(sent)).await.unwrap().into_inner();
        let (log_id, tail, commit) = (granted.log_id, granted.last, granted.commit);
        let mut leader = Self { log_id, epoch, tail, commit, now, requests, replies };
        let start = leader.seal(EntryKind::EpochStart, Bytes::new());
        leader.append(vec![start]).await;
        leader
    }

    /// Goes on over another gateway. What was sent and not answered is in doubt.
    pub(crate) async fn move_to(&mut self, gateway: &Gateway) {
        let (requests, sent) = mpsc::channel(64);
        self.replies = gateway.journal().append(ReceiverStream::new(sent)).await.unwrap().into_inner();
        self.requests = requests;
    }

    pub(crate) fn seal(&mut self, kind: EntryKind, payload: Bytes) -> Entry {
        self.now += 1_000;
        let (seq, now) = (self.tail.seq.next(), Timestamp(self.now));
        let entry = Entry::seal(self.log_id, self.epoch, seq, kind, now, self.tail.chain, payload);
        self.tail = entry.tail();
        entry
    }

    pub(crate) fn batch(&mut self, commands: &[Command]) -> Entry {
        let mut payload = Vec::new();
        batch::encode(commands, &mut payload);
        self.seal(EntryKind::Batch, payload.into())
    }

    /// Sends without waiting for the answer.
    pub(crate) async fn send(&mut self, prev_seq: Seq, prev_chain: ChainHash, entries: Vec<Entry>) {
        let request = AppendRequest {
            log_id: self.log_id,
            shard: SHARD,
            epoch: self.epoch,
            config_generation: 0,
            prev_seq,
            prev_chain,
            entries,
            commit: self.commit,
            head_trim: Seq(0),
            round: 0,
        };
        self.requests.send(convert::append_request_to_pb(request)).await.unwrap();
    }

    pub(crate) async fn reply(&mut self) -> AppendReply {
        convert::append_reply(&self.replies.next().await.unwrap().unwrap()).unwrap()
    }

    pub(crate) async fn try_append(&mut self, entries: Vec<Entry>) -> AppendReply {
        let (seq, chain) =
            entries.first().map_or((self.tail.seq, self.tail.chain), |first| (Seq(first.seq.0 - 1), first.prev_chain));
        self.send(seq, chain, entries).await;
        self.reply().await
    }

    /// Appends, and tells the voter by a heartbeat that it is committed.
    pub(crate) async fn append(&mut self, entries: Vec<Entry>) {
        let last = entries.last().unwrap().tail();
        let reply = self.try_append(entries).await;
        let AppendReply::Ok(ok) = reply else { panic!("not appended: {reply:?}") };
        assert_eq!(ok.match_seq, last.seq);
        self.commit = last.seq;
        self.send(last.seq, last.chain, Vec::new()).await;
        let reply = self.reply().await;
        assert!(matches!(reply, AppendReply::Ok(_)), "{reply:?}");
    }

    /// Appends commands, eight to a batch.
    pub(crate) async fn apply(&mut self, commands: &[Command]) {
        let entries = commands.chunks(8).map(|commands| self.batch(commands)).collect::<Vec<_>>();
        for part in entries.chunks(50) {
            self.append(part.to_vec()).await;
        }
    }
}

/// Commands in which everything happens.
pub(crate) fn commands(seed: u64, length: usize) -> Vec<Command> {
    Workload::stream(seed, Profile::small(), length).into_iter().map(|step| step.command).collect()
}

/// Start of log time in tests.
pub(crate) const START: u64 = 1_700_000_000_000_000;

impl Gateway {
    /// A gateway that somebody else runs.
    pub(crate) fn around(channel: Channel) -> Self {
        let context = NodeContext::new("g0", Vec::new(), "");
        Self { channel, context, shutdown: Shutdown::new(), running: tokio::spawn(async { Ok(()) }) }
    }
}

/// Flips a bit in the middle of what the first segment holds.
pub(crate) fn flip_journal_bit(data_dir: &Path) {
    let directory = data_dir.join("journal").join("shard-0");
    let mut files: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let is_segment = |path: &Path| std::fs::metadata(path).unwrap().len() >= 256 << 10;
    let path = files.iter().find(|path| is_segment(path)).unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let first = bytes.iter().position(|byte| *byte != 0).unwrap();
    // In the payload of some batch: well inside, and not a zero of the padding.
    let at = (usize::midpoint(first, used)..used).find(|at| bytes[*at] != 0).unwrap();
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}
