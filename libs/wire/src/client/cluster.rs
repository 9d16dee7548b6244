//! Which engine a request goes to: straight to the leader of its shard when that is known, else to any of the addresses
//! that were given, which hands it on.
//!
//! Deliberately absent: requests and their repetition. Whoever sends them says what failed and what a hint said.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use types::Symbol;

use crate::pb::orders::v1::order_service_client::OrderServiceClient;
use crate::pb::orders::v1::{GetTopologyRequest, GetTopologyResponse, LeaderHint};
use crate::status::{ApiError, ErrorCode};
use crate::transport::{Channel, ClientOptions, connect};

/// How long an engine may take to tell who leads.
const TOPOLOGY_TIMEOUT: Duration = Duration::from_millis(500);

/// While a leader is not known, it is asked for at most so often.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// A known map is looked at again after so long: whoever led before hands requests on without a word.
const REFRESH: Duration = Duration::from_secs(5);

/// Engines of one cluster and what is known of their leaders. Clones share what they learn.
#[derive(Clone, Debug)]
pub struct Cluster(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Where to begin; at least one.
    targets: Vec<Channel>,
    /// How leaders are connected to; none if requests keep to the engines that were given.
    leaders: Option<ClientOptions>,
    map: Mutex<Map>,
    /// Held by whoever asks for the map, so that only one does.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Map {
    /// Number of shards; 0 while it is not known.
    shards: u32,
    leaders: HashMap<u32, LeaderHint>,
    /// Instruments that are not in the shard of their hash.
    placed: HashMap<String, u32>,
    /// Connections to leaders, by address.
    channels: HashMap<String, Channel>,
    /// The target that is used next.
    target: usize,
    asked: Option<Instant>,
}

/// Where one request goes.
#[derive(Clone, Debug)]
pub struct Way {
    /// The connection.
    pub channel: Channel,
    at: At,
}

/// Who is at the end of a way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum At {
    Target(usize),
    Leader { shard: u32, epoch: u64, address: String },
}

impl Cluster {
    /// The engine at the end of `channel`, which hands on what it does not lead.
    #[must_use]
    pub fn fixed(channel: Channel) -> Self {
        Self::with(vec![channel], None)
    }

    /// Engines of one cluster, at least one of them: the others are learned, and requests go straight to leaders, with
    /// the credentials and the TLS of `options`. There is always another engine to turn to, so a leader that is gone
    /// is noticed as [`ClientOptions::to_a_peer`] says.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] without any.
    pub fn roaming(targets: Vec<Channel>, options: &ClientOptions) -> Result<Self, ApiError> {
        if targets.is_empty() {
            return Err(ApiError::invalid("targets", "name at least one engine"));
        }
        let (credentials, tls) = (options.credentials.clone(), options.tls.clone());
        Ok(Self::with(targets, Some(ClientOptions { credentials, tls, ..ClientOptions::to_a_peer() })))
    }

    fn with(targets: Vec<Channel>, leaders: Option<ClientOptions>) -> Self {
        Self(Arc::new(Inner { targets, leaders, map: Mutex::default(), asking: tokio::sync::Mutex::default() }))
    }

    /// A way to any engine.
    #[must_use]
    pub fn any(&self) -> Way {
        let at = self.map().target % self.0.targets.len();
        Way { channel: self.0.targets[at].clone(), at: At::Target(at) }
    }

    /// The way for a request about this instrument; an empty text is about none.
    pub async fn way(&self, symbol: &str) -> Way {
        if self.0.leaders.is_none() || symbol.is_empty() {
            return self.any();
        }
        if let Some(way) = self.straight(symbol) {
            if self.map().is_older_than(REFRESH) {
                let cluster = self.clone();
                tokio::spawn(async move { cluster.ask().await });
            }
            return way;
        }
        if self.map().is_older_than(ASK_AGAIN) {
            self.ask().await;
        }
        self.straight(symbol).unwrap_or_else(|| self.any())
    }

    /// A node has said who leads. Whether that was news.
    pub fn learn(&self, hint: &LeaderHint) -> bool {
        let mut map = self.map();
        let known = map.leaders.get(&hint.shard).map_or(0, |known| known.epoch);
        let news = self.0.leaders.is_some() && !hint.address.is_empty() && hint.epoch > known;
        if news {
            map.leaders.insert(hint.shard, hint.clone());
        }
        news
    }

    /// Nothing came back from there, or nothing of use: the next request takes another way.
    pub fn failed(&self, way: &Way) {
        let mut map = self.map();
        match &way.at {
            At::Target(at) if map.target % self.0.targets.len() == *at => map.target = at + 1,
            At::Leader { shard, epoch, .. } if map.leaders.get(shard).is_some_and(|known| known.epoch == *epoch) => {
                map.leaders.remove(shard);
            }
            At::Target(_) | At::Leader { .. } => {}
        }
    }

    fn straight(&self, symbol: &str) -> Option<Way> {
        let options = self.0.leaders.as_ref()?;
        let mut map = self.map();
        let shard = map.shard_of(symbol)?;
        let LeaderHint { address, epoch, .. } = map.leaders.get(&shard)?.clone();
        let channel = match map.channels.get(&address) {
            Some(channel) => channel.clone(),
            None => {
                let channel = connect(&address.parse().ok()?, options);
                map.channels.insert(address.clone(), channel.clone());
                channel
            }
        };
        Some(Way { channel, at: At::Leader { shard, epoch, address } })
    }

    /// Asks one engine for the map, unless somebody does already.
    async fn ask(&self) {
        let Ok(_asking) = self.0.asking.try_lock() else { return };
        let way = self.any();
        self.map().asked = Some(Instant::now());
        let mut client = OrderServiceClient::new(way.channel.clone());
        match tokio::time::timeout(TOPOLOGY_TIMEOUT, client.get_topology(GetTopologyRequest {})).await {
            Ok(Ok(topology)) => self.map().take(topology.into_inner()),
            Ok(Err(status)) if ApiError::from_status(&status).code == ErrorCode::Unsupported => {}
            Ok(Err(_)) | Err(_) => self.failed(&way),
        }
    }

    fn map(&self) -> MutexGuard<'_, Map> {
        // Nothing is left half-done under the lock.
        self.0.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Way {
    pub(super) const fn at(&self) -> &At {
        &self.at
    }
}

impl Map {
    fn is_older_than(&self, limit: Duration) -> bool {
        self.asked.is_none_or(|asked| asked.elapsed() >= limit)
    }

    fn shard_of(&self, symbol: &str) -> Option<u32> {
        if self.shards == 0 {
            return None;
        }
        let placed = self.placed.get(symbol).copied();
        placed.or_else(|| Some(types::shard_of(&Symbol::new(symbol).ok()?, self.shards).0))
    }

    fn take(&mut self, topology: GetTopologyResponse) {
        self.shards = topology.shards;
        self.placed = topology.placed.into_iter().map(|placed| (placed.symbol, placed.shard)).collect();
        for hint in topology.leaders {
            // The engine that was asked may be behind.
            let known = self.leaders.get(&hint.shard).map_or(0, |known| known.epoch);
            if hint.epoch > known && !hint.address.is_empty() {
                self.leaders.insert(hint.shard, hint);
            }
        }
    }
}
