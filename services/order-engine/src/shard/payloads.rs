//! Where batches are encoded: one behind another in memory that the entries share, so that a batch costs no allocation
//! of its own; or, without shared buffers, each in its own.
//!
//! Deliberately absent: what a batch looks like.

use bytes::{Bytes, BytesMut};
use journal_core::codec::batch::{encode, most_bytes};
use types::Command;
use wire::convert::buffers_are_shared;

/// Memory for entries that are made one after another, and forgotten in the same order: some hundred small batches.
const BLOCK: usize = 64 << 10;

/// The rest of the block.
#[derive(Default)]
pub(super) struct Payloads(BytesMut);

impl Payloads {
    /// The payload of an entry with these commands.
    pub(super) fn encode(&mut self, commands: &[Command]) -> Bytes {
        let most = most_bytes(commands.len());
        if !buffers_are_shared() {
            let mut payload = Vec::with_capacity(most);
            encode(commands, &mut payload);
            return payload.into();
        }
        if self.0.capacity() < most {
            self.0 = BytesMut::with_capacity(most.max(BLOCK));
        }
        encode(commands, &mut self.0);
        self.0.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{AccountId, AccountLimit};
    use wire::convert::share_buffers;

    #[test]
    fn r59_payloads_are_the_same_and_stand_side_by_side_when_shared() {
        let commands = |count: u64| -> Vec<Command> {
            let limit =
                |account| Command::SetAccountLimit(AccountLimit { account: AccountId(account), max_open_orders: 5 });
            (0..count).map(limit).collect()
        };
        let mut payloads = Payloads::default();
        let mut made = |share: bool| -> Vec<Bytes> {
            share_buffers(share);
            (0..1_000).map(|count| payloads.encode(&commands(count % 7))).collect()
        };
        let (alone, shared) = (made(false), made(true));
        share_buffers(true);
        assert_eq!(alone, shared);
        let far = shared.windows(2).filter(|pair| {
            let end = pair[0].as_ptr() as usize + pair[0].len();
            end != pair[1].as_ptr() as usize
        });
        assert!(far.count() <= 3, "1,000 small batches fill two or three blocks");
    }
}
