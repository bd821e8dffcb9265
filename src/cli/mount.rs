//! `asof mount` and `asof umount`.
//!
//! Promises: in the background (the usual way) it returns when the mount answers, or says why not. Understands the
//! call of mount(8): `asof CATALOG DIR -o OPTIONS`, as `mount -t fuse.asof` and lines of fstab make it. A
//! mount is always read-only, nosuid and nodev, whatever the options say.

use super::World;
use super::report::{Failure, Outcome};
use super::say::say;
use crate::catalog::beside;
use crate::clock;
use crate::daemon::{self, Log, MountOptions, Place};
use crate::fuse::{self, WhenBusy};
use crate::model::chain;
use crate::view::Tree;
use clap::{Args, Command};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Options of mount(8) and fstab that change nothing here: what they ask for holds anyway, is for others
/// (`x-...`), or would weaken the mount (mount(8) adds `dev,suid` for root by itself).
const IGNORED: [&str; 20] = [
    "ro",
    "rw",
    "nodev",
    "dev",
    "nosuid",
    "suid",
    "exec",
    "noexec",
    "atime",
    "noatime",
    "relatime",
    "defaults",
    "auto",
    "noauto",
    "user",
    "nouser",
    "users",
    "nofail",
    "_netdev",
    "allow_other",
];

/// Takes whatever is written to it.
const NO_LOG: &str = "/dev/null";
/// How long a mount may be silent when it is looked whether its daemon is gone.
const LOOK_WITHIN: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct MountArgs {
    /// Where to mount: an empty directory
    dir: PathBuf,
    /// Do not go to the background
    #[arg(long)]
    foreground: bool,
    /// Options: private, passthrough, noxattr, no_store_ahead, store_timeout=SECONDS; those of mount(8) are understood
    #[arg(short = 'o', value_name = "OPTIONS", value_delimiter = ',')]
    options: Vec<String>,
    /// Where the daemon writes what goes wrong [default: FILE.log beside the catalog; standard error with --foreground]
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// The same, through no symbolic link: what is beside a catalog
    #[arg(long, value_name = "FILE", hide = true, conflicts_with = "log_file")]
    log_beside: Option<PathBuf>,
}

pub(super) fn run(args: &MountArgs, world: &World) -> Result<Outcome, Failure> {
    let options = fuse_options(&args.options, &world.catalog)?;
    if args.foreground {
        let result = foreground(args, options, world);
        if let Err(failure) = &result {
            daemon::tell_starter(Err(failure.parts()));
        }
        return result;
    }
    let catalog = absolute(&world.catalog)?;
    // Said here and not in the log: the catalog must be one, before anything is started.
    drop(world.reader()?);
    let place = match &args.log_file {
        Some(file) => Place::File(absolute(file)?),
        None => Place::Beside(beside(&catalog, daemon::LOG_BESIDE)),
    };
    let dir = absolute(&args.dir)?;
    let start = |place: &Place| {
        let (option, log) = match place {
            Place::Beside(log) => ("--log-beside", log.as_path()),
            Place::File(log) => ("--log-file", log.as_path()),
            Place::Stderr => unreachable!("a daemon in the background has a log"),
        };
        let mut again: Vec<OsString> = vec!["--catalog".into(), (&catalog).into(), "mount".into(), (&dir).into()];
        again.extend(["--foreground".into(), option.into(), log.into()]);
        args.options.iter().for_each(|option| again.extend(["-o".into(), option.into()]));
        daemon::start_in_background(again, place)
    };
    let (started, log) = match start(&place) {
        // What was backed up can be read all the same.
        Err(e) if e.is_of_log() && args.log_file.is_none() => {
            eprintln!("no log is kept: {}", chain(&e));
            eprintln!("hint: --log-file FILE has it written elsewhere");
            (start(&Place::File(NO_LOG.into()))?, "no log".to_owned())
        }
        started => (started?, format!("log {:?}", daemon::path_of_log(&place))),
    };
    say!("mounted {:?} (process {}, {log})", args.dir, started.pid);
    Ok(Outcome::Done)
}

fn foreground(args: &MountArgs, options: fuse::Options, world: &World) -> Result<Outcome, Failure> {
    let place = match (&args.log_file, &args.log_beside) {
        (Some(file), _) => Place::File(file.clone()),
        (None, Some(file)) => Place::Beside(file.clone()),
        (None, None) => Place::Stderr,
    };
    let log = Log::start(&place, daemon::is_in_background())?;
    // By it `asof umount` finds the daemon, from whatever directory.
    let options = fuse::Options { source: absolute(&options.source)?, ..options };
    let tree = Tree::over(&world.catalog, daemon::room_in_process(), Arc::new(clock::System), world.zone.clone())?;
    let options = MountOptions { dir: args.dir.clone(), catalog: world.catalog.clone(), fuse: options, log };
    daemon::run(Arc::new(tree), options, |ready| {
        tracing::info!(
            "mounted {:?}{}{}",
            ready.dir,
            if ready.allows_other { "" } else { ", for this user only" },
            if ready.is_passthrough { ", passthrough" } else { "" }
        );
        daemon::tell_starter(Ok(()));
    })?;
    Ok(Outcome::Done)
}

fn fuse_options(options: &[String], catalog: &Path) -> Result<fuse::Options, Failure> {
    let mut fuse = fuse::Options { source: catalog.to_owned(), ..fuse::Options::default() };
    for option in options.iter().map(|o| o.trim()).filter(|o| !o.is_empty()) {
        match option.split_once('=') {
            Some(("store_timeout", seconds)) => match seconds.parse() {
                Ok(seconds @ 1..=86_400) => fuse.store_timeout = Duration::from_secs(seconds),
                _ => {
                    return Err(Failure::new(format!("store_timeout is {seconds:?}, not 1 to 86400 seconds")));
                }
            },
            Some(("subtype" | "fsname" | "setuid" | "gid" | "uid", _)) => {}
            None if option == "passthrough" => fuse.passthrough = true,
            None if option == "noxattr" => fuse.noxattr = true,
            // Whatever else is there: mount(8) and lines of fstab add `allow_other` by habit.
            None if option == "private" => fuse.is_private = true,
            None if option == "no_store_ahead" => fuse.store_ahead = false,
            None if IGNORED.contains(&option) => {}
            _ if option.starts_with("x-") || option.starts_with("comment=") => {}
            _ => {
                return Err(Failure::new(format!("mount option {option:?} is not known"))
                    .hint("asof knows private, passthrough, noxattr, no_store_ahead, store_timeout=SECONDS"));
            }
        }
    }
    Ok(fuse)
}

pub(super) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|e| Failure::because(format!("finding {path:?}"), &e))
}

/// Waits until the mounts of the catalog show what was written, and names those that do not; returns whether all do.
pub(super) fn show_what_is_new(world: &World) -> bool {
    let mut all_show_it = true;
    // A catalog that is not there has no mounts, and without a folder of sockets nothing can be asked.
    for up in daemon::show(&world.catalog).unwrap_or_default() {
        eprintln!("a mount of the catalog (process {}) does not answer: it shows this when it does again", up.pid);
        all_show_it = false;
    }
    for dir in fuse::left_behind(&world.catalog, LOOK_WITHIN) {
        eprintln!("the mount of the catalog at {dir:?} has no daemon any more: reading there is an error");
        eprintln!("hint: asof mount {} mounts it again", dir.display());
        all_show_it = false;
    }
    all_show_it
}

#[derive(Debug, Args)]
pub(super) struct UmountArgs {
    /// Where it is mounted
    dir: PathBuf,
    /// Take it out of the tree even if it is in use
    #[arg(short, long)]
    lazy: bool,
}

pub(super) fn umount(args: &UmountArgs, world: &World) -> Result<Outcome, Failure> {
    let when_busy = if args.lazy { WhenBusy::Detach } else { WhenBusy::Refuse };
    let dir = fuse::plain_path(&args.dir)?;
    let named = world.is_named.then(|| absolute(&world.catalog)).transpose()?;
    let daemons = daemon::up_at(&fuse::catalog_at(&dir).unwrap_or_default(), &dir).unwrap_or_default();
    fuse::unmount(&dir, named.as_deref(), when_busy)?;
    if dir == absolute(&args.dir)? {
        say!("unmounted {:?}", args.dir);
    } else {
        say!("unmounted {:?}, which is {dir:?}", args.dir);
    }
    // After --lazy it ends when nobody is inside.
    if args.lazy {
        return Ok(Outcome::Done);
    }
    // It has files of stores open until it has ended; and it lives on while another namespace of mounts has a copy of this one.
    let running = daemon::wait_for_end(&daemons.of_it);
    for pid in &running {
        eprintln!("its daemon (process {pid}) has not ended yet, and has files open");
    }
    // One that is of another mount of the catalog does not end.
    let silent = if daemons.of_it.is_empty() { daemon::wait_for_end(&daemons.silent) } else { Vec::new() };
    let all_hang = silent.len() == daemons.silent.len();
    for pid in silent.iter().filter(|_| all_hang) {
        eprintln!(
            "a daemon of its catalog (process {pid}) does not answer: if it is the one of this mount, it still has files open"
        );
        eprintln!("hint: kill -9 {pid} ends it");
    }
    Ok(if silent.is_empty() || !all_hang { Outcome::Done } else { Outcome::WithFindings })
}

/// Turns `asof CATALOG DIR [-o OPTIONS]`, as mount(8) calls its helpers, into `asof --catalog CATALOG mount DIR
/// [-o OPTIONS]`; a CATALOG of `asof` or `none` means the usual one. Anything else, verbs of `asof` first of all, stays
/// as it is.
pub(super) fn from_helper_form(args: Vec<OsString>, asof: &Command) -> Vec<OsString> {
    let is_verb = |arg: &OsString| asof.get_subcommands().any(|verb| arg.to_str() == Some(verb.get_name()));
    let [program, catalog, dir, rest @ ..] = args.as_slice() else { return args };
    let is_flag = |arg: &OsString| arg.as_encoded_bytes().starts_with(b"-");
    if is_flag(catalog) || is_flag(dir) || is_verb(catalog) {
        return args;
    }
    let mut options = Vec::new();
    let mut rest = rest.iter();
    while let Some(arg) = rest.next() {
        match arg.to_str() {
            Some("-o") => options.extend(rest.next().cloned()),
            // mount(8) passes these on: sloppy, no mtab, verbose.
            Some("-s" | "-n" | "-v") => {}
            Some("-t") => drop(rest.next()),
            _ => return args,
        }
    }
    // mount(8) always gives options; what has none is a verb that there is not, unless we are called as its helper.
    let is_helper = Path::new(program).file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"mount."));
    if options.is_empty() && !is_helper {
        return args;
    }
    let mut turned = vec![program.clone()];
    if catalog.to_str() != Some("asof") && catalog.to_str() != Some("none") {
        turned.extend(["--catalog".into(), catalog.clone()]);
    }
    turned.extend(["mount".into(), dir.clone()]);
    for option in options {
        turned.extend(["-o".into(), option]);
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turned(args: &[&str]) -> Vec<String> {
        let args = args.iter().map(OsString::from).collect();
        let asof = Command::new("asof").subcommand(Command::new("ls"));
        from_helper_form(args, &asof).into_iter().map(|a| a.into_string().unwrap()).collect()
    }

    #[test]
    fn the_call_of_mount_8_becomes_the_verb() {
        assert_eq!(
            turned(&["asof", "/c.db", "/backups", "-o", "ro,allow_other,dev,suid"]),
            ["asof", "--catalog", "/c.db", "mount", "/backups", "-o", "ro,allow_other,dev,suid"]
        );
        assert_eq!(turned(&["mount.asof", "none", "/backups"]), ["mount.asof", "mount", "/backups"]);
        assert_eq!(turned(&["asof", "ls", "homes"]), ["asof", "ls", "homes"]);
        assert_eq!(turned(&["asof", "unmount", "/backups"]), ["asof", "unmount", "/backups"]);
        assert_eq!(turned(&["asof", "--catalog", "x", "init"]), ["asof", "--catalog", "x", "init"]);
    }

    #[test]
    fn options_of_fstab_are_understood_and_others_refused() {
        let options = |text: &str| {
            let list: Vec<String> = text.split(',').map(str::to_owned).collect();
            fuse_options(&list, Path::new("/c.db"))
        };
        let fuse = options("ro,dev,suid,x-systemd.automount,nofail,passthrough,store_timeout=5").unwrap();
        assert!(fuse.passthrough);
        assert_eq!(fuse.store_timeout, Duration::from_secs(5));
        assert!(!fuse.is_private && options("private,allow_other").unwrap().is_private);
        assert!(options("sync_everything").is_err());
        assert!(options("store_timeout=0").is_err());
    }
}
