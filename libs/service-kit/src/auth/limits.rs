//! How many requests are taken, by key and by address, and how many may fail to authenticate.
//!
//! Deliberately absent: limits on what a request costs; queues have their own bounds.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::config::Limits;

/// Addresses that are remembered before those at rest are forgotten: a few MB.
const ADDRESSES_MAX: usize = 16_384;

/// A limit on what one key sends. Not there: no limit.
#[derive(Default)]
pub(super) struct KeyLimit(ArcSwapOption<DefaultDirectRateLimiter>);

/// Limits by address.
#[derive(Default)]
pub(super) struct PeerLimits {
    requests: ArcSwapOption<DefaultKeyedRateLimiter<IpAddr>>,
    failures: ArcSwapOption<DefaultKeyedRateLimiter<IpAddr>>,
}

impl KeyLimit {
    pub(super) fn set(&self, limits: &Limits) {
        self.0.store(limits.per_key().map(|rate| RateLimiter::direct(Quota::per_second(rate)).into()));
    }

    /// Takes one request, or says how long to wait.
    pub(super) fn take(&self) -> Result<(), Duration> {
        match &*self.0.load() {
            None => Ok(()),
            Some(limiter) => limiter.check().map_err(|until| until.wait_time_from(DefaultClock::default().now())),
        }
    }
}

impl PeerLimits {
    pub(super) fn set(&self, limits: &Limits) {
        let keyed = |quota: fn(NonZeroU32) -> Quota, rate: Option<NonZeroU32>| {
            rate.map(|rate| RateLimiter::keyed(quota(rate)).into())
        };
        self.requests.store(keyed(Quota::per_second, limits.per_peer()));
        self.failures.store(keyed(Quota::per_minute, limits.failures()));
    }

    /// Takes one request from this address.
    pub(super) fn request(&self, peer: IpAddr) -> Result<(), Duration> {
        take(&self.requests, peer)
    }

    /// Takes one failure from this address.
    pub(super) fn failure(&self, peer: IpAddr) -> Result<(), Duration> {
        take(&self.failures, peer)
    }
}

fn take(limiter: &ArcSwapOption<DefaultKeyedRateLimiter<IpAddr>>, peer: IpAddr) -> Result<(), Duration> {
    let limiter = limiter.load();
    let Some(limiter) = &*limiter else { return Ok(()) };
    if limiter.len() > ADDRESSES_MAX {
        limiter.retain_recent();
    }
    limiter.check_key(&peer).map_err(|until| until.wait_time_from(DefaultClock::default().now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_by_key_and_by_address_and_can_be_lifted() {
        let one = |number| [10, 0, 0, number].into();
        let limits =
            Limits { requests_per_second_per_key: 2, requests_per_second_per_peer: 3, failures_per_minute_per_peer: 1 };
        let (key, peers) = (KeyLimit::default(), PeerLimits::default());
        assert!((0..99).all(|_| key.take().is_ok() && peers.request(one(1)).is_ok()), "no limit is set");
        key.set(&limits);
        peers.set(&limits);
        // Far more at once than pass while they are asked for.
        assert!((0..1_000).filter(|_| key.take().is_ok()).count() < 100);
        assert!((0..1_000).filter(|_| peers.request(one(1)).is_ok()).count() < 100);
        assert!(peers.request(one(2)).is_ok(), "another address has a limit of its own");
        assert_eq!((0..1_000).filter(|_| peers.failure(one(1)).is_ok()).count(), 1);
        assert!(peers.failure(one(1)).expect_err("too many") <= Duration::from_secs(60));
        peers.set(&Limits { failures_per_minute_per_peer: 0, ..limits });
        assert!((0..99).all(|_| peers.failure(one(1)).is_ok()));
    }
}
