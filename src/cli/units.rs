//! `asof units`: files with which systemd mounts the catalog and indexes new backups, and logrotate turns the log over.
//!
//! Promises: they name this program, the catalog and the mount point by absolute paths. Nothing is installed, enabled or started, and
//! a file that is there already and says something else stays as it is. Nobody but their owner may write what root will run, whatever
//! the umask; what is there and is no file is never waited for.

use super::World;
use super::report::{Failure, Outcome};
use super::say::say;
use crate::catalog::beside;
use crate::sys::child::{ChildError, Output, run_child};
use crate::sys::lock::kind_of;
use crate::sys::read::{Mounts, open_beneath, open_folder};
use clap::Args;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Where systemd looks for units of the machine (systemd.unit(7)).
const UNIT_FOLDERS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// How long `systemd-analyze` may take to read a calendar.
const CALENDAR_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct UnitsArgs {
    /// Where to write them: /etc/systemd/system, or another directory to look at them first
    dir: PathBuf,
    /// Where the catalog is to be mounted
    #[arg(long, value_name = "DIR", default_value = "/backups")]
    mount_point: PathBuf,
    /// When to index, as systemd.time(7) has it
    #[arg(long, value_name = "CALENDAR", default_value = "*-*-* 06:00:00")]
    index_at: String,
}

pub(super) fn run(args: &UnitsArgs, world: &World) -> Result<Outcome, Failure> {
    check_calendar(&args.index_at)?;
    let program = std::env::current_exe().map_err(|e| Failure::because("finding this program", &e))?;
    let [program, catalog, mount_point] = [&program, &world.catalog, &args.mount_point].map(|path| word(path));
    let (program, catalog, mount_point) = (program?, catalog?, mount_point?);
    let log = word(&beside(&world.catalog, ".log"))?;
    let files = [
        ("asof-mount.service", mount_service(&program, &catalog, &mount_point)),
        ("asof-index.service", index_service(&program, &catalog)),
        ("asof-index.timer", index_timer(&args.index_at)),
        ("asof.logrotate", logrotate(&log)),
    ];
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&args.dir)
        .map_err(|e| Failure::because(format!("making {:?}", args.dir), &e))?;
    for (name, text) in &files {
        write(&args.dir, name, text)?;
    }
    let names = files.map(|(name, _)| name).join(", ");
    say!("wrote {names} into {:?}", args.dir);
    if is_unit_folder(&fs::canonicalize(&args.dir).unwrap_or_default()) {
        say!("hint: systemctl daemon-reload && systemctl enable --now asof-mount.service asof-index.timer");
    } else {
        say!("hint: systemd does not look there; asof units /etc/systemd/system writes them to where it does");
    }
    Ok(Outcome::Done)
}

fn is_unit_folder(dir: &Path) -> bool {
    UNIT_FOLDERS.iter().any(|folder| dir == Path::new(folder))
}

/// Refuses what systemd would not take as a time, where its own program can tell.
fn check_calendar(text: &str) -> Result<(), Failure> {
    let refuse = |why: &str| {
        Failure::new(format!("{text:?} is no time of systemd.time(7){why}"))
            .hint("write --index-at \"*-*-* 06:00:00\" for every day at six, \"Mon *-*-* 06:00\" for Mondays")
    };
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err(refuse(""));
    }
    let mut command = Command::new("systemd-analyze");
    command.args(["calendar", "--", text]).env("LC_ALL", "C");
    match run_child(command, Vec::new(), Output::Memory(0), CALENDAR_WITHIN) {
        Ok(finished) if finished.status.success() => Ok(()),
        Ok(finished) => Err(refuse(&format!(": {}", finished.said))),
        Err(ChildError::Start(_) | ChildError::Wait(_) | ChildError::Late(_)) => {
            say!(
                "hint: systemd-analyze calendar {text:?} says on the machine of the units when that is; here it could not be asked"
            );
            Ok(())
        }
    }
}

fn mount_service(program: &str, catalog: &str, mount_point: &str) -> String {
    format!(
        "# Every moment of every backup as a directory. Ended by umount(8), it stays ended; after a failure it is mounted again.\n\
         # No PrivateTmp=, ProtectSystem= and the like: they give a service mounts of its own, and nobody else would see this one.\n\
         \n\
         [Unit]\n\
         Description=asof: all backups at {mount_point}\n\
         After=local-fs.target remote-fs.target\n\
         RequiresMountsFor={catalog} {mount_point}\n\
         \n\
         [Service]\n\
         Type=notify\n\
         ExecStart={program} --catalog {catalog} mount --foreground {mount_point}\n\
         Restart=on-failure\n\
         RestartSec=5\n\
         TimeoutStopSec=30\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    )
}

fn index_service(program: &str, catalog: &str) -> String {
    format!(
        "# It fails when anything was lost or could not be read (exit code 1): systemctl status asof-index says what.\n\
         \n\
         [Unit]\n\
         Description=asof: index new backups\n\
         After=local-fs.target remote-fs.target\n\
         RequiresMountsFor={catalog}\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         ExecStart={program} --catalog {catalog} --wait 1h index\n\
         Nice=10\n\
         IOSchedulingClass=idle\n"
    )
}

fn index_timer(index_at: &str) -> String {
    let index_at = index_at.replace('%', "%%");
    format!(
        "[Unit]\n\
         Description=asof: index new backups in time\n\
         \n\
         [Timer]\n\
         OnCalendar={index_at}\n\
         RandomizedDelaySec=10m\n\
         Persistent=true\n\
         \n\
         [Install]\n\
         WantedBy=timers.target\n"
    )
}

/// Of a daemon in the background: under systemd the journal has its log.
fn logrotate(log: &str) -> String {
    format!(
        "# For /etc/logrotate.d/asof: the log of asof mount, which the unit does not need.\n\
         {log} {{\n\
         \x20   monthly\n\
         \x20   rotate 12\n\
         \x20   compress\n\
         \x20   missingok\n\
         \x20   notifempty\n\
         \x20   copytruncate\n\
         }}\n"
    )
}

/// Returns an absolute path as one word of a unit (systemd.syntax(7)) or of a configuration of logrotate.
fn word(path: &Path) -> Result<String, Failure> {
    let path = std::path::absolute(path).map_err(|e| Failure::because(format!("finding {path:?}"), &e))?;
    let plain = |text: &&str| !text.chars().any(|c| c.is_control() || matches!(c, '"' | '\'' | '\\' | '$' | '%'));
    match path.to_str().filter(plain) {
        Some(text) if text.contains(' ') => Ok(format!("\"{text}\"")),
        Some(text) => Ok(text.to_owned()),
        None => Err(Failure::new(format!("a unit cannot name {path:?}"))
            .hint("a path without quotes, backslashes, $ and % can be named everywhere")),
    }
}

fn write(dir: &Path, name: &str, text: &str) -> Result<(), Failure> {
    let path = &dir.join(name);
    let fail = |e| Failure::because(format!("writing {path:?}"), &e);
    // Follows no link: nothing of that name may be there.
    let mut file = match fs::File::options().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::AlreadyExists => return check_there(dir, name, text),
        Err(e) => return Err(fail(e)),
    };
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.set_permissions(Permissions::from_mode(0o644)))
        .map_err(fail);
    if written.is_err() {
        // What is there in part would be said to be somebody else's.
        let _ = fs::remove_file(path);
    }
    written
}

/// Refuses what is there already, unless it is what would be written. Never waits for it.
fn check_there(dir: &Path, name: &str, text: &str) -> Result<(), Failure> {
    let path = &dir.join(name);
    let refuse = |what: &str| Failure::new(format!("{path:?} is there already and {what}"));
    let away = || format!("mv {path:?} {path:?}.old");
    let fail = |e: io::Error| Failure::because(format!("reading {path:?}"), &e);
    let plain = |metadata: &fs::Metadata| match metadata.is_file() {
        true => Ok(()),
        false => Err(refuse(&format!("is {}", kind_of(metadata.file_type()))).hint(away())),
    };
    plain(&fs::symlink_metadata(path).map_err(fail)?)?;
    let folder = open_folder(dir).map_err(fail)?;
    let file = open_beneath(folder.as_fd(), name.as_bytes(), Mounts::Crossed).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    plain(&metadata)?;
    let mut there = Vec::new();
    file.take(text.len() as u64 + 1).read_to_end(&mut there).map_err(fail)?;
    match there == text.as_bytes() {
        true if metadata.mode() & 0o022 != 0 => {
            Err(refuse("others may write it, who then run what they like as root").hint(format!("chmod 0644 {path:?}")))
        }
        true => Ok(()),
        false => Err(refuse("says something else").hint(away())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_enabled_only_from_where_systemd_looks_for_them() {
        for folder in UNIT_FOLDERS {
            assert!(is_unit_folder(Path::new(folder)), "{folder}");
        }
        for folder in ["/etc/systemd", "/etc/systemd/system/x", "/root/units", ""] {
            assert!(!is_unit_folder(Path::new(folder)), "{folder}");
        }
    }
}
