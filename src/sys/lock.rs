//! Lock files and the processes that hold them.
//!
//! Promises: a lock file is a regular file, opened through no symbolic link, closed to every other user and to every
//! program that this process starts; opening one never waits. One that another user made is refused: he could hold it. A process is told by its number together with the moment at
//! which it started, since the kernel gives numbers anew. Never waits for a lock and never removes one.

use super::process::effective_ids;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown, lchown};
use std::path::Path;

/// Opens the file `path` of the user `owner` for reading and writing with mode 0600, whatever the umask; makes it where it is not there.
///
/// One that other users may open is closed to them first. What root makes is given to `owner`.
///
/// # Errors
/// As `open(2)`; `ELOOP` for a symbolic link; if it is no regular file, or belongs to neither `owner` nor us.
pub fn open_private_file(path: &Path, owner: u32) -> io::Result<File> {
    // O_NONBLOCK: a fifo would be waited for. `std` adds O_CLOEXEC.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut options = File::options();
    options.read(true).write(true).truncate(false).mode(0o600).custom_flags(flags);
    let (file, is_ours) = match options.create_new(true).open(path) {
        Ok(file) => (file, true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            (options.create_new(false).create(true).open(path)?, false)
        }
        Err(e) => return Err(e),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other(format!("{path:?} is {}", kind_of(metadata.file_type()))));
    }
    if is_to_be_given(path, &metadata, owner, is_ours)? {
        fchown(&file, Some(owner), None)?;
    }
    if metadata.mode() & 0o7777 != 0o600 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// Opens the regular file `path`, which is kept beside a catalog of the user `owner`, for writing at its end, through no symbolic link; makes
/// it with mode 0600 where it is not there. What everybody may do with one that is there, and others may write to it, is taken from them.
///
/// # Errors
/// As `open(2)`; if it is no regular file, has another name, too, or belongs to somebody else than `owner`, root and us.
pub fn open_to_append(path: &Path, owner: u32) -> io::Result<File> {
    let refused = |why: String| Err(io::Error::other(format!("it {why}; move it away if it is not yours")));
    // Before it is opened: what waits for nobody here may not be opened for writing either (ENXIO, EISDIR, ELOOP).
    match fs::symlink_metadata(path) {
        Ok(there) if !there.is_file() => return refused(format!("is {}", kind_of(there.file_type()))),
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut options = File::options();
    options.append(true).mode(0o600).custom_flags(flags);
    // Not with O_CREAT where there is one: in a folder like /tmp the kernel refuses that of others without a reason.
    let file = match options.open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => options.create_new(true).open(path)?,
        opened => opened?,
    };
    let metadata = file.metadata()?;
    let (has, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    match metadata.file_type() {
        kind if !kind.is_file() => return refused(format!("is {}", kind_of(kind))),
        _ if ![0, owner, effective_ids().0].contains(&has) => return refused(format!("belongs to user {has}")),
        _ if metadata.nlink() > 1 => return refused("has another name".to_owned()),
        _ => {}
    }
    if mode & !0o640 != 0 {
        file.set_permissions(Permissions::from_mode(mode & 0o640))?;
    }
    Ok(file)
}

/// Makes the directory `path` of the user `owner` with mode 0700, whatever the umask, where it is not there.
///
/// One that other users may enter is closed to them. What root makes is given to `owner`.
///
/// # Errors
/// As `mkdir(2)` and `chmod(2)`; `ENOTDIR` if it is something else, a symbolic link among them; if it belongs to neither `owner`
/// nor us.
pub fn make_private_folder(path: &Path, owner: u32) -> io::Result<()> {
    let is_ours = match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        made => made.is_ok(),
    };
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
    }
    if is_to_be_given(path, &metadata, owner, is_ours)? {
        lchown(path, Some(owner), None)?;
    }
    if metadata.mode() & 0o7777 != 0o700 {
        fs::set_permissions(path, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Refuses the directory `path`, which is kept beside a catalog of the user `owner`, where somebody else made it or everybody may write to
/// it, and where it is something else, a symbolic link among them. One that is not there is as good.
///
/// # Errors
/// With the reason; as `lstat(2)`.
pub fn expect_folder_of(path: &Path, owner: u32) -> io::Result<()> {
    let refused = |why: String| Err(io::Error::other(format!("it {why}; move it away if it is not yours")));
    let metadata = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    let has = metadata.uid();
    match metadata.file_type() {
        kind if kind.is_file() => refused("is no directory".to_owned()),
        kind if !kind.is_dir() => refused(format!("is {}", kind_of(kind))),
        _ if ![0, owner, effective_ids().0].contains(&has) => {
            refused(format!("belongs to user {has}, who could put there what he likes"))
        }
        _ if metadata.mode() & 0o002 != 0 => refused("can be written to by everybody".to_owned()),
        _ => Ok(()),
    }
}

/// Tells whether root made `path` a moment ago in place of `owner`. Refuses what neither he nor we made, and what root has that was there
/// before: `owner` may have given it this name to get it.
fn is_to_be_given(path: &Path, metadata: &fs::Metadata, owner: u32, is_ours: bool) -> io::Result<bool> {
    let (us, has) = (effective_ids().0, metadata.uid());
    match (has == owner, has == us && is_ours) {
        (true, _) => Ok(false),
        (false, true) => Ok(us == 0),
        (false, false) if has == us => Err(io::Error::other(format!(
            "{path:?} belongs to user {has}, and not to user {owner}, whose catalog it is"
        ))),
        (false, false) => Err(io::Error::other(format!("{path:?} belongs to user {has}, who could hold it"))),
    }
}

/// Returns in words what a file is that is neither a regular one nor a directory.
pub fn kind_of(kind: fs::FileType) -> &'static str {
    match kind {
        kind if kind.is_dir() => "a directory",
        kind if kind.is_fifo() => "a fifo",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_block_device() => "a block device",
        kind if kind.is_char_device() => "a character device",
        kind if kind.is_symlink() => "a symbolic link",
        _ => "no regular file",
    }
}

/// Tells whether `path` still names the open file `file`.
///
/// # Errors
/// As `fstat(2)` and `lstat(2)`.
pub fn is_still_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Takes a lock on the first byte of `file`, beside and apart from the `flock(2)` on the whole of it. Returns whether it was free.
///
/// It belongs to the open file, as a `flock` does (`F_OFD_SETLK`, fcntl(2)), and not to the process.
///
/// # Errors
/// As `fcntl(2)`.
pub fn try_lock_byte(file: &File) -> io::Result<bool> {
    match set_byte(file, libc::F_WRLCK) {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Lets go of the lock of [`try_lock_byte`].
///
/// # Errors
/// As `fcntl(2)`.
pub fn unlock_byte(file: &File) -> io::Result<()> {
    set_byte(file, libc::F_UNLCK)
}

/// Tells whether another open file holds a lock of any kind on the byte `at` of `file`. Takes none.
///
/// # Errors
/// As `fcntl(2)`; file systems that know no locks say so.
pub fn is_byte_locked(file: &File, at: u64) -> io::Result<bool> {
    let mut range = byte(at, libc::F_WRLCK)?;
    // SAFETY: `range` outlives the call, which writes to it; the descriptor is open for the whole of it.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut range) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(range.l_type != libc::F_UNLCK as libc::c_short)
}

fn byte(at: u64, kind: i32) -> io::Result<libc::flock> {
    // SAFETY: all-zero is a valid `flock`: a range from offset 0, and `l_pid` has to be 0.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = kind as libc::c_short;
    range.l_whence = libc::SEEK_SET as libc::c_short;
    range.l_start = i64::try_from(at).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    range.l_len = 1;
    Ok(range)
}

fn set_byte(file: &File, kind: i32) -> io::Result<()> {
    let range = byte(0, kind)?;
    // SAFETY: `range` outlives the call; the descriptor is open for the whole of it.
    let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const range) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Returns when the process `pid` started, in ticks since the machine did; none if there is no such process.
///
/// # Errors
/// If `/proc` cannot be read or has another form than proc_pid_stat(5) says.
pub fn started_at(pid: u32) -> io::Result<Option<u64>> {
    let text = match fs::read(format!("/proc/{pid}/stat")) {
        Ok(text) => text,
        // ESRCH: it ended between the opening and the reading.
        Err(e) if e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
        Err(e) => return Err(e),
    };
    // The name of the program, in brackets, may hold blanks and brackets of its own; field 22 is the start.
    let after_name = text.iter().rposition(|byte| *byte == b')').and_then(|at| text.get(at + 2..));
    let ticks = after_name.and_then(|fields| std::str::from_utf8(fields).ok()?.split(' ').nth(19)?.parse().ok());
    ticks.map(Some).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat has no start time")))
}

/// Returns the number of the namespace in which this process and others know each other by their numbers (pid_namespaces(7)).
///
/// # Errors
/// If `/proc` does not tell it.
pub fn pid_namespace() -> io::Result<u64> {
    fs::metadata("/proc/self/ns/pid").map(|metadata| metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn us() -> u32 {
        effective_ids().0
    }

    #[test]
    fn a_lock_file_is_closed_to_others_and_nothing_else_is_opened_as_one() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("open"), "").unwrap();
        fs::set_permissions(at("open"), Permissions::from_mode(0o666)).unwrap();
        for name in ["open", "new"] {
            assert_eq!(
                open_private_file(&at(name), us()).unwrap().metadata().unwrap().mode() & 0o7777,
                0o600,
                "{name}"
            );
        }
        std::os::unix::fs::symlink(at("open"), at("link")).unwrap();
        assert!(Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
        assert_eq!(open_private_file(&at("link"), us()).unwrap_err().raw_os_error(), Some(libc::ELOOP));
        assert_eq!(
            open_private_file(&at("fifo"), us()).unwrap_err().to_string(),
            format!("{:?} is a fifo", at("fifo"))
        );
    }

    #[test]
    fn a_folder_of_locks_is_closed_to_others_and_no_link_to_somewhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("open")).unwrap();
        fs::set_permissions(at("open"), Permissions::from_mode(0o777)).unwrap();
        for name in ["open", "new"] {
            make_private_folder(&at(name), us()).unwrap();
            assert_eq!(fs::metadata(at(name)).unwrap().mode() & 0o7777, 0o700, "{name}");
        }
        std::os::unix::fs::symlink(at("open"), at("link")).unwrap();
        assert_eq!(make_private_folder(&at("link"), us()).unwrap_err().raw_os_error(), Some(libc::ENOTDIR));
    }

    #[test]
    fn what_another_user_made_is_no_lock_and_what_root_makes_is_the_owners() {
        assert_eq!(us(), 0, "this test needs root");
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("folder")).unwrap();
        fs::write(at("file"), "").unwrap();
        for name in ["folder", "file"] {
            lchown(at(name), Some(1001), None).unwrap();
        }
        let refusal = |name| format!("{:?} belongs to user 1001, who could hold it", at(name));
        assert_eq!(open_private_file(&at("file"), 1000).unwrap_err().to_string(), refusal("file"));
        assert_eq!(make_private_folder(&at("folder"), 1000).unwrap_err().to_string(), refusal("folder"));
        open_private_file(&at("new file"), 1000).unwrap();
        make_private_folder(&at("new folder"), 1000).unwrap();
        for name in ["new file", "new folder"] {
            assert_eq!(fs::metadata(at(name)).unwrap().uid(), 1000, "{name}");
        }
    }

    #[test]
    fn a_folder_beside_a_catalog_is_its_owners_or_roots_and_no_link() {
        assert_eq!(us(), 0, "this test needs root");
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (name, owner, mode) in
            [("roots", 0, 0o700), ("his", 1000, 0o750), ("theirs", 1001, 0o700), ("all", 0, 0o1777)]
        {
            fs::create_dir(at(name)).unwrap();
            lchown(at(name), Some(owner), None).unwrap();
            fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
        }
        std::os::unix::fs::symlink(at("roots"), at("link")).unwrap();
        fs::write(at("file"), "").unwrap();
        for name in ["roots", "his", "none"] {
            expect_folder_of(&at(name), 1000).unwrap();
        }
        for (name, why) in [
            ("theirs", "belongs to user 1001, who could put there what he likes"),
            ("all", "can be written to by everybody"),
            ("link", "is a symbolic link"),
            ("file", "is no directory"),
        ] {
            let told = expect_folder_of(&at(name), 1000).unwrap_err().to_string();
            assert_eq!(told, format!("it {why}; move it away if it is not yours"), "{name}");
        }
    }

    #[test]
    fn a_log_is_ours_alone_and_nothing_else_is_written_to() {
        assert_eq!(us(), 0, "this test needs root");
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (name, owner, mode) in [("ours", 0, 0o666), ("group", 0, 0o640), ("theirs", 1001, 0o666), ("one", 0, 0o600)]
        {
            fs::write(at(name), "").unwrap();
            fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
            lchown(at(name), Some(owner), None).unwrap();
        }
        fs::hard_link(at("one"), at("two")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        std::os::unix::fs::symlink(at("ours"), at("link")).unwrap();
        assert!(Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
        for (name, mode) in [("ours", 0o640), ("group", 0o640), ("new", 0o600)] {
            assert_eq!(open_to_append(&at(name), 1000).unwrap().metadata().unwrap().mode() & 0o7777, mode, "{name}");
        }
        for (name, why) in [
            ("theirs", "belongs to user 1001"),
            ("one", "has another name"),
            ("folder", "is a directory"),
            ("link", "is a symbolic link"),
            ("fifo", "is a fifo"),
        ] {
            let told = open_to_append(&at(name), 1000).unwrap_err().to_string();
            assert_eq!(told, format!("it {why}; move it away if it is not yours"), "{name}");
        }
        open_to_append(&at("theirs"), 1001).unwrap();
    }

    #[test]
    fn the_byte_is_locked_by_one_open_file_at_a_time() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (one, other) =
            (open_private_file(file.path(), us()).unwrap(), open_private_file(file.path(), us()).unwrap());
        one.lock().unwrap();
        assert!(try_lock_byte(&other).unwrap(), "the lock on the whole file is another one");
        assert!(!try_lock_byte(&one).unwrap());
        unlock_byte(&other).unwrap();
        assert!(try_lock_byte(&one).unwrap());
    }

    #[test]
    fn a_process_started_once_and_has_no_start_after_its_end() {
        let ours = started_at(std::process::id()).unwrap().expect("we run");
        let mut child = Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        assert!(started_at(pid).unwrap().expect("it runs") >= ours);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(started_at(pid).unwrap(), None);
    }
}
