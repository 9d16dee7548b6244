//! A voter: its disk, and one or more gateways that reach it, each with the real core. Several gateways of one disk are
//! what the Postgres journal is: the disk itself refuses a stale epoch and a writer that does not know its end.

use journal_core::acceptor::{self, Acceptor, ClientId, PersistError, Reply};
use journal_core::{AppendOk, AppendReply, AppendRequest, ChainHash, Control, Entry, EpochStart};
use journal_core::{FenceReply, Recovered, Tail, Unit, Voter, VoterConfig};
use types::{Epoch, LogId, Seq};

use super::SHARD;
use super::mutants::Mutant;
use super::truth::{Rule, Truth};

/// What survives a crash.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Disk {
    pub(crate) control: Control,
    pub(crate) entries: Vec<Entry>,
}

#[derive(Clone, Debug, Hash)]
enum Write {
    Control(Control),
    Unit(Unit),
    /// Nothing is written: the disk is read again.
    Reload,
}

/// One process in front of the disk.
#[derive(Clone, Debug, Hash)]
struct Gateway {
    acceptor: Acceptor,
    sharing: bool,
    writing: Option<(u64, Write)>,
    /// End of the log as this gateway read or wrote it last.
    known: Tail,
    /// What a fence found when it arrived; only with [`Mutant::FenceThenRead`].
    early: Option<(Tail, Vec<EpochStart>)>,
}

/// One voter.
#[derive(Clone, Debug, Hash)]
pub(crate) struct VoterNode {
    pub(crate) number: u8,
    pub(crate) disk: Disk,
    gateways: Vec<Gateway>,
}

/// What a voter says, and to which process.
pub(crate) type Answers = Vec<(u8, Reply)>;

impl Disk {
    fn new(number: u8, voters: u8) -> Self {
        let voter = |n: u8| Voter { gateway: format!("g{n}"), disk_id: 100 + u128::from(n) };
        // A single voter needs no list.
        let current = if voters == 1 { Vec::new() } else { (0..voters).map(voter).collect() };
        let config = VoterConfig { generation: u64::from(voters > 1), current, pending: Vec::new() };
        let control = Control { log_id: LogId(7), disk_id: 100 + u128::from(number), config, ..Control::default() };
        Self { control, entries: Vec::new() }
    }

    pub(crate) fn tail(&self) -> Tail {
        self.entries.last().map_or_else(Tail::default, Entry::tail)
    }

    fn entry(&self, seq: Seq) -> Option<&Entry> {
        self.entries.get(usize::try_from(seq.0).ok()?.checked_sub(1)?)
    }

    pub(crate) fn holds(&self, seq: Seq, chain: ChainHash) -> bool {
        self.entry(seq).is_some_and(|entry| entry.chain == chain)
    }

    pub(crate) fn read(&self, from: Seq, to: Seq) -> Vec<Entry> {
        self.entries.iter().filter(|entry| entry.seq >= from && entry.seq <= to).cloned().collect()
    }

    fn epochs(&self) -> Vec<EpochStart> {
        let mut epochs: Vec<EpochStart> = Vec::new();
        for entry in &self.entries {
            if epochs.last().is_none_or(|last| last.epoch < entry.epoch.number) {
                epochs.push(EpochStart { epoch: entry.epoch.number, seq: entry.seq });
            }
        }
        epochs
    }

    fn recover(&self) -> Recovered {
        let chains = self.entries.iter().map(|entry| entry.chain).collect();
        let (control, tail, epochs) = (self.control.clone(), self.tail(), self.epochs());
        Recovered { control, tail, epochs, chains, dubious_from: None }
    }

    fn append(&mut self, truncate_to: Option<Seq>, entries: Vec<Entry>) {
        if let Some(to) = truncate_to {
            self.entries.retain(|entry| entry.seq <= to);
        }
        self.entries.extend(entries);
    }
}

impl VoterNode {
    pub(crate) fn new(number: u8, voters: u8, gateways: u8) -> Self {
        let disk = Disk::new(number, voters);
        let gateways = (0..gateways).map(|_| Gateway::new(number, &disk, gateways > 1)).collect();
        Self { number, disk, gateways }
    }

    /// As it is after the leader of `log` sent it some of its entries and everybody ended.
    pub(crate) fn with_log(number: u8, voters: u8, log: &[Entry], promised: Epoch) -> Self {
        let mut node = Self::new(number, voters, 1);
        node.disk.control.promised = promised;
        node.disk.entries = log.to_vec();
        node.gateways = vec![Gateway::new(number, &node.disk, false)];
        node
    }

    /// Gateways that do not know that there are others, [`Mutant::GatewayMemory`].
    pub(crate) fn unaware(mut self) -> Self {
        let alone = |_| Gateway::new(self.number, &self.disk, false);
        self.gateways = (0..self.gateways.len()).map(alone).collect();
        self
    }

    pub(crate) fn ways(&self) -> usize {
        self.gateways.len()
    }

    pub(crate) fn is_writing(&self, way: usize) -> bool {
        self.gateways[way].writing.is_some()
    }

    /// Entries after `applied` that a reader of final entries is given, and with `all` whatever is there.
    pub(crate) fn follow(&self, way: usize, applied: Seq, all: bool) -> Vec<Entry> {
        let gateway = &self.gateways[way];
        let to = if all { Seq(u64::MAX) } else { gateway.acceptor.commit() };
        let mut entries = self.disk.read(applied.next(), to);
        if all && let Some((_, Write::Unit(unit))) = &gateway.writing {
            entries.extend(unit.entries.iter().filter(|entry| entry.seq > applied).cloned());
        }
        entries
    }

    pub(crate) fn take(&mut self, way: usize, input: acceptor::Input, judge: &mut Judge<'_>) -> Answers {
        let mut answers = Vec::new();
        if judge.mutant == Some(Mutant::FenceThenRead) && matches!(input, acceptor::Input::Fence { .. }) {
            self.gateways[way].early.get_or_insert((self.disk.tail(), self.disk.epochs()));
        }
        if let acceptor::Input::Append { client, request } = &input
            && judge.mutant == Some(Mutant::LeaseTrusted)
            && request.epoch.number < self.disk.control.promised.number
        {
            return self.write_without_epoch(way, *client, request.clone(), judge);
        }
        self.step(way, input, judge, &mut answers);
        answers
    }

    /// The write under way is durable, or the disk refuses it.
    pub(crate) fn finish_write(&mut self, way: usize, judge: &mut Judge<'_>) -> Answers {
        let mut answers = Vec::new();
        let Some((token, write)) = self.gateways[way].writing.take() else { return answers };
        if matches!(write, Write::Reload) {
            self.step(way, acceptor::Input::Reloaded(self.disk.recover()), judge, &mut answers);
            return answers;
        }
        let input = match self.apply(way, write, judge) {
            Ok(()) => acceptor::Input::Persisted { token },
            Err(error) => acceptor::Input::Failed { token, error },
        };
        self.step(way, input, judge, &mut answers);
        answers
    }

    /// The process ends and starts; the write under way took place or did not.
    pub(crate) fn crash(&mut self, way: usize, applied: bool, judge: &mut Judge<'_>) {
        if let Some((_, write)) = self.gateways[way].writing.take()
            && applied
        {
            // A refusal is heard by nobody.
            let _ = self.apply(way, write, judge);
        }
        let sharing = self.gateways[way].sharing;
        self.gateways[way] = Gateway::new(self.number, &self.disk, sharing);
    }

    fn apply(&mut self, way: usize, write: Write, judge: &mut Judge<'_>) -> Result<(), PersistError> {
        let trusting = judge.mutant == Some(Mutant::GatewayMemory);
        let promised = self.disk.control.promised;
        let epoch = match &write {
            Write::Control(control) => control.promised,
            Write::Unit(unit) => unit.epoch,
            Write::Reload => return Ok(()),
        };
        if epoch.number < promised.number || (epoch.number == promised.number && epoch != promised) {
            return Err(PersistError::Fenced { promised });
        }
        match write {
            Write::Reload => {}
            Write::Control(control) => self.disk.control = control,
            Write::Unit(_) if self.gateways[way].known != self.disk.tail() && !trusting => {
                return Err(PersistError::Moved);
            }
            Write::Unit(unit) => {
                let end = unit.entries.first().map_or(Seq(0), |entry| Seq(entry.seq.0 - 1));
                let truncate_to = if trusting { Some(end) } else { unit.truncate_to };
                self.disk.control.promised = unit.epoch;
                self.disk.append(truncate_to, unit.entries);
                self.gateways[way].known = self.disk.tail();
            }
        }
        Ok(())
    }

    fn step(&mut self, way: usize, input: acceptor::Input, judge: &mut Judge<'_>, answers: &mut Answers) {
        let gateway = &mut self.gateways[way];
        if let acceptor::Input::Reloaded(recovered) = &input {
            gateway.known = recovered.tail;
        }
        let mut effects = Vec::new();
        if !super::guarded(judge.truth, || gateway.acceptor.step(input, &mut effects)) {
            return;
        }
        for effect in effects {
            match effect {
                acceptor::Effect::PersistControl { token, control } => {
                    self.gateways[way].writing = Some((token, Write::Control(control)));
                    if judge.mutant == Some(Mutant::PromiseNotDurable) {
                        self.step(way, acceptor::Input::Persisted { token }, judge, answers);
                    }
                }
                acceptor::Effect::Write { token, unit } => {
                    // A shell that answers too early has its earlier write still under way.
                    if let Some((_, earlier)) = self.gateways[way].writing.take() {
                        let _ = self.apply(way, earlier, judge);
                    }
                    self.gateways[way].writing = Some((token, Write::Unit(unit)));
                    if judge.mutant == Some(Mutant::AckNotDurable) {
                        self.step(way, acceptor::Input::Persisted { token }, judge, answers);
                    }
                }
                acceptor::Effect::Confirm { token, epoch } => {
                    let promised = self.disk.control.promised;
                    let fenced = PersistError::Fenced { promised };
                    let input = if promised == epoch {
                        acceptor::Input::Persisted { token }
                    } else {
                        acceptor::Input::Failed { token, error: fenced }
                    };
                    self.step(way, input, judge, answers);
                }
                acceptor::Effect::Reply { client: ClientId(client), reply } => {
                    let reply = self.say(way, reply, judge);
                    answers.push((u8::try_from(client).unwrap_or(u8::MAX), reply));
                }
                acceptor::Effect::Committed { .. } => {}
                acceptor::Effect::Reload => self.gateways[way].writing = Some((0, Write::Reload)),
                // A database can be read again and then knows what it holds; a disk of one's own cannot.
                acceptor::Effect::Quarantine { .. } if self.gateways.len() > 1 => {
                    self.gateways[way].writing = Some((0, Write::Reload));
                }
                acceptor::Effect::Quarantine { .. } => judge.truth.require(false, Rule::CoresAgree),
            }
        }
    }

    fn say(&mut self, way: usize, mut reply: Reply, judge: &mut Judge<'_>) -> Reply {
        match &mut reply {
            Reply::Fence(FenceReply::Granted(granted)) => {
                judge.truth.grant(self.number, granted.epoch);
                if let Some((last, epochs)) = self.gateways[way].early.take() {
                    granted.commit = granted.commit.min(last.seq);
                    (granted.last, granted.epochs) = (last, epochs);
                }
            }
            Reply::Append(AppendReply::Ok(ok)) => {
                if judge.mutant == Some(Mutant::AckLogEnd) {
                    ok.match_seq = self.disk.tail().seq;
                }
            }
            Reply::Append(AppendReply::Refused { .. }) => judge.truth.old_leader_refused = true,
            Reply::Fence(_) | Reply::Append(_) => {}
        }
        reply
    }

    /// [`Mutant::LeaseTrusted`]: what continues the log is written, whoever sends it.
    fn write_without_epoch(
        &mut self,
        way: usize,
        ClientId(client): ClientId,
        request: AppendRequest,
        judge: &mut Judge<'_>,
    ) -> Answers {
        let AppendRequest { epoch, prev_seq, prev_chain, entries, .. } = request;
        if prev_seq > Seq(0) && !self.disk.holds(prev_seq, prev_chain) {
            return Vec::new();
        }
        let match_seq = Seq(prev_seq.0 + entries.len() as u64);
        self.disk.append(Some(prev_seq), entries);
        self.gateways[way].writing = None;
        let mut answers = Vec::new();
        self.step(way, acceptor::Input::Reloaded(self.disk.recover()), judge, &mut answers);
        let ok = AppendOk { epoch, match_seq, synced: true, round: 0 };
        answers.push((u8::try_from(client).unwrap_or(u8::MAX), Reply::Append(AppendReply::Ok(ok))));
        answers
    }
}

impl Gateway {
    fn new(number: u8, disk: &Disk, sharing: bool) -> Self {
        let acceptor = Acceptor::new(SHARD, &format!("g{number}"), disk.recover());
        let acceptor = if sharing { acceptor.sharing() } else { acceptor };
        Self { acceptor, sharing, writing: None, known: disk.tail(), early: None }
    }
}

/// Who watches a voter.
pub(crate) struct Judge<'a> {
    pub(crate) truth: &'a mut Truth,
    pub(crate) mutant: Option<Mutant>,
}
