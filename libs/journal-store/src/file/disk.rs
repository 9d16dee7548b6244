//! The few file operations the journal needs, so that tests can put a disk below it that tears, lies and fails.
//!
//! Names are relative to one data directory. Deliberately absent: any policy; a failed call is reported as it is.

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Zeroes are written in pieces of this many bytes when a file is made.
const ZERO_CHUNK: usize = 1 << 20;

/// A directory of files.
pub(crate) trait Disk: Send + Sync {
    /// Where it is, for messages.
    fn path(&self) -> &Path;
    /// Names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes an empty file, replacing one of that name, and reserves room for `len` bytes: a full disk is found here.
    /// The name is durable only after [`Disk::sync_dir`].
    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames a file, replacing `to`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes names durable.
    fn sync_dir(&self) -> io::Result<()>;
}

/// An open file.
pub(crate) trait DiskFile: Send + Sync {
    /// Its length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Fills `buffer` from `offset`.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// The same for whole blocks of 4 KiB at such an offset and so aligned in memory: past the page cache if the file
    /// system can, so that the next sync has nothing to collect and nobody has to read what is around them.
    fn write_blocks(&self, blocks: &[u8], offset: u64) -> io::Result<()>;
    /// Makes everything written durable.
    fn sync(&self) -> io::Result<()>;
    /// Asks that later reads come from the device: after a failed sync the page cache may show what the disk lacks.
    fn drop_cache(&self);
}

/// Makes a file of `len` zeroes, written and synced, so that later writes inside it need no metadata.
pub(crate) fn create_zeroed(disk: &dyn Disk, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>> {
    let file = disk.create(name, len)?;
    let zeroes = vec![0; ZERO_CHUNK.min(usize::try_from(len).unwrap_or(ZERO_CHUNK))];
    let mut offset = 0;
    while offset < len {
        let count = zeroes.len().min(usize::try_from(len - offset).unwrap_or(ZERO_CHUNK));
        file.write_at(&zeroes[..count], offset)?;
        offset += count as u64;
        // In small steps: one big flush would hold up the journal's own syncs on the same disk.
        file.sync()?;
    }
    Ok(file)
}

/// A directory of the operating system.
#[derive(Debug)]
pub(crate) struct OsDisk {
    path: PathBuf,
    directory: fs::File,
}

impl OsDisk {
    /// Opens a directory, making it (and its parents) durably if it does not exist.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if !path.is_dir() {
            fs::create_dir_all(path)?;
            // A directory is lost with its parent's entry.
            for parent in path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
                fs::File::open(parent)?.sync_all()?;
            }
        }
        Ok(Self { path: path.to_owned(), directory: fs::File::open(path)? })
    }
}

impl Disk for OsDisk {
    fn path(&self) -> &Path {
        &self.path
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path.join(name);
        let file = fs::OpenOptions::new().read(true).write(true).open(&path)?;
        Ok(Arc::new(OsFile::new(file, &path)))
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path.join(name);
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, len) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => Ok(Arc::new(OsFile::new(file, &path))),
            Err(error) => Err(error.into()),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.directory.sync_all()
    }
}

/// A file of the operating system, open twice: the kernel keeps both views of it the same.
struct OsFile {
    file: fs::File,
    /// For direct writes; none where the file system has no such thing.
    direct: Option<fs::File>,
}

impl OsFile {
    fn new(file: fs::File, path: &Path) -> Self {
        let flags = rustix::fs::OFlags::DIRECT.bits().cast_signed();
        let direct = fs::OpenOptions::new().write(true).custom_flags(flags).open(path);
        if let Err(error) = &direct {
            tracing::debug!(%error, path = %path.display(), "no direct writes here");
        }
        Self { file, direct: direct.ok() }
    }
}

impl DiskFile for OsFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn write_blocks(&self, blocks: &[u8], offset: u64) -> io::Result<()> {
        if let Some(direct) = &self.direct {
            match direct.write_all_at(blocks, offset) {
                // Some file systems tell only now that they cannot; nothing was written then.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                result => return result,
            }
        }
        self.file.write_all_at(blocks, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn drop_cache(&self) {
        // Only advice: file systems without it (tmpfs) have no device to disagree with either.
        if let Err(error) = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed) {
            tracing::debug!(%error, "the page cache could not be dropped");
        }
    }
}
