//! `asof source`: what is backed up.
//! Settings are checked before they are stored; nothing below a source's copies is ever touched.

use super::args::{HowArgs, IdentityArg, InstantArg, NfsArgs, RemoveArgs, SetArgs, SourceKindArgs, SourceVerb, YesNo};
use super::output::{self, grouped};
use super::report::{Failure, Outcome};
use super::{World, show};
use crate::catalog::NewSource;
use crate::clock::Clock;
use crate::model::SourceKind;
use crate::source::nfs::{IdentityRule, InstantFrom, Settings};
use serde_json::json;
use std::path::{Path, PathBuf};

pub(super) fn run(verb: SourceVerb, world: &World) -> Result<Outcome, Failure> {
    match verb {
        SourceVerb::Add(SourceKindArgs::Nfs(args)) => add_nfs(&args, world),
        SourceVerb::List(args) => list(args.json, world),
        SourceVerb::Show(args) => show::source(&args.name, args.json, world),
        SourceVerb::Set(args) => set(&args, world),
        SourceVerb::Remove(args) => remove(&args, world),
    }
}

fn add_nfs(args: &NfsArgs, world: &World) -> Result<Outcome, Failure> {
    let mut settings = Settings::new(canonical(&args.copies)?);
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

fn set(args: &SetArgs, world: &World) -> Result<Outcome, Failure> {
    let mut writer = world.writer()?;
    let source = world.reader()?.source(&args.name)?;
    let mut settings = Settings::from_json(&source.settings)?;
    let identity = settings.identity;
    if let Some(copies) = &args.copies {
        settings.copies = canonical(copies)?;
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

fn canonical(copies: &Path) -> Result<PathBuf, Failure> {
    let path = std::fs::canonicalize(copies)
        .map_err(|e| Failure::because(format!("looking for the copies in {copies:?}"), &e))?;
    match path.to_str() {
        Some(_) => Ok(path),
        None => Err(Failure::new(format!(
            "the folder of copies {path:?} cannot be kept in the settings: its path is not UTF-8"
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
