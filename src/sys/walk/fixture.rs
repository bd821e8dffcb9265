//! What tests of a walk need and `std` does not offer.
//! Names and values are bytes; a call that fails ends the test.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fn c(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("a path of a test has no zero byte")
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Tells whether the tests run with the rights that some of them need, and says so if not.
pub(crate) fn is_root() -> bool {
    // SAFETY: it takes nothing and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        eprintln!("SKIPPED, needs root: {}", std::thread::current().name().unwrap_or("a test"));
    }
    root
}

pub(crate) fn make_node(path: &Path, mode: u32, major: u32, minor: u32) {
    // SAFETY: the path is zero-terminated and outlives the call.
    done(unsafe { libc::mknod(c(path).as_ptr(), mode, libc::makedev(major, minor)) }).unwrap();
}

pub(crate) fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    let name = CString::new(name).unwrap();
    // SAFETY: path and name are zero-terminated, the value has the length passed.
    done(unsafe { libc::lsetxattr(c(path).as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) }).unwrap();
}

/// Has each of two files have the name of the other from now on.
pub(crate) fn exchange(one: &Path, other: &Path) {
    let (one, other) = (c(one), c(other));
    // SAFETY: both paths are zero-terminated and outlive the call.
    done(unsafe {
        libc::renameat2(libc::AT_FDCWD, one.as_ptr(), libc::AT_FDCWD, other.as_ptr(), libc::RENAME_EXCHANGE)
    })
    .unwrap();
}

/// Runs `body` while another thread does `again` over and over.
pub(crate) fn while_another_does(again: impl Fn() + Sync, body: impl FnOnce()) {
    let ended = std::sync::atomic::AtomicBool::new(false);
    let order = std::sync::atomic::Ordering::Relaxed;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(order) {
                again();
            }
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        ended.store(true, order);
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Runs `body` on a thread of its own whose mounts vanish with it.
pub(crate) fn in_own_mounts<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: it takes a flag only and concerns this thread and those that it starts.
            done(unsafe { libc::unshare(libc::CLONE_NEWNS) }).unwrap();
            mount("none", Path::new("/"), "", libc::MS_REC | libc::MS_PRIVATE);
            body()
        });
        thread.join().unwrap()
    })
}

pub(crate) fn bind(from: &Path, to: &Path) {
    mount(from.to_str().unwrap(), to, "", libc::MS_BIND);
}

pub(crate) fn mount_tmpfs(on: &Path) {
    mount("none", on, "tmpfs", 0);
}

fn mount(from: &str, to: &Path, kind: &str, flags: libc::c_ulong) {
    let (from, kind) = (CString::new(from).unwrap(), CString::new(kind).unwrap());
    // SAFETY: all three strings are zero-terminated and outlive the call; no data is passed.
    done(unsafe { libc::mount(from.as_ptr(), c(to).as_ptr(), kind.as_ptr(), flags, std::ptr::null()) }).unwrap();
}

/// Runs `body` on a thread of its own that is the user "nobody", without capabilities.
pub(crate) fn as_nobody<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: the raw call takes numbers and changes this thread only, unlike the C library's.
            let result = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
            assert_eq!(result, 0);
            body()
        });
        thread.join().unwrap()
    })
}
