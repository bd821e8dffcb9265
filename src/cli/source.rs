//! `asof source`: what is backed up.
//! Settings are checked before they are stored; nothing below a source's copies is ever touched.

use super::args::{
    BlockArgs, DiskHowArgs, FormatArg, GlusterArgs, GuestArgs, HowArgs, IdentityArg, InstantArg, NfsArgs, ProgramArgs,
    RemoveArgs, ScanArgs, SetArgs, SourceKindArgs, SourceVerb, YesNo,
};
use super::output::{self, grouped};
use super::report::{Failure, Outcome};
use super::{SourceRun, World, show};
use crate::catalog::{NewSource, SourceRow, Writer};
use crate::clock::Clock;
use crate::model::{Consistency, Rule, SourceKind, chain};
use crate::source::nfs::{IdentityRule, InstantFrom, Settings};
use crate::source::{block, gluster};
use crate::sys::mount;
use crate::take::hooks;
use serde_json::json;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The type under which a mount of asof is listed.
const MOUNT_KIND: &str = "fuse.asof";

pub(super) fn run(verb: SourceVerb, world: &World) -> Result<Outcome, Failure> {
    match verb {
        SourceVerb::Add(SourceKindArgs::Nfs(args)) => add_nfs(&args, world),
        SourceVerb::Add(SourceKindArgs::Gluster(args)) => add_gluster(&args, world),
        SourceVerb::Add(SourceKindArgs::Block(args)) => add_block(&args, world),
        SourceVerb::List(args) => list(args.json, world),
        SourceVerb::Show(args) => show::source(&args.name, args.json, world),
        SourceVerb::Set(args) => set(&args, world),
        SourceVerb::Remove(args) => remove(&args, world),
    }
}

fn add_nfs(args: &NfsArgs, world: &World) -> Result<Outcome, Failure> {
    let mut settings = Settings::new(folder(&args.copies, "copies")?);
    apply(&args.how, &mut settings);
    settings.zone = Some(zone_to_keep(settings.zone, world)?);
    settings.check()?;
    let mut writer = world.writer(&adding(&args.name))?;
    check_apart(&args.name, &settings, world)?;
    let new = NewSource {
        name: &args.name,
        kind: SourceKind::Nfs,
        settings: &settings.to_json()?,
        rule: settings.rule(),
        added_at: world.clock.now(),
    };
    writer.add_source(&new)?;
    eprintln!("added source \"{}\": one copy per directory in {:?}", args.name, settings.copies);
    eprintln!("hint: asof index {} indexes what is there", args.name);
    Ok(Outcome::Done)
}

fn add_gluster(args: &GlusterArgs, world: &World) -> Result<Outcome, Failure> {
    let (Some(volume), Some(store)) = (&args.volume, &args.store) else { return add_lists(args, world) };
    let mut settings = gluster::Settings {
        lists_only: false,
        host: args.host.clone(),
        volume: volume.clone(),
        store: folder(store, "store")?,
        ..gluster::Settings::of_lists()
    };
    apply_scan(&args.how, &mut settings)?;
    settings.check()?;
    let mut writer = world.writer(&adding(&args.name))?;
    let (kind, now) = (SourceKind::Gluster, world.clock.now());
    writer.add_source(&NewSource {
        name: &args.name,
        kind,
        settings: &settings.to_json()?,
        rule: Rule::WRITES,
        added_at: now,
    })?;
    eprintln!("added source \"{}\": volume \"{volume}\", copies below {:?}", args.name, settings.store);
    eprintln!("hint: asof take {} makes the first generation, a full one", args.name);
    Ok(Outcome::Done)
}

fn add_block(args: &BlockArgs, world: &World) -> Result<Outcome, Failure> {
    let mut settings = block::Settings {
        images: folder(&args.images, "images")?,
        name_patterns: args.name_pattern.clone(),
        zone: Some(zone_to_keep(args.zone.clone(), world)?),
        store: args.store.as_deref().map(|store| folder(store, "store")).transpose()?,
        ..block::Settings::default()
    };
    apply_hooks(&args.pre, &args.post, (&mut settings.pre, &mut settings.post))?;
    apply_disk(&args.how, &mut settings)?;
    settings.check()?;
    let (kind, now) = (SourceKind::Block, world.clock.now());
    let new = NewSource { name: &args.name, kind, settings: &settings.to_json()?, rule: Rule::WRITES, added_at: now };
    world.writer(&adding(&args.name))?.add_source(&new)?;
    eprintln!("added source \"{}\": a disk, images in {:?}", args.name, settings.images);
    match settings.nbd.is_some() || settings.snapshot.is_some() || settings.domain.is_some() {
        true => eprintln!("hint: asof take {} takes a generation", args.name),
        false => eprintln!("hint: asof index {} indexes those that are there", args.name),
    }
    Ok(Outcome::Done)
}

/// What others read that we do.
fn adding(name: &str) -> String {
    format!("source add {name}")
}

fn add_lists(args: &GlusterArgs, world: &World) -> Result<Outcome, Failure> {
    let settings = gluster::Settings::of_lists().to_json()?;
    let (kind, now) = (SourceKind::Gluster, world.clock.now());
    world.writer(&adding(&args.name))?.add_source(&NewSource {
        name: &args.name,
        kind,
        settings: &settings,
        rule: Rule::WRITES,
        added_at: now,
    })?;
    eprintln!("added source \"{}\": a volume of which another tool makes lists and copies", args.name);
    eprintln!("hint: asof index {} --list LIST --data DIR --at DATE indexes the first copy, a full one", args.name);
    Ok(Outcome::Done)
}

fn set(args: &SetArgs, world: &World) -> Result<Outcome, Failure> {
    let SourceRun { lock: _lock, source, mut writer } = world.source_run("source set", &args.name)?;
    if source.kind == SourceKind::Gluster.word() {
        return set_gluster(args, &source, &mut writer);
    }
    if source.kind == SourceKind::Block.word() {
        return set_block(args, &source, &mut writer, world);
    }
    if has_disk(args) {
        return Err(wrong_kind(&source, "--images and how disks are taken are for sources of kind block"));
    }
    let foreign = args.host.is_some() || args.store.is_some() || !is_empty(&args.scan);
    if foreign {
        return Err(wrong_kind(
            &source,
            "--host, --store and how bricks are looked at are for sources of kind gluster",
        ));
    }
    let kept = Settings::from_json(&source.settings)?;
    let mut settings = kept.clone();
    if let Some(copies) = &args.copies {
        settings.copies = folder(copies, "copies")?;
    }
    apply(&args.how, &mut settings);
    settings.check()?;
    let rules = [
        ("--name-pattern", settings.name_patterns != kept.name_patterns),
        ("--instant-from", settings.instant_from != kept.instant_from),
        ("--zone", settings.zone != kept.zone),
        ("--identity", settings.identity != kept.identity),
        ("--checksum", settings.checksum != kept.checksum),
    ];
    check_rules_kept(&source, &rules, world)?;
    if settings.copies != kept.copies {
        check_apart(&source.name, &settings, world)?;
    }
    writer.set_settings(source.id, &settings.to_json()?)?;
    if args.copies.is_some() {
        // What is there from now on is the store, whatever was there before.
        writer.drop_mark(&settings.copies)?;
    }
    eprintln!("changed source \"{}\"", source.name);
    Ok(Outcome::Done)
}

fn set_gluster(args: &SetArgs, source: &SourceRow, writer: &mut Writer) -> Result<Outcome, Failure> {
    let how = &args.how;
    if has_shares(args) || !how.name_pattern.is_empty() || how.zone.is_some() {
        return Err(wrong_kind(source, "--copies and how they are named and compared are for sources of kind nfs"));
    }
    if has_disk(args) {
        return Err(wrong_kind(source, "--images and how disks are taken are for sources of kind block"));
    }
    let mut settings = gluster::Settings::from_json(&source.settings)?;
    if settings.lists_only {
        return Err(wrong_kind(source, "a source of lists has no settings"));
    }
    if let Some(host) = &args.host {
        settings.host.clone_from(host);
    }
    if let Some(store) = &args.store {
        settings.store = folder(store, "store")?;
    }
    apply_scan(&args.scan, &mut settings)?;
    settings.check()?;
    writer.set_settings(source.id, &settings.to_json()?)?;
    eprintln!("changed source \"{}\"", source.name);
    Ok(Outcome::Done)
}

fn set_block(args: &SetArgs, source: &SourceRow, writer: &mut Writer, world: &World) -> Result<Outcome, Failure> {
    if has_shares(args) {
        return Err(wrong_kind(source, "--copies and how they are compared are for sources of kind nfs"));
    }
    let ScanArgs { exec, programs: ProgramArgs { program, gluster }, client_reads, rescan, pre, post } = &args.scan;
    let has_bricks = exec.is_some() || program.is_some() || gluster.is_some() || client_reads.is_some();
    if args.host.is_some() || has_bricks || rescan.rescan_every_s().is_some() {
        return Err(wrong_kind(source, "--host and how bricks are looked at are for sources of kind gluster"));
    }
    let kept = block::Settings::from_json(&source.settings)?;
    let mut settings = kept.clone();
    if let Some(images) = &args.images {
        settings.images = folder(images, "images")?;
    }
    if let Some(store) = &args.store {
        settings.store = Some(folder(store, "store")?);
    }
    if !args.how.name_pattern.is_empty() {
        settings.name_patterns.clone_from(&args.how.name_pattern);
    }
    if let Some(zone) = &args.how.zone {
        settings.zone = Some(zone.clone());
    }
    apply_hooks(pre, post, (&mut settings.pre, &mut settings.post))?;
    apply_disk(&args.disk, &mut settings)?;
    settings.check()?;
    let rules =
        [("--name-pattern", settings.name_patterns != kept.name_patterns), ("--zone", settings.zone != kept.zone)];
    check_rules_kept(source, &rules, world)?;
    writer.set_settings(source.id, &settings.to_json()?)?;
    eprintln!("changed source \"{}\"", source.name);
    Ok(Outcome::Done)
}

/// Returns the zone that is kept with a source, by its IANA name: a name must mean the same instant for whoever runs `index` later.
fn zone_to_keep(given: Option<String>, world: &World) -> Result<String, Failure> {
    let has_name = |name: &&str| !world.zone.is_unknown() && jiff::tz::TimeZone::get(name).is_ok();
    if let Some(name) = given.or_else(|| world.zone.iana_name().filter(has_name).map(str::to_owned)) {
        return Ok(name);
    }
    let why = match std::env::var_os("TZ") {
        Some(text) => format!("TZ is {text:?}, which is not the name of a time zone"),
        None => "/etc/localtime does not tell the name of this machine's time zone".to_owned(),
    };
    Err(Failure::new(format!("cannot tell in which time zone the names of copies are to be read: {why}"))
        .hint("--zone Europe/Berlin tells it, or another name of the IANA database"))
}

/// Refuses to change rules by which generations that are there were dated, and files in them told apart: by other ones the copies
/// that are there would be other generations.
fn check_rules_kept(source: &SourceRow, rules: &[(&str, bool)], world: &World) -> Result<(), Failure> {
    let changed: Vec<&str> = rules.iter().filter(|(_, is_changed)| *is_changed).map(|(rule, _)| *rule).collect();
    if changed.is_empty() {
        return Ok(());
    }
    let (name, rules) = (&source.name, changed.join(" and "));
    let indexed = match world.reader()?.generations(source.id)?.len() {
        0 => return Ok(()),
        1 => "its 1 generation was".to_owned(),
        count => format!("its {count} generations were"),
    };
    let text = format!("cannot change {rules} of source {name:?}: {indexed} indexed with the present setting");
    Err(Failure::new(text).hint(format!(
        "asof source remove {name} --force forgets them, then add it again: copies that are still there are indexed anew; \
         or add a source under another name, with a folder of its own"
    )))
}

/// Refuses a folder of copies that is another source's too, or lies in such a one or around it: every copy would be two
/// generations, or what belongs to one source lie among the copies of the other. Two sources may share a folder where no name is a date to both.
fn check_apart(name: &str, settings: &Settings, world: &World) -> Result<(), Failure> {
    for other in world.reader()?.sources()?.iter().filter(|other| other.name != name) {
        // Settings that cannot be read name no folder; who indexes that source is told.
        let (theirs, is_apart) = match SourceKind::from_word(&other.kind) {
            Some(SourceKind::Nfs) => {
                let Ok(theirs) = Settings::from_json(&other.settings) else { continue };
                let is_apart =
                    is_same_folder(&settings.copies, &theirs.copies) && settings.has_other_names_than(&theirs);
                (theirs.copies, is_apart)
            }
            // Its copies hold only what changed: they are no full trees.
            Some(SourceKind::Gluster) => {
                let Ok(theirs) = gluster::Settings::from_json(&other.settings) else { continue };
                (theirs.store.join(&other.name), theirs.lists_only)
            }
            Some(SourceKind::Block) | None => continue,
        };
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

/// Tells whether something is asked for that only shares have.
fn has_shares(args: &SetArgs) -> bool {
    let how = &args.how;
    args.copies.is_some()
        || !how.instant_from.is_empty()
        || (how.identity.is_some() || how.checksum.is_some() || how.settle.is_some())
}

/// Tells whether something is asked for that only disks have.
fn has_disk(args: &SetArgs) -> bool {
    let DiskHowArgs {
        format,
        nbd,
        bitmap,
        tls_ca,
        snapshot,
        guest,
        connect,
        freeze,
        scratch,
        hook_timeout,
        consistency,
    } = &args.disk;
    let texts = [nbd, bitmap, snapshot, connect];
    let paths = [&args.images, tls_ca, scratch];
    texts.iter().any(|text| text.is_some())
        || paths.iter().any(|path| path.is_some())
        || guest.is_given()
        || (format.is_some() || freeze.is_some() || hook_timeout.is_some() || consistency.is_some())
}

fn wrong_kind(source: &SourceRow, why: &str) -> Failure {
    Failure::new(format!("source {:?} is of kind {}: {why}", source.name, source.kind))
        .hint(format!("asof source show {} tells its settings; nothing was changed", source.name))
}

fn is_empty(scan: &ScanArgs) -> bool {
    scan.exec.is_none()
        && scan.programs.program.is_none()
        && scan.programs.gluster.is_none()
        && scan.client_reads.is_none()
        && scan.rescan.rescan_every_s().is_none()
        && scan.pre.is_none()
        && scan.post.is_none()
}

fn apply_scan(scan: &ScanArgs, settings: &mut gluster::Settings) -> Result<(), Failure> {
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
    apply_hooks(&scan.pre, &scan.post, (&mut settings.pre, &mut settings.post))
}

fn apply_hooks(
    pre: &Option<String>,
    post: &Option<String>,
    (kept_pre, kept_post): (&mut Option<String>, &mut Option<String>),
) -> Result<(), Failure> {
    apply_command("pre", pre, kept_pre)?;
    apply_command("post", post, kept_post)
}

fn apply_command(when: &'static str, given: &Option<String>, kept: &mut Option<String>) -> Result<(), Failure> {
    if let Some(command) = given.as_ref().filter(|command| !command.is_empty()) {
        hooks::check(when, command).map_err(|e| Failure::new(chain(&e)))?;
    }
    apply_text(given, kept);
    Ok(())
}

/// Keeps what is given; an empty text is none.
fn apply_text(given: &Option<String>, kept: &mut Option<String>) {
    if let Some(text) = given {
        *kept = Some(text.clone()).filter(|text| !text.is_empty());
    }
}

fn apply_disk(how: &DiskHowArgs, settings: &mut block::Settings) -> Result<(), Failure> {
    if let Some(format) = how.format {
        settings.format = Some(match format {
            FormatArg::Raw => block::image::Kind::Raw,
            FormatArg::Qcow2 => block::image::Kind::Qcow2,
        });
    }
    apply_text(&how.nbd, &mut settings.nbd);
    apply_text(&how.bitmap, &mut settings.bitmap);
    apply_command("snapshot", &how.snapshot, &mut settings.snapshot)?;
    if let Some(ca) = &how.tls_ca {
        settings.tls_ca = Some(canonical(ca, "certificate")?);
    }
    if let Some(seconds) = how.hook_timeout {
        settings.hook_timeout_s = Some(seconds);
    }
    if let Some(consistency) = how.consistency {
        settings.consistency = Some(Consistency::from(consistency).word().to_owned());
    }
    if how.guest.domain.as_deref() == Some("") {
        settings.domain = None;
    }
    settings.domain = domain(&how.guest, settings.domain.take())?;
    let rest = how.connect.is_some() || how.freeze.is_some() || how.scratch.is_some();
    let Some(domain) = &mut settings.domain else {
        if rest {
            return Err(no_domain("--connect, --freeze and --scratch"));
        }
        return Ok(());
    };
    apply_text(&how.connect, &mut domain.connect);
    if let Some(freeze) = how.freeze {
        domain.freeze = freeze == YesNo::Yes;
    }
    if let Some(scratch) = &how.scratch {
        domain.scratch = Some(canonical(scratch, "scratch files")?);
    }
    Ok(())
}

/// Returns the guest that is meant: the one that is named, else that of the settings, taken as is asked.
pub(super) fn domain(given: &GuestArgs, kept: Option<block::Domain>) -> Result<Option<block::Domain>, Failure> {
    let name = given.domain.clone().filter(|name| !name.is_empty());
    let mut domain = match (name, kept) {
        (Some(name), Some(kept)) if kept.name == name => kept,
        // What was said of another guest holds for libvirt, not for its disks; and only a guest that the source names is frozen: who lets
        // it go after a kill knows no other.
        (Some(name), Some(kept)) => block::Domain { name, disk: None, freeze: false, ..kept },
        (Some(name), None) => block::Domain { name, ..block::Domain::default() },
        (None, Some(kept)) => kept,
        (None, None) if given.disk.is_some() || given.method.is_some() => {
            return Err(no_domain("--disk and --method"));
        }
        (None, None) => return Ok(None),
    };
    apply_text(&given.disk, &mut domain.disk);
    if let Some(method) = given.method {
        domain.method = method.into();
    }
    Ok(Some(domain))
}

fn no_domain(what: &str) -> Failure {
    Failure::new(format!("{what} are for guests of libvirt")).hint("--domain NAME names the guest")
}

/// Returns the path of a folder that backups lie in, or are to be written to.
fn folder(given: &Path, what: &str) -> Result<PathBuf, Failure> {
    let path = canonical(given, what)?;
    let fail = |e| Failure::because(format!("looking at what {path:?} is mounted on"), &e);
    match mount::mount_of(&path).map_err(fail)? {
        Some(mounted) if mounted.kind == MOUNT_KIND => Err(Failure::new(format!(
            "the folder of {what} {path:?} lies in a mount of asof, of the catalog {:?}: what is there is shown and not stored there",
            mounted.source
        ))
        .hint("name the folder in which the backups themselves lie")),
        _ => Ok(path),
    }
}

fn canonical(given: &Path, what: &str) -> Result<PathBuf, Failure> {
    let path = std::fs::canonicalize(given)
        .map_err(|e| Failure::because(format!("looking for the {what} in {given:?}"), &e))?;
    match path.to_str() {
        Some(_) => Ok(path),
        None => Err(Failure::new(format!(
            "the folder of {what} {path:?} cannot be kept in the settings: its path is not UTF-8"
        ))
        .hint("mount --bind it to a path that is, or asof index NAME PATH --at DATE takes single copies from it")),
    }
}

fn apply(how: &HowArgs, settings: &mut Settings) {
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

fn list(as_json: bool, world: &World) -> Result<Outcome, Failure> {
    let reader = world.reader()?;
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for source in reader.sources()? {
        let generations = reader.generations(source.id)?;
        let instant = |g: Option<&crate::catalog::GenerationRow>| g.map(|g| g.taken_at.to_string());
        let (oldest, newest) = (instant(generations.first()), instant(generations.last()));
        values.push(json!({
            "name": source.name, "kind": source.kind, "generations": generations.len(), "oldest": oldest, "newest": newest,
        }));
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        rows.push(vec![source.name, source.kind, grouped(generations.len() as i64), or_dash(oldest), or_dash(newest)]);
    }
    match as_json {
        true => output::json(&values.into())?,
        false => output::table(
            &["source", "kind", "generations", "oldest", "newest"],
            &[false, false, true, false, false],
            &rows,
        )?,
    }
    Ok(Outcome::Done)
}

fn remove(args: &RemoveArgs, world: &World) -> Result<Outcome, Failure> {
    let SourceRun { lock, source, mut writer } = world.source_run("source remove", &args.name)?;
    let generations = world.reader()?.generations(source.id)?.len();
    if generations > 0 && !args.force {
        return Err(Failure::new(format!(
            "source {:?} has {generations} generations; nothing was removed",
            source.name
        ))
        .hint("--force forgets them; their copies stay where they are and can be indexed again"));
    }
    writer.remove_source(source.id)?;
    drop(writer);
    lock.remove();
    eprintln!("forgot source \"{}\" and {generations} generations; no copy was touched", source.name);
    Ok(Outcome::Done)
}
