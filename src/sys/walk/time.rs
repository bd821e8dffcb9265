//! The clocks by which file systems stamp files and by which they do not.
//! Source: `clock_gettime(2)`.

use crate::model::Timestamp;

/// Returns the time as file systems stamp it: the clock of the kernel's last tick (`CLOCK_REALTIME_COARSE`),
/// up to 10 ms behind the real time, so that a file written after this call never looks older.
pub fn stamp_clock() -> Timestamp {
    clock(libc::CLOCK_REALTIME_COARSE)
}

/// Returns the real time.
pub fn real_clock() -> Timestamp {
    clock(libc::CLOCK_REALTIME)
}

fn clock(id: libc::clockid_t) -> Timestamp {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` has room for one `timespec`; both clocks exist since Linux 2.6.32, so it cannot fail.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    Timestamp { seconds: time.tv_sec, nanos: time.tv_nsec as u32 }
}
