//! order-engine
