//! The mark on a request that one engine hands on to another, which leads the shard: it is answered there or refused, and
//! never handed on again.
//!
//! Deliberately absent: trust. A client that sets the mark itself only gets fewer answers.

use tonic::metadata::MetadataMap;
use types::ShardId;

/// Metadata key. Its value is the number of the shard that is meant.
const KEY: &str = "hm-forwarded";

/// Marks a request that is handed on to the leader of `shard`.
pub fn mark(metadata: &mut MetadataMap, shard: ShardId) {
    metadata.insert(KEY, shard.0.into());
}

/// The shard for which a request was handed on; `None` for one that comes from a client.
#[must_use]
pub fn marked(metadata: &MetadataMap) -> Option<ShardId> {
    metadata.get(KEY)?.to_str().ok()?.parse().ok().map(ShardId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_and_nothing_else_is_one() {
        let mut metadata = MetadataMap::new();
        assert_eq!(marked(&metadata), None);
        mark(&mut metadata, ShardId(7));
        assert_eq!(marked(&metadata), Some(ShardId(7)));
    }
}
