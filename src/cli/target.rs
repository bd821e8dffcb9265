//! What a verb is about: `SOURCE`, `SOURCE@DATE`, `SOURCE:PATH`, and a date for it.
//!
//! Promises: a source's name has neither `@` nor `:`, so the first of them ends it; a path is bytes.

use super::report::Failure;
use super::say::local;
use super::world::World;
use crate::catalog::{GenerationRow, Reader, Scope, SourceRow};
use crate::model::{AsOf, Fold, Kind, NodeId, RelPath, Time, parse_date, parse_instant};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// A target as it was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A source.
    Source(String),
    /// A generation of a source, by a date.
    Generation(String, String),
    /// An entry of a source.
    Entry(String, RelPath),
}

impl Target {
    pub(super) fn parse(text: &OsStr) -> Result<Self, Failure> {
        let bytes = text.as_bytes();
        let end = bytes.iter().position(|b| b"@:".contains(b)).unwrap_or(bytes.len());
        let utf8 = |bytes: &[u8]| match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(Failure::new(format!("{text:?} is not the name of a source: it is not UTF-8"))
                .hint("write SOURCE, SOURCE@DATE or SOURCE:PATH")),
        };
        let name = utf8(&bytes[..end])?;
        match bytes.get(end) {
            None => Ok(Self::Source(name)),
            Some(b'@') => Ok(Self::Generation(name, utf8(&bytes[end + 1..])?)),
            Some(_) => match RelPath::parse(&bytes[end + 1..]) {
                Ok(path) => Ok(Self::Entry(name, path)),
                Err(e) => Err(Failure::because(format!("{text:?} is not a path of an entry"), &e)),
            },
        }
    }
}

/// Returns the generation that `date` (none: the latest) means for `source`.
pub(super) fn generation_at(
    reader: &Reader,
    source: &SourceRow,
    date: Option<&str>,
    world: &World,
) -> Result<GenerationRow, Failure> {
    use crate::clock::Clock;
    let as_of = match date {
        Some(date) if is_event(date) => {
            AsOf::At(instant_at(reader, &reader.scope(source.clone())?, Some(date), world)?)
        }
        Some(date) => parse_date(date, world.clock.now(), &world.zone, Fold::Refuse)?,
        None => AsOf::Latest,
    };
    let generations = reader.generations(source.id)?;
    let picked = pick(&generations, as_of, world.clock.now());
    picked.cloned().ok_or_else(|| no_generation(&source.name, date, generations.first().map(|first| first.taken_at)))
}

/// Returns the instant of the generation that `date` (none: the latest) means for the source of `scope`.
pub(super) fn instant_at(reader: &Reader, scope: &Scope, date: Option<&str>, world: &World) -> Result<Time, Failure> {
    use crate::clock::Clock;
    if let Some(path) = date.and_then(event) {
        return before_delete(reader, scope, path);
    }
    let now = world.clock.now();
    let found = match date.map(|date| parse_date(date, now, &world.zone, Fold::Refuse)).transpose()? {
        None | Some(AsOf::Latest) => scope.newest(now),
        Some(AsOf::Oldest) => scope.instants().next(),
        Some(AsOf::At(at)) => scope.newest(at),
    };
    found.ok_or_else(|| no_generation(&scope.source.name, date, scope.instants().next()))
}

/// Returns the path of a date that is an event: `@before-delete:PATH`.
fn event(date: &str) -> Option<&str> {
    date.strip_prefix('@').unwrap_or(date).strip_prefix("before-delete:")
}

/// Tells whether a date is an event in the history of a source.
pub(super) fn is_event(date: &str) -> bool {
    event(date).is_some()
}

/// Returns the last generation that has a path before it was gone.
fn before_delete(reader: &Reader, scope: &Scope, path: &str) -> Result<Time, Failure> {
    let name = &scope.source.name;
    let parsed = RelPath::parse(path.as_bytes());
    let path = parsed.map_err(|e| Failure::because(format!("{path:?} is not a path of an entry"), &e))?;
    reader.last_before_deletion(scope, &path)?.ok_or_else(|| {
        Failure::new(format!("\"{path}\" was never deleted in {name:?}, as far as its generations go"))
            .hint(format!("asof history \"{name}:{path}\" shows when there was such a path"))
    })
}

/// Says that a source has no generation by a date.
fn no_generation(name: &str, date: Option<&str>, first: Option<Time>) -> Failure {
    let when = date.map_or_else(String::new, |d| format!(" by {d:?}"));
    match first {
        Some(first) => {
            Failure::new(format!("source {name:?} has no generation{when}; its first is of {}", local(first)))
        }
        None => Failure::new(format!("source {name:?} has no generation yet"))
            .hint(format!("asof index {name} looks for copies")),
    }
}

/// Returns the instant of the one generation that `date` is about: of that second, or the only one of that day or longer period.
///
/// # Errors
/// If there is none, or more than one: what is done to a generation is not done to its neighbour.
pub(super) fn generation_of(reader: &Reader, source: &SourceRow, date: &str, world: &World) -> Result<Time, Failure> {
    use crate::clock::Clock;
    let now = world.clock.now();
    let generations = reader.generations(source.id)?;
    let until = match parse_date(date, now, &world.zone, Fold::Refuse)? {
        AsOf::At(at) => at,
        as_of => {
            let none = || Failure::new(format!("source {:?} has no generation yet", source.name));
            return pick(&generations, as_of, now).map(|generation| generation.taken_at).ok_or_else(none);
        }
    };
    let since = parse_instant(date, now, &world.zone, Fold::Refuse)?;
    let of_it: Vec<Time> =
        generations.iter().map(|g| g.taken_at).filter(|at| (since..=until.max(since)).contains(at)).collect();
    let hint = format!("asof generations {} lists them", source.name);
    match of_it.as_slice() {
        [at] => Ok(*at),
        [] => Err(Failure::new(format!("source {:?} has no generation of {date:?}", source.name)).hint(hint)),
        [first, .., last] => Err(Failure::new(format!(
            "source {:?} has {} generations of {date:?}, from {} to {}",
            source.name,
            of_it.len(),
            local(*first),
            local(*last)
        ))
        .hint(hint)),
    }
}

/// Returns the newest generation that `as_of` allows. One that lies in the future is not the latest yet.
pub(super) fn pick(generations: &[GenerationRow], as_of: AsOf, now: Time) -> Option<&GenerationRow> {
    let newest = |at: Time| generations.iter().rev().find(|g| g.taken_at <= at);
    match as_of {
        AsOf::Latest => newest(now),
        AsOf::Oldest => generations.first(),
        AsOf::At(at) => newest(at),
    }
}

/// Tells whether not all names in a directory are known as of `at`.
pub(super) fn is_in_doubt(reader: &Reader, dir: NodeId, at: Time) -> Result<bool, Failure> {
    Ok(reader.known_node(dir, at)?.place == crate::catalog::Place::Lost || reader.is_unknown(dir, at)?)
}

/// Says that not all names in a directory are known.
pub(super) fn unlisted(source: &SourceRow, path: &RelPath, at: Time) -> Failure {
    Failure::new(format!(
        "\"{}/{path}\" as of {} cannot be listed: it could not be read when it was indexed",
        source.name,
        local(at)
    ))
}

/// Returns the node at `path` as of `at`.
pub(super) fn node_at(
    reader: &Reader,
    source: &SourceRow,
    path: &RelPath,
    at: Time,
) -> Result<(NodeId, Kind), Failure> {
    let mut here = (source.root, Kind::Directory);
    let mut walked = RelPath::root();
    for name in path.names() {
        if here.1 != Kind::Directory {
            return Err(Failure::new(format!("\"{}/{walked}\" is not a directory as of {}", source.name, local(at))));
        }
        let Some(found) = reader.lookup(here.0, name, at)? else {
            if is_in_doubt(reader, here.0, at)? {
                return Err(unlisted(source, &walked, at));
            }
            let text = format!("there is no \"{}/{path}\" as of {}", source.name, local(at));
            return Err(Failure::new(text).hint(format!(
                "asof ls \"{}:{walked}\" lists what there is; asof sql \"SELECT * FROM deleted\" what was there before; asof generations \
                 other dates",
                source.name
            )));
        };
        here = found;
        let name = crate::model::EntryName::new(name).map_err(|e| Failure::because("reading a path", &e))?;
        walked.push(&name);
    }
    Ok(here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sign_ends_the_name_of_the_source() {
        let parse = |text: &str| Target::parse(OsStr::new(text)).unwrap();
        assert_eq!(parse("homes"), Target::Source("homes".into()));
        assert_eq!(parse("homes@2026-11-20T02:00"), Target::Generation("homes".into(), "2026-11-20T02:00".into()));
        let path = RelPath::parse(b"a@b:c/d").unwrap();
        assert_eq!(parse("homes:/a@b:c/d/"), Target::Entry("homes".into(), path));
    }
}
