//! A Gluster volume as a source: where it is asked, and how its bricks are looked at.
//! The volume is not asked here: a volume that is down can be added.

use super::second::SecondArgs;
use super::{given, second};
use crate::cli::World;
use crate::cli::args::{HOST, NEW_SOURCE, ProgramArgs, RescanArgs, VOLUME, YesNo};
use crate::cli::report::{Failure, Outcome};
use crate::cli::say::say;
use crate::model::Rule;
use crate::source::gluster::{DESCRIPTION, Settings};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(in crate::cli) struct GlusterArgs {
    #[arg(help = NEW_SOURCE)]
    name: String,
    #[arg(long, value_name = "HOST", default_value = "localhost", help = HOST)]
    host: String,
    #[arg(long, value_name = "VOLUME", required_unless_present = "lists", help = VOLUME)]
    volume: Option<String>,
    /// The directory for the copies, each in NAME/DATE
    #[arg(long, value_name = "DIR", required_unless_present = "lists")]
    store: Option<PathBuf>,
    /// Only index lists of another tool (glusterfind) and the files that it copied: asof index NAME --list ...
    #[arg(long, conflicts_with_all = ["host", "volume", "store", "exec", "program", "gluster", "rescan_every", "client_reads", "pre", "post"])]
    lists: bool,
    #[command(flatten)]
    how: ScanArgs,
    #[command(flatten)]
    second: SecondArgs,
}

/// How a volume is looked at.
#[derive(Debug, Args)]
pub(in crate::cli) struct ScanArgs {
    /// The command that runs a program on {host}, beside its bricks; it must contain {host}: "ssh -o BatchMode=yes {host}"
    /// [default: all bricks are on this machine]
    #[arg(long, value_name = "COMMAND")]
    pub(super) exec: Option<String>,
    #[command(flatten)]
    pub(super) programs: ProgramArgs,
    /// Read all bytes through a client mount, even where a brick on this machine has them
    #[arg(long, value_name = "YES|NO", num_args = 0..=1, default_missing_value = "yes")]
    pub(super) client_reads: Option<YesNo>,
    #[command(flatten)]
    pub(super) rescan: RescanArgs,
    /// Run this command before a generation is taken; if it fails, none is taken. No shell; ASOF_* is in its environment; ""
    /// for none
    #[arg(long, value_name = "COMMAND")]
    pub(super) pre: Option<String>,
    /// Run this command after a generation was taken, or was not (ASOF_STATUS)
    #[arg(long, value_name = "COMMAND")]
    pub(super) post: Option<String>,
}

impl ScanArgs {
    /// Tells whether nothing is said.
    pub(super) fn is_empty(&self) -> bool {
        self.exec.is_none()
            && self.programs.program.is_none()
            && self.programs.gluster.is_none()
            && self.client_reads.is_none()
            && self.rescan.rescan_every_s().is_none()
            && self.pre.is_none()
            && self.post.is_none()
    }
}

pub(super) fn add(args: &GlusterArgs, world: &World) -> Result<Outcome, Failure> {
    let (Some(volume), Some(store)) = (&args.volume, &args.store) else { return add_lists(args, world) };
    let mut settings = Settings {
        lists_only: false,
        host: args.host.clone(),
        volume: volume.clone(),
        store: given::folder(store, "store")?,
        ..Settings::of_lists()
    };
    apply(&args.how, &mut settings)?;
    settings.check()?;
    add_as(args, &settings, world)?;
    say!("added source \"{}\": volume \"{volume}\", copies below {:?}", args.name, settings.store);
    say!("hint: asof take {} makes the first generation, a full one", args.name);
    Ok(Outcome::Done)
}

fn add_lists(args: &GlusterArgs, world: &World) -> Result<Outcome, Failure> {
    add_as(args, &Settings::of_lists(), world)?;
    say!("added source \"{}\": a volume of which another tool makes lists and copies", args.name);
    say!("hint: asof index {} --list LIST --data DIR --at DATE indexes the first copy, a full one", args.name);
    Ok(Outcome::Done)
}

fn add_as(args: &GlusterArgs, settings: &Settings, world: &World) -> Result<(), Failure> {
    let how = (DESCRIPTION.kind, &*settings.to_json()?, Rule::WRITES);
    let second = args.second.place(world)?;
    let mut writer = given::writer(&args.name, world)?;
    let id = given::add(&mut writer, &args.name, how, world)?;
    second::keep(&mut writer, id, second)
}

pub(super) fn apply(scan: &ScanArgs, settings: &mut Settings) -> Result<(), Failure> {
    if let Some(exec) = &scan.exec {
        settings.exec.clone_from(exec);
    }
    if let Some(program) = &scan.programs.program {
        settings.program = Some(program.clone());
    }
    if let Some(tool) = &scan.programs.gluster {
        settings.gluster.clone_from(tool);
    }
    if let Some(client_reads) = scan.client_reads {
        settings.client_reads = client_reads == YesNo::Yes;
    }
    if let Some(seconds) = scan.rescan.rescan_every_s() {
        settings.rescan_every_s = seconds;
    }
    given::apply_hooks(&scan.pre, &scan.post, (&mut settings.pre, &mut settings.post))
}
