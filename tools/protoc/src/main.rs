//! A protobuf compiler front end for build scripts that insist on running `protoc`.
//!
//! Our own protos are compiled by the protox library inside `libs/wire/build.rs`. The build script of
//! etcd-client runs a program instead; `.cargo/config.toml` points `PROTOC` at `.cargo/protoc`, which builds
//! and runs this one, so that a fresh clone needs nothing but Rust. It knows only the flags that prost-build
//! passes: `-I`, `-o`, `--include_imports`, `--include_source_info`, `--version`.

use std::process::ExitCode;

use prost::Message;

struct Arguments {
    includes: Vec<String>,
    output: Option<String>,
    files: Vec<String>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("protoc: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let Some(arguments) = parse(std::env::args().skip(1))? else {
        println!("libprotoc 30.0");
        return Ok(());
    };
    let output = arguments.output.ok_or("no output given: pass -o FILE")?;
    let set = protox::Compiler::new(&arguments.includes)?
        .include_imports(true)
        .include_source_info(true)
        .open_files(&arguments.files)?
        .file_descriptor_set();
    std::fs::write(output, set.encode_to_vec())?;
    Ok(())
}

/// Returns `None` when only the version was asked for.
fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let mut arguments = Arguments { includes: Vec::new(), output: None, files: Vec::new() };
    while let Some(word) = words.next() {
        let mut value = |flag: &str| words.next().ok_or_else(|| format!("{flag} needs a value"));
        match word.as_str() {
            "--version" => return Ok(None),
            "--include_imports" | "--include_source_info" => {}
            "-I" => arguments.includes.push(value("-I")?),
            "-o" => arguments.output = Some(value("-o")?),
            other if other.starts_with("-I") => arguments.includes.push(other[2..].to_owned()),
            other if other.starts_with('-') => return Err(format!("unknown flag {other}")),
            file => arguments.files.push(file.to_owned()),
        }
    }
    Ok(Some(arguments))
}
