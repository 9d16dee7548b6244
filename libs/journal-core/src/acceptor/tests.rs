//! Scenarios of one voter.
