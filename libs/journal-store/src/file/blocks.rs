//! Puts records behind one another in whole, aligned blocks, as direct I/O wants them.
//!
//! The last block of a log is rarely full: it is kept here and written again, with the same bytes in front, when more
//! follows. So a write never has to read what is around it, whatever the page cache still holds.

use std::io;

use super::disk::DiskFile;
use super::layout::PAGE;

const BLOCK: usize = PAGE as usize;

/// The unfinished last block of a segment, and room for what comes next.
#[derive(Default)]
pub(super) struct Blocks {
    /// Over-allocated by a block: `start` is the first aligned byte.
    bytes: Vec<u8>,
    start: usize,
    /// Bytes of the unfinished block that are in the file already.
    carried: usize,
}

impl Blocks {
    /// Continues a file that ends at `end`.
    pub(super) fn resume(&mut self, file: &dyn DiskFile, end: u64) -> io::Result<()> {
        self.carried = (end % PAGE) as usize;
        self.reserve(BLOCK);
        let carried = &mut self.bytes[self.start..self.start + self.carried];
        file.read_at(carried, end - carried.len() as u64)
    }

    /// Continues at the start of a block.
    pub(super) fn begin(&mut self) {
        self.carried = 0;
    }

    /// Writes `records` at `end`, where the file ends so far. After an error, the file's content there is unknown.
    pub(super) fn write(&mut self, file: &dyn DiskFile, end: u64, records: &[u8]) -> io::Result<()> {
        debug_assert_eq!(end % PAGE, self.carried as u64, "writes follow one another");
        let filled = self.carried + records.len();
        let padded = filled.next_multiple_of(BLOCK);
        self.reserve(padded);
        let blocks = &mut self.bytes[self.start..self.start + padded];
        blocks[self.carried..filled].copy_from_slice(records);
        blocks[filled..].fill(0);
        file.write_blocks(blocks, end - self.carried as u64)?;
        blocks.copy_within(filled - filled % BLOCK..filled, 0);
        self.carried = filled % BLOCK;
        Ok(())
    }

    /// Makes room for `len` aligned bytes, keeping the carried ones.
    fn reserve(&mut self, len: usize) {
        if self.bytes.len() >= self.start + len {
            return;
        }
        let mut bytes = vec![0; len + BLOCK];
        let start = bytes.as_ptr().align_offset(BLOCK);
        let kept = self.carried.min(self.bytes.len().saturating_sub(self.start));
        bytes[start..start + kept].copy_from_slice(&self.bytes[self.start..self.start + kept]);
        (self.bytes, self.start) = (bytes, start);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::sync::Mutex;

    use super::*;

    /// Refuses what direct I/O would.
    struct Strict(Mutex<Vec<u8>>);

    impl DiskFile for Strict {
        fn size(&self) -> io::Result<u64> {
            Ok(0)
        }
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            let offset = offset as usize;
            buffer.copy_from_slice(&self.0.lock().unwrap()[offset..offset + buffer.len()]);
            Ok(())
        }
        fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn write_blocks(&self, blocks: &[u8], offset: u64) -> io::Result<()> {
            assert!(blocks.as_ptr().cast::<u8>().align_offset(BLOCK) == 0, "memory is aligned");
            assert!(blocks.len().is_multiple_of(BLOCK) && offset.is_multiple_of(PAGE), "place and length are aligned");
            self.0.lock().unwrap()[offset as usize..offset as usize + blocks.len()].copy_from_slice(blocks);
            Ok(())
        }
        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
        fn drop_cache(&self) {}
    }

    #[test]
    fn records_of_any_length_stand_back_to_back() {
        let file = Strict(Mutex::new(vec![0; 64 * BLOCK]));
        let (mut blocks, mut end, mut expected) = (Blocks::default(), 2 * PAGE, Vec::new());
        for (index, len) in [64, 4096, 4032, 64, 8192, 20_000, 128, 4096 - 128, 1].into_iter().enumerate() {
            if index == 5 {
                // A process that starts over.
                blocks = Blocks::default();
                blocks.resume(&file, end).unwrap();
            }
            let records = vec![index as u8 + 1; len];
            blocks.write(&file, end, &records).unwrap();
            expected.extend(records);
            end += len as u64;
            let written = file.0.lock().unwrap();
            assert!(written[2 * BLOCK..end as usize] == expected, "after write {index}");
            assert!(written[end as usize..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn the_system_takes_them() {
        let dir = tempfile::tempdir().unwrap();
        let disk = super::super::disk::OsDisk::open(dir.path()).unwrap();
        let file = super::super::disk::create_zeroed(&disk, "file", 8 * PAGE).unwrap();
        let mut blocks = Blocks::default();
        blocks.write(&*file, 0, &[1; 5000]).unwrap();
        blocks.write(&*file, 5000, &[2; 100]).unwrap();
        file.sync().unwrap();
        let mut found = vec![0; 5101];
        std::fs::File::open(dir.path().join("file")).unwrap().read_exact_at(&mut found, 0).unwrap();
        assert!(found[..5000].iter().all(|byte| *byte == 1) && found[5000..5100].iter().all(|byte| *byte == 2));
        assert_eq!(found[5100], 0);
    }
}
