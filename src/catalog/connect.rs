//! Opens SQLite the way the catalog needs it: read-only or writing, with planning fixed.
//!
//! Promises: a reader never creates or changes a file; a catalog on a network file system is refused;
//! statements are planned once (`SQLITE_DBCONFIG_ENABLE_QPSG`: without it SQLite's STAT4 plans a range
//! query anew at every use, 4.0 us instead of 0.5).

use super::{CatalogLock, Error, LockWait, beside, schema};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// How many statements a connection keeps prepared; all of the reader's and the writer's fit.
const STATEMENTS: usize = 96;

/// Opens an existing catalog for reading; brings an older format up to date.
pub(super) fn open_read_only(path: &Path) -> Result<Connection, Error> {
    check_file(path)?;
    let sqlite = |doing| move |e| Error::sqlite(doing, path, e);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sqlite("opening"))?;
    set_up(&connection).map_err(sqlite("opening"))?;
    if schema::check(&connection, path)? < schema::FORMAT {
        drop(connection);
        bring_up_to_date(path)?;
        return open_read_only(path);
    }
    Ok(connection)
}

/// Brings a catalog of an older format to the present one, as the first program that opens it has to.
fn bring_up_to_date(path: &Path) -> Result<(), Error> {
    let _lock = CatalogLock::acquire(path, &LockWait::refuse(""))?;
    drop(open_writing(path)?);
    Ok(())
}

/// Opens an existing catalog for writing; brings an older format up to date.
pub(super) fn open_writing(path: &Path) -> Result<Connection, Error> {
    check_file(path)?;
    let sqlite = |doing| move |e| Error::sqlite(doing, path, e);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sqlite("opening"))?;
    set_up(&connection).map_err(sqlite("opening"))?;
    schema::check(&connection, path)?;
    schema::migrate(&connection, path)?;
    // 16,384 pages of 4 KiB: the log is folded back every 64 MiB and not every 4.
    connection
        .execute_batch("PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 16384; PRAGMA cache_size = -65536; PRAGMA foreign_keys = ON;")
        .map_err(sqlite("opening"))?;
    Ok(connection)
}

/// Makes a new catalog.
pub(super) fn create(path: &Path) -> Result<(), Error> {
    if path.exists() {
        return Err(Error::Exists { path: path.to_owned() });
    }
    // SQLite would take the log of a catalog that was here for that of the new one. It may hold the last generations
    // of it, so it is for the admin to move away.
    let log = beside(path, "-wal");
    if log.exists() {
        let source = std::io::Error::other(format!("{log:?} is still there, of a catalog that was here; move it away"));
        return Err(Error::Io { doing: "creating", path: path.to_owned(), source });
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Some(filesystem) = crate::sys::filesystem::network_filesystem(folder).map_err(|source| Error::Io {
        doing: "creating",
        path: path.to_owned(),
        source,
    })? {
        return Err(Error::NetworkFilesystem { path: path.to_owned(), filesystem });
    }
    // Built under another name: a killed `init` leaves no half catalog behind.
    let draft = beside(path, ".new");
    remove_draft(&draft);
    let made = create_draft(&draft, path);
    if made.is_err() {
        remove_draft(&draft);
    }
    made
}

fn create_draft(draft: &Path, path: &Path) -> Result<(), Error> {
    let io = |source| Error::Io { doing: "creating", path: path.to_owned(), source };
    let sqlite = |e| Error::sqlite("creating tables", path, e);
    // Not by SQLite, whose "unable to open database file" does not say why.
    drop(std::fs::File::create_new(draft).map_err(io)?);
    let connection = Connection::open(draft).map_err(sqlite)?;
    schema::create(&connection).map_err(sqlite)?;
    connection.close().map_err(|(_, e)| sqlite(e))?;
    std::fs::rename(draft, path).map_err(io)
}

/// Removes what an `init` left that was killed or failed; what cannot be removed shows when it is made anew.
fn remove_draft(draft: &Path) {
    for file in [draft, &beside(draft, "-wal"), &beside(draft, "-shm")] {
        let _ = std::fs::remove_file(file);
    }
}

/// Refuses what cannot be a database, in words that SQLite has not.
fn check_file(path: &Path) -> Result<(), Error> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            Err(Error::NotACatalog { path: path.to_owned(), found: "a directory".to_owned() })
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(Error::Missing { path: path.to_owned() }),
        Err(source) => Err(Error::Io { doing: "opening", path: path.to_owned(), source }),
        Ok(_) => Ok(()),
    }
}

fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.busy_timeout(Duration::from_secs(10))
}
