//! The payload of an entry of kind [`crate::EntryKind::Batch`]: commands in the order in which they are applied. The
//! index of a command in the batch is its `idx`.
//!
//! ```text
//! version u8 = 1 | unused [u8; 3] | count u32 | count × ( kind u8 | unused [u8; 3] | command, its size given by kind )
//! ```

use bytes::BufMut;
use types::Command;
use zerocopy::IntoBytes;
use zerocopy::little_endian::U32;

use super::layout::{command_number, layout, read_command, unused, write_command};
use super::{CodecError, take};

/// Version of the layout that is written.
pub const VERSION: u8 = 1;

/// Most bytes one command takes in a batch.
pub const MAX_COMMAND_BYTES: usize = 116;

const WHAT: &str = "batch";

layout!(/** Front of a batch. */ BatchHead, 8, { version: u8, unused: [u8; 3], count: U32 });
layout!(/** Front of a command. */ CommandHead, 4, { kind: u8, unused: [u8; 3] });

/// A batch whose every byte was checked.
#[derive(Clone, Copy, Debug)]
pub struct BatchView<'a> {
    count: u32,
    commands: &'a [u8],
}

/// Most bytes that this many commands take.
#[must_use]
pub const fn most_bytes(commands: usize) -> usize {
    size_of::<BatchHead>() + commands * MAX_COMMAND_BYTES
}

/// Appends the encoding of `commands` to `out`, which does best with room for [`most_bytes`]. At most
/// [`crate::MAX_PAYLOAD_BYTES`] fit an entry; the caller cuts batches well below that.
pub fn encode(commands: &[Command], out: &mut impl BufMut) {
    let count = u32::try_from(commands.len()).expect("a batch has far fewer than 2^32 commands");
    out.put_slice(BatchHead { version: VERSION, unused: [0; 3], count: count.into() }.as_bytes());
    for command in commands {
        out.put_slice(CommandHead { kind: command_number(command), unused: [0; 3] }.as_bytes());
        write_command(command, out);
    }
}

fn next(rest: &mut &[u8]) -> Result<Command, CodecError> {
    let head = take::<CommandHead>(rest, WHAT)?;
    unused(&head.unused, WHAT)?;
    read_command(head.kind, rest, WHAT)
}

impl<'a> BatchView<'a> {
    /// Checks all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CodecError> {
        let mut rest = bytes;
        let head = take::<BatchHead>(&mut rest, WHAT)?;
        if head.version != VERSION {
            return Err(CodecError::Version { what: WHAT, version: head.version.into() });
        }
        unused(&head.unused, WHAT)?;
        let commands = rest;
        let count = head.count.get();
        for _ in 0..count {
            next(&mut rest)?;
        }
        if rest.is_empty() {
            Ok(Self { count, commands })
        } else {
            Err(CodecError::Invalid { what: WHAT, field: "length" })
        }
    }

    /// Number of commands.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are no commands.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The commands, in order.
    pub fn iter(&self) -> impl Iterator<Item = Command> + use<'a> {
        let mut rest = self.commands;
        (0..self.count).map(move |_| next(&mut rest).expect("parse checked every command"))
    }
}
