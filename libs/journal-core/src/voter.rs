//! Who votes, and how many are enough.

/// One disk that votes. A gateway with another disk is another voter (I14).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Voter {
    /// Name of the gateway, at most [`crate::codec::control::MAX_GATEWAY_BYTES`] bytes.
    pub gateway: String,
    /// Identity of its disk, drawn when the disk was first used.
    pub disk_id: u128,
}

/// The voters of a log. An empty `current` is a log with a single voter that needs no list of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct VoterConfig {
    /// Number of the configuration; a higher one is newer. 0 is "never set".
    pub generation: u64,
    /// Voters now, at most [`crate::codec::control::MAX_VOTERS`].
    pub current: Vec<Voter>,
    /// Voters of a change in progress; empty if none.
    pub pending: Vec<Voter>,
}

/// Members needed for a majority of `members`.
#[must_use]
pub(crate) const fn majority(members: usize) -> usize {
    members / 2 + 1
}

impl VoterConfig {
    /// Whether `voter` votes: it is listed, or there is no list.
    #[must_use]
    pub fn is_voter(&self, voter: &Voter) -> bool {
        (self.current.is_empty() && self.pending.is_empty())
            || self.current.contains(voter)
            || self.pending.contains(voter)
    }

    /// Whether there is one voter and no change in progress: what it holds needs no other's consent.
    #[must_use]
    pub const fn is_single(&self) -> bool {
        self.current.len() <= 1 && self.pending.is_empty()
    }

    /// Whether the voters for which `has` holds are a majority of the configured ones (I5), and during a change a
    /// majority of the coming ones too (I15). Without a list there is one voter, and this is false: see
    /// [`crate::proposer`], which knows whom it talks to.
    #[must_use]
    pub fn is_quorum(&self, has: impl Fn(&Voter) -> bool) -> bool {
        let enough = |voters: &[Voter]| voters.iter().filter(|voter| has(voter)).count() >= majority(voters.len());
        enough(&self.current) && (self.pending.is_empty() || enough(&self.pending))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters(ids: &[u128]) -> Vec<Voter> {
        ids.iter().map(|id| Voter { gateway: format!("g{id}"), disk_id: *id }).collect()
    }

    #[test]
    fn a_change_needs_both_majorities() {
        let config = VoterConfig { generation: 2, current: voters(&[1, 2, 3]), pending: voters(&[3, 4, 5]) };
        let quorum = |ids: &[u128]| config.is_quorum(|voter| ids.contains(&voter.disk_id));
        assert!(!quorum(&[1, 2]));
        assert!(!quorum(&[4, 5]));
        assert!(quorum(&[1, 3, 4]));
        assert!(quorum(&[1, 2, 4, 5]));
        assert!(!VoterConfig { pending: Vec::new(), ..config.clone() }.is_quorum(|voter| voter.disk_id == 1));
        assert!(!VoterConfig::default().is_quorum(|_| true), "no list, no quorum by list");
    }

    #[test]
    fn another_disk_is_another_voter() {
        let config = VoterConfig { generation: 1, current: voters(&[1]), pending: Vec::new() };
        assert!(config.is_voter(&Voter { gateway: "g1".into(), disk_id: 1 }));
        assert!(!config.is_voter(&Voter { gateway: "g1".into(), disk_id: 2 }));
        assert!(VoterConfig::default().is_voter(&Voter::default()));
    }
}
