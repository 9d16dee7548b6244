//! Goes through all records and says what is wrong with the chain. Works on the files of a process that is down, and
//! on those of the one it is part of. Absent: mending; a record that was changed cannot be had back.

use std::io;
use std::path::Path;

use serde::Serialize;

use super::record::{Head, Record};
use super::segments;

/// Findings that are listed one by one; a file that was replaced has as many as lines.
const LISTED: usize = 100;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Records that are as they were written, and in their place.
    pub records: u64,
    /// Files.
    pub files: u64,
    /// Number of the last record.
    pub last_seq: u64,
    /// Its hash: write it down elsewhere together with the number, and give it to a later check.
    pub last_hash: String,
    /// What is wrong, the first hundred.
    pub findings: Vec<Finding>,
    /// How much is wrong.
    pub findings_total: u64,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// File, or empty if it is not about one.
    pub file: String,
    /// Line in it, from 1; 0 if it is not about one.
    pub line: u64,
    /// Number of the record, if known; otherwise the one that was expected.
    pub seq: u64,
    /// What, for people.
    pub problem: String,
}

/// Checks the audit log in a data directory whose process is down.
///
/// # Errors
/// When a file cannot be read.
pub fn verify_directory(data_dir: &Path, noted: Option<Head>) -> io::Result<Verification> {
    verify(&data_dir.join(super::DIRECTORY), None, noted)
}

/// `running` is the end as the process that writes knows it: later lines are being written, and are not looked at.
pub(super) fn verify(directory: &Path, running: Option<Head>, noted: Option<Head>) -> io::Result<Verification> {
    let mut check = Check { head: Head::GENESIS, report: Verification::default(), marks: Vec::new() };
    let end = running.as_ref().map(|head| head.seq);
    if let Some(head) = running {
        check.mark(head, "the running process wrote");
    }
    if let Some(head) = noted {
        check.mark(head, "was noted down");
    }
    let files = segments::list(directory)?;
    match segments::read_head(directory)? {
        // While a process writes, its file may be ahead of what it said first.
        Some(head) if end.is_some_and(|end| head.seq > end) => {}
        Some(head) => check.mark(head, "the head beside the files names"),
        None if files.is_empty() => {}
        None => check.finding("", 0, 0, "the head beside the files is missing".to_owned()),
    }
    for (first, path) in files {
        check.file(first, &path, end)?;
    }
    Ok(check.end())
}

struct Check {
    head: Head,
    report: Verification,
    /// Records that must be there, and who says so.
    marks: Vec<(Head, &'static str)>,
}

impl Check {
    fn mark(&mut self, head: Head, whose: &'static str) {
        if head.seq > 0 {
            self.marks.push((head, whose));
        }
    }

    fn file(&mut self, first: u64, path: &Path, end: Option<u64>) -> io::Result<()> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        self.report.files += 1;
        let bytes = std::fs::read(path)?;
        let content = String::from_utf8_lossy(&bytes);
        for (line, text) in (1..).zip(content.split_inclusive('\n')) {
            if end.is_some_and(|end| self.head.seq >= end) {
                break;
            }
            let Some(text) = text.strip_suffix('\n') else {
                self.finding(&name, line, self.head.seq + 1, "the line has no end: it was cut".to_owned());
                break;
            };
            match Record::read(text) {
                Ok(record) => {
                    if line == 1 && record.seq != first {
                        let problem = format!("the file is named for record {first}");
                        self.finding(&name, line, record.seq, problem);
                    }
                    self.record(&name, line, &record);
                }
                Err(problem) => self.unreadable(&name, line, text, problem),
            }
        }
        Ok(())
    }

    fn record(&mut self, file: &str, line: u64, record: &Record) {
        let expected = self.head.seq + 1;
        if record.seq != expected {
            self.finding(file, line, record.seq, format!("record {expected} was expected here"));
        } else if record.prev != self.head.hash {
            self.finding(file, line, record.seq, "the record before is not the one it was written after".to_owned());
        } else {
            self.report.records += 1;
        }
        self.head = record.head();
        self.check_marks();
    }

    /// Goes on with what the line says of itself, so that one changed line is one finding.
    fn unreadable(&mut self, file: &str, line: u64, text: &str, problem: &str) {
        let record: Option<Record> = serde_json::from_str(text).ok();
        let expected = self.head.seq + 1;
        self.finding(file, line, record.as_ref().map_or(expected, |record| record.seq), problem.to_owned());
        if let Some(record) = record.filter(|record| record.seq == expected) {
            self.head = record.head();
            self.check_marks();
        }
    }

    fn check_marks(&mut self) {
        let head = self.head.clone();
        let reached = self.marks.extract_if(.., |(mark, _)| mark.seq == head.seq).collect::<Vec<_>>();
        for (_, whose) in reached.into_iter().filter(|(mark, _)| mark.hash != head.hash) {
            self.finding("", 0, head.seq, format!("record {} is not the one that {whose}", head.seq));
        }
    }

    fn end(mut self) -> Verification {
        for (mark, whose) in std::mem::take(&mut self.marks) {
            let problem = format!("record {} is missing, which {whose}", mark.seq);
            self.finding("", 0, mark.seq, problem);
        }
        self.report.last_seq = self.head.seq;
        self.report.last_hash = self.head.hash;
        self.report
    }

    fn finding(&mut self, file: &str, line: u64, seq: u64, problem: String) {
        self.report.findings_total += 1;
        if self.report.findings.len() < LISTED {
            self.report.findings.push(Finding { file: file.to_owned(), line, seq, problem });
        }
    }
}
