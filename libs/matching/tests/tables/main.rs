//! Tables: command lines and what they must come to, one table per rule and per classic mistake. `check` reads them
//! and describes the words.

mod amending;
mod check;
mod classic;
mod limits;
mod operators;
mod prevention;
mod requests;
mod restoring;
mod trading;
