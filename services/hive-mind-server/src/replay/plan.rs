//! From messages to requests, and to what must come back: pure, one message (or one incoming order's group of
//! executions) after another.
//!
//! | message | request |
//! |---|---|
//! | submission | a post-only limit order that stays: in the file it rests, so it may never trade here |
//! | partial cancel | a replace to a lower quantity, which keeps its place |
//! | deletion | a cancel |
//! | executions | one immediate-or-cancel order of another account, see [`super::executions`] |
//! | hidden execution, auction | nothing: the visible book does not change |
//! | halt | the instrument is halted, until a message tells otherwise or needs more than a cancel |
//!
//! An order that the file names without its submission is entered when the numbers of the file pass its own (see
//! [`super::foresight`]); with an order-book file, when a row shows its price, see [`super::levels`].
//!
//! Deliberately absent: the wire, and the exchange's answers. What is planned never depends on them, so any number
//! of requests may be under way.

use std::collections::{BTreeMap, VecDeque};

use types::{InstrumentState, Price, Qty, Side};

use super::compare::{Cause, Window};
use super::csv::ParseError;
use super::depth::{self, Row};
use super::foresight::{Foresight, Unseen};
use super::item::{Comparison, Expected, Item, Planned, Request};
use super::messages::{Action, FileOrder, Message};
use super::mirror::{Mirror, Name, Resting};
use super::side::{PerSide, SIDES};
use super::tally::Tally;

/// Turns messages into items.
pub(super) struct Planner<'a> {
    pub(super) messages: &'a [Message],
    pub(super) foresight: Foresight,
    pub(super) mirror: Mirror,
    pub(super) tally: Tally,
    pub(super) window: PerSide<Window>,
    /// Orders without a submission that are not in the book (yet).
    pub(super) pending: BTreeMap<FileOrder, Unseen>,
    pub(super) fillers: u64,
    /// Which request entered an order that is in the book.
    entered: BTreeMap<Name, u64>,
    depth: Option<std::iter::Enumerate<std::str::Lines<'a>>>,
    first_row: Option<Row>,
    /// Index of the message being planned.
    at: usize,
    /// Its line, from 1.
    line: usize,
    /// Orders without a submission whose numbers the file has passed.
    pub(super) born: usize,
    /// The largest number of a submission so far.
    pub(super) newest: FileOrder,
    serial: u64,
    halted: bool,
    items: VecDeque<Item>,
}

impl<'a> Planner<'a> {
    /// Reads ahead through the messages and, if there is an order-book file, enters what stood before the first.
    pub(super) fn new(messages: &'a [Message], depth: Option<&'a str>) -> Result<Self, ParseError> {
        let first = messages.iter().find(|message| message.action == Action::Submit);
        let foresight = Foresight::new(messages);
        let mut planner = Self {
            messages,
            pending: foresight.unseen().iter().map(|unseen| (unseen.order, *unseen)).collect(),
            foresight,
            mirror: Mirror::default(),
            tally: Tally::default(),
            window: PerSide::default(),
            fillers: 0,
            entered: BTreeMap::new(),
            depth: depth.map(|text| text.trim_end().lines().enumerate()),
            first_row: None,
            at: 0,
            line: 1,
            born: 0,
            newest: first.map_or(FileOrder(i64::MAX), |message| message.order),
            serial: 0,
            halted: false,
            items: VecDeque::new(),
        };
        planner.first_row = planner.read_row()?;
        if let (Some(row), Some(first)) = (planner.first_row.take(), messages.first()) {
            planner.enter_row_before(&row, first);
            planner.first_row = Some(row);
        }
        planner.enter_born();
        Ok(planner)
    }

    /// The next item; none at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Item>, ParseError> {
        while self.items.is_empty() && self.at < self.messages.len() {
            self.step()?;
        }
        Ok(self.items.pop_front())
    }

    /// What was counted.
    pub(super) fn into_tally(self) -> Tally {
        self.tally
    }

    /// Messages planned so far.
    pub(super) const fn messages_planned(&self) -> usize {
        self.at
    }

    /// The planned book.
    pub(super) const fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    fn step(&mut self) -> Result<(), ParseError> {
        let first = self.at;
        let message = self.messages[first];
        let refused = self.tally.messages.not_applied;
        self.line = first + 1;
        let mut fills = Vec::new();
        let mut last = first;
        match message.action {
            Action::Submit => self.submit(&message),
            Action::Reduce => self.reduce(&message),
            Action::Delete => self.delete(&message),
            Action::Execute => (last, fills) = self.execute(),
            Action::ExecuteHidden => self.tally.messages.hidden_executions += 1,
            Action::Cross => self.tally.messages.auctions += 1,
            Action::Halt => self.halt(&message),
        }
        self.at = last + 1;
        let blame = (self.tally.messages.not_applied > refused).then_some(Cause::MessageNotApplied);
        for index in first..=last {
            let Some(row) = self.read_row()? else { continue };
            let later = fills.iter().filter(|(of, _)| *of > index);
            let pending = later.map(|(_, (_, price, quantity))| (message.side, *price, *quantity)).collect();
            if index == last {
                self.meet(&row, index, pending, blame);
            } else {
                self.compare(row, index, pending, blame);
            }
        }
        Ok(())
    }

    /// The last row of a step: compared, then what it reveals is entered.
    fn meet(&mut self, row: &Row, index: usize, pending: Vec<(Side, Price, Qty)>, blame: Option<Cause>) {
        self.compare(row.clone(), index, pending, blame);
        self.follow(row);
        for side in SIDES {
            *self.window.get_mut(side) = Window::of(row, side);
        }
    }

    fn compare(&mut self, row: Row, index: usize, pending: Vec<(Side, Price, Qty)>, blame: Option<Cause>) {
        let window = self.window.clone();
        self.items.push_back(Item::Compare(Comparison { line: index + 1, row, window, pending, blame }));
    }

    fn read_row(&mut self) -> Result<Option<Row>, ParseError> {
        if let Some(row) = self.first_row.take() {
            return Ok(Some(row));
        }
        let next = self.depth.as_mut().and_then(Iterator::next);
        next.map(|(index, text)| depth::parse_row(index + 1, text)).transpose()
    }

    fn submit(&mut self, message: &Message) {
        self.newest = self.newest.max(message.order);
        self.enter_born();
        let name = Name::File(message.order);
        if self.mirror.get(name).is_some() {
            return self.tally.refuse(self.at, "submission of an order that is in the book already");
        }
        if !self.make_way(message.side, message.price) {
            let Message { order, side, price, .. } = *message;
            let quantity = self.foresight.taken(order);
            if !quantity.is_zero() {
                self.pending.insert(order, Unseen { order, side, price, quantity });
            }
            return self.tally.refuse(self.at, "submission that would trade with an order the file keeps");
        }
        self.tally.messages.submissions += 1;
        self.enter(name, message.side, message.price, message.quantity);
    }

    fn reduce(&mut self, message: &Message) {
        let name = Name::File(message.order);
        match self.present(message.order) {
            Some(order) if message.quantity < order.leaves => {
                self.tally.messages.partial_cancels += 1;
                self.set_leaves(name, order, Qty(order.leaves.0 - message.quantity.0));
            }
            Some(_) => self.tally.refuse(self.at, "partial cancel of all that is open, or more"),
            None => self.tally.refuse(self.at, "partial cancel of an order that is not in the book"),
        }
    }

    fn delete(&mut self, message: &Message) {
        match self.present(message.order) {
            Some(order) if order.leaves == message.quantity => {
                self.tally.messages.deletions += 1;
                self.set_leaves(Name::File(message.order), order, Qty::ZERO);
            }
            Some(order) => {
                self.tally.refuse(self.at, "deletion that names another quantity than is open; deleted all the same");
                self.set_leaves(Name::File(message.order), order, Qty::ZERO);
            }
            None => self.tally.refuse(self.at, "deletion of an order that is not in the book"),
        }
    }

    fn halt(&mut self, message: &Message) {
        self.tally.messages.halts += 1;
        // Stopped is -1; 0 is that quotes are taken again, 1 that trading goes on.
        self.set_halted(message.price.0 < 0);
    }

    fn set_halted(&mut self, halted: bool) {
        if self.halted != halted {
            self.halted = halted;
            let state = if halted { InstrumentState::Halted } else { InstrumentState::Continuous };
            self.items.push_back(Item::State(state));
        }
    }

    /// An order joins the book.
    pub(super) fn enter(&mut self, name: Name, side: Side, price: Price, quantity: Qty) {
        if let Name::File(order) = name {
            self.pending.remove(&order);
        }
        self.mirror.insert(name, side, price, quantity);
        self.tally.most_open = self.tally.most_open.max(self.mirror.len());
        let serial = self.command(Request::Rest { name, side, price, quantity }, Expected::Open(quantity));
        self.entered.insert(name, serial);
    }

    /// An order gets less open quantity, or leaves.
    pub(super) fn set_leaves(&mut self, name: Name, order: Resting, leaves: Qty) {
        self.mirror.set_leaves(name, leaves);
        if leaves.is_zero() {
            let entered = self.forget(name);
            self.command(Request::Cancel { side: order.side, entered }, Expected::Canceled);
        } else {
            self.replace(name, order, leaves);
        }
    }

    /// Moves an order to the end of its queue: more quantity loses the place, less keeps the new one.
    pub(super) fn requeue(&mut self, name: Name, order: Resting) {
        self.tally.requeued += 1;
        self.mirror.requeue(name);
        self.replace(name, order, Qty(order.leaves.0 + 1));
        self.replace(name, order, order.leaves);
    }

    fn replace(&mut self, name: Name, order: Resting, leaves: Qty) {
        let entered = self.entered.get(&name).copied().unwrap_or_default();
        let Resting { side, price, .. } = order;
        let total = order.total_with(leaves);
        self.command(Request::Replace { side, entered, price, total }, Expected::Open(leaves));
    }

    /// An order trades.
    pub(super) fn fill(&mut self, name: Name, quantity: Qty) {
        self.mirror.fill(name, quantity);
        if self.mirror.get(name).is_none() {
            self.forget(name);
        }
    }

    fn forget(&mut self, name: Name) -> u64 {
        self.entered.remove(&name).unwrap_or_default()
    }

    /// Plans a request; returns its serial.
    pub(super) fn command(&mut self, request: Request, expected: Expected) -> u64 {
        // A stopped instrument takes nothing but cancels. The file's exchange took orders before trading went on, so
        // the first of them ends the halt here; it cannot trade, being post-only.
        if !matches!(request, Request::Cancel { .. }) {
            self.set_halted(false);
        }
        self.serial += 1;
        let planned = Planned { line: self.line, serial: self.serial, request, expected };
        self.items.push_back(Item::Command(planned));
        self.serial
    }

    /// Index of the message being planned.
    pub(super) fn index(&self) -> usize {
        self.at
    }
}
