//! An open-loop load of many accounts: requests are sent when they are due, whether or not earlier ones have been
//! answered, each is tried under its id until it is answered, and everything is recorded for the checker.
//!
//! What clients wait is measured from the moment a request was due: one that is sent late counts with its delay.

mod client;
mod recorder;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use types::{InstrumentId, Symbol};
use wire::convert::InstrumentLookup;
use wire::pb::marketdata::v1::ListInstrumentsRequest;
use wire::pb::marketdata::v1::market_data_service_client::MarketDataServiceClient;

use self::client::Client;
pub(crate) use self::recorder::percentile;
pub use self::recorder::{Measured, Recorder, pauses};
use crate::LOOK_AGAIN;
use crate::node::Endpoint;
use crate::requests::Requests;

/// Requests under way at the most; a pause of half a minute at 1,000 a second stays below it.
const UNDER_WAY_MAX: usize = 40_000;

/// One acknowledged request in so many is sent once more, a while later.
const REPEAT_ONE_IN: u32 = 50;

/// Longest time until then, milliseconds.
const REPEAT_AFTER_MS_MAX: u64 = 5_000;

/// Clients that read.
const READERS: u64 = 3;

/// Between two reads of each reader.
const READ_EVERY: Duration = Duration::from_millis(200);

/// How long instruments may take to appear.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What load.
#[derive(Clone, Debug)]
pub struct Options {
    /// Requests a second.
    pub rate: u32,
    /// Accounts they come from.
    pub accounts: u64,
    /// Same seed, same requests, as far as they do not depend on answers.
    pub seed: u64,
    /// What is traded.
    pub symbols: Vec<String>,
}

/// Shard and number of each instrument.
#[derive(Debug, Default)]
pub(crate) struct Instruments(HashMap<Symbol, (u32, InstrumentId)>);

/// A running load.
#[derive(Debug)]
pub struct Load {
    recorder: Arc<Recorder>,
    under_way: Arc<Semaphore>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl InstrumentLookup for Instruments {
    fn instrument_id(&self, symbol: &Symbol) -> Option<InstrumentId> {
        self.0.get(symbol).map(|(_, number)| *number)
    }
}

impl Instruments {
    /// Asks the engines until all of `symbols` are known.
    async fn of(engines: &[Endpoint], symbols: &[String]) -> Result<Self> {
        let begin = Instant::now();
        let mut found = HashMap::new();
        loop {
            for engine in engines {
                let mut client = MarketDataServiceClient::new(engine.channel.clone());
                let asked = client.list_instruments(ListInstrumentsRequest::default());
                let Ok(Ok(answer)) = tokio::time::timeout(Duration::from_secs(2), asked).await else { continue };
                let mut numbers: HashMap<u32, u32> = HashMap::new();
                for status in answer.into_inner().instruments {
                    // Within a shard they come in order of definition, which is their number.
                    let number = numbers.entry(status.shard).or_default();
                    if let Some(Ok(symbol)) = status.instrument.map(|instrument| instrument.symbol.parse()) {
                        found.insert(symbol, (status.shard, InstrumentId(*number)));
                    }
                    *number += 1;
                }
            }
            let known = |symbol: &String| symbol.parse().is_ok_and(|symbol| found.contains_key(&symbol));
            if symbols.iter().all(known) {
                return Ok(Self(found));
            }
            ensure!(begin.elapsed() < START_LIMIT, "no engine knows all of {symbols:?}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    pub(crate) fn shard(&self, symbol: &str) -> u32 {
        symbol.parse().ok().and_then(|symbol: Symbol| self.0.get(&symbol)).map_or(0, |(shard, _)| *shard)
    }
}

impl Load {
    /// Waits for the instruments and begins.
    ///
    /// # Errors
    /// When they do not appear.
    pub async fn start(engines: Vec<Endpoint>, options: &Options) -> Result<Self> {
        let instruments = Instruments::of(&engines, &options.symbols).await?;
        let recorder = Arc::new(Recorder::new());
        let client = Arc::new(Client::new(engines, instruments, Arc::clone(&recorder)));
        let under_way = Arc::new(Semaphore::new(UNDER_WAY_MAX));
        let (stop, stopped) = watch::channel(false);
        let sending = Sending {
            runtime: Handle::current(),
            client: Arc::clone(&client),
            options: options.clone(),
            under_way: Arc::clone(&under_way),
            stop: stopped.clone(),
        };
        let mut tasks = vec![tokio::task::spawn_blocking(move || sending.run())];
        for reader in 0..READERS {
            tasks.push(tokio::spawn(read(Arc::clone(&client), reader, options.symbols.clone(), stopped.clone())));
        }
        Ok(Self { recorder, under_way, stop, tasks })
    }

    /// What was recorded so far, and the clock of the record.
    #[must_use]
    pub const fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    /// Sends nothing new, and waits until everything under way is answered or given up.
    ///
    /// # Errors
    /// When a task of the load has failed.
    pub async fn stop(self) -> Result<Arc<Recorder>> {
        self.stop.send_replace(true);
        for task in self.tasks {
            task.await?;
        }
        let all = u32::try_from(UNDER_WAY_MAX)?;
        let _nobody = self.under_way.acquire_many(all).await?;
        Ok(self.recorder)
    }
}

/// Sends each request when it is due: the first at once, and from then on so many a second.
struct Sending {
    runtime: Handle,
    client: Arc<Client>,
    options: Options,
    under_way: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

impl Sending {
    /// Until the load is stopped. For a thread of its own, since the runtime's timers tick in whole milliseconds.
    fn run(self) {
        let options = &self.options;
        let mut random = ChaCha8Rng::seed_from_u64(options.seed);
        let accounts: Vec<Arc<Mutex<Requests>>> = (1..=options.accounts)
            .map(|account| Requests::new(options.seed, account, "load").over(options.symbols.clone()))
            .map(|requests| Arc::new(Mutex::new(requests)))
            .collect();
        let (begin, mut sent, mut skipped) = (Instant::now(), 0_u64, 0_u64);
        loop {
            let due = begin + Duration::from_nanos((sent + skipped) * 1_000_000_000 / u64::from(options.rate.max(1)));
            #[expect(clippy::disallowed_methods, reason = "this thread keeps the time: it waits for nothing else")]
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            // Also when nobody holds the load any more: a thread outlives what has failed.
            if *self.stop.borrow() || self.stop.has_changed().is_err() {
                break;
            }
            let Ok(permit) = Arc::clone(&self.under_way).try_acquire_owned() else {
                skipped += 1;
                continue;
            };
            sent += 1;
            let repeat = random.random_ratio(1, REPEAT_ONE_IN).then(|| random.random_range(0..REPEAT_AFTER_MS_MAX));
            let account = Arc::clone(&accounts[usize::try_from(sent % options.accounts).unwrap_or(0)]);
            let client = Arc::clone(&self.client);
            self.runtime.spawn(async move {
                let _permit = permit;
                let Some(command) = account.lock().ok().and_then(|mut requests| requests.next()) else { return };
                let report = client.settle(command.clone()).await;
                client.recorder().measure(due, report.is_some());
                let Some(report) = report else { return };
                if let Ok(mut requests) = account.lock() {
                    requests.learn(&report);
                }
                if let Some(after) = repeat {
                    // Waits for nothing: a client that lost the answer asks again whenever it likes.
                    tokio::time::sleep(Duration::from_millis(after)).await;
                    client.settle(command).await;
                }
            });
        }
        self.client.recorder().skipped(skipped);
    }
}

/// Reads books, as long as there is a load: as they are, and as one engine after another has applied them, never less
/// than what this reader has seen.
async fn read(client: Arc<Client>, reader: u64, symbols: Vec<String>, mut stop: watch::Receiver<bool>) {
    let mut seen: HashMap<u32, u64> = HashMap::new();
    for (round, symbol) in symbols.iter().cycle().enumerate() {
        if *stop.borrow() {
            return;
        }
        client.read_book(symbol).await;
        let seen = seen.entry(client.shard(symbol)).or_default();
        if let Some(seq) = client.read_stale(reader, round, symbol, *seen).await {
            *seen = seq.max(*seen);
        }
        let _ = tokio::time::timeout(READ_EVERY, stop.changed()).await;
    }
}
