//! consensus-coordinator
