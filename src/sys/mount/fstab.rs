//! What should be mounted: fstab(5).
//!
//! Promises: reads `/etc/fstab` and the table of mounts, and asks no mounted file system anything.

use super::{mounts, unescape};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Returns where `/etc/fstab` mounts a file system on the way to `path`, an absolute one, and where none is mounted now; the nearest of
/// them. What cannot be read has none.
pub fn absent_above(path: &Path) -> Option<PathBuf> {
    let table = std::fs::read("/etc/fstab").ok()?;
    let mounted: Vec<PathBuf> = mounts().ok()?.into_iter().map(|mounted| mounted.dir).collect();
    nearest_absent(path, &dirs_in_fstab(&table), &mounted)
}

fn nearest_absent(path: &Path, wanted: &[PathBuf], mounted: &[PathBuf]) -> Option<PathBuf> {
    let mut there = path.ancestors().filter(|dir| wanted.iter().chain(mounted).any(|known| known == dir));
    there.next().filter(|dir| !mounted.iter().any(|known| known == dir)).map(Path::to_owned)
}

/// Returns the second fields of fstab(5); what is no directory (swap has `none`) is left out.
fn dirs_in_fstab(table: &[u8]) -> Vec<PathBuf> {
    let lines = table.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii_start().starts_with(b"#"));
    let second = |line: &[u8]| {
        let field = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()).nth(1)?;
        Some(PathBuf::from(OsString::from_vec(unescape(field)))).filter(|dir| dir.is_absolute())
    };
    lines.filter_map(second).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fstab_mounts_on_the_way_to_a_path_and_is_not_mounted_is_found() {
        let table = b"# /dev/x /old ext4\n/dev/a / ext4 defaults 0 1\nUUID=1\t/mnt/big\\040disk\txfs\tnofail 0 2\n/dev/s none swap\n\n";
        let wanted = dirs_in_fstab(table);
        assert_eq!(wanted, ["/", "/mnt/big disk"].map(PathBuf::from));
        let absent = |path: &str, mounted: &[&str]| {
            nearest_absent(Path::new(path), &wanted, &mounted.iter().map(PathBuf::from).collect::<Vec<_>>())
        };
        assert_eq!(absent("/mnt/big disk/asof/c.db", &["/"]), Some(PathBuf::from("/mnt/big disk")));
        assert_eq!(absent("/mnt/big disk/asof/c.db", &["/", "/mnt/big disk"]), None);
        assert_eq!(absent("/mnt/big disk/other/c.db", &["/", "/mnt/big disk/other"]), None);
        assert_eq!(absent("/var/c.db", &["/"]), None);
    }
}
