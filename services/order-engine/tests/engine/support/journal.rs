//! One journal voter: the real acceptor on a disk in memory, behind the real contract, with streams that can be cut.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc as std_mpsc};

use futures::Stream;
use journal_core::acceptor::{Acceptor, ClientId, Effect, Input, PersistError, Reply};
use journal_core::{AppendReply, Entry, FenceRequest, Tail, VoterConfig};
use journal_store::memory::{MemoryDisk, MemoryStorage};
use journal_store::{LogReader, SnapshotStore, Storage};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use types::{Epoch, LogId, Seq, ShardId};
use wire::convert;
use wire::pb::journal::v1 as pb;
use wire::pb::journal::v1::journal_service_server::JournalService;
use wire::status::ApiError;

type Snapshot = (Tail, Vec<u8>);
type Inbox = (ClientId, Option<Box<Input>>);

#[derive(Clone)]
pub(crate) struct Voter {
    pub(crate) disk: MemoryDisk,
    log: Arc<dyn LogReader>,
    snapshots: Arc<dyn SnapshotStore>,
    inputs: std_mpsc::SyncSender<Inbox>,
    replies: Replies,
    next_client: Arc<AtomicU64>,
    /// Raised to cut every open stream.
    cut: watch::Sender<u64>,
    /// The next answer to entries is lost, and its stream with it.
    lose_answer: Arc<AtomicBool>,
    /// Highest seq it knows to be committed.
    commit: watch::Sender<Seq>,
    /// Nothing more is known to be committed, and is sent all the same.
    reckless: Arc<AtomicBool>,
    /// Given instead of the stored snapshot to whoever asks first.
    other_snapshot: Arc<Mutex<Option<Snapshot>>>,
    seen: Arc<Seen>,
    /// What this way to the voter does: see [`Door`].
    door: Arc<AtomicU8>,
}

/// What one way to a voter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Door {
    Open,
    /// Every call fails and every stream ends.
    Shut,
    /// Appends arrive, their answers do not leave.
    Silent,
}

/// What has arrived, done or not.
#[derive(Default)]
struct Seen {
    /// Highest seq of the entries that arrived.
    appended: AtomicU64,
    /// Snapshots that were asked for.
    snapshots: AtomicU64,
    /// Streams of the committed log that were opened.
    follows: AtomicU64,
}

type Replies = Arc<Mutex<HashMap<u64, mpsc::Sender<Reply>>>>;

impl Voter {
    pub(crate) fn new() -> Self {
        Self::open(MemoryDisk::new())
    }

    /// The same disk in a new voter that has forgotten everything up to `base`.
    pub(crate) fn trimmed(&self, base: Tail) -> Self {
        let mut storage = MemoryStorage::open(&self.disk);
        storage.recover().unwrap();
        storage.trim(&base).unwrap();
        Self::open(self.disk.clone())
    }

    fn open(disk: MemoryDisk) -> Self {
        let mut storage = MemoryStorage::open(&disk);
        let recovered = storage.recover().unwrap();
        let (log, snapshots) = (storage.log(), storage.snapshots());
        let (inputs, inbox) = std_mpsc::sync_channel(1024);
        let replies = Replies::default();
        let commit = watch::channel(recovered.control.base.seq).0;
        let reckless = Arc::<AtomicBool>::default();
        let writer =
            Writer { storage, replies: Arc::clone(&replies), commit: commit.clone(), reckless: Arc::clone(&reckless) };
        let acceptor = Acceptor::new(ShardId(0), "voter", recovered);
        std::thread::spawn(move || writer.run(acceptor, &inbox));
        let next_client = Arc::default();
        let cut = watch::channel(0).0;
        Self {
            disk,
            log,
            snapshots,
            inputs,
            replies,
            next_client,
            cut,
            lose_answer: Arc::default(),
            commit,
            reckless,
            other_snapshot: Arc::default(),
            seen: Arc::default(),
            door: Arc::default(),
        }
    }

    /// Another way to the same voter, as another gateway in front of one database is.
    pub(crate) fn another_way(&self) -> Self {
        Self { cut: watch::channel(0).0, door: Arc::default(), ..self.clone() }
    }

    /// From now on this way does as it is told.
    pub(crate) fn set_door(&self, door: Door) {
        self.door.store(door as u8, Ordering::SeqCst);
        if door == Door::Shut {
            self.cut_streams();
        }
    }

    fn is(&self, door: Door) -> bool {
        self.door.load(Ordering::SeqCst) == door as u8
    }

    fn enter(&self) -> Result<(), Status> {
        if self.is(Door::Shut) { Err(Status::unavailable("shut")) } else { Ok(()) }
    }

    /// Ends every stream of appends or of the committed log.
    pub(crate) fn cut_streams(&self) {
        self.cut.send_modify(|times| *times += 1);
    }

    /// The next entries are written, but nobody is told: the stream breaks instead.
    pub(crate) fn lose_next_answer(&self) {
        self.lose_answer.store(true, Ordering::SeqCst);
    }

    /// Highest seq that was asked to be written.
    pub(crate) fn appended(&self) -> u64 {
        self.seen.appended.load(Ordering::SeqCst)
    }

    /// How many snapshots were asked for.
    pub(crate) fn snapshots_read(&self) -> u64 {
        self.seen.snapshots.load(Ordering::SeqCst)
    }

    /// How many streams of the committed log were opened.
    pub(crate) fn follows(&self) -> u64 {
        self.seen.follows.load(Ordering::SeqCst)
    }

    /// The next one who asks for a snapshot gets this one.
    pub(crate) fn give_other_snapshot(&self, at: &Tail, bytes: &[u8]) {
        *self.other_snapshot.lock().unwrap() = Some((*at, bytes.to_vec()));
    }

    /// Whether it stops learning what is committed, and sends followers what is not.
    pub(crate) fn be_reckless(&self, reckless: bool) {
        self.reckless.store(reckless, Ordering::SeqCst);
    }

    /// Highest seq it knows to be committed.
    pub(crate) fn committed(&self) -> Seq {
        *self.commit.borrow()
    }

    /// Everything in the log.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.log.read(Seq(1), Seq(u64::MAX), usize::MAX).unwrap()
    }

    /// Stores a snapshot.
    pub(crate) fn put_snapshot(&self, at: &Tail, bytes: &[u8]) {
        self.snapshots.put(at, bytes).unwrap();
    }

    /// Asks for an epoch for somebody else. The answer comes when everything that arrived before is done.
    pub(crate) fn fence_for(&self, epoch: Epoch) -> mpsc::Receiver<Reply> {
        let (client, replies) = self.client();
        let config = VoterConfig::default();
        let request = FenceRequest { log_id: LogId(0), shard: ShardId(0), epoch, config };
        self.inputs.send((client, Some(Box::new(Input::Fence { client, request })))).unwrap();
        replies
    }

    fn client(&self) -> (ClientId, mpsc::Receiver<Reply>) {
        let client = ClientId(self.next_client.fetch_add(1, Ordering::SeqCst));
        let (sender, receiver) = mpsc::channel(256);
        self.replies.lock().unwrap().insert(client.0, sender);
        (client, receiver)
    }
}

/// The thread that owns the disk.
struct Writer {
    storage: MemoryStorage,
    replies: Replies,
    commit: watch::Sender<Seq>,
    reckless: Arc<AtomicBool>,
}

impl Writer {
    fn run(mut self, mut acceptor: Acceptor, inbox: &std_mpsc::Receiver<Inbox>) {
        while let Ok((client, input)) = inbox.recv() {
            let Some(input) = input else {
                self.replies.lock().unwrap().remove(&client.0);
                continue;
            };
            let mut inputs = VecDeque::from([*input]);
            while let Some(input) = inputs.pop_front() {
                let mut effects = Vec::new();
                acceptor.step(input, &mut effects);
                inputs.extend(effects.into_iter().filter_map(|effect| self.carry_out(effect)));
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Input> {
        let persisted = |token, result: Result<(), journal_store::StoreError>| match result {
            Ok(()) => Input::Persisted { token },
            Err(error) => Input::Failed { token, error: PersistError::Storage(error.to_string()) },
        };
        match effect {
            Effect::PersistControl { token, control } => Some(persisted(token, self.storage.persist_control(&control))),
            Effect::Write { token, unit } => Some(persisted(token, self.storage.write(&unit))),
            Effect::Confirm { token, epoch } => Some(persisted(token, self.storage.confirm(epoch))),
            Effect::Reply { client, reply } => {
                let sender = self.replies.lock().unwrap().get(&client.0).cloned();
                if let Some(sender) = sender {
                    let _ = sender.try_send(reply);
                }
                None
            }
            Effect::Committed { seq } => {
                if !self.reckless.load(Ordering::SeqCst) {
                    self.commit.send_replace(seq);
                }
                None
            }
            Effect::Quarantine { .. } => None,
            Effect::Reload => Some(Input::Reloaded(self.storage.recover().unwrap())),
        }
    }
}

fn part(entries: &[Entry], commit: Seq) -> pb::ReadResponse {
    pb::ReadResponse {
        log_id: convert::log_id_to_pb(entries.first().map_or(LogId(0), |entry| entry.log_id)),
        entries: entries.iter().cloned().map(convert::entry_to_pb).collect(),
        commit_seq: commit.0,
    }
}

/// Sends what is committed, as it comes, until somebody cuts the streams.
async fn follow(voter: Voter, mut from: Seq, out: mpsc::Sender<Result<pb::ReadResponse, Status>>) {
    let (mut cut, mut commit) = (voter.cut.subscribe(), voter.commit.subscribe());
    let mut answered = false;
    loop {
        let committed = *commit.borrow_and_update();
        let to = if voter.reckless.load(Ordering::SeqCst) { Seq(u64::MAX) } else { committed };
        let entries = match voter.log.read(from, to, 1 << 16) {
            Ok(entries) => entries,
            Err(error) => return drop(out.send(Err(ApiError::precondition(error.to_string()).into())).await),
        };
        from = entries.last().map_or(from, |last| last.seq.next());
        let wait = entries.is_empty();
        if !(wait && answered) && out.send(Ok(part(&entries, committed))).await.is_err() {
            return;
        }
        answered = true;
        if wait {
            tokio::select! {
                changed = commit.changed() => if changed.is_err() { return },
                _ = cut.changed() => return drop(out.send(Err(Status::unavailable("cut"))).await),
                () = out.closed() => return,
            }
        }
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl JournalService for Voter {
    type AppendStream = Answers<pb::AppendResponse>;
    type ReadStream = Answers<pb::ReadResponse>;
    type ReadSnapshotStream = Answers<pb::ReadSnapshotResponse>;

    async fn fence(&self, request: Request<pb::FenceRequest>) -> Result<Response<pb::FenceResponse>, Status> {
        self.enter()?;
        let request = convert::fence_request(request.get_ref())?;
        let (client, mut replies) = self.client();
        self.inputs.send((client, Some(Box::new(Input::Fence { client, request })))).unwrap();
        let Some(Reply::Fence(reply)) = replies.recv().await else { return Err(Status::unavailable("gone")) };
        Ok(Response::new(convert::fence_reply_to_pb(reply)))
    }

    async fn append(
        &self,
        request: Request<Streaming<pb::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        self.enter()?;
        let mut requests = request.into_inner();
        let (client, mut replies) = self.client();
        let (out, stream) = mpsc::channel(256);
        let voter = self.clone();
        let mut cut = self.cut.subscribe();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = cut.changed() => break,
                    request = requests.message() => {
                        let Ok(Some(request)) = request else { break };
                        let request = convert::append_request(request).unwrap();
                        if let Some(entry) = request.entries.last() {
                            voter.seen.appended.fetch_max(entry.seq.0, Ordering::SeqCst);
                        }
                        voter.inputs.send((client, Some(Box::new(Input::Append { client, request })))).unwrap();
                    }
                    reply = replies.recv() => {
                        let Some(Reply::Append(reply)) = reply else { break };
                        if voter.is(Door::Silent) {
                            continue;
                        }
                        let synced = matches!(&reply, AppendReply::Ok(ok) if ok.synced);
                        if synced && voter.lose_answer.swap(false, Ordering::SeqCst) {
                            break;
                        }
                        if out.send(Ok(convert::append_reply_to_pb(reply, 1, false))).await.is_err() {
                            break;
                        }
                    }
                }
            }
            let _ = out.send(Err(Status::unavailable("cut"))).await;
            voter.inputs.send((client, None)).unwrap();
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn read(&self, request: Request<pb::ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        self.enter()?;
        let request = request.into_inner();
        if request.follow {
            self.seen.follows.fetch_add(1, Ordering::SeqCst);
            let (out, stream) = mpsc::channel(2);
            tokio::spawn(follow(self.clone(), Seq(request.from_seq), out));
            return Ok(Response::new(Box::pin(ReceiverStream::new(stream))));
        }
        let to = if request.to_seq == 0 { u64::MAX } else { request.to_seq };
        let entries = self.log.read(Seq(request.from_seq), Seq(to), 1 << 20);
        let entries = entries.map_err(|error| ApiError::precondition(error.to_string()))?;
        let parts: Vec<_> = entries.chunks(100).map(|entries| Ok(part(entries, self.committed()))).collect();
        Ok(Response::new(Box::pin(futures::stream::iter(parts))))
    }

    async fn read_snapshot(
        &self,
        _request: Request<pb::ReadSnapshotRequest>,
    ) -> Result<Response<Self::ReadSnapshotStream>, Status> {
        self.enter()?;
        self.seen.snapshots.fetch_add(1, Ordering::SeqCst);
        let mut parts = Vec::new();
        let other = self.other_snapshot.lock().unwrap().take().map(|(at, bytes)| (at, bytes.into()));
        let stored = self.snapshots.latest().map_err(|error| Status::internal(error.to_string()))?;
        if let Some((at, bytes)) = other.or(stored) {
            for part in bytes.chunks(1000) {
                let part = bytes.slice_ref(part);
                parts.push(Ok(pb::ReadSnapshotResponse { at: Some(convert::tail_to_pb(&at)), part }));
            }
        }
        Ok(Response::new(Box::pin(futures::stream::iter(parts))))
    }

    async fn leader_seen(
        &self,
        _request: Request<pb::LeaderSeenRequest>,
    ) -> Result<Response<pb::LeaderSeenResponse>, Status> {
        Err(Status::unimplemented("not asked by engines"))
    }
}
