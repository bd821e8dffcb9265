//! `asof source`: what is backed up.
//! Settings are checked before they are stored; nothing below a source's copies is ever touched.

use super::args::{
    BlockArgs, FormatArg, GlusterArgs, HowArgs, IdentityArg, InstantArg, NfsArgs, RemoveArgs, ScanArgs, SetArgs,
    SourceKindArgs, SourceVerb, YesNo,
};
use super::output::{self, grouped};
use super::report::{Failure, Outcome};
use super::{World, show};
use crate::catalog::{NewSource, SourceRow, Writer};
use crate::clock::Clock;
use crate::model::{SourceKind, chain};
use crate::source::nfs::{IdentityRule, InstantFrom, Settings};
use crate::source::{block, gluster};
use crate::take::hooks;
use serde_json::json;
use std::path::{Path, PathBuf};

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
    let mut settings = Settings::new(canonical(&args.copies, "copies")?);
    // Kept with the source: the same name must mean the same instant for whoever runs `index` later.
    let zone = world.zone.iana_name().filter(|name| jiff::tz::TimeZone::get(name).is_ok());
    settings.zone = zone.map(str::to_owned);
    apply(&args.how, &mut settings);
    settings.check()?;
    let mut writer = world.writer()?;
    let new = NewSource {
        name: &args.name,
        kind: SourceKind::Nfs,
        settings: &settings.to_json()?,
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
        store: canonical(store, "store")?,
        ..gluster::Settings::of_lists()
    };
    apply_scan(&args.how, &mut settings)?;
    settings.check()?;
    let mut writer = world.writer()?;
    let (kind, now) = (SourceKind::Gluster, world.clock.now());
    writer.add_source(&NewSource { name: &args.name, kind, settings: &settings.to_json()?, added_at: now })?;
    eprintln!("added source \"{}\": volume \"{volume}\", copies below {:?}", args.name, settings.store);
    eprintln!("hint: asof take {} makes the first generation, a full one", args.name);
    Ok(Outcome::Done)
}

fn add_block(args: &BlockArgs, world: &World) -> Result<Outcome, Failure> {
    // Kept with the source: the same name must mean the same instant for whoever runs `index` later.
    let zone = world.zone.iana_name().filter(|name| jiff::tz::TimeZone::get(name).is_ok());
    let settings = block::Settings {
        images: canonical(&args.images, "images")?,
        format: args.format.map(|format| match format {
            FormatArg::Raw => block::image::Kind::Raw,
            FormatArg::Qcow2 => block::image::Kind::Qcow2,
        }),
        name_patterns: args.name_pattern.clone(),
        zone: zone.map(str::to_owned),
        store: args.store.as_deref().map(|store| canonical(store, "store")).transpose()?,
        nbd: args.nbd.clone(),
        bitmap: args.bitmap.clone(),
        tls_ca: args.tls_ca.as_deref().map(|ca| canonical(ca, "certificate")).transpose()?,
        pre: args.pre.clone(),
        snapshot: args.snapshot.clone(),
        post: args.post.clone(),
        hook_timeout_s: args.hook_timeout,
        consistency: args.consistency.map(|arg| arg.word().to_owned()),
    };
    settings.check()?;
    let commands = [("pre", &settings.pre), ("snapshot", &settings.snapshot), ("post", &settings.post)];
    for (when, command) in commands {
        let checked = command.as_ref().map_or(Ok(()), |command| hooks::check(when, command));
        checked.map_err(|e| Failure::new(chain(&e)))?;
    }
    let (kind, now) = (SourceKind::Block, world.clock.now());
    let new = NewSource { name: &args.name, kind, settings: &settings.to_json()?, added_at: now };
    world.writer()?.add_source(&new)?;
    eprintln!("added source \"{}\": a disk, images in {:?}", args.name, settings.images);
    match settings.nbd.is_some() || settings.snapshot.is_some() {
        true => eprintln!("hint: asof take {} takes a generation", args.name),
        false => eprintln!("hint: asof index {} indexes those that are there", args.name),
    }
    Ok(Outcome::Done)
}

fn add_lists(args: &GlusterArgs, world: &World) -> Result<Outcome, Failure> {
    let settings = gluster::Settings::of_lists().to_json()?;
    let (kind, now) = (SourceKind::Gluster, world.clock.now());
    world.writer()?.add_source(&NewSource { name: &args.name, kind, settings: &settings, added_at: now })?;
    eprintln!("added source \"{}\": a volume of which another tool makes lists and copies", args.name);
    eprintln!("hint: asof index {} --list LIST --data DIR --at DATE indexes the first copy, a full one", args.name);
    Ok(Outcome::Done)
}

fn set(args: &SetArgs, world: &World) -> Result<Outcome, Failure> {
    let mut writer = world.writer()?;
    let source = world.reader()?.source(&args.name)?;
    if source.kind == SourceKind::Gluster.word() {
        return set_gluster(args, &source, &mut writer);
    }
    if source.kind == SourceKind::Block.word() {
        return Err(wrong_kind(&source, "a disk has no settings that can change; remove it and add it anew"));
    }
    let foreign = args.host.is_some() || args.store.is_some() || !is_empty(&args.scan);
    if foreign {
        return Err(wrong_kind(
            &source,
            "--host, --store and how bricks are looked at are for sources of kind gluster",
        ));
    }
    let mut settings = Settings::from_json(&source.settings)?;
    let identity = settings.identity;
    if let Some(copies) = &args.copies {
        settings.copies = canonical(copies, "copies")?;
    }
    apply(&args.how, &mut settings);
    settings.check()?;
    if settings.identity != identity && !world.reader()?.generations(source.id)?.is_empty() {
        return Err(Failure::new(format!(
            "the identity rule of source {:?} cannot change: its generations were indexed by the other one",
            source.name
        ))
        .hint("add a second source over the same copies"));
    }
    writer.set_settings(source.id, &settings.to_json()?)?;
    eprintln!("changed source \"{}\"", source.name);
    Ok(Outcome::Done)
}

fn set_gluster(args: &SetArgs, source: &SourceRow, writer: &mut Writer) -> Result<Outcome, Failure> {
    let how = &args.how;
    let shares = args.copies.is_some()
        || !how.name_pattern.is_empty()
        || !how.instant_from.is_empty()
        || how.zone.is_some()
        || how.identity.is_some()
        || how.checksum.is_some();
    if shares {
        return Err(wrong_kind(source, "--copies and how they are named and compared are for sources of kind nfs"));
    }
    let mut settings = gluster::Settings::from_json(&source.settings)?;
    if settings.lists_only {
        return Err(wrong_kind(source, "a source of lists has no settings"));
    }
    if let Some(host) = &args.host {
        settings.host.clone_from(host);
    }
    if let Some(store) = &args.store {
        settings.store = canonical(store, "store")?;
    }
    apply_scan(&args.scan, &mut settings)?;
    settings.check()?;
    writer.set_settings(source.id, &settings.to_json()?)?;
    eprintln!("changed source \"{}\"", source.name);
    Ok(Outcome::Done)
}

fn wrong_kind(source: &SourceRow, why: &str) -> Failure {
    Failure::new(format!("source {:?} is of kind {}: {why}", source.name, source.kind))
        .hint(format!("asof source show {} tells its settings; nothing was changed", source.name))
}

fn is_empty(scan: &ScanArgs) -> bool {
    scan.exec.is_none()
        && scan.program.is_none()
        && scan.gluster.is_none()
        && scan.client_reads.is_none()
        && scan.rescan_every.is_none()
        && scan.pre.is_none()
        && scan.post.is_none()
}

fn apply_scan(scan: &ScanArgs, settings: &mut gluster::Settings) -> Result<(), Failure> {
    if let Some(exec) = &scan.exec {
        settings.exec.clone_from(exec);
    }
    if let Some(program) = &scan.program {
        settings.program = Some(program.clone());
    }
    if let Some(tool) = &scan.gluster {
        settings.gluster.clone_from(tool);
    }
    if let Some(client_reads) = scan.client_reads {
        settings.client_reads = client_reads == YesNo::Yes;
    }
    if let Some(days) = scan.rescan_every {
        settings.rescan_every_s = days.saturating_mul(86_400);
    }
    for (when, given, kept) in [("pre", &scan.pre, &mut settings.pre), ("post", &scan.post, &mut settings.post)] {
        let Some(command) = given else { continue };
        if !command.is_empty() {
            hooks::check(when, command).map_err(|e| Failure::new(chain(&e)))?;
        }
        *kept = Some(command.clone()).filter(|command| !command.is_empty());
    }
    Ok(())
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
    let mut writer = world.writer()?;
    let reader = world.reader()?;
    let source = reader.source(&args.name)?;
    let generations = reader.generations(source.id)?.len();
    if generations > 0 && !args.force {
        return Err(Failure::new(format!(
            "source {:?} has {generations} generations; nothing was removed",
            source.name
        ))
        .hint("--force forgets them; their copies stay where they are and can be indexed again"));
    }
    writer.remove_source(source.id)?;
    eprintln!("forgot source \"{}\" and {generations} generations; no copy was touched", source.name);
    Ok(Outcome::Done)
}
