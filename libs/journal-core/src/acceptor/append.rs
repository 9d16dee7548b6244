//! Appends: what is checked before an entry is written, how waiting requests become one unit, what is acknowledged.

use types::{Epoch, Seq};

use super::{Acceptor, ClientId, Effect, MAX_UNIT_BYTES, MAX_WAITING_APPENDS, MAX_WAITING_BYTES, State, reply_append};
use crate::{AppendMismatch, AppendOk, AppendReply, AppendRequest, Control, Entry, MAX_PAYLOAD_BYTES, Unit};

/// A request that is acknowledged when the write under way is durable.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Ack {
    pub(super) client: ClientId,
    epoch: Epoch,
    /// `prev_seq` plus the number of its entries: what was compared, not where the log ends (I8).
    match_seq: Seq,
    commit: Seq,
    round: u64,
}

/// What becomes of a request.
enum Verdict {
    /// It is answered at once.
    Answer(AppendReply),
    /// Its epoch must be promised first.
    Promise(Epoch),
    /// From this index on its entries are new; what stands after `truncate_to` gives way to them.
    Take { new_from: usize, truncate_to: Option<Seq> },
    /// A rule was broken that cannot be broken while the protocol holds.
    Broken(String),
}

impl Acceptor {
    pub(super) fn enqueue(&mut self, client: ClientId, request: AppendRequest, out: &mut Vec<Effect>) {
        let bytes = request.payload_bytes();
        if self.appends.len() >= MAX_WAITING_APPENDS || self.waiting_bytes + bytes > MAX_WAITING_BYTES {
            let message = "too many appends wait for the disk".to_owned();
            return reply_append(client, AppendReply::Failed { message }, out);
        }
        self.waiting_bytes += bytes;
        self.looked &= !self.appends.is_empty();
        self.appends.push_back((client, request));
    }

    /// Makes one unit of as many waiting requests as go together, and starts to write it.
    pub(super) fn write_appends(&mut self, out: &mut Vec<Effect>) {
        let epoch = self.control.promised;
        let mut unit = Unit { epoch, truncate_to: None, entries: Vec::new() };
        let mut bytes = 0;
        let mut acks = Vec::new();
        let mut requests = Vec::new();
        while let Some((client, request)) = self.appends.front() {
            let client = *client;
            let size = request.payload_bytes();
            let verdict = self.examine(request);
            let started = !unit.entries.is_empty();
            let unsure = self.is_unsure(&verdict);
            match &verdict {
                // What must stand alone or does not fit any more waits for the next unit.
                Verdict::Promise(_) | Verdict::Broken(_) if started || !acks.is_empty() => break,
                _ if unsure && (started || !acks.is_empty()) => break,
                Verdict::Take { truncate_to: Some(_), .. } if started || !acks.is_empty() => break,
                Verdict::Take { .. } if started && bytes + size > MAX_UNIT_BYTES => break,
                _ => {}
            }
            if let Verdict::Promise(promised) = verdict {
                let control = Control { promised, ..self.control.clone() };
                return self.promise(control, None, out);
            }
            if unsure {
                self.looked = true;
                return self.reload(None, out);
            }
            let (_, request) = self.appends.pop_front().expect("looked at above");
            self.waiting_bytes -= size;
            self.looked = false;
            match verdict {
                Verdict::Promise(_) => unreachable!("returned above"),
                Verdict::Answer(reply) => reply_append(client, reply, out),
                Verdict::Broken(reason) => {
                    reply_append(client, AppendReply::Failed { message: reason.clone() }, out);
                    return self.fail(&reason, out);
                }
                Verdict::Take { new_from, truncate_to } => {
                    acks.push(Ack::of(client, &request));
                    if self.shared {
                        requests.push((client, request.clone()));
                    }
                    if let Some(to) = truncate_to {
                        assert!(to >= self.commit, "I12: what is committed is never cut");
                        self.log.truncate(to);
                        unit.truncate_to = truncate_to;
                    }
                    for entry in request.entries.into_iter().skip(new_from) {
                        bytes += entry.payload.len();
                        self.log.push(&entry);
                        unit.entries.push(entry);
                    }
                }
            }
        }
        let synced = !unit.entries.is_empty();
        if acks.is_empty() || !(synced || self.shared) {
            return self.acknowledge(&acks, false, out);
        }
        let token = self.token();
        out.push(if synced { Effect::Write { token, unit } } else { Effect::Confirm { token, epoch } });
        self.state = State::Writing { token, epoch, acks, requests, synced };
    }

    /// Whether the answer may be another one once a shared storage was read again.
    fn is_unsure(&self, verdict: &Verdict) -> bool {
        let by_the_log = matches!(verdict, Verdict::Broken(_) | Verdict::Answer(AppendReply::Mismatch(_)));
        by_the_log && self.shared && !self.looked
    }

    fn examine(&self, request: &AppendRequest) -> Verdict {
        if request.shard != self.shard {
            let message = format!("this voter holds shard {}, not {}", self.shard, request.shard);
            return Verdict::Answer(AppendReply::Failed { message });
        }
        if request.log_id != self.control.log_id {
            return Verdict::Answer(AppendReply::LogRetired { active: self.control.log_id });
        }
        if !self.may_serve(request.epoch) {
            return Verdict::Answer(AppendReply::Refused { promised: self.control.promised });
        }
        if request.config_generation < self.control.config.generation {
            return Verdict::Answer(AppendReply::ConfigNewer(self.control.config.clone()));
        }
        if let Err(problem) = request.check() {
            return Verdict::Answer(AppendReply::Failed { message: problem.to_owned() });
        }
        // The entries themselves may be of older epochs, so the promise is made durable by itself. Once per leader.
        if request.epoch != self.control.promised {
            return Verdict::Promise(request.epoch);
        }
        self.compare(request)
    }

    /// Log matching (I7): finds the first entry that is not here yet.
    fn compare(&self, request: &AppendRequest) -> Verdict {
        let base = self.log.base();
        let mismatch = || {
            Verdict::Answer(AppendReply::Mismatch(AppendMismatch {
                last: self.log.tail(),
                epochs: self.log.epochs().to_vec(),
            }))
        };
        let mut skip = 0;
        if request.prev_seq < base.seq {
            // What stands below the base is final and no longer held: only the entry at the base can be compared.
            match request.entries.iter().position(|entry| entry.seq == base.seq) {
                None => return mismatch(),
                Some(at) if request.entries[at].chain == base.chain => skip = at + 1,
                Some(_) => return committed_differs(base.seq),
            }
        } else if self.log.chain_at(request.prev_seq) != Some(request.prev_chain) {
            return mismatch();
        }
        let last = self.log.tail().seq;
        let mut truncate_to = None;
        let mut new_from = request.entries.len();
        for (index, entry) in request.entries.iter().enumerate().skip(skip) {
            if entry.seq <= last && self.log.chain_at(entry.seq) == Some(entry.chain) {
                // A duplicate: what follows it stays (I7).
                continue;
            }
            if entry.seq <= self.commit {
                return committed_differs(entry.seq);
            }
            if entry.seq <= last {
                truncate_to = Some(Seq(entry.seq.0 - 1));
            }
            new_from = index;
            break;
        }
        if let Some(entry) = request.entries.get(new_from)
            && entry.epoch.number < self.log.epoch_at(Seq(entry.seq.0 - 1))
        {
            let message = "an entry's epoch is below that of the entry before it".to_owned();
            return Verdict::Answer(AppendReply::Failed { message });
        }
        Verdict::Take { new_from, truncate_to }
    }

    /// Answers requests whose entries are all durable, and learns what is committed.
    pub(super) fn acknowledge(&mut self, acks: &[Ack], synced: bool, out: &mut Vec<Effect>) {
        let before = self.commit;
        for ack in acks {
            assert!(ack.match_seq <= self.durable.seq, "I4: only what is durable is acknowledged");
            assert_eq!(ack.epoch, self.control.promised, "I2: only the promised epoch is acknowledged");
            // I10: by what was compared in this request, never by where the log ends.
            self.commit = self.commit.max(ack.commit.min(ack.match_seq));
            self.commit_what_is_final();
            let Ack { client, epoch, match_seq, round, .. } = *ack;
            reply_append(client, AppendReply::Ok(AppendOk { epoch, match_seq, synced, round }), out);
        }
        if self.commit > before {
            out.push(Effect::Committed { seq: self.commit });
        }
    }
}

fn committed_differs(seq: Seq) -> Verdict {
    Verdict::Broken(format!("I12: a leader's log differs from what is committed here at {seq}"))
}

impl Ack {
    fn of(client: ClientId, request: &AppendRequest) -> Self {
        Self {
            client,
            epoch: request.epoch,
            match_seq: Seq(request.prev_seq.0 + request.entries.len() as u64),
            commit: request.commit,
            round: request.round,
        }
    }
}

impl AppendRequest {
    /// Bytes of payload in it.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.payload.len()).sum()
    }

    /// Whether it is consistent in itself. It came over the network.
    fn check(&self) -> Result<(), &'static str> {
        if self.prev_seq.0.checked_add(self.entries.len() as u64).is_none_or(|end| end == u64::MAX) {
            return Err("the positions end beyond the largest number");
        }
        let mut before: Option<&Entry> = None;
        for entry in &self.entries {
            let (prev_seq, prev_chain) = before.map_or((self.prev_seq, self.prev_chain), |e| (e.seq, e.chain));
            if entry.seq != prev_seq.next() || entry.prev_chain != prev_chain {
                return Err("the entries do not follow one another");
            }
            if entry.log_id != self.log_id {
                return Err("an entry belongs to another history");
            }
            if entry.epoch.number == 0
                || entry.epoch.number > self.epoch.number
                || (entry.epoch.number == self.epoch.number && entry.epoch != self.epoch)
                || before.is_some_and(|before| entry.epoch.number < before.epoch.number)
            {
                return Err("an entry's epoch does not fit the leader's or the entry before it");
            }
            if before.is_some_and(|before| entry.timestamp <= before.timestamp) {
                return Err("an entry's timestamp is not above that of the entry before it");
            }
            if entry.payload.len() > MAX_PAYLOAD_BYTES {
                return Err("an entry's payload is too large");
            }
            if !entry.verify() {
                return Err("an entry's chain hash is not that of its content");
            }
            before = Some(entry);
        }
        Ok(())
    }
}
