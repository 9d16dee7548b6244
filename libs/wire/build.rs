//! Generates the protobuf types and gRPC stubs from `proto/`, the only copy of the contracts, without protoc.
//! The descriptor set that reflection serves is written beside them.

use std::path::PathBuf;
use std::{env, error::Error, fs};

use prost::Message as _;

const PROTO_ROOT: &str = "../../proto";

const PROTOS: &[&str] = &[
    "hivemind/admin/v1/activity.proto",
    "hivemind/admin/v1/admin.proto",
    "hivemind/admin/v1/audit.proto",
    "hivemind/admin/v1/backup.proto",
    "hivemind/admin/v1/keys.proto",
    "hivemind/admin/v1/config.proto",
    "hivemind/admin/v1/memory.proto",
    "hivemind/admin/v1/notifications.proto",
    "hivemind/admin/v1/pools.proto",
    "hivemind/admin/v1/trading.proto",
    "hivemind/consensus/v1/consensus.proto",
    "hivemind/history/v1/history.proto",
    "hivemind/journal/v1/journal.proto",
    "hivemind/marketdata/v1/marketdata.proto",
    "hivemind/orders/v1/orders.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={PROTO_ROOT}");
    let descriptors = protox::compile(PROTOS, [PROTO_ROOT])?;
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is set by cargo")?);
    fs::write(out_dir.join("hivemind.bin"), descriptors.encode_to_vec())?;
    // Maps become BTreeMap, so that equal messages are encoded equally.
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        .codec_path("crate::codec::ProtobufCodec")
        .compile_fds(descriptors)?;
    Ok(())
}
