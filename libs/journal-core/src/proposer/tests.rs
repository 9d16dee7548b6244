//! Scenarios of one leader.
