//! The checks every storage makes before it writes a unit or a control record, whatever the caller believes.
//!
//! Deliberately absent: I/O. The answers depend on the promise and the position only.

use journal_core::{ChainHash, Control, MAX_PAYLOAD_BYTES, Recovered, Tail, Unit};
use types::{Epoch, Seq};

use crate::StoreError;

/// What a storage knows of its durable state between two writes.
#[derive(Clone, Debug)]
pub(crate) struct Position {
    /// Control record; its promise is the effective one.
    pub(crate) control: Control,
    /// End of the log.
    pub(crate) tail: Tail,
}

impl Position {
    pub(crate) fn of(recovered: &Recovered) -> Self {
        Self { control: recovered.control.clone(), tail: recovered.tail }
    }

    /// Refuses an epoch the promise excludes.
    pub(crate) fn admit_epoch(&self, epoch: Epoch) -> Result<(), StoreError> {
        let promised = self.control.promised;
        if excludes(promised, epoch) { Err(StoreError::Fenced { promised }) } else { Ok(()) }
    }

    /// Checks that a unit may follow. `chain_at` answers for entries of the log: `None` if not held.
    pub(crate) fn admit(
        &self,
        unit: &Unit,
        chain_at: impl FnOnce(Seq) -> Result<Option<ChainHash>, StoreError>,
    ) -> Result<(), StoreError> {
        self.admit_epoch(unit.epoch)?;
        let (mut seq, mut chain) = match unit.truncate_to {
            None => (self.tail.seq, Some(self.tail.chain)),
            Some(to) if to < self.control.base.seq => {
                return Err(StoreError::invalid(format!(
                    "truncation to seq {to} goes below the base {}",
                    self.control.base.seq
                )));
            }
            Some(to) if to > self.tail.seq => return Err(StoreError::Mismatch { found: self.tail }),
            Some(to) => (to, chain_at(to)?),
        };
        if unit.entries.is_empty() {
            return Err(StoreError::invalid("a unit without entries"));
        }
        for (index, entry) in unit.entries.iter().enumerate() {
            if entry.log_id != self.control.log_id {
                return Err(StoreError::invalid(format!("entry {} belongs to history {}", entry.seq, entry.log_id)));
            }
            if entry.seq != seq.next() || chain != Some(entry.prev_chain) {
                if index == 0 {
                    return Err(StoreError::Mismatch { found: self.tail });
                }
                return Err(StoreError::invalid(format!("entry {} does not continue the one before it", entry.seq)));
            }
            if entry.payload.len() > MAX_PAYLOAD_BYTES {
                return Err(StoreError::invalid(format!("entry {} has {} bytes", entry.seq, entry.payload.len())));
            }
            // Never make something durable that could not be read back.
            if !entry.verify() {
                return Err(StoreError::invalid(format!("entry {} does not match its own hash", entry.seq)));
            }
            (seq, chain) = (entry.seq, Some(entry.chain));
        }
        Ok(())
    }

    /// Checks that the log is empty and may begin after `base`; returns the control record that says so.
    pub(crate) fn admit_beginning(&self, base: &Tail) -> Result<Control, StoreError> {
        if self.tail.seq > Seq(0) || self.control.base.seq > Seq(0) {
            let (log_id, seq) = (self.control.log_id, self.tail.seq);
            return Err(StoreError::invalid(format!("log {log_id} is there already, up to entry {seq}")));
        }
        Ok(Control { base: *base, ..self.control.clone() })
    }

    /// Checks that a control record may replace this one, and returns it with the base never lowered.
    pub(crate) fn admit_control(&self, next: &Control) -> Result<Control, StoreError> {
        self.admit_epoch(next.promised)?;
        if next.disk_id != self.control.disk_id {
            return Err(StoreError::invalid("a disk's identity does not change"));
        }
        if next.log_id != self.control.log_id && self.tail.seq > Seq(0) {
            return Err(StoreError::invalid(format!(
                "history {} has entries here; another needs an empty disk",
                self.control.log_id
            )));
        }
        let mut next = next.clone();
        if next.base.seq < self.control.base.seq {
            next.base = self.control.base;
        }
        Ok(next)
    }
}

/// Whether a promise excludes an epoch: a lower number, or the same number of another owner (one owner per epoch).
pub(crate) fn excludes(promised: Epoch, epoch: Epoch) -> bool {
    epoch.number < promised.number || (epoch.number == promised.number && epoch.owner != promised.owner)
}

/// Whether a storage may be used.
#[derive(Debug)]
pub(crate) enum Service {
    /// Nothing was recovered yet.
    New,
    /// In use.
    Open(Box<Position>),
    /// A failure left the durable state unknown; the first one is remembered.
    Failed(String),
}

impl Service {
    pub(crate) fn position(&self) -> Result<&Position, StoreError> {
        match self {
            Self::Open(position) => Ok(position),
            Self::New => Err(StoreError::OutOfService { cause: "nothing was recovered yet".to_owned() }),
            Self::Failed(cause) => Err(StoreError::OutOfService { cause: cause.clone() }),
        }
    }

    /// Refuses once something failed.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match self {
            Self::Failed(cause) => Err(StoreError::OutOfService { cause: cause.clone() }),
            Self::New | Self::Open(_) => Ok(()),
        }
    }

    /// Takes the storage out of service if `result` leaves the durable state unknown.
    pub(crate) fn note<T>(&mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result
            && !error.is_refusal()
            && !matches!(self, Self::Failed(_))
        {
            *self = Self::Failed(error.to_string());
        }
        result
    }

    pub(crate) fn set_control(&mut self, control: Control) {
        if let Self::Open(position) = self {
            position.control = control;
        }
    }

    /// After a unit became durable.
    pub(crate) fn set_written(&mut self, epoch: Epoch, tail: Tail) {
        if let Self::Open(position) = self {
            position.control.promised = epoch;
            position.tail = tail;
        }
    }
}
