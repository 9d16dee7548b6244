//! Prints how long a small durable write takes in a directory: `cargo run --release --example probe -- DIR [SAMPLES]`.
#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().ok_or("name a directory")?);
    let samples = arguments.next().map_or(Ok(5_000), |text| text.parse())?;
    let measured = journal_store::file::probe_sync(&dir, samples)?;
    println!("fdatasync of 512 bytes: {measured:?}");
    Ok(())
}
