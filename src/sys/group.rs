//! Groups of this machine: their numbers, as the system's databases of users know them, and files that one of them may read.
//!
//! Promises: a name is asked of whatever nsswitch.conf(5) names, which may be a server. A group gets no right to write.

use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, fchown};
use std::path::Path;

/// Most bytes of what is known of one group: its members' names.
const ROOM_MAX: usize = 16 << 20;

/// Returns the number of the group `name`; none if there is no such group.
///
/// # Errors
/// As `getgrnam_r(3)`.
pub fn gid_of(name: &str) -> io::Result<Option<u32>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    let mut room = vec![0u8; 1 << 10];
    loop {
        // SAFETY: all-zero is a valid `group`: null pointers and numbers.
        let mut group: libc::group = unsafe { std::mem::zeroed() };
        let mut found = std::ptr::null_mut();
        // SAFETY: `name` is zero-terminated, `room` has `room.len()` bytes, and all of them outlive the call and what is read of `group`.
        let result = unsafe {
            libc::getgrnam_r(name.as_ptr(), &raw mut group, room.as_mut_ptr().cast(), room.len(), &raw mut found)
        };
        match result {
            0 => return Ok((!found.is_null()).then_some(group.gr_gid)),
            libc::ERANGE if room.len() < ROOM_MAX => room.resize(room.len() * 2, 0),
            libc::EINTR => {}
            // "Not found", as some databases say it.
            libc::ENOENT | libc::ESRCH => return Ok(None),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// Returns the group that may read the file of `metadata`, if that may and nobody else but its owner. One that everybody may read is
/// for nobody on purpose: older programs made such.
pub fn reader_of(metadata: &fs::Metadata) -> Option<u32> {
    (metadata.mode() & 0o077 == 0o040).then(|| metadata.gid())
}

/// Lets the group `gid` read `file`, and others but its owner nothing (0640); none: leaves it as it is.
///
/// # Errors
/// As `fchown(2)` and `fchmod(2)`.
pub fn let_read(file: &File, gid: Option<u32>) -> io::Result<()> {
    let Some(gid) = gid else { return Ok(()) };
    let metadata = file.metadata()?;
    if metadata.gid() != gid {
        fchown(file, None, Some(gid))?;
    }
    if metadata.mode() & 0o7777 != 0o640 {
        file.set_permissions(Permissions::from_mode(0o640))?;
    }
    Ok(())
}

/// Lets the group `gid` into the directory `path`, which we made, to read what it may read there (0750).
///
/// # Errors
/// As `chown(2)` and `chmod(2)`.
pub fn let_in(path: &Path, gid: u32) -> io::Result<()> {
    chown(path, None, Some(gid))?;
    fs::set_permissions(path, Permissions::from_mode(0o750))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_name() {
        assert_eq!(gid_of("root").unwrap(), Some(0));
        assert_eq!(gid_of("no such group").unwrap(), None);
        assert_eq!(gid_of("with a zero\0byte").unwrap(), None);
    }
}
