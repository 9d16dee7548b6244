//! tests
mod sim;
