//! This process: who it runs as, how many files it may open, how it starts another one in the background.
//!
//! Promises: nothing here forks without executing another program, so it is right to call with threads
//! running. Never changes users or capabilities.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Returns the user and group that this process acts as.
pub fn effective_ids() -> (u32, u32) {
    // SAFETY: these calls take nothing and cannot fail.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

/// Returns the name of this start of the machine, where the kernel tells it (`/proc/sys/kernel/random/boot_id`).
pub fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

/// Makes `command` start in a session of its own: without a terminal, and not hit by the signals of ours.
pub fn in_new_session(command: &mut Command) -> &mut Command {
    let enter = || {
        // SAFETY: setsid is async-signal-safe, takes nothing and touches no memory.
        if unsafe { libc::setsid() } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: `enter` only makes one system call, which is allowed between fork and exec.
    unsafe { command.pre_exec(enter) }
}

/// Points standard output at `/dev/null`, so that whoever read it sees its end.
///
/// # Errors
/// As `open(2)` and `dup2(2)`.
pub fn close_stdout() -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let null = std::fs::File::options().write(true).open("/dev/null")?;
    // SAFETY: both descriptors are open; standard output stays one, which is all that `std` relies on.
    if unsafe { libc::dup2(null.as_raw_fd(), libc::STDOUT_FILENO) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Raises the limit of open files to what the system allows, at most `wanted`. Returns the limit.
///
/// # Errors
/// As `getrlimit(2)`.
pub fn raise_open_files(wanted: u64) -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable and of the type that the call expects.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur >= wanted {
        return Ok(limit.rlim_cur);
    }
    // The hard limit can be raised by root only, and only where CAP_SYS_RESOURCE was left to him.
    for max in [limit.rlim_max.max(wanted), limit.rlim_max] {
        let raised = libc::rlimit { rlim_cur: wanted.min(max), rlim_max: max };
        // SAFETY: `raised` outlives the call.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0 {
            return Ok(raised.rlim_cur);
        }
    }
    Ok(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_in_a_new_session_leads_it() {
        let mut command = Command::new("sh");
        command.args(["-c", "set -- $(cat /proc/self/stat); echo $4 $6"]);
        let output = in_new_session(&mut command).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (parent, session) = text.trim().split_once(' ').unwrap();
        assert_eq!(parent, session, "the shell is the parent of cat and leads the session");
    }
}
