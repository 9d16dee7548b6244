//! The keys in force: what the files list, less what was revoked and what is over; the key of the cluster's processes; the local key.
//!
//! A key that vanishes is refused at once, and streams that were opened with it end. Only the key of the cluster's
//! processes outlives its file: deleting the secret must lock people out, not stop the processes from reaching each
//! other. It goes when another one comes, some time later, since mounts do not change everywhere at once.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio_util::sync::CancellationToken;
use wire::api_key::ApiKey;

use super::config::Limits;
use super::files::{Found, Given};
use super::key::KeyHash;
use super::limits::KeyLimit;
use crate::caller::{Accounts, Caller, Role};

/// How long the former key of the cluster's processes is accepted: a kubelet may take two minutes to change a mount.
const FORMER_NODE_KEY: Duration = Duration::from_secs(150);

#[derive(Default)]
pub(super) struct Ring {
    keys: HashMap<String, Vec<Arc<Entry>>>,
    /// Listed keys whose time is over: nobody comes in with them, and whoever looks is told why.
    over: Vec<Given>,
    node: Option<Arc<Entry>>,
    former_node: Option<(Arc<Entry>, Instant)>,
    local: Option<Arc<Entry>>,
}

/// A key in force.
pub(super) struct Entry {
    pub(super) given: Given,
    /// Cancelled when the key is no longer in force.
    pub(super) gone: CancellationToken,
    /// Accepted from this machine only.
    pub(super) loopback_only: bool,
    pub(super) limit: KeyLimit,
    /// The last caller with this key: most call again from the same address.
    last: ArcSwapOption<Caller>,
}

/// What a reading changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) added: Vec<String>,
    pub(super) removed: Vec<String>,
    pub(super) node_key: bool,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Entry {
    fn new(given: Given, loopback_only: bool, limits: &Limits) -> Arc<Self> {
        let entry = Self {
            given,
            gone: CancellationToken::new(),
            loopback_only,
            limit: KeyLimit::default(),
            last: ArcSwapOption::empty(),
        };
        entry.limit.set(limits);
        Arc::new(entry)
    }

    /// Whoever shows this key from `peer`.
    pub(super) fn caller(&self, peer: IpAddr) -> Arc<Caller> {
        if let Some(last) = &*self.last.load()
            && last.peer == Some(peer)
        {
            return Arc::clone(last);
        }
        let accounts = self.given.accounts.clone();
        let caller = Caller { accounts, ..Caller::new(self.given.id.clone(), self.given.role, Some(peer)) };
        let caller = Arc::new(caller);
        self.last.store(Some(Arc::clone(&caller)));
        caller
    }
}

impl Ring {
    /// Only the local key, if there is one.
    pub(super) fn new(local: Option<&ApiKey>, limits: &Limits) -> Self {
        let local = local.map(|key| Entry::new(given_for(key, Role::Admin), true, limits));
        Self { local, ..Self::default() }
    }

    /// The entry that this key opens.
    pub(super) fn find(&self, key: &ApiKey, now: Instant) -> Option<&Arc<Entry>> {
        let hash = KeyHash::of(key);
        let former = self.former_node.as_ref().filter(|(_, until)| now < *until).map(|(entry, _)| entry);
        let listed = self.keys.get(key.id()).map(Vec::as_slice).unwrap_or_default();
        listed.iter().chain(&self.node).chain(former).chain(&self.local).find(|entry| entry.given.hash == hash)
    }

    /// Whether the files list no key that is in force.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Every key, by id.
    pub(super) fn entries(&self) -> Vec<Arc<Entry>> {
        let mut all: Vec<_> = self.keys.values().flatten().chain(&self.node).chain(&self.local).cloned().collect();
        all.sort_by(|one, other| one.given.id.cmp(&other.given.id));
        all
    }

    /// Keys that are listed and not in force any more, since their time is over.
    pub(super) fn over(&self) -> &[Given] {
        &self.over
    }

    /// The listed keys of an id.
    pub(super) fn listed(&self, id: &str) -> Vec<Arc<Entry>> {
        self.keys.get(id).cloned().unwrap_or_default()
    }

    /// Applies new limits to every key.
    pub(super) fn set_limits(&self, limits: &Limits) {
        for entry in self.entries().iter().chain(self.former_node.as_ref().map(|(entry, _)| entry)) {
            entry.limit.set(limits);
        }
    }

    /// The ring after a reading, and what that changed. Entries that stay keep their streams and limits.
    pub(super) fn after(
        &self,
        found: &Found,
        revoked: &HashSet<KeyHash>,
        limits: &Limits,
        (now, now_us): (Instant, u64),
    ) -> (Self, Changes) {
        let mut changes = Changes::default();
        let mut over = Vec::new();
        let mut keys: HashMap<String, Vec<Arc<Entry>>> = HashMap::new();
        for given in found.keys.iter().filter(|given| !revoked.contains(&given.hash)) {
            if given.is_over(now_us) {
                over.push(given.clone());
                continue;
            }
            let known = self.keys.get(&given.id).and_then(|all| all.iter().find(|entry| entry.given == *given));
            let entry = known.cloned().unwrap_or_else(|| {
                changes.added.push(given.id.clone());
                Entry::new(given.clone(), false, limits)
            });
            keys.entry(given.id.clone()).or_default().push(entry);
        }
        for entry in self.keys.values().flatten() {
            let stays = keys.get(&entry.given.id).is_some_and(|all| all.iter().any(|other| Arc::ptr_eq(other, entry)));
            if !stays {
                changes.removed.push(entry.given.id.clone());
                entry.gone.cancel();
            }
        }
        let mut former_node = self.former_node.clone().filter(|(entry, until)| {
            let stays = now < *until;
            if !stays {
                entry.gone.cancel();
            }
            stays
        });
        let node = match &found.node {
            Some(key) if self.node.as_ref().is_none_or(|entry| entry.given.hash != KeyHash::of(key)) => {
                changes.node_key = true;
                former_node = self.node.clone().map(|entry| (entry, now + FORMER_NODE_KEY)).or(former_node);
                Some(Entry::new(given_for(key, Role::Node), false, limits))
            }
            _ => self.node.clone(),
        };
        let local = self.local.clone();
        (Self { keys, over, node, former_node, local }, changes)
    }
}

fn given_for(key: &ApiKey, role: Role) -> Given {
    Given { id: key.id().to_owned(), role, accounts: Accounts::All, hash: KeyHash::of(key), expires_us: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::key;

    fn viewer(id: &str) -> (ApiKey, Given) {
        let key = key::generate(id).expect("an id");
        let given = given_for(&key, Role::Viewer);
        (key, given)
    }

    #[test]
    fn what_vanishes_is_refused_at_once_and_what_stays_stays() {
        let (now, limits) = (Instant::now(), Limits::default());
        let ((one, given_one), (two, given_two)) = (viewer("one"), viewer("two"));
        let revoked = HashSet::from([given_two.hash]);
        let both = Found { keys: vec![given_one, given_two], ..Found::default() };
        let (ring, changes) = Ring::default().after(&both, &HashSet::new(), &limits, (now, 0));
        assert_eq!(changes.added, ["one", "two"]);
        let kept = Arc::clone(ring.find(&one, now).expect("in force"));
        let lost = Arc::clone(ring.find(&two, now).expect("in force"));
        assert!(ring.find(&viewer("one").0, now).is_none(), "the id alone opens nothing");

        let (ring, changes) = ring.after(&both, &revoked, &limits, (now, 0));
        assert_eq!(changes.removed, ["two"]);
        assert!(ring.find(&two, now).is_none() && lost.gone.is_cancelled(), "revoked");
        assert!(Arc::ptr_eq(ring.find(&one, now).expect("in force"), &kept) && !kept.gone.is_cancelled());

        let (ring, _) = ring.after(&Found::default(), &HashSet::new(), &limits, (now, 0));
        assert!(ring.find(&one, now).is_none() && kept.gone.is_cancelled() && ring.is_empty());
    }

    #[test]
    fn r36_a_key_whose_time_is_over_is_refused_and_its_streams_end() {
        let (now, limits) = (Instant::now(), Limits::default());
        let ((key, given), (other, lasting)) = (viewer("short"), viewer("long"));
        let short = Given { expires_us: Some(1_000), ..given };
        let found = Found { keys: vec![short.clone(), lasting], ..Found::default() };
        let (ring, _) = Ring::default().after(&found, &HashSet::new(), &limits, (now, 999));
        let entry = Arc::clone(ring.find(&key, now).expect("in force"));
        assert!(!entry.given.is_over(999) && entry.given.is_over(1_000), "to the microsecond");
        let (ring, changes) = ring.after(&found, &HashSet::new(), &limits, (now, 1_000));
        assert!(ring.find(&key, now).is_none() && entry.gone.is_cancelled());
        assert_eq!((changes.removed, ring.over()), (vec!["short".to_owned()], &[short][..]));
        assert!(ring.find(&other, now).is_some());
    }

    #[test]
    fn the_key_of_the_processes_goes_only_when_another_comes() {
        let (now, limits) = (Instant::now(), Limits::default());
        let (first, second) = (key::generate("node").expect("an id"), key::generate("node").expect("an id"));
        let found = |key: Option<&ApiKey>| Found { node: key.cloned(), ..Found::default() };
        let after = |ring: &Ring, found: &Found, now| ring.after(found, &HashSet::new(), &limits, (now, 0)).0;
        let ring = after(&Ring::default(), &found(Some(&first)), now);
        assert_eq!(ring.find(&first, now).map(|entry| entry.given.role), Some(Role::Node));
        let ring = after(&ring, &found(None), now);
        assert!(ring.find(&first, now).is_some(), "its file is gone");
        let ring = after(&ring, &found(Some(&second)), now);
        let later = now + FORMER_NODE_KEY;
        assert!(ring.find(&first, now).is_some() && ring.find(&second, now).is_some());
        assert!(ring.find(&first, later).is_none() && ring.find(&second, later).is_some());
        let former = Arc::clone(ring.find(&first, now).expect("in force"));
        let _ = after(&ring, &found(Some(&second)), later);
        assert!(former.gone.is_cancelled());
    }
}
