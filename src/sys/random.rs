//! Numbers at random, of the kernel.
//!
//! Promises: never waits but right after the machine started; nobody can tell the next one.

use std::io;

/// Returns 16 bytes as 32 hexadecimal digits.
pub fn random_id() -> String {
    format!("{:016x}{:016x}", random(), random())
}

/// Returns a number of 64 bits.
///
/// # Panics
/// If the kernel has no `getrandom(2)`, as before Linux 3.17.
pub fn random() -> u64 {
    let mut bytes = [0_u8; 8];
    loop {
        // SAFETY: the kernel writes at most as many bytes as there are.
        let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        if usize::try_from(got) == Ok(bytes.len()) {
            return u64::from_ne_bytes(bytes);
        }
        let error = io::Error::last_os_error();
        assert!(error.kind() == io::ErrorKind::Interrupted, "random bytes cannot be had: {error}");
    }
}
