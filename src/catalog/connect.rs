//! Opens SQLite the way the catalog needs it: read-only or writing, with planning fixed. Makes catalogs.
//!
//! Promises: a reader never changes a file; an older format is refused, but for whoever brings it up to date; a new catalog is
//! whole and on the disk before it has its name. What is made beside a catalog is closed to other users,
//! whatever the umask, but for the group of a catalog that its group may read. A catalog on a network file system is refused. Statements are planned once
//! (`SQLITE_DBCONFIG_ENABLE_QPSG`: without it SQLite's STAT4 plans a range query anew at every use, 4.0 us instead
//! of 0.5). Never opens a catalog but through SQLite: closing another descriptor of it would end SQLite's locks. Never maps it
//! (`mmap_size` is 0, SQLite's default): where a page cannot be read, or a `cp` over the catalog cuts it short, SQLite has an error to tell,
//! and a mapping SIGBUS, the end of every mount. A cold `find` on 34,600 names would take 0.68 of native for 0.80, on a million 0.80 for 0.82.

use super::error::{Doing, Error, OPENING};
use super::files::{
    MANIFESTS, SIDE_FILES, beside, folder_of, is_there, remove_if_there, remove_with_side_files, sync_folder,
};
use super::lock::CatalogLock;
use super::schema;
use crate::sys::filesystem::{self, Writable};
use crate::sys::{group, lock, process};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, FileControl, OpenFlags};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many statements a connection keeps prepared; all of the reader's and the writer's fit.
const STATEMENTS: usize = 96;

const CREATING: Doing = Doing { with: "creating", inside: "creating tables" };

/// Opens an existing catalog of the present format for reading.
pub(super) fn open_read_only(path: &Path) -> Result<Connection, Error> {
    match open_any_format(path)? {
        (connection, schema::FORMAT) => Ok(connection),
        (_, found) => Err(Error::TooOld { path: path.to_owned(), found, wanted: schema::FORMAT }),
    }
}

/// Refuses a catalog that cannot be written, before anything is made beside it; returns its format.
pub(super) fn check_writable(path: &Path) -> Result<i64, Error> {
    check_file(path)?;
    let owner = fs::metadata(path).map_err(|e| OPENING.io(path, e))?.uid();
    check_manifests(path, owner).map_err(|e| OPENING.io(path, e))?;
    match folder_is(path)? {
        Writable::NotHere | Writable::Nowhere => return Err(Error::ReadOnly { path: path.to_owned() }),
        Writable::Yes | Writable::NotByUs => {}
    }
    open_any_format(path).map(|(_, format)| format)
}

/// Opens an existing catalog of the present format for writing.
pub(super) fn open_writing(path: &Path, _locked: &CatalogLock) -> Result<Connection, Error> {
    let (connection, format) = open_any_writing(path)?;
    if format != schema::FORMAT {
        return Err(Error::TooOld { path: path.to_owned(), found: format, wanted: schema::FORMAT });
    }
    set_log(&connection, path)?;
    // 16,384 pages of 4 KiB: the log is folded back every 64 MiB and not every 4.
    keep_log_for_group(&connection, path)?;
    connection
        .execute_batch("PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 16384; PRAGMA cache_size = -65536; PRAGMA foreign_keys = ON;")
        .map_err(|e| OPENING.sqlite(path, e))?;
    Ok(connection)
}

/// Opens an existing catalog of any format for writing, as whoever brings it up to date wants it, and returns its format.
pub(super) fn open_any_writing(path: &Path) -> Result<(Connection, i64), Error> {
    check_file(path)?;
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(|e| OPENING.sqlite(path, e))?;
    let format = schema::check(&connection, path)?;
    Ok((connection, format))
}

/// Gives a catalog its log again that a backup (`VACUUM INTO`) was put back as: without one, what a killed run leaves stops every reader.
/// While somebody reads it, that is for the next writer.
fn set_log(connection: &Connection, path: &Path) -> Result<(), Error> {
    let mode = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0));
    if mode("PRAGMA journal_mode").map_err(|e| OPENING.sqlite(path, e))? == "wal" {
        return Ok(());
    }
    match mode("PRAGMA journal_mode = WAL") {
        Err(e) if e.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) => Err(OPENING.sqlite(path, e)),
        _ => Ok(()),
    }
}

/// Has SQLite leave its log and its shared memory where the group of the catalog may read it: whoever may make no files beside it could
/// not open it while nobody else has.
fn keep_log_for_group(connection: &Connection, path: &Path) -> Result<(), Error> {
    let metadata = fs::metadata(path).map_err(|e| OPENING.io(path, e))?;
    if group::reader_of(&metadata).is_none() {
        return Ok(());
    }
    // Those that are there since before it was opened to its group.
    for file in ["-wal", "-shm"].map(|end| beside(path, end)) {
        match File::open(&file).and_then(|file| group::let_read(&file, group::reader_of(&metadata))) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(OPENING.io(&file, e)),
            _ => {}
        }
    }
    // The log that stays is an empty one.
    connection.execute_batch("PRAGMA journal_size_limit = 0").map_err(|e| OPENING.sqlite(path, e))?;
    connection.file_control(None::<&str>, FileControl::PersistWal(&mut 1)).map_err(|e| OPENING.sqlite(path, e))
}

/// Makes a new catalog, which its owner alone may read, and the group `gid` where there is one.
pub(super) fn create(path: &Path, gid: Option<u32>) -> Result<(), Error> {
    let io = |e| CREATING.io(path, e);
    refuse_taken(path)?;
    refuse_old_log(path)?;
    check_manifests(path, process::effective_ids().0).map_err(io)?;
    if let Some(filesystem) = filesystem::network_filesystem(folder_of(path)).map_err(io)? {
        return Err(Error::NetworkFilesystem { path: path.to_owned(), filesystem });
    }
    // Built under another name: a killed `init` leaves no half catalog behind.
    let draft = beside(path, ".new");
    let ours = hold_draft(&draft).map_err(io)?;
    // Somebody else may have been faster.
    let made = refuse_taken(path).and_then(|()| create_draft(&draft, &ours, path, gid));
    if made.is_err() {
        // The error that is told is the first one.
        let _ = remove_with_side_files(&draft);
    }
    made?;
    if gid.is_some() {
        let (connection, _) = open_any_writing(path)?;
        keep_log_for_group(&connection, path)?;
    }
    Ok(())
}

/// Refuses to make a catalog beside the log or the journal of one that was here: SQLite would take that for its own. A log may hold the
/// last generations of the other one, so it is for the admin to move away.
///
/// # Errors
/// [`Error::Io`].
pub fn refuse_old_log(path: &Path) -> Result<(), Error> {
    let io = |e| CREATING.io(path, e);
    for log in ["-wal", "-journal"].map(|ending| beside(path, ending)) {
        if is_there(&log).map_err(io)? {
            let why = format!("{log:?} is still there, of a catalog that was here; move it away");
            return Err(io(io::Error::other(why)));
        }
    }
    Ok(())
}

/// Refuses a path at which there is something.
fn refuse_taken(path: &Path) -> Result<(), Error> {
    let io = |e| CREATING.io(path, e);
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Err(Error::Exists { path: path.to_owned() }),
        Ok(metadata) => Err(not_a_catalog(path, lock::kind_of(metadata.file_type()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound && is_there(path).map_err(io)? => {
            Err(io(io::Error::other("it is a symbolic link to something that is not there")))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(io(e)),
    }
}

/// Makes the empty file `draft`, locked: of two that make one catalog at once the second is refused.
fn hold_draft(draft: &Path) -> io::Result<File> {
    let taken = || io::Error::other("somebody else makes it at this moment");
    let file = lock::open_private_file(draft, process::effective_ids().0)?;
    match file.try_lock() {
        Err(fs::TryLockError::WouldBlock) => return Err(taken()),
        locked => locked?,
    }
    // It may be the catalog by now, or removed.
    if !lock::is_still_at(&file, draft)? {
        return Err(taken());
    }
    for ending in SIDE_FILES {
        remove_if_there(&beside(draft, ending))?;
    }
    file.set_len(0)?;
    Ok(file)
}

fn create_draft(draft: &Path, file: &File, path: &Path, gid: Option<u32>) -> Result<(), Error> {
    let io = |e| CREATING.io(path, e);
    let sqlite = |e| CREATING.sqlite(path, e);
    let connection = connect(draft, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(sqlite)?;
    schema::create(&connection).map_err(sqlite)?;
    // Closing the connection does this too, and says nothing when there is no room for it.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(sqlite)?;
    connection.close().map_err(|(_, e)| sqlite(e))?;
    file.sync_all().map_err(io)?;
    // Whoever opens it needs room for SQLite's shared memory, too.
    let connection = connect(draft, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(sqlite)?;
    schema::check(&connection, path)?;
    let words: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(sqlite)?;
    connection.close().map_err(|(_, e)| sqlite(e))?;
    if words != "ok" {
        return Err(io(io::Error::other(format!("what was written is damaged: {words}"))));
    }
    if is_there(&beside(draft, "-wal")).map_err(io)? {
        return Err(io(io::Error::other("its log was not written back")));
    }
    group::let_read(file, gid).map_err(io)?;
    fs::rename(draft, path).map_err(io)?;
    sync_folder(path).map_err(|e| {
        let _ = fs::remove_file(path);
        io(e)
    })
}

/// Opens an existing catalog of any format that can be brought up to date, for reading, and returns its format.
pub(super) fn open_any_format(path: &Path) -> Result<(Connection, i64), Error> {
    check_file(path)?;
    let connection = match connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY) {
        Err(e) if is_refused_beside(&e) => open_where_nothing_can_be_made(path, e)?,
        opened => opened.map_err(|e| OPENING.sqlite(path, e))?,
    };
    let format = schema::check(&connection, path)?;
    Ok((connection, format))
}

/// Tells whether SQLite could not make its shared memory, which it needs while nobody else has the catalog open.
fn is_refused_beside(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

fn open_where_nothing_can_be_made(path: &Path, error: rusqlite::Error) -> Result<Connection, Error> {
    let refuse = |why| Err(Error::Unreadable { path: path.to_owned(), why });
    match folder_is(path)? {
        Writable::Yes => Err(OPENING.sqlite(path, error)),
        Writable::NotByUs => refuse("nobody has it open, and this user may not make files beside it"),
        Writable::NotHere => {
            refuse("nobody has it open, and its file system, which can be written elsewhere, is mounted read-only here")
        }
        Writable::Nowhere => {
            let real = fs::canonicalize(path).map_err(|e| OPENING.io(path, e))?;
            // Only the log is of interest: shared memory is made from it.
            match fs::metadata(beside(&real, "-wal")) {
                Ok(log) if log.len() > 0 => {
                    refuse("its file system is read-only, and a part of it is in its log (-wal) only")
                }
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(OPENING.io(path, e)),
                _ => open_immutable(&real).map_err(|e| OPENING.sqlite(path, e)),
            }
        }
    }
}

fn folder_is(path: &Path) -> Result<Writable, Error> {
    let io = |e| OPENING.io(path, e);
    let real = fs::canonicalize(path).map_err(io)?;
    filesystem::writable(folder_of(&real)).map_err(io)
}

/// Opens a catalog that nobody changes, without its log, locks or shared memory.
pub(super) fn open_immutable(path: &Path) -> rusqlite::Result<Connection> {
    let mut uri = b"file:".to_vec();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(*byte),
            byte if byte.is_ascii_alphanumeric() => uri.push(*byte),
            byte => uri.extend(format!("%{byte:02X}").bytes()),
        }
    }
    uri.extend(b"?immutable=1");
    let uri = PathBuf::from(std::ffi::OsString::from_vec(uri));
    connect(&uri, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)
}

/// Refuses what cannot be a database, in words that SQLite has not.
fn check_file(path: &Path) -> Result<(), Error> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {
            check_side_files(path, metadata.uid())?;
            filesystem::may_read(path).map_err(|e| OPENING.io(path, e))
        }
        Ok(metadata) => Err(not_a_catalog(path, lock::kind_of(metadata.file_type()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Error::Missing { path: path.to_owned() }),
        Err(e) => Err(OPENING.io(path, e)),
    }
}

/// Refuses what has the name of a file that SQLite keeps beside a database and cannot be one: SQLite would wait for a fifo, and gives a
/// file to the owner of the database, whosever it is.
fn check_side_files(path: &Path, owner: u32) -> Result<(), Error> {
    let real = fs::canonicalize(path).map_err(|e| OPENING.io(path, e))?;
    for file in SIDE_FILES.map(|ending| beside(&real, ending)) {
        let why = match fs::symlink_metadata(&file) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(OPENING.io(path, e)),
            Ok(metadata) if !metadata.is_file() => format!("is {}", lock::kind_of(metadata.file_type())),
            Ok(metadata) if metadata.nlink() > 1 => "has another name".to_owned(),
            Ok(metadata) if metadata.uid() != owner => {
                format!("belongs to user {}, and the catalog to user {owner}", metadata.uid())
            }
            Ok(_) => continue,
        };
        return Err(
            OPENING.io(path, io::Error::other(format!("{file:?} {why}; move it away if it is not the catalog's")))
        );
    }
    Ok(())
}

/// Refuses a folder of manifests beside the catalog that somebody else made: what he puts there says which commands are run once the catalog
/// has to be made again.
fn check_manifests(path: &Path, owner: u32) -> io::Result<()> {
    let folder = beside(path, MANIFESTS);
    lock::expect_folder_of(&folder, owner).map_err(|e| io::Error::other(format!("cannot use {folder:?}: {e}")))
}

fn not_a_catalog(path: &Path, found: &str) -> Error {
    Error::NotACatalog { path: path.to_owned(), found: found.to_owned() }
}

/// Opens a database that is there, and reads from it.
pub(super) fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // A catalog of ours has none: one that somebody else made runs nothing of its own.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.busy_timeout(Duration::from_secs(10))?;
    // SQLite opens nothing before the first question.
    connection.query_row("PRAGMA application_id", [], |_| Ok(()))?;
    Ok(connection)
}
