//! `restore_path`: below a mount it opens exactly what its row tells of, whatever the bytes of the name.
//!
//! Needs root and `/dev/fuse`.

use super::{HOMES, history};
use rusqlite::{Connection, OpenFlags};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

/// The kind, size, time, rights and owner of a row.
type Told = (String, i64, i64, i64, String, u32, u32);

#[test]
fn restore_path_opens_what_its_row_tells_of_in_files_versions_and_deleted() {
    let site = history();
    let mounted = site.mount(&[]);
    let c = Connection::open_with_flags(site.path("catalog.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a catalog");
    let mut odd = 0;
    for view in ["files WHERE NOT unknown", "versions"] {
        let columns = "restore_path, restore_path_raw, kind, size_bytes, mtime_unix, mtime_ns, mode, uid, gid";
        let mut statement = c.prepare(&format!("SELECT {columns} FROM {view}")).expect("a question");
        let mut rows = statement.query([]).expect("an answer");
        let mut count = 0;
        while let Some(row) = rows.next().expect("a row") {
            let (text, raw): (String, Vec<u8>) = (row.get(0).unwrap(), row.get(1).unwrap());
            odd += usize::from(text.as_bytes() != raw);
            let path = mounted.join(OsStr::from_bytes(&raw));
            let told: Told = (
                row.get(2).unwrap(),
                row.get(3).unwrap(),
                row.get(4).unwrap(),
                row.get(5).unwrap(),
                row.get(6).unwrap(),
                row.get(7).unwrap(),
                row.get(8).unwrap(),
            );
            let stat = fs::symlink_metadata(&path).unwrap_or_else(|e| panic!("{view}: {text}: {e}"));
            let kind = match stat.mode() & libc_kind::MASK {
                libc_kind::DIRECTORY => "directory",
                libc_kind::LINK => "symlink",
                libc_kind::FIFO => "fifo",
                _ => "file",
            };
            let mode = format!("{:04o}", stat.mode() & 0o7777);
            let size = i64::try_from(stat.size()).unwrap();
            let found: Told = (kind.to_owned(), size, stat.mtime(), stat.mtime_nsec(), mode, stat.uid(), stat.gid());
            assert_eq!(found, told, "{view}: {text}");
            // Of the copies of `homes` the bytes are where they were.
            if let Some(below) = text.strip_prefix('@').and_then(|text| text.split_once("/homes/"))
                && kind == "file"
            {
                let day = HOMES.iter().find(|day| below.0.starts_with(**day)).expect("a day");
                let rest = &raw["@2026-11-18T000000Z/homes/".len()..];
                let copy = site.path("copies").join(day).join(OsStr::from_bytes(rest));
                assert_eq!(fs::read(&path).unwrap(), fs::read(copy).unwrap(), "{view}: {text}");
            }
            count += 1;
        }
        assert!(count > 60, "{view}: {count} rows");
    }
    assert!(odd >= 6, "{odd} names that are not plain text");
    let mut statement = c.prepare("SELECT restore_path_raw, size_bytes FROM deleted").expect("a question");
    let gone = statement.query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))).unwrap();
    for row in gone {
        let (raw, size) = row.unwrap();
        let stat = fs::symlink_metadata(mounted.join(OsStr::from_bytes(&raw))).expect("it is there");
        assert_eq!(i64::try_from(stat.size()).unwrap(), size, "{}", String::from_utf8_lossy(&raw));
    }
}

/// Bits of `st_mode`.
mod libc_kind {
    pub(super) const MASK: u32 = 0o170_000;
    pub(super) const DIRECTORY: u32 = 0o040_000;
    pub(super) const LINK: u32 = 0o120_000;
    pub(super) const FIFO: u32 = 0o010_000;
}
