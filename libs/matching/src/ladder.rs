//! The prices of one side of a book in order, best last. A sorted list in chunks: the best prices, where nearly
//! everything happens, are at the end of the last chunk; a price far away costs two binary searches and a short
//! move, whatever the number of prices; a gap between two prices costs nothing.

use types::{Price, Side};

/// Rungs per chunk: 4 kB, moved at most once per insertion.
const CHUNK: usize = 256;
/// Emptied chunks kept for use again, per side.
const SPARE_CHUNKS: usize = 8;

/// A price as the ladder orders it: the greater the better for the side that rests there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank(i64);

impl Rank {
    /// Bids by price; asks by the complement, which reverses the order and cannot overflow.
    pub(crate) const fn of(side: Side, price: Price) -> Self {
        match side {
            Side::Buy => Self(price.0),
            Side::Sell => Self(!price.0),
        }
    }

    pub(crate) const fn price(self, side: Side) -> Price {
        match side {
            Side::Buy => Price(self.0),
            Side::Sell => Price(!self.0),
        }
    }
}

/// One price and the queue of orders that stands there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rung {
    pub(crate) rank: Rank,
    pub(crate) queue: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Ladder {
    /// Ascending, none empty.
    chunks: Vec<Vec<Rung>>,
    spare: Vec<Vec<Rung>>,
}

impl Ladder {
    /// The best price.
    pub(crate) fn best(&self) -> Option<Rung> {
        self.chunks.last().and_then(|chunk| chunk.last()).copied()
    }

    /// All prices, best first.
    pub(crate) fn best_first(&self) -> impl Iterator<Item = Rung> + '_ {
        self.chunks.iter().rev().flat_map(|chunk| chunk.iter().rev().copied())
    }

    /// The queue at a price.
    pub(crate) fn find(&self, rank: Rank) -> Option<u32> {
        let chunk = self.chunks.get(self.chunk_of(rank))?;
        chunk.binary_search_by_key(&rank, |rung| rung.rank).ok().map(|at| chunk[at].queue)
    }

    /// Adds a price that is not there yet.
    pub(crate) fn insert(&mut self, rank: Rank, queue: u32) {
        let rung = Rung { rank, queue };
        if self.chunks.is_empty() {
            let mut chunk = self.fresh();
            chunk.push(rung);
            self.chunks.push(chunk);
            return;
        }
        let mut at = self.chunk_of(rank);
        if self.chunks[at].len() == CHUNK {
            let mut upper = self.fresh();
            let chunk = &mut self.chunks[at];
            // A new best price must not leave half-empty chunks behind a market that only rises.
            let cut = if chunk[CHUNK - 1].rank < rank { CHUNK } else { CHUNK / 2 };
            upper.extend_from_slice(&chunk[cut..]);
            chunk.truncate(cut);
            let into_upper = upper.first().is_none_or(|first| first.rank <= rank);
            self.chunks.insert(at + 1, upper);
            at += usize::from(into_upper);
        }
        let chunk = &mut self.chunks[at];
        let place = chunk.partition_point(|other| other.rank < rank);
        chunk.insert(place, rung);
    }

    /// Takes a price out.
    pub(crate) fn remove(&mut self, rank: Rank) {
        let at = self.chunk_of(rank);
        let Some(chunk) = self.chunks.get_mut(at) else { return };
        let Ok(place) = chunk.binary_search_by_key(&rank, |rung| rung.rank) else { return };
        chunk.remove(place);
        let left = chunk.len();
        if left == 0 {
            self.retire(at);
        } else if left < CHUNK / 4 && at > 0 && self.chunks[at - 1].len() + left <= CHUNK / 2 {
            let (lower, upper) = self.chunks.split_at_mut(at);
            lower[at - 1].extend_from_slice(&upper[0]);
            self.retire(at);
        }
    }

    /// The chunk that holds `rank` or would take it: the last one that does not begin above it.
    fn chunk_of(&self, rank: Rank) -> usize {
        match self.chunks.last() {
            Some(last) if last[0].rank <= rank => self.chunks.len() - 1,
            _ => self.chunks.partition_point(|chunk| chunk[0].rank <= rank).saturating_sub(1),
        }
    }

    fn fresh(&mut self) -> Vec<Rung> {
        self.spare.pop().unwrap_or_else(|| Vec::with_capacity(CHUNK))
    }

    fn retire(&mut self, at: usize) {
        let mut chunk = self.chunks.remove(at);
        if self.spare.len() < SPARE_CHUNKS {
            chunk.clear();
            self.spare.push(chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// The ladder against an ordered map, with enough prices for many chunks, then emptied from both ends.
    #[test]
    fn holds_what_an_ordered_map_holds() {
        let mut ladder = Ladder::default();
        let mut model = BTreeMap::new();
        let mut state = 88_172_645_463_325_252_u64;
        for step in 0..60_000_u32 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let price = Price((state % 9_000) as i64 - 4_500);
            // First mostly growing, then mostly shrinking.
            let grow = state >> 40 & 3 != 0;
            let rank = Rank::of(Side::Sell, price);
            if grow == (step < 30_000) {
                if model.insert(rank, step).is_none() {
                    ladder.insert(rank, step);
                } else {
                    model.insert(rank, ladder.find(rank).expect("both hold it"));
                }
            } else if model.remove(&rank).is_some() {
                ladder.remove(rank);
            }
            assert_eq!(ladder.find(rank), model.get(&rank).copied());
            assert_eq!(ladder.best().map(|rung| rung.rank), model.keys().next_back().copied());
            assert!(ladder.chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= CHUNK));
        }
        let held: Vec<_> = ladder.best_first().map(|rung| (rung.rank, rung.queue)).collect();
        let expected: Vec<_> = model.iter().rev().map(|(rank, queue)| (*rank, *queue)).collect();
        assert_eq!(held, expected);
        for rank in model.into_keys() {
            ladder.remove(rank);
        }
        assert!(ladder.best().is_none());
    }

    #[test]
    fn ranks_reverse_exactly_at_the_extremes() {
        let lowest = Rank::of(Side::Sell, Price(i64::MIN));
        let highest = Rank::of(Side::Sell, Price(i64::MAX));
        assert!(lowest > highest);
        assert_eq!(lowest.price(Side::Sell), Price(i64::MIN));
        assert!(Rank::of(Side::Buy, Price(i64::MIN)) < Rank::of(Side::Buy, Price(i64::MAX)));
    }
}
