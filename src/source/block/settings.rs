//! The settings of a disk as a source: JSON in the catalog.
//! Checked at the door; what is not UTF-8 cannot be kept here and is refused by the command line.

use super::{image, nbd};
use crate::model::{DISKS_MAX, Time};
use crate::source::{Error, SetBy, instant};
use crate::sys::mount::expect_no_stranger_in_folder;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An image may be named where its folder is wanted.
const NOT_A_FOLDER: &str = "it is not a directory; name the one that the images lie in";

/// What the certificate of an authority is called; the name that QEMU and libvirt give it too.
const CA_FILE: &str = "ca-cert.pem";
/// The bitmap of a source each of whose checkpoints has one of its own, of the same name.
pub const OWN_BITMAP: &str = "own";
/// How long a command may take where nothing is said, in seconds.
const HOOK_TIMEOUT_S: u64 = 60;
/// How long a guest may be held where a command or libvirt makes the moment, and nothing is said, in seconds.
const FREEZE_MAX_S: u64 = 600;

/// Where the images of a disk are, and how new ones are made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The folder that holds the images; what an image names beside itself must lie in it too.
    pub images: PathBuf,
    /// The format of the images; none: what each says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<image::Kind>,
    /// Patterns of image names that tell their instant (`strftime`); none: the built-in ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub name_patterns: Vec<String>,
    /// The time zone of names that have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Which of the disks whose images lie in the folder, as the images or their names say; none: all are of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<String>,
    /// All disks of a guest, each in a folder of its own in the tree, in the order of their numbers; more come behind as they are met. None:
    /// the source is one disk, at the top of the tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_disks: Option<Vec<String>>,
    /// Disks that the guest has no more.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub removed_disks: BTreeSet<String>,
    /// The folder that generations are pulled into; none: that of the images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<PathBuf>,
    /// The address of the export that generations are pulled from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbd: Option<String>,
    /// The bitmap of that export that tells what changed since the newest generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitmap: Option<String>,
    /// The certificate that the server's has to be signed by; its name is `ca-cert.pem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<PathBuf>,
    /// What is run first: it holds the guest still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre: Option<String>,
    /// What is run then: it makes the moment, an image or an export of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// What is run in any case at last: it lets the guest go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post: Option<String>,
    /// What each of them may take, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook_timeout_s: Option<u64>,
    /// How long the guest may be held, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze_max_s: Option<u64>,
    /// What is run at the very end, whatever came of it: it takes away what the moment was read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleanup: Option<String>,
    /// The word of how much the data is at rest in what is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<String>,
    /// The guest whose disk is taken, by libvirt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<Domain>,
}

/// A guest of libvirt, and how its disk is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// What libvirt calls it.
    pub name: String,
    /// The disk, as libvirt calls it (`vda`); none: the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<String>,
    /// The address of libvirt; none: that of this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<String>,
    /// Who moves the bytes.
    #[serde(default)]
    pub method: Method,
    /// Have the agent in the guest freeze its file systems for the moment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub freeze: bool,
    /// The folder for the socket, and for what the guest overwrites while its disk is read; none: `/var/tmp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scratch: Option<PathBuf>,
}

/// Who moves the bytes of a guest's disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// asof reads them from QEMU.
    #[default]
    Pull,
    /// QEMU writes them to a file.
    Push,
}

/// Which guest is asked for, and how its disk is to be taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskedGuest {
    /// What libvirt calls it; none, or "": the one of the settings.
    pub domain: Option<String>,
    /// The disk; none: as the settings say; "": the only one.
    pub disk: Option<String>,
    /// Who moves the bytes.
    pub method: Option<Method>,
}

impl AskedGuest {
    /// Returns the guest that is meant: the one that is named, else that of the settings, taken as is asked.
    ///
    /// # Errors
    /// [`Error::NoDomain`] if something is asked of a guest, and none is named.
    pub fn of(&self, kept: Option<Domain>) -> Result<Option<Domain>, Error> {
        let name = self.domain.clone().filter(|name| !name.is_empty());
        let mut domain = match (name, kept) {
            (Some(name), Some(kept)) if kept.name == name => kept,
            // What was said of another guest holds for libvirt, not for its disks; and only a guest that the source names is frozen: who lets
            // it go after a kill knows no other.
            (Some(name), Some(kept)) => Domain { name, disk: None, freeze: false, ..kept },
            (Some(name), None) => Domain { name, ..Domain::default() },
            (None, Some(kept)) => kept,
            (None, None) if self.disk.is_some() || self.method.is_some() => {
                return Err(Error::NoDomain("--disk and --method"));
            }
            (None, None) => return Ok(None),
        };
        if let Some(disk) = &self.disk {
            domain.disk = Some(disk.clone()).filter(|disk| !disk.is_empty());
        }
        if let Some(method) = self.method {
            domain.method = method;
        }
        Ok(Some(domain))
    }
}

impl Domain {
    /// Checks that libvirt is on this machine: files and sockets are named to it.
    fn check(&self) -> Result<(), Error> {
        let host = self.connect.as_deref().and_then(|uri| uri.split_once("://")).map(|(_, rest)| rest);
        if host.is_some_and(|rest| !rest.starts_with('/')) {
            let found = self.connect.clone().unwrap_or_default();
            return Err(Error::Setting { what: "the address of libvirt", found, why: "it is on another machine" });
        }
        if let Some(scratch) = self.scratch.as_ref().filter(|scratch| !scratch.is_dir()) {
            let found = scratch.display().to_string();
            return Err(Error::Setting { what: "the scratch folder", found, why: "it is not a directory" });
        }
        Ok(())
    }
}

impl Settings {
    /// Returns the settings that JSON has.
    ///
    /// # Errors
    /// [`Error::Settings`].
    pub fn from_json(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text).map_err(Error::Settings)
    }

    /// Returns them as JSON.
    ///
    /// # Errors
    /// [`Error::Settings`].
    pub fn to_json(&self) -> Result<String, Error> {
        serde_json::to_string(self).map_err(Error::Settings)
    }

    /// Opens an image, as one of the format that the settings name. A map beside it says more than they do.
    ///
    /// # Errors
    /// [`image::Error`].
    pub fn open(&self, path: &Path, folders: &[PathBuf]) -> Result<image::Image, image::Error> {
        let map = path.with_extension("json");
        // One over which a user mounted something is refused when it is opened: without its map the file would be another disk.
        let has_map = || match expect_no_stranger_in_folder(&map) {
            Ok(()) => map.is_file(),
            Err(e) => e.kind() == std::io::ErrorKind::PermissionDenied,
        };
        match self.format {
            Some(_) if has_map() => image::open(path, folders),
            Some(kind) => image::open_as(path, Some(kind), folders),
            None => image::open(path, folders),
        }
    }

    /// Checks that the folder is one, that the patterns tell dates and that there is such a zone.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Pattern`], [`Error::Zone`].
    pub fn check(&self) -> Result<(), Error> {
        if !self.images.is_dir() {
            let found = self.images.display().to_string();
            return Err(Error::Setting { what: "the folder of images", found, why: NOT_A_FOLDER });
        }
        if let Some(store) = self.store.as_ref().filter(|store| !store.is_dir()) {
            let found = store.display().to_string();
            return Err(Error::Setting { what: "the store", found, why: "it is not a directory" });
        }
        if let Some(ca) = self.tls_ca.as_ref().filter(|ca| ca.file_name().is_none_or(|name| name != CA_FILE)) {
            let found = ca.display().to_string();
            return Err(Error::Setting { what: "the certificate", found, why: "its name is not ca-cert.pem" });
        }
        if let Some(uri) = &self.nbd {
            let why = |_| Error::Setting { what: "the export", found: uri.clone(), why: "it is no address of one" };
            self.uri(uri).map_err(why)?;
        }
        if let Some(domain) = &self.domain {
            domain.check()?;
            if self.nbd.is_some() || self.bitmap.is_some() || self.snapshot.is_some() {
                let found = domain.name.clone();
                let why = "an export, its bitmap and a snapshot command are other ways to take a disk; choose one";
                return Err(Error::Setting { what: "the domain", found, why });
            }
        }
        if self.all_disks.is_some() && (self.own_disk().is_some() || self.nbd.is_some() || self.snapshot.is_some()) {
            let found = "yes".to_owned();
            let why = "--disk, an export and a snapshot command are of one disk";
            return Err(Error::Setting { what: "the choice of all disks", found, why });
        }
        if self.freeze_max_s == Some(0) {
            let found = "0".to_owned();
            return Err(Error::Setting { what: "the time that a guest may be held", found, why: "it is over at once" });
        }
        if self.hook_timeout_s == Some(0) {
            let found = "0".to_owned();
            return Err(Error::Setting { what: "the time limit of commands", found, why: "it is over at once" });
        }
        if let Some(zone) = &self.zone {
            TimeZone::get(zone).map_err(|_| Error::Zone(zone.clone()))?;
        }
        self.name_patterns.iter().try_for_each(|pattern| {
            let fail = |why| Error::Pattern { pattern: pattern.clone(), why };
            instant::check_pattern(pattern).map_err(fail)
        })
    }

    /// Returns the folders in which files may be opened.
    pub fn folders(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.images.clone()];
        folders.extend(self.store.clone().filter(|store| *store != self.images));
        folders
    }

    /// Returns the disk that the source is, where several may lie in its folder.
    pub fn own_disk(&self) -> Option<&str> {
        let of_guest = self.domain.as_ref().and_then(|domain| domain.disk.as_deref());
        of_guest.or(self.disk.as_deref())
    }

    /// Gives numbers to those of `disks` that have none, and returns all disks of the guest in the order of their numbers.
    ///
    /// # Errors
    /// How many they would be, if there is no room for so many.
    pub fn number_disks<'d>(&mut self, disks: impl Iterator<Item = &'d str>) -> Result<Vec<String>, usize> {
        let known = self.all_disks.get_or_insert_default();
        for disk in disks {
            if !known.iter().any(|one| one == disk) {
                known.push(disk.to_owned());
            }
        }
        if known.len() > DISKS_MAX { Err(known.len()) } else { Ok(known.clone()) }
    }

    /// Returns the commands that are run when it is taken.
    pub fn commands(&self) -> Vec<String> {
        [&self.pre, &self.snapshot, &self.post, &self.cleanup].into_iter().flatten().cloned().collect()
    }

    /// Takes away the commands, and the guest: libvirt is asked for it by an address that may name a program.
    pub fn take_commands(&mut self) -> Vec<SetBy> {
        let commands = [
            ("--pre", self.pre.take()),
            ("--snapshot", self.snapshot.take()),
            ("--post", self.post.take()),
            ("--cleanup", self.cleanup.take()),
        ];
        let mut taken: Vec<SetBy> = commands.into_iter().filter_map(|(option, what)| Some((option, what?))).collect();
        if let Some(domain) = self.domain.take() {
            taken.push(("--domain", domain.name));
            taken.extend(domain.connect.map(|uri| ("--connect", uri)));
            // Which images are those of the source stays as it was.
            self.disk = self.disk.take().or(domain.disk);
        }
        taken
    }

    /// Returns the folder that generations are pulled into.
    pub fn own_folder(&self) -> &Path {
        self.store.as_deref().unwrap_or(&self.images)
    }

    /// Returns how long the guest may be held; none: as long as its bytes take, where it is held for so long on purpose.
    pub fn freeze_max(&self) -> Option<Duration> {
        let is_of_a_moment = self.snapshot.is_some() || self.domain.is_some();
        let seconds = self.freeze_max_s.or(is_of_a_moment.then_some(FREEZE_MAX_S));
        seconds.map(Duration::from_secs)
    }

    /// Returns what a command may take.
    pub fn hook_timeout(&self) -> Duration {
        Duration::from_secs(self.hook_timeout_s.unwrap_or(HOOK_TIMEOUT_S))
    }

    /// Returns the export that `text` is the address of, with the certificate of these settings where it names none.
    ///
    /// # Errors
    /// [`nbd::Error::Uri`].
    pub fn uri(&self, text: &str) -> Result<nbd::Uri, nbd::Error> {
        let folder = self.tls_ca.as_deref().and_then(Path::parent).and_then(Path::to_str);
        let is_bare = text.starts_with("nbds") && !text.contains("tls-certificates=");
        let Some(folder) = folder.filter(|_| is_bare) else { return nbd::Uri::parse(text) };
        let join = if text.contains('?') { '&' } else { '?' };
        let escaped: String = folder.bytes().map(|byte| format!("%{byte:02X}")).collect();
        nbd::Uri::parse(&format!("{text}{join}tls-certificates={escaped}"))
    }

    /// Returns the instant that the name of an image tells, its extension left out, also behind the last `-` or `_` of a
    /// name that has more in front; none if nothing of it has the form of a date.
    ///
    /// # Errors
    /// [`Error::Zone`]; [`Error::NoInstant`] where it has that form and tells no time.
    pub fn instant_of_name(&self, path: &Path, zone: &TimeZone) -> Result<Option<Time>, Error> {
        let zone = match &self.zone {
            Some(name) => TimeZone::get(name).map_err(|_| Error::Zone(name.clone()))?,
            None => zone.clone(),
        };
        let Some(stem) = path.file_stem().map(OsStrExt::as_bytes) else { return Ok(None) };
        // "db01-2026-11-20T0200": the date is what is left when words are taken from the front.
        let cuts = stem.iter().enumerate().filter(|(_, byte)| matches!(byte, b'-' | b'_' | b'.' | b'@'));
        let starts = std::iter::once(0).chain(cuts.map(|(at, _)| at + 1));
        let mut refused = None;
        for start in starts {
            match instant::of_name(&stem[start..], &self.name_patterns, &zone) {
                Ok(Some(time)) => return Ok(Some(time)),
                Ok(None) => {}
                Err(why) => refused = refused.or(Some(why)),
            }
        }
        refused.map_or(Ok(None), |why| Err(Error::NoInstant { path: path.to_owned(), why }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_image_tells_its_instant_also_behind_other_words() {
        let settings = Settings { images: "/i".into(), ..Settings::default() };
        let told =
            |name: &str| settings.instant_of_name(Path::new(name), &TimeZone::UTC).unwrap().map(|t| t.to_string());
        assert_eq!(told("/i/2026-11-20T0200.qcow2").as_deref(), Some("2026-11-20T02:00:00Z"));
        assert_eq!(told("/i/db01-vda-20261120T020000.raw").as_deref(), Some("2026-11-20T02:00:00Z"));
        assert_eq!(told("/i/disk.2026-11-20.raw").as_deref(), Some("2026-11-20T00:00:00Z"));
        assert_eq!(told("/i/inc-3.qcow2"), None);
        assert_eq!(told("/i/serial-10023423.qcow2"), None);
    }

    #[test]
    fn an_image_whose_name_has_the_form_of_a_date_and_tells_none_has_no_instant() {
        let settings = Settings { images: "/i".into(), zone: Some("Europe/Berlin".to_owned()), ..Settings::default() };
        let refused = |name: &str| settings.instant_of_name(Path::new(name), &TimeZone::UTC).unwrap_err().to_string();
        assert_eq!(
            refused("/i/db01-2026-02-30.raw"),
            r#""/i/db01-2026-02-30.raw" has no date: "2026-02-30" is not a date: day 30, and 2026-02 has 28 days"#
        );
        assert!(refused("/i/db01-vda-2026-03-29T0230.qcow2").contains("the clock skipped it"));
        assert!(refused("/i/1969-12-31.raw").ends_with("lies outside the years 1970 to 9998"));
    }

    #[test]
    fn settings_of_before_are_read_and_an_address_gets_the_certificate() {
        let settings = Settings::from_json(r#"{"images":"/i"}"#).unwrap();
        assert_eq!(settings.to_json().unwrap(), r#"{"images":"/i"}"#);
        assert_eq!(settings.own_folder(), Path::new("/i"));
        assert_eq!(settings.hook_timeout(), Duration::from_secs(60));
        let settings = Settings { tls_ca: Some("/etc/pki/a b/ca-cert.pem".into()), ..settings };
        let folder = |text: &str| settings.uri(text).unwrap().certificates;
        assert_eq!(folder("nbds://host/vda"), Some("/etc/pki/a b".into()));
        assert_eq!(folder("nbds://host/vda?tls-hostname=x"), Some("/etc/pki/a b".into()));
        assert_eq!(folder("nbds://host/vda?tls-certificates=/other"), Some("/other".into()));
        assert_eq!(folder("nbd://host/vda"), None);
    }
}
