//! `asof units`: files with which systemd mounts the catalog and indexes new backups, and logrotate turns the log over.
//!
//! Promises: they name this program, the catalog and the mount point by absolute paths. Nothing is installed, enabled or started, and
//! a file that is there already and says something else stays as it is.

use super::World;
use super::report::{Failure, Outcome};
use super::say::say;
use crate::catalog::beside;
use clap::Args;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

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
    if args.index_at.chars().any(char::is_control) {
        return Err(Failure::new(format!("{:?} is no time of systemd.time(7)", args.index_at)));
    }
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
    fs::create_dir_all(&args.dir).map_err(|e| Failure::because(format!("making {:?}", args.dir), &e))?;
    for (name, text) in &files {
        write(&args.dir.join(name), text)?;
    }
    let names = files.map(|(name, _)| name).join(", ");
    say!("wrote {names} into {:?}", args.dir);
    say!("hint: systemctl daemon-reload && systemctl enable --now asof-mount.service asof-index.timer");
    Ok(Outcome::Done)
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

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let fail = |e| Failure::because(format!("writing {path:?}"), &e);
    match fs::File::options().write(true).create_new(true).open(path) {
        Ok(mut file) => file.write_all(text.as_bytes()).map_err(fail),
        Err(e) if e.kind() == ErrorKind::AlreadyExists && fs::read(path).map_err(fail)? == text.as_bytes() => Ok(()),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            Err(Failure::new(format!("{path:?} is there already and says something else"))
                .hint(format!("mv {path:?} {path:?}.old")))
        }
        Err(e) => Err(fail(e)),
    }
}
