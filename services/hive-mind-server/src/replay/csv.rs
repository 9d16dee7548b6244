//! Reading the two files cell by cell: whatever is wrong is told with its line and column, nothing panics.
//!
//! Deliberately absent: what the columns mean.

use std::fmt;

use types::{Price, Qty};

/// Largest size that is read, so that sums over a file cannot overflow. Far above any real order.
pub(super) const LARGEST_QUANTITY: Qty = Qty(1_000_000_000);

/// Largest price that is read, in price units. Above the largest price a US exchange takes, 199,999.99.
pub(super) const LARGEST_PRICE: Price = Price(100_000_000_000);

/// A cell, or a row, that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ParseError {
    /// Line, from 1.
    pub(super) line: usize,
    /// What the column is, or the whole row.
    pub(super) column: &'static str,
    /// What stands there, cut when it is long.
    pub(super) found: String,
    /// What should stand there.
    pub(super) expected: &'static str,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, found, expected } = self;
        write!(f, "line {line}, {column}: found {found:?}, expected {expected}")
    }
}

impl std::error::Error for ParseError {}

/// One line being read from left to right.
pub(super) struct Cells<'a> {
    line: usize,
    cells: std::str::Split<'a, char>,
}

impl<'a> Cells<'a> {
    /// Starts at the left of line number `line`.
    pub(super) fn new(line: usize, text: &'a str) -> Self {
        Self { line, cells: text.trim_end_matches('\r').split(',') }
    }

    /// The next cell without spaces around it.
    pub(super) fn next(&mut self, column: &'static str) -> Result<&'a str, ParseError> {
        let cell = self.cells.next().map(str::trim);
        cell.ok_or_else(|| self.error(column, "the end of the line", "one more column"))
    }

    /// The next cell as a whole number between two bounds.
    pub(super) fn number(
        &mut self,
        column: &'static str,
        (least, most): (i64, i64),
        expected: &'static str,
    ) -> Result<i64, ParseError> {
        let cell = self.next(column)?;
        let number = cell.parse().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| self.error(column, cell, expected))
    }

    /// Nothing may follow.
    pub(super) fn end(&mut self) -> Result<(), ParseError> {
        match self.cells.next() {
            Some(more) => Err(self.error("end of the line", more, "no more columns")),
            None => Ok(()),
        }
    }

    /// An error at this line.
    pub(super) fn error(&self, column: &'static str, found: &str, expected: &'static str) -> ParseError {
        ParseError { line: self.line, column, found: found.chars().take(40).collect(), expected }
    }
}
