//! Reads what was recorded: the newest that match, or all from a number on. Absent: judging; see [`super::verify`].

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::record::{Head, Line, Record};
use super::segments;

/// Which records are wanted. Texts that are empty match everything.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Most records, at least 1.
    pub limit: usize,
    /// Not before, microseconds since the Unix epoch; 0 for no bound.
    pub from_us: u64,
    /// Before this time; 0 for no bound.
    pub to_us: u64,
    /// Only this action, or, ending with a full stop, all of an area: "database.".
    pub action: String,
    /// Not this action, or, ending with a full stop, none of an area.
    pub without_action: String,
    /// Only this actor or subject.
    pub who: String,
    /// Only this request.
    pub request_id: String,
    /// Only this result: "ok", "refused" or "failed".
    pub result: String,
    /// Only records whose line contains this text, upper and lower case alike.
    pub text: String,
}

impl Query {
    fn wants(&self, record: &Record) -> bool {
        let Self { from_us, to_us, action, without_action, who, request_id, result, .. } = self;
        let is = |wanted: &str| record.action == wanted || (wanted.ends_with('.') && record.action.starts_with(wanted));
        record.at_us >= *from_us
            && (*to_us == 0 || record.at_us < *to_us)
            && (action.is_empty() || is(action))
            && !is(without_action)
            && (who.is_empty() || record.actor == *who || record.subject == *who)
            && (request_id.is_empty() || record.request_id == *request_id)
            && (result.is_empty() || record.result == *result)
    }
}

/// The newest first. Lines that cannot be read are left out: `verify` is what finds them.
pub(super) fn search(directory: &Path, query: &Query) -> io::Result<Vec<Record>> {
    let mut found = Vec::new();
    let text = query.text.to_lowercase();
    for (_, path) in segments::list(directory)?.into_iter().rev() {
        let content = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
        for line in content.lines().rev() {
            if !text.is_empty() && !line.to_lowercase().contains(&text) {
                continue;
            }
            let Ok(record) = Record::read(line) else { continue };
            if query.wants(&record) {
                found.push(record);
                if found.len() >= query.limit {
                    return Ok(found);
                }
            }
        }
    }
    Ok(found)
}

/// Reads on from a number, and remembers where it is.
#[derive(Debug)]
pub struct Lines {
    directory: PathBuf,
    next: u64,
    open: Option<BufReader<File>>,
}

impl Lines {
    /// From the record with this number on.
    #[must_use]
    pub fn from(directory: &Path, next: u64) -> Self {
        Self { directory: directory.to_owned(), next: next.max(1), open: None }
    }

    /// Number of the next line.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next
    }

    /// Goes on from this number.
    pub fn skip_to(&mut self, next: u64) {
        (self.next, self.open) = (next.max(1), None);
    }

    /// The next lines, at most so many; none if there are no more yet. Blocks.
    ///
    /// # Errors
    /// When a file cannot be read, or the next record is not there.
    pub fn read(&mut self, most: usize) -> io::Result<Vec<Line>> {
        let mut lines = Vec::new();
        while lines.len() < most {
            if self.open.is_none() && !self.open_next()? {
                break;
            }
            let Some(file) = &mut self.open else { break };
            let mut text = String::new();
            let length = file.read_line(&mut text)?;
            if !text.ends_with('\n') {
                // The file ends here; the log goes on in the next one, if there is one.
                let back = i64::try_from(length).map_err(io::Error::other)?;
                file.seek(SeekFrom::Current(-back))?;
                let more = segments::list(&self.directory)?.into_iter().any(|(first, _)| first == self.next);
                if !more {
                    break;
                }
                self.open = None;
                continue;
            }
            text.pop();
            let record = Record::read(&text).map_err(io::Error::other)?;
            if record.seq >= self.next {
                let Head { seq, hash } = record.head();
                self.next = seq + 1;
                lines.push(Line { head: Head { seq, hash }, text });
            }
        }
        Ok(lines)
    }

    fn open_next(&mut self) -> io::Result<bool> {
        let file = segments::list(&self.directory)?.into_iter().rev().find(|(first, _)| *first <= self.next);
        self.open = file.map(|(_, path)| File::open(path).map(BufReader::new)).transpose()?;
        Ok(self.open.is_some())
    }
}
