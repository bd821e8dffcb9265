//! This process: who it runs as, how many files it may open, how it starts another one in the background.
//!
//! Promises: nothing here forks without executing another program, so it is right to call with threads
//! running. Never changes users or capabilities.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicI32, Ordering};

/// Returns the user and group that this process acts as.
pub fn effective_ids() -> (u32, u32) {
    // SAFETY: these calls take nothing and cannot fail.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

/// Has memory given out from one place only where the process was given a limit of addresses (`ulimit -v`): glibc takes 64 MiB of them
/// for each thread, and a program that gets no memory is aborted. To be called before threads are started.
///
/// With one thread a processor a mount of 50 files took 300 MiB of addresses and ended; from one place it takes 90 (November 2026).
///
/// # Errors
/// As `getrlimit(2)`.
pub fn keep_within_addresses() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes one `rlimit`, which outlives it.
    if unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    #[cfg(target_env = "gnu")]
    if limit.rlim_cur != libc::RLIM_INFINITY {
        // SAFETY: the call takes two numbers; it is documented for any thread (mallopt(3)).
        unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    }
    Ok(())
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

/// Makes `command` keep nothing of this process: it starts in a session of its own and in `/`, with standard input, output and error as
/// they are set and no other descriptor. Whoever started us can unmount where he stands, and his locks are his alone.
pub fn on_its_own(command: &mut Command) -> &mut Command {
    let close = || {
        // Not closed: `std` tells by one of them whether the program could be executed.
        // SAFETY: the call takes numbers and touches no memory; it is made between fork and exec, where this is allowed.
        if unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    };
    in_new_session(command).current_dir("/");
    // SAFETY: `close` only makes one system call.
    unsafe { command.pre_exec(close) }
}

/// Makes `command` be killed when the thread that starts it ends, as it does when this process is killed. One whose program
/// is set-user-ID is not (`PR_SET_PDEATHSIG`, prctl(2)), and neither is what it starts itself.
pub fn ends_with_us(command: &mut Command) -> &mut Command {
    let us = std::process::id();
    let tie = move || {
        // SAFETY: prctl with this option and getppid are system calls that take numbers and touch no memory of ours.
        unsafe {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) < 0 {
                return Err(io::Error::last_os_error());
            }
            // We may have ended before; then nothing kills it any more.
            if u32::try_from(libc::getppid()) != Ok(us) {
                Err(io::Error::from_raw_os_error(libc::ESRCH))
            } else {
                Ok(())
            }
        }
    };
    // SAFETY: `tie` only makes two system calls, and errors of numbers, which allocate nothing.
    unsafe { command.pre_exec(tie) }
}

/// Kills every process of the group that `leader` leads, `leader` among them: a child of [`in_new_session`] that was not
/// waited for.
///
/// # Errors
/// As `kill(2)`.
pub fn kill_session(leader: u32) -> io::Result<()> {
    let group = libc::pid_t::try_from(leader).ok().filter(|group| *group > 1);
    let group = group.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the call takes two numbers.
    if unsafe { libc::kill(-group, libc::SIGKILL) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Where the handler of [`terminations`] writes to; -1: nowhere.
static TERMINATED: AtomicI32 = AtomicI32::new(-1);

extern "C" fn tell_termination(_signal: libc::c_int) {
    let told = TERMINATED.load(Ordering::Relaxed);
    // SAFETY: write(2) is async-signal-safe; the byte is there for the whole of the program. `errno` is kept for whoever was
    // interrupted.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        libc::write(told, b"!".as_ptr().cast(), 1);
        *errno = before;
    }
}

/// Returns a file from which a byte can be read for each SIGTERM, SIGINT or SIGHUP that comes from now on, in place of their
/// ending this process. Programs that are started have the usual handlers. To be called once.
///
/// # Errors
/// As `pipe2(2)` and `sigaction(2)`.
pub fn terminations() -> io::Result<std::fs::File> {
    let mut ends = [-1; 2];
    // SAFETY: the array has place for both descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given this descriptor to nobody else.
    let read = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    TERMINATED.store(ends[1], Ordering::Relaxed);
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        // SAFETY: a zeroed sigaction is one with no flags and an empty mask; the handler makes async-signal-safe calls only.
        let set = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = tell_termination as *const () as libc::sighandler_t;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut())
        };
        if set < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(read.into())
}

/// Points standard output at `/dev/null`, so that whoever read it sees its end.
///
/// # Errors
/// As `open(2)` and `dup2(2)`.
pub fn close_stdout() -> io::Result<()> {
    let null = std::fs::File::options().write(true).open("/dev/null")?;
    // SAFETY: both descriptors are open; standard output stays one, which is all that `std` relies on.
    if unsafe { libc::dup2(null.as_raw_fd(), libc::STDOUT_FILENO) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Makes standard error what `file` is.
///
/// # Errors
/// As `dup2(2)`.
pub fn point_stderr_at(file: &std::fs::File) -> io::Result<()> {
    // SAFETY: both descriptors are open; standard error stays one.
    if unsafe { libc::dup2(file.as_raw_fd(), libc::STDERR_FILENO) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A process that may end.
#[derive(Debug)]
pub struct Watched(OwnedFd);

/// Returns the process `pid`, to be waited for; it need not be ours.
///
/// # Errors
/// As `pidfd_open(2)`; `ESRCH` if it has ended.
pub fn watch(pid: u32) -> io::Result<Watched> {
    // SAFETY: the call takes two numbers.
    let opened = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match libc::c_int::try_from(opened) {
        // SAFETY: the kernel has just given this descriptor to nobody else.
        Ok(opened @ 0..) => Ok(Watched(unsafe { OwnedFd::from_raw_fd(opened) })),
        _ => Err(io::Error::last_os_error()),
    }
}

impl Watched {
    /// Waits until the process has ended, for so long at most. Returns whether it has.
    ///
    /// # Errors
    /// As `poll(2)`.
    pub fn wait(&self, limit: std::time::Duration) -> io::Result<bool> {
        wait_for(self.0.as_fd(), libc::POLLIN, limit)
    }
}

/// Waits until one of `events` of `poll(2)` is there, or an error, for so long at most. Returns whether it is.
pub(super) fn wait_for(descriptor: BorrowedFd<'_>, events: i16, limit: std::time::Duration) -> io::Result<bool> {
    let until = std::time::Instant::now() + limit;
    loop {
        let left = until.saturating_duration_since(std::time::Instant::now());
        let left = libc::c_int::try_from(left.as_millis()).unwrap_or(libc::c_int::MAX);
        let mut asked = libc::pollfd { fd: descriptor.as_raw_fd(), events, revents: 0 };
        // SAFETY: `asked` is one element, as is said, and outlives the call.
        match unsafe { libc::poll(&raw mut asked, 1, left) } {
            0 => return Ok(false),
            1.. => return Ok(true),
            _ => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => {}
                e => return Err(e),
            },
        }
    }
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
