//! A gateway: the real acceptor before a database that all gateways share. The database refuses a stale epoch and a
//! writer that does not know its end, in the transaction that writes.

use std::collections::{BTreeMap, BTreeSet};

use journal_core::acceptor::{Acceptor, ClientId, Effect, Input, PersistError, Reply};
use journal_core::{AppendReply, Control, FenceReply, Tail, Unit};
use types::Epoch;

use super::SHARD;
use super::engine::Around;
use super::message::Message;
use super::net::{MS, Micros, Net, Node, Timer};
use super::observer::Journal;

/// Silence after which a leader's stream is no sign of life.
const SILENCE: Micros = 600 * MS;
/// Between two looks at whether somebody else wrote.
const POLL: Micros = 100 * MS;
/// Tokens of readings, above all of the acceptor's.
const READS: u64 = 1 << 40;

/// What the database is asked. One thing at a time.
enum Query {
    Control(Control),
    Unit(Unit),
    /// Whether the epoch is still promised.
    Confirm(Epoch),
    Read,
}

enum Caller {
    Fence(Node),
    Stream(Node, u64),
}

pub(crate) struct Gateway {
    number: usize,
    pub(crate) run: u64,
    acceptor: Acceptor,
    /// End of the log as it was read or written last.
    known: Tail,
    asking: Option<(u64, Query)>,
    callers: BTreeMap<ClientId, Caller>,
    next: u64,
    streams: BTreeSet<(Node, u64)>,
    /// The leader's last sign, and when.
    sight: Option<(Epoch, Micros)>,
    /// Whether the database could not be read.
    broken: bool,
}

impl Gateway {
    pub(crate) fn new(number: usize, run: u64, journal: &Journal) -> Self {
        let acceptor = Acceptor::new(SHARD, "gateway", journal.recover());
        let acceptor = if journal.shared { acceptor.sharing() } else { acceptor };
        Self {
            number,
            run,
            acceptor,
            known: journal.tail(),
            asking: None,
            callers: BTreeMap::new(),
            next: 1,
            streams: BTreeSet::new(),
            sight: None,
            broken: false,
        }
    }

    pub(crate) fn start(&self, net: &mut Net) {
        net.timer(self.node(), self.run, POLL, Timer::Tick);
    }

    const fn node(&self) -> Node {
        Node::Gateway(self.number)
    }

    /// The process ends; a write under way took place or did not.
    pub(crate) fn crash(&mut self, around: &mut Around<'_>) {
        let lost = around.net.thousandths(500);
        if let Some((_, query)) = self.asking.take()
            && !lost
        {
            let _ = self.run_query(query, around.journal);
            around.observer.written(around.journal);
        }
    }

    pub(crate) fn on(&mut self, from: Node, message: Message, around: &mut Around<'_>) {
        match message {
            Message::Fence { request } => {
                let client = self.client(Caller::Fence(from));
                self.step(Input::Fence { client, request }, around);
            }
            Message::Open { stream } => {
                self.streams.insert((from, stream));
                around.net.stream(self.node(), from, None, Message::Opened { stream });
            }
            Message::Append { stream, request } => {
                if !self.streams.contains(&(from, stream)) {
                    around.net.stream(self.node(), from, None, Message::Closed { stream });
                    return;
                }
                let epoch = request.epoch;
                let client = self.client(Caller::Stream(from, stream));
                self.step(Input::Append { client, request }, around);
                if self.acceptor.promised() == epoch {
                    self.sight = Some((epoch, around.net.now));
                }
            }
            Message::Read { number, from: first, to } if !around.journal.away => {
                // What is durable in the only log there is, is final.
                let to = if to == u64::MAX { around.journal.tail().seq.0 } else { to };
                let entries = around.journal.read(first, to);
                around.net.send(self.node(), from, None, Message::Entries { number, entries });
            }
            Message::LeaderSeen { number, run, epoch } => {
                let now = around.net.now;
                let alive = self.sight.is_some_and(|(seen, at)| seen == epoch && now <= at + SILENCE);
                around.net.send(self.node(), from, Some(run), Message::Seen { number, alive });
            }
            _ => {}
        }
    }

    fn client(&mut self, caller: Caller) -> ClientId {
        let client = ClientId(self.next);
        self.next += 1;
        self.callers.insert(client, caller);
        client
    }

    /// Looks whether somebody else wrote, or whether the database answers again.
    pub(crate) fn tick(&mut self, around: &mut Around<'_>) {
        let journal = &around.journal;
        let news = journal.control.promised != self.acceptor.promised() || journal.tail() != self.acceptor.tail();
        if journal.shared && self.asking.is_none() && !journal.away && (news || self.broken) {
            self.broken = false;
            self.known = journal.tail();
            self.step(Input::Reloaded(around.journal.recover()), around);
        }
        self.start(around.net);
    }

    pub(crate) fn timer(&mut self, timer: Timer, around: &mut Around<'_>) {
        let Timer::Answered(token) = timer else { return };
        let Some((_, query)) = self.asking.take_if(|(under_way, _)| *under_way == token) else { return };
        let reading = matches!(query, Query::Read);
        let result = if around.journal.away {
            // It took place before the connection was lost, or not.
            if around.net.thousandths(500) {
                let _ = self.run_query(query, around.journal);
            }
            Err(PersistError::Storage("the database does not answer".to_owned()))
        } else {
            self.run_query(query, around.journal)
        };
        around.observer.written(around.journal);
        let input = match result {
            Ok(()) if reading => Input::Reloaded(around.journal.recover()),
            Err(_) if reading => Input::ReloadFailed { reason: "the database does not answer".to_owned() },
            Ok(()) => Input::Persisted { token },
            Err(error) => Input::Failed { token, error },
        };
        self.broken = matches!(input, Input::ReloadFailed { .. });
        self.step(input, around);
    }

    /// One transaction.
    fn run_query(&mut self, query: Query, journal: &mut Journal) -> Result<(), PersistError> {
        let promised = journal.control.promised;
        let fenced = Err(PersistError::Fenced { promised });
        let epoch = match &query {
            Query::Control(control) => control.promised,
            Query::Unit(unit) => unit.epoch,
            Query::Confirm(epoch) if *epoch == promised => return Ok(()),
            Query::Confirm(_) => return fenced,
            Query::Read => {
                self.known = journal.tail();
                return Ok(());
            }
        };
        if journal.shared && (epoch.number < promised.number || (epoch.number == promised.number && epoch != promised))
        {
            return fenced;
        }
        if self.known != journal.tail() {
            return Err(PersistError::Moved);
        }
        match query {
            Query::Control(control) => journal.control = control,
            Query::Unit(unit) => {
                if let Some(to) = unit.truncate_to {
                    journal.entries.truncate(usize::try_from(to.0).unwrap_or(usize::MAX));
                }
                journal.control.promised = unit.epoch;
                for entry in unit.entries {
                    assert_eq!(entry.seq, journal.tail().seq.next(), "a hole");
                    assert_eq!(entry.prev_chain, journal.tail().chain, "a broken chain");
                    journal.entries.push(entry);
                }
            }
            Query::Confirm(_) | Query::Read => {}
        }
        self.known = journal.tail();
        Ok(())
    }

    fn ask(&mut self, token: u64, query: Query, net: &mut Net) {
        assert!(self.asking.replace((token, query)).is_none(), "two transactions at a time");
        let slow = net.thousandths(net.weather.slow_writes);
        let takes = if slow { net.between(50 * MS, 800 * MS) } else { net.between(100, 3 * MS) };
        net.timer(self.node(), self.run, takes, Timer::Answered(token));
    }

    fn step(&mut self, input: Input, around: &mut Around<'_>) {
        let mut effects = Vec::new();
        self.acceptor.step(input, &mut effects);
        for effect in effects {
            match effect {
                Effect::PersistControl { token, control } => self.ask(token, Query::Control(control), around.net),
                Effect::Write { token, unit } => self.ask(token, Query::Unit(unit), around.net),
                Effect::Confirm { token, epoch } => self.ask(token, Query::Confirm(epoch), around.net),
                Effect::Reply { client, reply } => self.reply(client, reply, around),
                Effect::Committed { seq } => assert!(seq <= around.journal.tail().seq, "I10: {seq} is not durable"),
                Effect::Reload => self.reload(around),
                Effect::Quarantine { reason } => {
                    assert!(around.journal.shared, "the voter gives up: {reason}");
                    self.broken = true;
                }
            }
        }
    }

    fn reload(&mut self, around: &mut Around<'_>) {
        // Tokens of the acceptor are small numbers.
        self.next += 1;
        self.ask(READS + self.next, Query::Read, around.net);
    }

    fn reply(&mut self, client: ClientId, reply: Reply, around: &mut Around<'_>) {
        match &reply {
            Reply::Fence(FenceReply::Granted(granted)) => {
                around.observer.grant(granted.epoch, granted.last, around.journal);
            }
            Reply::Append(AppendReply::Ok(ok)) => around.observer.appended(ok.epoch, ok.match_seq, around.journal),
            Reply::Append(AppendReply::Refused { .. }) => around.observer.refused += 1,
            Reply::Fence(_) | Reply::Append(_) => {}
        }
        match self.callers.remove(&client) {
            Some(Caller::Fence(to)) => around.net.send(self.node(), to, None, Message::FenceReply { reply }),
            Some(Caller::Stream(to, stream)) => {
                around.net.stream(self.node(), to, None, Message::AppendReply { stream, reply });
            }
            None => {}
        }
    }
}
