//! What is given on the command line, on its way into the settings of a source.
//!
//! Promises: what cannot be kept or run is refused here; an empty text takes back what was there.

use crate::catalog::{NewSource, SourceRow, Writer};
use crate::cli::World;
use crate::cli::report::Failure;
use crate::clock::Clock;
use crate::jobs::hooks;
use crate::model::{Rule, SourceId, SourceKind, chain};
use crate::sys::mount;
use std::path::{Path, PathBuf};

/// The type under which a mount of asof is listed.
const MOUNT_KIND: &str = "fuse.asof";

/// Opens the catalog to add a source to it.
pub(super) fn writer(name: &str, world: &World) -> Result<Writer, Failure> {
    world.writer(&format!("source add {name}"))
}

/// Makes a source.
pub(super) fn add(
    writer: &mut Writer,
    name: &str,
    (kind, settings, rule): (SourceKind, &str, Rule),
    world: &World,
) -> Result<SourceId, Failure> {
    Ok(writer.add_source(&NewSource { name, kind, settings, rule, added_at: world.clock.now() })?)
}

/// Returns the zone that is kept with a source, by its IANA name: a name must mean the same instant for whoever runs `index` later.
pub(super) fn zone(given: Option<String>, world: &World) -> Result<String, Failure> {
    let has_name = |name: &&str| !world.zone.is_unknown() && jiff::tz::TimeZone::get(name).is_ok();
    if let Some(name) = given.or_else(|| world.zone.iana_name().filter(has_name).map(str::to_owned)) {
        return Ok(name);
    }
    let why = match std::env::var_os("TZ") {
        Some(text) => format!("TZ is {text:?}, which is not the name of a time zone"),
        None => "/etc/localtime does not give the name of this machine's time zone".to_owned(),
    };
    Err(Failure::new(format!("the time zone of the names of copies is not known: {why}"))
        .hint("give it with --zone Europe/Berlin, or another name of the IANA database"))
}

/// Refuses to change rules by which generations that are there were dated, and files in them told apart: by other ones the copies
/// that are there would be other generations.
pub(super) fn check_rules_kept(source: &SourceRow, rules: &[(&str, bool)], world: &World) -> Result<(), Failure> {
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

pub(super) fn apply_hooks(
    pre: &Option<String>,
    post: &Option<String>,
    (kept_pre, kept_post): (&mut Option<String>, &mut Option<String>),
) -> Result<(), Failure> {
    apply_command("pre", pre, kept_pre)?;
    apply_command("post", post, kept_post)
}

pub(super) fn apply_command(
    when: &'static str,
    given: &Option<String>,
    kept: &mut Option<String>,
) -> Result<(), Failure> {
    if let Some(command) = given.as_ref().filter(|command| !command.is_empty()) {
        hooks::check(when, command).map_err(|e| Failure::new(chain(&e)))?;
    }
    apply_text(given, kept);
    Ok(())
}

/// Keeps what is given; an empty text is none.
pub(super) fn apply_text(given: &Option<String>, kept: &mut Option<String>) {
    if let Some(text) = given {
        *kept = Some(text.clone()).filter(|text| !text.is_empty());
    }
}

/// Returns the path of a folder that backups lie in, or are to be written to.
pub(super) fn folder(given: &Path, what: &str) -> Result<PathBuf, Failure> {
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

/// Returns a path as it is kept in settings.
pub(super) fn canonical(given: &Path, what: &str) -> Result<PathBuf, Failure> {
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
