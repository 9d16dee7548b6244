//! The key of whoever may read the node's data directory: `local.key`, mode 0600, accepted from this machine only. It
//! makes `hive-mind-server admin …` work beside the node without arguments, whatever became of the other keys.
//!
//! It is kept over restarts, so that an open console goes on working; deleting the file and restarting makes a new one.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use wire::api_key::ApiKey;

use super::key;

/// Its name in the data directory.
pub const FILE: &str = "local.key";

/// Id of the key.
const ID: &str = wire::api_key::LOCAL_ID;

/// Only its owner may read it.
const MODE: u32 = 0o600;

/// Reads the key of the node that has this data directory.
///
/// # Errors
/// When it cannot be read, or holds no key.
pub fn read(data_dir: &Path) -> io::Result<ApiKey> {
    let text = fs::read_to_string(data_dir.join(FILE))?;
    text.trim().parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The key of this node: the one that is there, or a new one if there is none, if it is damaged, or if others could
/// have read it.
///
/// # Errors
/// When it cannot be written.
pub fn ensure(data_dir: &Path) -> io::Result<ApiKey> {
    let path = data_dir.join(FILE);
    if fs::symlink_metadata(&path).is_ok_and(|found| found.is_file() && found.mode() & 0o777 == MODE)
        && let Ok(found) = read(data_dir)
        && found.id() == ID
    {
        return Ok(found);
    }
    let new = key::generate(ID).expect("an id");
    let temporary = data_dir.join("local.key.new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Created anew, so that nobody has it open and the mode holds from the beginning.
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(MODE).open(&temporary)?;
    writeln!(file, "{}", new.reveal())?;
    fs::rename(&temporary, &path)?;
    Ok(new)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_kept_unless_others_could_read_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(FILE);
        let first = ensure(directory.path()).expect("written");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, MODE);
        assert_eq!(ensure(directory.path()).expect("read"), first);
        assert_eq!(read(directory.path()).expect("read"), first);

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("changed");
        let second = ensure(directory.path()).expect("written");
        assert_ne!(second, first);
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, MODE);

        fs::write(&path, "hm_local-admin_").expect("damaged");
        assert!(read(directory.path()).is_err());
        assert_ne!(ensure(directory.path()).expect("written"), second);
    }
}
