//! Who may do what at the doors of a node: keys, roles, limits.
//!
//! A caller shows a key (`authorization: Bearer hm_…`), or the certificate of a process of the cluster. Without either it
//! may do what the mode says: with a directory of keys, callers on this machine see everything and others nothing; without
//! one, callers on this machine are trusted as the processes of the cluster are, and only actions need a key (any page in
//! a browser on this machine can send requests here).
//!
//! Deliberately absent: the rules themselves, which stand beside the contracts in `wire::access`; passwords, sessions,
//! tokens of other issuers.

pub mod config;
mod files;
mod guard;
mod keep;
pub mod key;
mod layer;
mod limits;
pub mod local;
mod refusal;
mod revoked;
mod rights;
mod ring;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::HeaderMap;
use tokio_util::sync::CancellationToken;
use wire::access::Access;
use wire::api_key::{ApiKey, Credentials};

use crate::audit::{Act, Audit, Outcome};
use crate::caller::{Accounts, Caller, Role};
use crate::clock;
use crate::flood::Flood;
use config::{Config, Limits, Plaintext};
use files::Found;
use limits::PeerLimits;
use ring::{Changes, Entry, Ring};

pub use keep::{KeepError, Rotated, new_entry, new_entry_until};
pub(crate) use layer::{GrpcLayer, HttpLayer};
pub use refusal::{Refusal, Unknown};
pub use rights::{Rights, permit};

/// How often the directory of the keys is read again. Reading is cheap; a key that was taken away is refused after this.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// Lines about refused callers a second; the rest are counted.
const REFUSALS_LOGGED_PER_SECOND: u32 = 10;

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// It showed a certificate of the cluster.
    pub certified: bool,
}

/// Knows the keys of a node. Clones share them.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

struct Inner {
    mode: Mode,
    ring: ArcSwap<Ring>,
    limits: ArcSwap<Limits>,
    peers: PeerLimits,
    flood: Flood,
    /// Without a key, from here: `None` for nobody.
    on_this_machine: Arc<Caller>,
    certified: Arc<Caller>,
    /// What this process shows to others.
    credentials: Credentials,
    /// What was wrong at the last reading.
    problems: Mutex<Vec<String>>,
    /// Held while the directory is read and what was found comes into force.
    reading: Mutex<()>,
    revoked: revoked::Revoked,
    audit: Audit,
    keys_dir: PathBuf,
    may_listen_anywhere: bool,
    plaintext: Plaintext,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Whoever reaches a door may do everything: nodes inside tests.
    Trusting,
    /// No directory of keys.
    ThisMachine,
    /// Keys.
    Keys,
}

/// A key, as far as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub role: Role,
    /// For which accounts.
    pub accounts: Accounts,
    /// First digits of its hash, to tell two keys of one id apart.
    pub fingerprint: String,
    /// Accepted from this machine only.
    pub loopback_only: bool,
    /// From then on it is refused, microseconds since the Unix epoch.
    pub expires_us: Option<u64>,
    /// That time has come: it is listed, and not in force.
    pub expired: bool,
}

/// Who was let in, and how long that holds.
struct Admitted {
    caller: Arc<Caller>,
    /// The key, unless there was none.
    key: Option<Arc<Entry>>,
}

impl Role {
    /// Whether a caller of this role may do that.
    #[must_use]
    pub const fn may(self, access: Access) -> bool {
        match access {
            Access::Open | Access::Read => true,
            Access::Inspect => !matches!(self, Self::Trader),
            Access::Trade => matches!(self, Self::Trader | Self::Admin | Self::Node),
            Access::Act => matches!(self, Self::Operator | Self::Admin),
            Access::NodeAct => matches!(self, Self::Operator | Self::Admin | Self::Node),
            Access::NodeAdmin => matches!(self, Self::Admin | Self::Node),
            Access::Peer => matches!(self, Self::Node),
            Access::Admin => matches!(self, Self::Admin),
        }
    }
}

impl Auth {
    /// Lets everybody in who reaches a door: for nodes inside tests, on loopback.
    #[must_use]
    pub fn trusting() -> Self {
        Self::with(Mode::Trusting, &Config::default(), None, revoked::Revoked::default(), Audit::none())
    }

    /// The keys of a node, read for the first time. `local` is accepted from this machine; what was revoked is kept in
    /// `data_dir`.
    ///
    /// # Errors
    /// When the list of what was revoked cannot be read: then nobody can tell which keys are good.
    pub fn new(config: &Config, local: &ApiKey, data_dir: &std::path::Path, audit: Audit) -> std::io::Result<Self> {
        let mode = if config.has_keys() { Mode::Keys } else { Mode::ThisMachine };
        let auth = Self::with(mode, config, Some(local), revoked::Revoked::open(data_dir)?, audit);
        auth.read_again();
        Ok(auth)
    }

    fn with(mode: Mode, config: &Config, local: Option<&ApiKey>, revoked: revoked::Revoked, audit: Audit) -> Self {
        let role = match mode {
            Mode::Trusting => Role::Admin,
            Mode::ThisMachine => Role::Node,
            Mode::Keys => Role::Viewer,
        };
        let inner = Inner {
            mode,
            ring: ArcSwap::from_pointee(Ring::new(local, &config.limits)),
            limits: ArcSwap::from_pointee(config.limits),
            peers: PeerLimits::default(),
            flood: Flood::new(REFUSALS_LOGGED_PER_SECOND),
            on_this_machine: Arc::new(Caller::new("local", role, Some([127, 0, 0, 1].into()))),
            certified: Arc::new(Caller::new("certificate", Role::Node, None)),
            credentials: Credentials::new(None),
            problems: Mutex::default(),
            reading: Mutex::default(),
            revoked,
            audit,
            keys_dir: config.keys_dir.clone(),
            may_listen_anywhere: config.may_listen_anywhere(),
            plaintext: config.plaintext,
        };
        inner.peers.set(&config.limits);
        describe_metrics();
        Self(Arc::new(inner))
    }

    /// What this process shows to others of the cluster; follows the key in the directory.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        self.0.credentials.clone()
    }

    /// Applies new limits to everybody.
    pub fn set_limits(&self, limits: Limits) {
        self.0.limits.store(Arc::new(limits));
        self.0.peers.set(&limits);
        self.0.ring.load().set_limits(&limits);
    }

    /// Every key in force, and those whose time is over.
    #[must_use]
    pub fn keys(&self) -> Vec<KeyInfo> {
        let ring = self.0.ring.load();
        let in_force = ring.entries().into_iter().map(|entry| KeyInfo::of(&entry));
        in_force.chain(ring.over().iter().map(KeyInfo::over)).collect()
    }

    /// What is wrong with the directory of the keys: nothing, if it is empty.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        self.0.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether this caller may do that; counts, and takes from its limits.
    fn admit(&self, headers: &HeaderMap, peer: Peer, access: Access) -> Result<Admitted, Refusal> {
        let inner = &*self.0;
        let here = peer.address.is_loopback();
        if !here {
            inner.peers.request(peer.address).map_err(Refusal::Limited)?;
        }
        if access == Access::Open {
            let caller = Arc::new(Caller::new("anonymous", Role::Viewer, Some(peer.address)));
            return Ok(Admitted { caller, key: None });
        }
        let shown = ApiKey::of_headers(headers).map_err(|_| Unknown::Malformed);
        let admitted = match shown {
            Ok(Some(key)) => self.admit_key(&key, peer, here),
            Ok(None) if peer.certified => Ok(Admitted { caller: self.certified(peer.address), key: None }),
            Ok(None) if here => Ok(Admitted { caller: Arc::clone(&inner.on_this_machine), key: None }),
            Ok(None) => Err(Unknown::Missing),
            Err(unknown) => Err(unknown),
        };
        let admitted = admitted.map_err(|unknown| match inner.peers.failure(peer.address) {
            Ok(()) => Refusal::Unauthenticated(unknown),
            Err(wait) => Refusal::Limited(wait),
        })?;
        if let Some(key) = &admitted.key {
            key.limit.take().map_err(Refusal::Limited)?;
        }
        // What needs no key here is not refused for having shown one.
        if admitted.caller.role.may(access) || (here && inner.on_this_machine.role.may(access)) {
            return Ok(admitted);
        }
        // Without a key, one would help; with another key, none of this caller's.
        Err(match &admitted.key {
            None if !peer.certified => Refusal::Unauthenticated(Unknown::Missing),
            _ => Refusal::Forbidden(admitted.caller, access),
        })
    }

    fn admit_key(&self, key: &ApiKey, peer: Peer, here: bool) -> Result<Admitted, Unknown> {
        let ring = self.0.ring.load();
        let entry = ring.find(key, Instant::now()).ok_or(Unknown::NotInForce)?;
        // At the moment itself: the directory is looked at only every second.
        if entry.given.is_over(clock::now_us()) {
            return Err(Unknown::NotInForce);
        }
        if entry.loopback_only && !here {
            return Err(Unknown::NotFromHere);
        }
        Ok(Admitted { caller: entry.caller(peer.address), key: Some(Arc::clone(entry)) })
    }

    fn certified(&self, address: IpAddr) -> Arc<Caller> {
        let usual = &self.0.certified;
        Arc::new(Caller { peer: Some(address), ..Caller::clone(usual) })
    }

    /// Counts a refusal, and logs it unless there are too many.
    fn refused(&self, refusal: &Refusal, headers: &HeaderMap, peer: Peer, path: &str, door: &'static str) {
        let reason = refusal.reason();
        metrics::counter!("auth_refusals_total", "door" => door, "reason" => reason).increment(1);
        let Some(suppressed) = self.0.flood.admit() else { return };
        // Only the id of what was shown: never the secret, and nothing of what is no key.
        let shown = ApiKey::of_headers(headers).ok().flatten();
        let subject = match refusal {
            Refusal::Forbidden(caller, _) => caller.subject.as_str(),
            _ => shown.as_ref().map_or("", ApiKey::id),
        };
        let told = match suppressed {
            0 => reason.to_owned(),
            more => format!("{reason}; {more} refusals before it were not recorded"),
        };
        let act = Act {
            target: path.to_owned(),
            request_id: crate::request_id::current().map(|id| id.as_str().to_owned()).unwrap_or_default(),
            // Whoever is not known has tried something that every level keeps; whoever is, has asked for too much.
            result: match refusal {
                Refusal::Unauthenticated(_) => Outcome::Failed(told),
                Refusal::Forbidden(..) | Refusal::Limited(_) => Outcome::Refused(told),
            },
            ..Act::new("auth.refuse", Caller::new(subject, Role::Viewer, Some(peer.address)))
        };
        self.0.audit.record(act);
        let peer = peer.address;
        tracing::warn!(target: "auth", subject, reason, %peer, path, door, suppressed, "unauthorized request refused");
    }

    /// Reads the directory of the keys again; what was revoked stays so.
    pub fn read_again(&self) {
        let inner = &*self.0;
        if inner.mode != Mode::Keys {
            return;
        }
        // Two at once could leave what the earlier one had read.
        let _one_at_a_time = inner.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let found = files::read(&inner.keys_dir);
        let changes = self.apply(&found);
        let mut known = inner.problems.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != found.problems {
            for problem in &found.problems {
                tracing::error!(target: "auth", problem, "keys cannot be read, callers with these keys are refused");
            }
            known.clone_from(&found.problems);
        }
        drop(known);
        metrics::gauge!("auth_keys").set(inner.ring.load().entries().len() as f64);
        if !changes.is_empty() {
            let (added, removed) = (changes.added.join(","), changes.removed.join(","));
            tracing::info!(target: "auth", added, removed, node_key = changes.node_key, "API keys were read again");
            let after =
                serde_json::json!({"added": changes.added, "removed": changes.removed, "node_key": changes.node_key});
            inner.audit.record(Act { after, ..Act::system("auth.reload_keys") });
        }
    }

    fn apply(&self, found: &Found) -> Changes {
        let inner = &*self.0;
        let ring = inner.ring.load();
        let limits = inner.limits.load();
        let now = (Instant::now(), clock::now_us());
        let (ring, changes) = ring.after(found, &inner.revoked.hashes(), &limits, now);
        inner.ring.store(Arc::new(ring));
        if changes.node_key {
            inner.credentials.replace(found.node.as_ref());
        }
        changes
    }

    /// Reads the directory again and again, until `end`; `component` tells how that goes.
    pub(crate) async fn follow(self, component: Option<crate::Component>, end: CancellationToken) {
        if self.0.mode != Mode::Keys {
            return;
        }
        let mut ticks = tokio::time::interval(READ_AGAIN);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = end.cancelled() => return,
            }
            let auth = self.clone();
            // A mounted directory may hang.
            if tokio::task::spawn_blocking(move || auth.read_again()).await.is_err() {
                continue;
            }
            if let Some(component) = &component {
                self.tell(component);
            }
        }
    }

    fn tell(&self, component: &crate::Component) {
        let problems = self.problems();
        if let Some(first) = problems.first() {
            component.degraded(format!("API keys: {first}"));
        } else if self.0.ring.load().is_empty() {
            component.degraded("there are no API keys: callers from other machines are refused");
        } else {
            component.ok();
        }
    }

    /// Whether addresses outside the machine may be listened on.
    pub(crate) fn may_listen_anywhere(&self) -> bool {
        self.0.may_listen_anywhere
    }

    /// From where connections without TLS are taken when there is TLS.
    pub(crate) fn plaintext(&self) -> Plaintext {
        self.0.plaintext
    }

    /// Whether callers from other machines can show keys.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.0.mode == Mode::Keys
    }
}

fn describe_metrics() {
    metrics::describe_counter!("auth_refusals_total", "Requests refused for who sent them, by door and reason.");
    metrics::describe_gauge!("auth_keys", "API keys in force.");
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("mode", &self.0.mode).finish_non_exhaustive()
    }
}
