//! A share as a source: where its copies are, and how they are named and compared.
//! Nothing below the copies is ever touched.

use super::second::SecondArgs;
use super::{given, second};
use crate::cli::World;
use crate::cli::args::{COPIES, NEW_SOURCE, YesNo, duration};
use crate::cli::report::{Failure, Outcome};
use crate::cli::say::say;
use crate::model::SourceKind;
use crate::source;
use crate::source::nfs::{DESCRIPTION, IdentityRule, InstantFrom, Settings};
use clap::{Args, ValueEnum};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Debug, Args)]
pub(in crate::cli) struct NfsArgs {
    #[arg(help = NEW_SOURCE)]
    name: String,
    #[arg(long, value_name = "DIR", help = COPIES)]
    copies: PathBuf,
    #[command(flatten)]
    how: HowArgs,
    #[command(flatten)]
    second: SecondArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct HowArgs {
    /// The pattern of the copies' names, as in strptime(3): backup-%Y%m%d; may be given more than once
    /// (default: dates like 2026-11-20, 2026-11-20T0200, 20261120T020000Z, 2026-11-20T02:00-0330)
    #[arg(long, value_name = "PATTERN")]
    pub(super) name_pattern: Vec<String>,
    /// Where the date of a copy comes from, in order of preference [default: name]
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    pub(super) instant_from: Vec<InstantArg>,
    /// The time zone of names that have none, from the IANA database [default: that of this machine]
    #[arg(long, value_name = "ZONE")]
    pub(super) zone: Option<String>,
    /// How a file is recognised in the next copy [default: path]
    #[arg(long, value_name = "RULE")]
    pub(super) identity: Option<IdentityArg>,
    /// Compare the bytes of files whose size and mtime are unchanged, too
    #[arg(long, value_name = "YES|NO", num_args = 0..=1, default_missing_value = "yes")]
    pub(super) checksum: Option<YesNo>,
    /// The next run walks a copy once more if something in it changed less than this ago: 15m, 2h, 0 for never [default: 15m]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(super) settle: Option<Duration>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum InstantArg {
    /// The name of its directory
    Name,
    /// The mtime of its directory (rsync -a sets that to the mtime of what it copied!)
    Mtime,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum IdentityArg {
    /// By its path: copies made by copying, link farms
    Path,
    /// By inode number and birth time: snapshots of one file system
    Inode,
}

pub(super) fn add(args: &NfsArgs, world: &World) -> Result<Outcome, Failure> {
    let mut settings = Settings::new(given::folder(&args.copies, "copies")?);
    apply(&args.how, &mut settings);
    settings.zone = Some(given::zone(settings.zone, world)?);
    settings.check()?;
    let second = args.second.place(world)?;
    let mut writer = given::writer(&args.name, world)?;
    check_apart(&args.name, &settings, world)?;
    let how = (DESCRIPTION.kind, &*settings.to_json()?, settings.rule());
    let id = given::add(&mut writer, &args.name, how, world)?;
    second::keep(&mut writer, id, second)?;
    say!("added source \"{}\": one copy per directory in {:?}", args.name, settings.copies);
    say!("hint: asof index {} indexes what is there", args.name);
    Ok(Outcome::Done)
}

/// Refuses a folder of copies that is another source's too, or lies in such a one or around it: every copy would be two
/// generations, or what belongs to one source lie among the copies of the other. Two sources may share a folder where no name is a date to both.
pub(super) fn check_apart(name: &str, settings: &Settings, world: &World) -> Result<(), Failure> {
    for other in world.reader()?.sources()?.iter().filter(|other| other.name != name) {
        // Settings that cannot be read name no folder; who indexes that source is told.
        let Some(kind) = SourceKind::from_word(&other.kind) else { continue };
        let Ok(Some(theirs)) = (source::description(kind).trees)(&other.settings, &other.name) else { continue };
        let is_apart = kind == DESCRIPTION.kind
            && is_same_folder(&settings.copies, &theirs)
            && Settings::from_json(&other.settings).is_ok_and(|theirs| settings.has_other_names_than(&theirs));
        if !is_apart && (lies_in(&settings.copies, &theirs) || lies_in(&theirs, &settings.copies)) {
            return Err(Failure::new(format!(
                "the folder of copies {:?} and that of source {:?}, {theirs:?}, overlap",
                settings.copies, other.name
            ))
            .hint("each source needs a folder of its own, or in the same folder names of its own (--name-pattern)"));
        }
    }
    Ok(())
}

/// Tells whether `path` is `folder` or lies below it, by whatever path (a bind mount).
fn lies_in(path: &Path, folder: &Path) -> bool {
    path.starts_with(folder) || path.ancestors().any(|above| is_same_folder(above, folder))
}

fn is_same_folder(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| std::fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
    one == other || id(one).is_some_and(|one| id(other) == Some(one))
}

pub(super) fn apply(how: &HowArgs, settings: &mut Settings) {
    if !how.name_pattern.is_empty() {
        settings.name_patterns.clone_from(&how.name_pattern);
    }
    if !how.instant_from.is_empty() {
        let from = |arg: &InstantArg| match arg {
            InstantArg::Name => InstantFrom::Name,
            InstantArg::Mtime => InstantFrom::Mtime,
        };
        settings.instant_from = how.instant_from.iter().map(from).collect();
    }
    if let Some(zone) = &how.zone {
        settings.zone = Some(zone.clone());
    }
    match how.identity {
        Some(IdentityArg::Path) => settings.identity = IdentityRule::Path,
        Some(IdentityArg::Inode) => settings.identity = IdentityRule::Inode,
        None => {}
    }
    if let Some(checksum) = how.checksum {
        settings.checksum = checksum == YesNo::Yes;
    }
    if let Some(settle) = how.settle {
        settings.settle_s = Some(settle.as_secs());
    }
}
