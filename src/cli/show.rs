//! `asof show`: all that is known of one source, generation or entry.
//! An entry's facts are those of `stat`, and where its bytes are.

use super::World;
use super::args::PRINT_JSON;
use super::complete;
use super::ls::{device, link_target};
use super::output::{self, grouped, human_bytes};
use super::report::{Failure, Outcome};
use super::say::{local, local_stamp};
use super::target::{Target, generation_at, node_at};
use crate::catalog::{CopyRow, Perm, Place, Reader, SourceRow};
use crate::jobs::is_there;
use crate::model::{FOREVER, NodeId, Policy, RelPath, Time, Visibility, escape_bytes, mode_text};
use clap::Args;
use clap_complete::ArgValueCompleter;
use serde_json::{Map, Value, json};

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// SOURCE, SOURCE@DATE (a generation) or SOURCE:PATH (an entry)
    #[arg(add = ArgValueCompleter::new(complete::targets))]
    target: std::ffi::OsString,
    /// As of when, for an entry [default: latest]
    #[arg(long, value_name = "DATE", allow_hyphen_values = true, add = ArgValueCompleter::new(complete::dates))]
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

/// What is known of something: for people a line, for programs a value.
struct Facts(Vec<Fact>);

struct Fact {
    key: &'static str,
    text: String,
    json_key: String,
    value: Value,
}

impl Facts {
    fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds what is the same text for both.
    fn text(&mut self, key: &'static str, text: impl Into<String>) {
        let text = text.into();
        self.both(key, text.clone(), text);
    }

    /// Adds what people read in another way.
    fn both(&mut self, key: &'static str, text: impl Into<String>, value: impl Into<Value>) {
        self.unit(key, &key.replace(' ', "_"), text, value);
    }

    /// Adds what programs know by another name, which has the unit.
    fn unit(&mut self, key: &'static str, json_key: &str, text: impl Into<String>, value: impl Into<Value>) {
        self.0.push(Fact { key, text: text.into(), json_key: json_key.to_owned(), value: value.into() });
    }

    /// Adds an instant; none is `-` and `null`.
    fn time(&mut self, key: &'static str, at: Option<Time>) {
        self.both(key, at.map_or_else(|| "-".to_owned(), local), at.map(|at| at.to_string()));
    }

    fn count(&mut self, key: &'static str, count: i64) {
        self.both(key, grouped(count), count);
    }

    fn print(self, as_json: bool) -> Result<(), Failure> {
        if as_json {
            let object: Map<String, Value> = self.0.into_iter().map(|fact| (fact.json_key, fact.value)).collect();
            output::json(&Value::Object(object))?;
        } else {
            let facts: Vec<(&str, String)> = self.0.into_iter().map(|fact| (fact.key, fact.text)).collect();
            output::facts(&facts)?;
        }
        Ok(())
    }
}

pub(super) fn source(name: &str, as_json: bool, world: &World) -> Result<Outcome, Failure> {
    let reader = world.reader()?;
    let source = reader.source(name)?;
    let generations = reader.generations(source.id)?;
    let mut facts = Facts::new();
    facts.text("source", source.name.clone());
    facts.text("kind", source.kind.clone());
    // Settings that cannot be read are shown as they are.
    let settings = serde_json::from_str(&source.settings).unwrap_or_else(|_| Value::from(source.settings.clone()));
    facts.both("settings", source.settings.clone(), settings);
    facts.text("visible to", Visibility::of_policy(&source.policy).to_string());
    if let Some(second) = Policy::parse(&source.policy).manifests() {
        facts.text("second manifests", second.display().to_string());
    }
    facts.time("added at", Some(source.added_at));
    facts.count("generations", generations.len() as i64);
    facts.time("oldest", generations.first().map(|g| g.taken_at));
    facts.time("newest", generations.last().map(|g| g.taken_at));
    facts.print(as_json)?;
    Ok(Outcome::Done)
}

fn generation(name: &str, date: Option<&str>, as_json: bool, world: &World) -> Result<Outcome, Failure> {
    let reader = world.reader()?;
    let source = reader.source(name)?;
    let g = generation_at(&reader, &source, date, world)?;
    let copies = reader.copies(source.id, g.taken_at)?;
    let findings = reader.findings(source.id, g.taken_at)?;
    let named = |path: &[u8]| if path.is_empty() { ".".to_owned() } else { escape_bytes(path).into_owned() };
    let mut facts = Facts::new();
    facts.text("source", source.name.clone());
    facts.time("generation", Some(g.taken_at));
    facts.text("level", g.level.clone());
    facts.text("status", g.status.clone());
    facts.time("looked at", g.looked_at.as_deref().and_then(at));
    facts.text("notes", super::generations::notes(&g.status, g.losses, g.notices));
    facts.count("entries", g.entries);
    facts.unit("size", "size_bytes", human_bytes(g.size_bytes), g.size_bytes);
    facts.count("changed", g.changed_nodes);
    facts.time("indexed at", Some(g.indexed_at));
    facts.unit("indexed in", "index_ms", output::took(g.index_ms as u64), g.index_ms);
    let there = |copy: &CopyRow| if is_there(&copy.store_path, &copy.path) { "" } else { " (not there now)" };
    let shown: Vec<String> = copies.iter().map(|c| format!("{}{}", c.path.display(), there(c))).collect();
    let paths: Vec<Value> = copies.iter().map(|c| c.path.display().to_string().into()).collect();
    facts.both("copies", shown.join(", "), paths);
    facts.text("view", format!("@{}/{}", g.taken_at.view_name(), source.name));
    if as_json {
        let findings: Vec<Value> = findings
            .iter()
            .map(|(kind, path, detail)| json!({ "kind": kind, "path": named(path), "detail": detail }))
            .collect();
        facts.both("findings", "", findings);
        facts.print(true)?;
        return Ok(Outcome::Done);
    }
    facts.print(false)?;
    for (kind, path, detail) in findings {
        output::line(&format!("{kind}: \"{}\": {detail}", named(&path)))?;
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
    let mode = format!("{:04o}", perm.mode & 0o7777);
    let mut facts = Facts::new();
    facts.text("entry", format!("{}:{path}", source.name));
    facts.time("generation", Some(at));
    facts.text("kind", kind.word());
    facts.both("mode", format!("{} ({mode})", mode_text(perm.mode)), mode.clone());
    facts.text("owner", format!("{}:{}", perm.uid, perm.gid));
    facts.unit("size", "size_bytes", format!("{} bytes", row.size_bytes), row.size_bytes);
    facts.both("mtime", local_stamp(row.mtime), row.mtime.to_string());
    facts.both("ctime", local_stamp(row.ctime), row.ctime.to_string());
    facts.both("links", row.nlink.to_string(), row.nlink);
    if let Some(allocated) = row.allocated_bytes {
        facts.unit("allocated", "allocated_bytes", format!("{allocated} bytes"), allocated);
    }
    if let Place::Device(number) = row.place {
        facts.text("device", device(number));
    }
    if let Some(target) = link_target(&reader, row.place, kind)? {
        facts.text("target", target);
    }
    facts.time("version since", Some(Time(row.born)));
    match until {
        FOREVER => facts.both("version until", "now", Value::Null),
        until => facts.time("version until", Some(until)),
    }
    facts.text("xattrs", xattrs(&reader, perm.xattr)?);
    facts.text("bytes", bytes(&reader, &source, (node, path), at, row.place)?);
    facts.text("view", format!("@{}/{}/{path}", at.view_name(), source.name));
    facts.print(args.json)?;
    Ok(Outcome::Done)
}

/// Reads an instant as SQL writes it.
fn at(text: &str) -> Option<Time> {
    text.parse::<jiff::Timestamp>().ok().map(|at| Time(at.as_second()))
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
