//! persistence-gateway
