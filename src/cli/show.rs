//! `asof show`: all that is known of one source, generation or entry.
//! An entry's facts are those of `stat`, and where its bytes are.

use super::World;
use super::args::PRINT_JSON;
use super::ls::{device, kind_word, link_target, mode_text};
use super::output::{self, grouped, human_bytes};
use super::report::{Failure, Outcome};
use super::target::{Target, generation_at, node_at};
use crate::catalog::{GenerationRow, Perm, Place, Reader, SourceRow};
use crate::model::{FOREVER, NodeId, RelPath, Time, escape_bytes};
use clap::Args;
use serde_json::{Map, Value};

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// SOURCE, SOURCE@DATE (a generation) or SOURCE:PATH (an entry)
    target: std::ffi::OsString,
    /// As of when, for an entry [default: latest]
    #[arg(long, value_name = "DATE", allow_hyphen_values = true)]
    at: Option<String>,
    #[arg(long, help = PRINT_JSON)]
    json: bool,
}

pub(super) fn run(args: &ShowArgs, world: &World) -> Result<Outcome, Failure> {
    match Target::parse(&args.target)? {
        Target::Source(name) if args.at.is_none() => source(&name, args.json, world),
        Target::Source(name) => generation(&name, args.at.as_deref(), args.json, world),
        Target::Generation(name, date) if args.at.is_none() => generation(&name, Some(&date), args.json, world),
        Target::Generation(..) => Err(Failure::new("two dates are given: one after @ and one with --at")),
        Target::Entry(name, path) => entry(&name, &path, args, world),
    }
}

fn tell(facts: &[(&str, String)], as_json: bool) -> Result<(), Failure> {
    if as_json {
        let object: Map<String, Value> = facts.iter().map(|(k, v)| (k.replace(' ', "_"), v.clone().into())).collect();
        output::json(&Value::Object(object))?;
    } else {
        output::facts(facts)?;
    }
    Ok(())
}

pub(super) fn source(name: &str, as_json: bool, world: &World) -> Result<Outcome, Failure> {
    let reader = world.reader()?;
    let source = reader.source(name)?;
    let generations = reader.generations(source.id)?;
    let instant = |g: Option<&GenerationRow>| g.map_or_else(|| "-".to_owned(), |g| g.taken_at.to_string());
    tell(
        &[
            ("source", source.name.clone()),
            ("kind", source.kind.clone()),
            ("settings", source.settings.clone()),
            ("added at", source.added_at.to_string()),
            ("generations", generations.len().to_string()),
            ("oldest", instant(generations.first())),
            ("newest", instant(generations.last())),
        ],
        as_json,
    )?;
    Ok(Outcome::Done)
}

fn generation(name: &str, date: Option<&str>, as_json: bool, world: &World) -> Result<Outcome, Failure> {
    let reader = world.reader()?;
    let source = reader.source(name)?;
    let g = generation_at(&reader, &source, date, world)?;
    let copies: Vec<String> = reader
        .copies(source.id, g.taken_at)?
        .iter()
        .map(|c| format!("{}{}", c.path.display(), if c.path.exists() { "" } else { " (not there now)" }))
        .collect();
    tell(
        &[
            ("source", source.name.clone()),
            ("generation", g.taken_at.to_string()),
            ("level", g.level.clone()),
            ("status", g.status.clone()),
            ("looked at", g.looked_at.clone().unwrap_or_else(|| "-".to_owned())),
            ("notes", super::generations::notes(&g.status, g.losses, g.notices)),
            ("entries", grouped(g.entries)),
            ("size", human_bytes(g.size_bytes)),
            ("changed", grouped(g.changed_nodes)),
            ("indexed at", g.indexed_at.to_string()),
            ("indexed in", format!("{:.1} s", g.index_ms as f64 / 1000.0)),
            ("copies", copies.join(", ")),
            ("view", format!("@{}/{}", g.taken_at.view_name(), source.name)),
        ],
        as_json,
    )?;
    if !as_json {
        for (kind, path, detail) in reader.findings(source.id, g.taken_at)? {
            let path = if path.is_empty() { ".".into() } else { escape_bytes(&path) };
            output::line(&format!("{kind}: \"{path}\": {detail}"))?;
        }
    }
    Ok(Outcome::Done)
}

fn entry(name: &str, path: &RelPath, args: &ShowArgs, world: &World) -> Result<Outcome, Failure> {
    let reader = world.reader()?;
    let source = reader.source(name)?;
    let at = generation_at(&reader, &source, args.at.as_deref(), world)?.taken_at;
    let (node, kind) = node_at(&reader, &source, path, at)?;
    let row = reader.known_node(node, at)?;
    let perm = reader.perm(row.perm)?;
    let ends = reader.version_until(node, row.born)?.min(reader.node_until(node)?);
    // What an unfinished run has written ends nothing yet.
    let until = if reader.generations(source.id)?.iter().any(|g| g.taken_at == ends) { ends } else { FOREVER };
    let mut facts = vec![
        ("entry", format!("{}:{path}", source.name)),
        ("generation", at.to_string()),
        ("kind", kind_word(kind).to_owned()),
        ("mode", format!("{} ({:04o})", mode_text(perm.mode), perm.mode & 0o7777)),
        ("owner", format!("{}:{}", perm.uid, perm.gid)),
        ("size", format!("{} bytes", row.size_bytes)),
        ("mtime", row.mtime.to_string()),
        ("ctime", row.ctime.to_string()),
        ("links", row.nlink.to_string()),
    ];
    if let Some(allocated) = row.allocated_bytes {
        facts.push(("allocated", format!("{allocated} bytes")));
    }
    if let Place::Device(number) = row.place {
        facts.push(("device", device(number)));
    }
    if let Some(target) = link_target(&reader, row.place, kind)? {
        facts.push(("target", target));
    }
    facts.push(("version since", Time(row.born).to_string()));
    facts.push(("version until", if until == FOREVER { "now".to_owned() } else { until.to_string() }));
    facts.push(("xattrs", xattrs(&reader, perm.xattr)?));
    facts.push(("bytes", bytes(&reader, &source, (node, path), at, row.place)?));
    facts.push(("view", format!("@{}/{}/{path}", at.view_name(), source.name)));
    tell(&facts, args.json)?;
    Ok(Outcome::Done)
}

fn xattrs(reader: &Reader, id: i64) -> Result<String, Failure> {
    match id {
        Perm::XATTRS_LOST => Ok("could not be read when it was indexed".to_owned()),
        0 => Ok("-".to_owned()),
        id => {
            let set = reader.xattrs(id)?;
            let items: Vec<String> =
                set.iter().map(|(name, value)| format!("{} ({} bytes)", escape_bytes(name), value.len())).collect();
            Ok(items.join(", "))
        }
    }
}

fn bytes(
    reader: &Reader,
    source: &SourceRow,
    (node, path): (NodeId, &RelPath),
    at: Time,
    place: Place,
) -> Result<String, Failure> {
    Ok(match place {
        Place::None | Place::Device(_) => "-".to_owned(),
        Place::Inline(_) => "in the catalog".to_owned(),
        Place::Lost => "could not be read when it was indexed".to_owned(),
        Place::WholeDisk => {
            let mut files: Vec<String> = Vec::new();
            for layer in reader.disk_layers(source.id, at)? {
                files.extend(layer.files.iter().map(|file| file.path.display().to_string()));
            }
            files.join(", ")
        }
        Place::OnDisk(_) | Place::Run(_) => {
            let map = reader.file_map(&reader.known_node(node, at)?)?.unwrap_or_default();
            let runs = map.extents.iter().filter(|run| !run.unwritten);
            let runs: Vec<String> = runs.map(|run| format!("{}+{}", run.at, run.length)).collect();
            match runs.as_slice() {
                [] => "none, it is a hole".to_owned(),
                runs => format!("of the disk, byte and length: {}", runs.join(", ")),
            }
        }
        Place::OwnPath | Place::InObject(_) => {
            let (copies, path) = match place {
                Place::InObject(object) => {
                    let there = reader.path_in(object, source.root, node)?;
                    (reader.copies_of(object)?, there.unwrap_or_else(|| path.clone()))
                }
                _ => (reader.copies(source.id, at)?, path.clone()),
            };
            let paths: Vec<String> = copies.iter().map(|c| format!("{}/{path}", c.path.display())).collect();
            paths.join(", ")
        }
    })
}
