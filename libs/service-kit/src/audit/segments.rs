//! The files: `audit-<first seq>.jsonl`, each up to a size, and the head beside their directory. Appends, and finds
//! the end again after a crash. Absent: what the lines say.
//!
//! The head is written after the lines are on disk, so that a crash leaves it behind the lines, never before them: a
//! head beyond the last line means that lines were removed. It stands outside the directory, so that it outlives it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::record::{Head, Line, Record};

const PREFIX: &str = "audit-";
const SUFFIX: &str = ".jsonl";

/// The end of the log, open for appending.
pub(super) struct Segments {
    directory: PathBuf,
    segment_bytes: u64,
    /// The last file; none before the first record.
    file: Option<File>,
    /// How much of it is whole lines.
    length: u64,
    head: Head,
    /// What was found wrong at the end.
    pub(super) damage: Option<String>,
}

impl Segments {
    pub(super) fn open(directory: &Path, segment_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let mut segments = Self {
            directory: directory.to_owned(),
            segment_bytes,
            file: None,
            length: 0,
            head: Head::GENESIS,
            damage: None,
        };
        let last = list(directory)?.pop();
        if let Some((_, path)) = &last {
            segments.find_end(path)?;
        }
        match read_head(directory)? {
            // A line that is on disk and not in the head is what a crash leaves.
            Some(kept) if kept.seq > segments.head.seq => {
                let missing = || format!("records {} to {} are missing", segments.head.seq + 1, kept.seq);
                segments.damage.get_or_insert_with(missing);
                segments.head = kept;
            }
            Some(kept) if kept.seq == segments.head.seq && kept.hash != segments.head.hash => {
                segments.damage.get_or_insert_with(|| format!("record {} is not the one that was written", kept.seq));
                segments.head = kept;
            }
            Some(_) => {}
            None if last.is_some() => segments.damage = Some("the head beside the files is missing".to_owned()),
            None => write_head(directory, &Head::GENESIS)?,
        }
        Ok(segments)
    }

    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    /// Cuts off a torn last line. A last line that is whole but wrong is left as it is, for `verify` to show.
    fn find_end(&mut self, path: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().read(true).append(true).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if whole < bytes.len() {
            tracing::warn!(file = %path.display(), bytes = bytes.len() - whole, "a torn audit record was cut off");
            file.set_len(whole as u64)?;
            file.sync_all()?;
        }
        let text = String::from_utf8_lossy(&bytes[..whole]);
        match text.lines().next_back().map(Record::read) {
            Some(Ok(record)) => self.head = record.head(),
            Some(Err(why)) => self.damage = Some(format!("the last line of {}: {why}", path.display())),
            // The file was begun and nothing was written to it: the end is in the one before.
            None => {
                fs::remove_file(path)?;
                return match list(&self.directory)?.pop() {
                    Some((_, before)) => self.find_end(&before),
                    None => Ok(()),
                };
            }
        }
        self.length = whole as u64;
        self.file = Some(file);
        Ok(())
    }

    /// Appends lines and returns when they are on disk. After an error nothing of them is.
    pub(super) fn append(&mut self, lines: &[Line]) -> io::Result<()> {
        let (Some(first), Some(last)) = (lines.first(), lines.last()) else { return Ok(()) };
        if self.file.is_none() || self.length >= self.segment_bytes {
            let path = self.directory.join(format!("{PREFIX}{:020}{SUFFIX}", first.head.seq));
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            self.length = file.metadata()?.len();
            self.file = Some(file);
            File::open(&self.directory)?.sync_all()?;
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut bytes = Vec::with_capacity(lines.iter().map(|line| line.text.len() + 1).sum());
        for line in lines {
            bytes.extend_from_slice(line.text.as_bytes());
            bytes.push(b'\n');
        }
        if let Err(error) = file.write_all(&bytes).and_then(|()| file.sync_data()) {
            // What was half written must not stay in front of the next attempt.
            if file.set_len(self.length).is_err() {
                self.file = None;
            }
            return Err(error);
        }
        self.length += bytes.len() as u64;
        self.head = last.head.clone();
        // The lines are kept. A head that stays behind is what a crash leaves, too.
        if let Err(error) = write_head(&self.directory, &self.head) {
            tracing::warn!(%error, "the head of the audit log cannot be written");
        }
        Ok(())
    }
}

/// The files and the numbers of their first records, in order.
pub(super) fn list(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok());
        if let Some(number) = number {
            files.push((number, path));
        }
    }
    files.sort();
    Ok(files)
}

/// The head beside the directory; `None` if there is none or it cannot be understood.
pub(super) fn read_head(directory: &Path) -> io::Result<Option<Head>> {
    match fs::read(head_path(directory)) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces it in one step.
fn write_head(directory: &Path, head: &Head) -> io::Result<()> {
    let path = head_path(directory);
    let new = path.with_extension("head.new");
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec(head)?)?;
    file.sync_data()?;
    fs::rename(&new, &path)
}

fn head_path(directory: &Path) -> PathBuf {
    directory.with_extension("head")
}
