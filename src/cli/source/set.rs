//! `asof source set`: how the copies of a source are found, changed.
//!
//! Promises: what belongs to another kind of source is refused, and nothing is changed then.

use super::block::DiskHowArgs;
use super::gluster::ScanArgs;
use super::nfs::HowArgs;
use super::second::SecondArgs;
use super::visible::VisibleArgs;
use super::{block, given, gluster, nfs, second, visible};
use crate::catalog::{SourceRow, Writer};
use crate::cli::args::{COPIES, HOST, ProgramArgs, SOURCE};
use crate::cli::complete;
use crate::cli::report::{Failure, Outcome};
use crate::cli::say::say;
use crate::cli::{SourceRun, World};
use crate::model::{Policy, SourceKind};
use crate::source;
use clap::Args;
use clap_complete::ArgValueCompleter;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(in crate::cli) struct SetArgs {
    #[arg(help = SOURCE, add = ArgValueCompleter::new(complete::sources))]
    name: String,
    #[arg(long, value_name = "DIR", help = COPIES)]
    copies: Option<PathBuf>,
    #[command(flatten)]
    how: HowArgs,
    #[arg(long, value_name = "HOST", help = HOST)]
    host: Option<String>,
    /// The directory for new copies; existing ones are found where they are
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    #[command(flatten)]
    scan: ScanArgs,
    /// The directory that holds the images of a disk; indexed ones are found where they are
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    #[command(flatten)]
    disk: DiskHowArgs,
    /// A disk that the guest has no more: it is deleted in the next generation, and not missing; may be given more than once. "": there is
    /// none
    #[arg(long, value_name = "DISK")]
    removed_disk: Vec<String>,
    #[command(flatten)]
    second: SecondArgs,
    #[command(flatten)]
    visible: VisibleArgs,
}

pub(super) fn run(args: &SetArgs, world: &World) -> Result<Outcome, Failure> {
    let SourceRun { lock: _lock, source, mut writer } = world.source_run("source set", &args.name)?;
    let (second, visible_to) = (args.second.place(world)?, args.visible.asked()?);
    let kind = source::kind_of(&source.name, &source.kind)?;
    changing(kind)(args, &source, &mut writer, world)?;
    if args.second.is_given() || visible_to.is_some() {
        let mut policy = Policy::parse(&source.policy);
        second::apply(second, &mut policy);
        visible::apply(visible_to, &mut policy);
        writer.set_policy(source.id, &policy.to_json())?;
    }
    say!("changed source \"{}\"", source.name);
    Ok(Outcome::Done)
}

/// Changes the settings of a source.
type Change = fn(&SetArgs, &SourceRow, &mut Writer, &World) -> Result<(), Failure>;

/// The list of kinds for the command line: returns what changes the settings of one.
fn changing(kind: SourceKind) -> Change {
    match kind {
        SourceKind::Nfs => set_nfs,
        SourceKind::Gluster => set_gluster,
        SourceKind::Block => set_block,
    }
}

fn set_nfs(args: &SetArgs, source: &SourceRow, writer: &mut Writer, world: &World) -> Result<(), Failure> {
    if has_disk(args) {
        return Err(wrong_kind(source, "--images and how disks are taken are for sources of kind block"));
    }
    let foreign = args.host.is_some() || args.store.is_some() || !args.scan.is_empty();
    if foreign {
        return Err(wrong_kind(source, "--host, --store and the settings of bricks are for sources of kind gluster"));
    }
    let kept = source::nfs::Settings::from_json(&source.settings)?;
    let mut settings = kept.clone();
    if let Some(copies) = &args.copies {
        settings.copies = given::folder(copies, "copies")?;
    }
    nfs::apply(&args.how, &mut settings);
    settings.check()?;
    let rules = [
        ("--name-pattern", settings.name_patterns != kept.name_patterns),
        ("--instant-from", settings.instant_from != kept.instant_from),
        ("--zone", settings.zone != kept.zone),
        ("--identity", settings.identity != kept.identity),
        ("--checksum", settings.checksum != kept.checksum),
    ];
    given::check_rules_kept(source, &rules, world)?;
    if settings.copies != kept.copies {
        nfs::check_apart(&source.name, &settings, world)?;
    }
    writer.set_settings(source.id, &settings.to_json()?)?;
    if args.copies.is_some() {
        // What is there from now on is the store, whatever was there before.
        writer.drop_mark(&settings.copies)?;
    }
    Ok(())
}

fn set_gluster(args: &SetArgs, source: &SourceRow, writer: &mut Writer, _world: &World) -> Result<(), Failure> {
    let how = &args.how;
    if has_shares(args) || !how.name_pattern.is_empty() || how.zone.is_some() {
        return Err(wrong_kind(source, "--copies and how they are named and compared are for sources of kind nfs"));
    }
    if has_disk(args) {
        return Err(wrong_kind(source, "--images and how disks are taken are for sources of kind block"));
    }
    let mut settings = source::gluster::Settings::from_json(&source.settings)?;
    let is_asked = args.host.is_some() || args.store.is_some() || !args.scan.is_empty();
    if settings.lists_only && (is_asked || !(args.second.is_given() || args.visible.is_given())) {
        return Err(wrong_kind(source, "a source of lists has no settings"));
    }
    if settings.lists_only {
        return Ok(());
    }
    if let Some(host) = &args.host {
        settings.host.clone_from(host);
    }
    if let Some(store) = &args.store {
        settings.store = given::folder(store, "store")?;
    }
    gluster::apply(&args.scan, &mut settings)?;
    settings.check()?;
    Ok(writer.set_settings(source.id, &settings.to_json()?)?)
}

fn set_block(args: &SetArgs, source: &SourceRow, writer: &mut Writer, world: &World) -> Result<(), Failure> {
    if has_shares(args) {
        return Err(wrong_kind(source, "--copies and how they are compared are for sources of kind nfs"));
    }
    let ScanArgs { exec, programs: ProgramArgs { program, gluster }, client_reads, rescan, pre, post } = &args.scan;
    let has_bricks = exec.is_some() || program.is_some() || gluster.is_some() || client_reads.is_some();
    if args.host.is_some() || has_bricks || rescan.rescan_every_s().is_some() {
        return Err(wrong_kind(source, "--host and the settings of bricks are for sources of kind gluster"));
    }
    let kept = source::block::Settings::from_json(&source.settings)?;
    let mut settings = kept.clone();
    if let Some(images) = &args.images {
        settings.images = given::folder(images, "images")?;
    }
    if let Some(store) = &args.store {
        settings.store = Some(given::folder(store, "store")?);
    }
    if !args.how.name_pattern.is_empty() {
        settings.name_patterns.clone_from(&args.how.name_pattern);
    }
    if let Some(zone) = &args.how.zone {
        settings.zone = Some(zone.clone());
    }
    given::apply_hooks(pre, post, (&mut settings.pre, &mut settings.post))?;
    block::apply(&args.disk, &mut settings)?;
    settings.check()?;
    match args.removed_disk.as_slice() {
        [none] if none.is_empty() => settings.removed_disks.clear(),
        disks => settings.removed_disks.extend(disks.iter().cloned()),
    }
    let rules = [
        ("--name-pattern", settings.name_patterns != kept.name_patterns),
        ("--zone", settings.zone != kept.zone),
        ("--all-disks", settings.all_disks.is_some() != kept.all_disks.is_some()),
    ];
    given::check_rules_kept(source, &rules, world)?;
    writer.set_settings(source.id, &settings.to_json()?)?;
    // What is there from now on is the store, whatever was there before.
    if args.images.is_some() {
        writer.drop_mark(&settings.images)?;
    }
    if args.store.is_some() {
        writer.drop_mark(settings.own_folder())?;
    }
    Ok(())
}

/// Tells whether something is asked for that only shares have.
fn has_shares(args: &SetArgs) -> bool {
    let how = &args.how;
    args.copies.is_some()
        || !how.instant_from.is_empty()
        || (how.identity.is_some() || how.checksum.is_some() || how.settle.is_some())
}

/// Tells whether something is asked for that only disks have.
fn has_disk(args: &SetArgs) -> bool {
    args.images.is_some() || args.disk.is_given() || !args.removed_disk.is_empty()
}

fn wrong_kind(source: &SourceRow, why: &str) -> Failure {
    Failure::new(format!("source {:?} is of kind {}: {why}", source.name, source.kind))
        .hint(format!("asof source show {} prints its settings; nothing was changed", source.name))
}
