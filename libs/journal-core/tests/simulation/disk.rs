//! A disk that keeps what was written and loses, when the power fails, what was only on its way.

use journal_core::{Control, Entry, EpochStart, Recovered, Tail, Unit, Voter, VoterConfig};
use types::{LogId, Seq};

/// One write under way.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    Control(Control),
    Unit(Unit),
}

/// One voter's disk.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) control: Control,
    pub(crate) entries: Vec<Entry>,
    pub(crate) truncations: u64,
}

impl Disk {
    pub(crate) fn new(number: u8, voters: u8) -> Self {
        let voter = |n: u8| Voter { gateway: format!("gateway-{n}"), disk_id: 100 + u128::from(n) };
        // A single voter needs no list; several have one from the start.
        let current = if voters == 1 { Vec::new() } else { (0..voters).map(voter).collect() };
        let config = VoterConfig { generation: u64::from(voters > 1), current, pending: Vec::new() };
        let control = Control { log_id: LogId(7), disk_id: 100 + u128::from(number), config, ..Control::default() };
        Self { control, entries: Vec::new(), truncations: 0 }
    }

    pub(crate) fn apply(&mut self, write: Write) {
        match write {
            Write::Control(control) => {
                assert!(control.promised.number >= self.control.promised.number, "I2: a lowered promise");
                self.control = control;
            }
            Write::Unit(unit) => {
                if let Some(to) = unit.truncate_to {
                    assert!(to.0 < self.entries.len() as u64, "nothing to cut");
                    self.entries.truncate(usize::try_from(to.0).unwrap());
                    self.truncations += 1;
                }
                for entry in unit.entries {
                    assert_eq!(entry.seq.0, self.entries.len() as u64 + 1, "a hole");
                    assert_eq!(entry.prev_chain, self.tail().chain, "a broken chain");
                    self.entries.push(entry);
                }
            }
        }
    }

    pub(crate) fn tail(&self) -> Tail {
        self.entries.last().map_or_else(Tail::default, Entry::tail)
    }

    pub(crate) fn read(&self, from: Seq, to: Seq) -> Vec<Entry> {
        let entries = self.entries.iter().skip_while(|entry| entry.seq < from);
        entries.take_while(|entry| entry.seq <= to).cloned().collect()
    }

    pub(crate) fn recover(&self) -> Recovered {
        let mut epochs: Vec<EpochStart> = Vec::new();
        for entry in &self.entries {
            if epochs.last().is_none_or(|last| last.epoch < entry.epoch.number) {
                epochs.push(EpochStart { epoch: entry.epoch.number, seq: entry.seq });
            }
        }
        Recovered {
            control: self.control.clone(),
            tail: self.tail(),
            epochs,
            chains: self.entries.iter().map(|entry| entry.chain).collect(),
            dubious_from: None,
        }
    }
}
