//! journal-core
