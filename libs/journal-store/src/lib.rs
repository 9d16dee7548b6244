//! journal-store
