//! A call again where a signal interrupted it, and its answer as a descriptor.
//! Nothing else is tried again.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// Calls `call` until no signal interrupts it.
pub(super) fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match usize::try_from(call()) {
            Ok(value) => return Ok(value),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// Calls `open` until no signal interrupts it and takes what it returns as a descriptor.
pub(super) fn new_fd(mut open: impl FnMut() -> libc::c_int) -> io::Result<OwnedFd> {
    let fd = retry(|| open() as isize)?;
    // SAFETY: the call has just returned this descriptor (it fits, it was a `c_int`); nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}
