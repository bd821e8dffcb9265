//! What kind of file system a directory is on.
//!
//! Promises: one `statfs(2)`; the answer names the kind. Never follows up on it.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// File systems over a network, by the magic numbers of `statfs(2)` and `linux/magic.h`.
const NETWORK: [(i64, &str); 7] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x517b, "SMB"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "Ceph"),
    (0x6573_5546, "FUSE"),
];

/// Returns the kind of network file system that the directory `path` is on; none for a local one.
///
/// # Errors
/// That of `statfs(2)`.
pub fn network_filesystem(path: &Path) -> io::Result<Option<String>> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut answer = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: `path` ends with a zero byte and `answer` is large enough for what statfs writes.
    let result = unsafe { libc::statfs(path.as_ptr(), answer.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: statfs returned 0, so it has filled `answer`.
    let kind = unsafe { answer.assume_init() }.f_type;
    Ok(NETWORK.iter().find(|(magic, _)| *magic == kind & 0xffff_ffff).map(|(_, name)| (*name).to_owned()))
}
