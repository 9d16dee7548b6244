//! The files the rules look at: everything below the root that is text and ours. Build output and the version
//! control's own files are left out.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Directories that are not part of the tree.
const NOT_OURS: [&str; 4] = [".git", "target", "node_modules", "data"];

/// Largest file that is read; larger ones are data.
const LARGEST_TEXT_BYTES: u64 = 1 << 20;

/// What a file is, as far as a rule cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Rust source.
    Rust,
    /// A protocol definition.
    Proto,
    /// Other text.
    Text,
    /// Not UTF-8, or very large; its text is empty.
    Data,
}

/// One file.
#[derive(Debug, Clone)]
pub(crate) struct SourceFile {
    /// Path relative to the root, with forward slashes.
    pub(crate) path: String,
    /// What it is.
    pub(crate) kind: Kind,
    /// Its text.
    pub(crate) text: String,
}

impl SourceFile {
    /// A file as a test plants it.
    #[cfg(test)]
    pub(crate) fn planted(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), kind: kind_of(path), text: text.to_owned() }
    }

    /// The file's name without its directories.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// Reads the whole tree, in order of path.
pub(crate) fn read_tree(root: &Path) -> Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    read_directory(root, root, &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn read_directory(root: &Path, directory: &Path, files: &mut Vec<SourceFile>) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", directory.display()))?;
        let path = entry.path();
        let name = entry.file_name();
        let kind = entry.file_type().with_context(|| format!("cannot look at {}", path.display()))?;
        if kind.is_dir() {
            if !NOT_OURS.iter().any(|skipped| name == *skipped) {
                read_directory(root, &path, files)?;
            }
        } else if kind.is_file() {
            files.push(read_file(root, &path)?);
        }
    }
    Ok(())
}

fn read_file(root: &Path, path: &Path) -> Result<SourceFile> {
    let relative = slashes(path.strip_prefix(root).unwrap_or(path));
    let size = fs::metadata(path).with_context(|| format!("cannot look at {relative}"))?.len();
    if size > LARGEST_TEXT_BYTES {
        return Ok(SourceFile { path: relative, kind: Kind::Data, text: String::new() });
    }
    let bytes = fs::read(path).with_context(|| format!("cannot read {relative}"))?;
    let kind = kind_of(&relative);
    Ok(match String::from_utf8(bytes) {
        Ok(text) => SourceFile { path: relative, kind, text },
        Err(_) => SourceFile { path: relative, kind: Kind::Data, text: String::new() },
    })
}

fn kind_of(path: &str) -> Kind {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("rs") => Kind::Rust,
        Some("proto") => Kind::Proto,
        _ => Kind::Text,
    }
}

/// A path with forward slashes, whatever the system uses.
pub(crate) fn slashes(path: &Path) -> String {
    let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}
