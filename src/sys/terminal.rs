//! The terminal that keys come from: taken out of its lines, so that each key is seen at once and shown by whoever reads it.
//!
//! Promises: it is as it was when the value is dropped. What was typed before is kept, and not shown twice.

use std::io;

/// Standard input as a terminal without lines and without echo, until this is dropped.
pub struct RawInput {
    before: libc::termios,
}

impl RawInput {
    /// Changes the terminal that standard input is. What is written to it is not changed.
    ///
    /// # Errors
    /// As `tcgetattr(3)`; `ENOTTY` if it is none.
    pub fn begin() -> io::Result<Self> {
        // SAFETY: all-zero is a valid `termios`: numbers.
        let mut before: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: `before` is a `termios` that outlives the call.
        if unsafe { libc::tcgetattr(libc::STDIN_FILENO, &raw mut before) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let mut raw = before;
        // SAFETY: `raw` is a `termios` that outlives the call.
        unsafe { libc::cfmakeraw(&raw mut raw) };
        raw.c_oflag = before.c_oflag;
        set(&raw)?;
        Ok(Self { before })
    }
}

impl Drop for RawInput {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = set(&self.before);
    }
}

fn set(termios: &libc::termios) -> io::Result<()> {
    // SAFETY: `termios` outlives the call.
    match unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSADRAIN, termios) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
