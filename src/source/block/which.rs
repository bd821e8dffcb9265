//! Which disk of a guest an image is of, where its name tells.
//!
//! Promises: pure. A name that has no word for a disk tells nothing; one that has is believed only where nothing in the image says it.

use super::discover;
use crate::source::Error;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Returns the disks that images in `folders` are of, as far as the names of the files and of their folders tell. Opens nothing.
///
/// # Errors
/// Those of listing a folder.
pub fn disks_of_names(folders: &[PathBuf]) -> Result<BTreeSet<String>, Error> {
    let mut disks = BTreeSet::new();
    for folder in discover::folders_of_disks(folders)?.folders {
        let below = if folders.contains(&folder) { None } else { folder.file_name().and_then(OsStr::to_str) };
        for file in discover::files(std::slice::from_ref(&folder), |_| false)?.files {
            let is_image = discover::is_named_raw(&file) || discover::is_named_image(&file) || is_stream(&file);
            disks.extend(below.map(str::to_owned).or_else(|| disk_of_name(&file)).filter(|_| is_image));
        }
    }
    Ok(disks)
}

/// Tells whether a file is called as virtnbdbackup calls its streams.
fn is_stream(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "data")
}

/// Returns the disk that the name of an image has a word for: `vda` in `db01-vda-2026-11-20.raw`, `disk-1` in `vm-100-disk-1.qcow2`.
pub fn disk_of_name(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_str()?;
    let words: Vec<&str> = stem.split(|letter: char| !letter.is_ascii_alphanumeric()).collect();
    words.iter().enumerate().find_map(|(at, word)| match *word {
        "disk" => {
            let number = words.get(at + 1).filter(|next| is_number(next) && next.len() <= 2)?;
            Some(format!("disk-{number}"))
        }
        word if is_disk(word) => Some(word.to_owned()),
        _ => None,
    })
}

/// Words of names that say when or how an image was made, and not of what.
const NO_NAMES: [&str; 49] = [
    "full",
    "inc",
    "incr",
    "increment",
    "incremental",
    "diff",
    "differential",
    "level",
    "backup",
    "bak",
    "copy",
    "snap",
    "snapshot",
    "dump",
    "image",
    "img",
    "disk",
    "raw",
    "base",
    "overlay",
    "top",
    "chain",
    "part",
    "hourly",
    "daily",
    "weekly",
    "monthly",
    "yearly",
    "day",
    "week",
    "month",
    "year",
    "night",
    "gen",
    "generation",
    "latest",
    "current",
    "last",
    "new",
    "old",
    "before",
    "after",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];
/// The same, as they begin names of days and months.
const SHORT: [&str; 19] = [
    "mon", "tue", "wed", "thu", "fri", "sat", "sun", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep",
    "oct", "nov", "dec",
];

/// Returns the guest or disk that the name of an image tells beside dates and words for ways of backing up: `web01` in
/// `web01-20261120.full.qcow2`. None: it tells none.
pub fn guest_of_name(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_str()?;
    let is_name = |word: &&str| {
        let bare = word.trim_end_matches(|letter: char| letter.is_ascii_digit()).to_ascii_lowercase();
        // One letter may be a T between a date and a time, a week, a version.
        bare.len() > 1
            && word.starts_with(|first: char| first.is_alphabetic())
            && !NO_NAMES.contains(&bare.as_str())
            && !SHORT.contains(&bare.as_str())
    };
    let words: Vec<&str> = stem.split(|letter: char| !letter.is_alphanumeric()).filter(is_name).collect();
    (!words.is_empty()).then(|| words.join("-"))
}

/// Tells whether a name has a word in it.
pub fn has_word(path: &Path, word: &str) -> bool {
    let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
    let words = |text: &str| -> Vec<String> {
        text.split(|letter: char| !letter.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect()
    };
    let (names, wanted) = (words(stem), words(word));
    !wanted.is_empty() && names.windows(wanted.len()).any(|some| some == wanted)
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// Tells whether a word is what Linux, libvirt or Proxmox calls a disk.
fn is_disk(word: &str) -> bool {
    let lettered = ["xvd", "vd", "sd", "hd"]
        .iter()
        .find_map(|start| word.strip_prefix(start))
        .is_some_and(|rest| (1..=2).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_lowercase()));
    let numbered = ["disk", "virtio", "scsi", "sata", "ide"].iter().find_map(|start| word.strip_prefix(start));
    let nvme = word.strip_prefix("nvme").and_then(|rest| rest.split_once('n'));
    lettered
        || numbered.is_some_and(|rest| is_number(rest) && rest.len() <= 2)
        || nvme.is_some_and(|(controller, space)| is_number(controller) && is_number(space))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_tell_a_guest_beside_dates_and_ways_of_backing_up() {
        let told = |name: &str| guest_of_name(Path::new(name));
        for (name, guest) in [
            ("/i/web01.img", "web01"),
            ("/i/web01-20261120.full.qcow2", "web01"),
            ("/i/mail_server-2026-11-20T0200.raw", "mail-server"),
            ("/i/db01.daily.3.raw", "db01"),
        ] {
            assert_eq!(told(name).as_deref(), Some(guest), "{name}");
        }
        for name in [
            "/i/2026-11-20.raw",
            "/i/full.qcow2",
            "/i/inc3.qcow2",
            "/i/monday.raw",
            "/i/a.raw",
            "/i/20-Nov-2026.img",
            "/i/week47.raw",
            "/i/disk.raw",
        ] {
            assert_eq!(told(name), None, "{name}");
        }
        assert!(
            has_word(Path::new("/i/Web01-2026.raw"), "web01")
                && has_word(Path::new("/i/mail_server.raw"), "mail-server")
        );
        assert!(!has_word(Path::new("/i/web012.raw"), "web01") && !has_word(Path::new("/i/web01.raw"), ""));
    }

    #[test]
    fn a_word_of_a_name_may_be_a_disk() {
        let told = |name: &str| disk_of_name(Path::new(name));
        for (name, disk) in [
            ("/i/vda.raw", "vda"),
            ("/i/db01-vdb-2026-11-20T0200.qcow2", "vdb"),
            ("/i/xvda.full.data", "xvda"),
            ("/i/sda.inc.3.qcow2", "sda"),
            ("/i/vm-100-disk-1.qcow2", "disk-1"),
            ("/i/disk0-2026-11-20.raw", "disk0"),
            ("/i/virtio0_20261120.raw", "virtio0"),
            ("/i/nvme0n1.img", "nvme0n1"),
        ] {
            assert_eq!(told(name).as_deref(), Some(disk), "{name}");
        }
        for name in
            ["/i/2026-11-20.raw", "/i/full.qcow2", "/i/disk.raw", "/i/disk-20261120.raw", "/i/vm1.raw", "/i/sdcard.img"]
        {
            assert_eq!(told(name), None, "{name}");
        }
    }
}
