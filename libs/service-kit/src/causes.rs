//! An error with what caused it, for those that keep their causes to themselves: tokio-postgres says "error connecting",
//! reqwest "error sending request". Absent: errors that repeat their cause; see how the binary prints.

use std::error::Error;

/// The error and its causes, outermost first.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
