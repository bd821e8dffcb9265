//! `asof index`: what other tools made becomes generations.
//!
//! Arguments to the job, what it says to text. Promises: every line is printed as soon as it is known.

pub(super) mod args;
mod foreign;

use super::output::{self, grouped, human_bytes};
use super::progress::Terminal;
use super::report::{Failure, Outcome};
use super::say::{detail, local, say};
use super::target::{Target, generation_of};
use super::{World, report};
use crate::catalog::SourceRow;
use crate::clock::Clock;
use crate::jobs::MovedCopy;
use crate::jobs::index::{
    self, DiskWish, Event, Gone, Indexed, Inputs, Report, SourceReport, Which, Wish, index_all, index_source,
};
use crate::model::{Consistency, Fold, SourceKind, Time, chain, parse_instant};
use crate::source::{self, block::Location};
use args::IndexArgs;
use std::ffi::OsStr;

pub(super) fn run(args: &IndexArgs, world: &World) -> Result<Outcome, Failure> {
    let target = args.target.as_deref().map(|target| Target::parse(OsStr::new(target))).transpose()?;
    if let Some(list) = &args.foreign.list {
        let Some(Target::Source(name)) = target else {
            return Err(Failure::new("--list is for one source, by its name"));
        };
        return foreign::run(&name, list, args, world);
    }
    world.bring_up_to_date("index")?;
    let wish = wish(target.as_ref(), args, world)?;
    let verb = |source: &str| format!("index {source}");
    let lock = |source: &str| world.lock_source(&verb(source), source);
    let open = |source: &SourceRow| world.open_source_writer(&verb(&source.name), source);
    let monitor = Terminal::new();
    let inputs = Inputs {
        catalog: &world.catalog,
        lock: &lock,
        open: &open,
        zone: &world.zone,
        clock: &world.clock,
        patience: &world.patience,
        monitor: &monitor,
    };
    let mut each = |source: &str, event: &Event| print(source, event);
    let report = match &target {
        None => index_all(&inputs, &wish, &mut each)?,
        Some(Target::Source(name) | Target::Generation(name, _) | Target::Entry(name, _)) => {
            index_source(&inputs, &wish, name, &mut each)?
        }
    };
    if args.json {
        output::report(&report)?;
    }
    print_quiet(&report);
    Ok(match report.outcome() {
        index::Outcome::Done => Outcome::Done,
        index::Outcome::Findings => Outcome::WithFindings,
        index::Outcome::Failed => Outcome::NotDone,
    })
}

/// Returns what is asked for.
fn wish(target: Option<&Target>, args: &IndexArgs, world: &World) -> Result<Wish, Failure> {
    let name = match target {
        Some(Target::Source(name) | Target::Generation(name, _)) => name,
        Some(Target::Entry(..)) => {
            return Err(Failure::new(format!(
                "{:?} is no source: it has a path",
                args.target.as_deref().unwrap_or("")
            ))
            .hint("write asof index NAME, asof index NAME@DATE --again or asof index NAME PATH"));
        }
        None => "NAME",
    };
    let count = args.paths.len();
    if args.at.is_some() && count != 1 {
        let named = if count == 0 { "none is".to_owned() } else { format!("{count} are") };
        let failure = Failure::new(format!("--at gives the date of one copy, and {named} named"));
        return Err(if count == 0 { failure.hint(format!("asof index {name} PATH --at DATE")) } else { failure });
    }
    let location = match &args.disk.location {
        Some(_) if count != 1 => {
            return Err(Failure::new(format!("--location says where one image came from, and {count} are named")));
        }
        Some(text) => Some(Location::parse(text).map_err(|e| Failure::new(chain(&e)))?),
        None => None,
    };
    if target.is_none() && args.again {
        return Err(Failure::new("--again indexes copies of one source once more, and no source is named").hint(
            "asof index NAME@DATE --again for one generation, asof index NAME --again for all copies that may have changed or \
             could not be read as a whole; asof source list shows the names",
        ));
    }
    let which = match target {
        Some(Target::Generation(..)) if count > 0 => {
            return Err(Failure::new("a generation is meant by its date or by the path of its copy, not by both"));
        }
        Some(Target::Generation(name, date)) => {
            let reader = world.reader()?;
            Which::Generation(generation_of(&reader, &reader.source(name)?, date, world)?)
        }
        _ if count > 0 => {
            let date = |date| parse_instant(date, world.clock.now(), &world.zone, Fold::Refuse);
            Which::Named(args.paths.clone(), args.at.as_deref().map(date).transpose()?)
        }
        _ => Which::All,
    };
    let disk =
        DiskWish { base: args.disk.base.clone(), consistency: args.disk.consistency.map(Consistency::from), location };
    Ok(Wish { which, again: args.again, settle: args.settle, disk })
}

/// Prints an event: with `--quiet` only what a person has to look at.
fn print(source: &str, event: &Event) {
    match event {
        Event::Failed { copy, error } => {
            let failure = Failure::from(error);
            let failure = match copy {
                Some(copy) => failure.about(&format!("cannot index generation {} of \"{source}\"", local(copy.when.0))),
                None => failure.about(&format!("cannot index \"{source}\"")),
            };
            report::end(Err(failure));
        }
        Event::Same(copy) => detail!("{:?} is as it was indexed, as {}", copy.path, local(copy.when.0)),
        event => {
            for line in lines(source, event) {
                match event.is_finding() {
                    true => eprintln!("{line}"),
                    false => say!("{line}"),
                }
            }
        }
    }
}

fn lines(source: &str, event: &Event) -> Vec<String> {
    match event {
        Event::Same(_) | Event::Failed { .. } => Vec::new(),
        Event::Indexed(done) => lines_of_indexed(source, done),
        Event::Known(copy) => vec![format!("{:?} is indexed already, as {}", copy.path, local(copy.when.0))],
        Event::Moved { copies } => line_of_moved(copies).into_iter().collect(),
        Event::Back(copy) => vec![format!("the copy of {} is back, at {:?}", local(copy.when.0), copy.path)],
        Event::Gone(gone) => lines_of_gone(source, gone),
        Event::Changed { copy, why, can_be_again } => {
            let at = local(copy.when.0);
            let text = format!("the copy of {at}, {:?}, is not what was indexed: {why}", copy.path);
            let hint = format!("hint: asof index {source}@{at} --again indexes it as it is now");
            std::iter::once(text).chain(can_be_again.then_some(hint)).collect()
        }
        Event::CutOff { path, why, copies } => {
            let dates: Vec<String> = copies.iter().map(|copy| local(copy.when.0)).collect();
            let (generations, are) =
                if dates.len() == 1 { ("the generation", "is") } else { ("the generations", "are") };
            vec![
                format!(
                    "{generations} {} of \"{source}\" {are} based on {path:?} and cannot be read as a whole: {why}",
                    dates.join(", ")
                ),
                match path.symlink_metadata() {
                    Ok(_) => "hint: put it back as it was; or asof index NAME@DATE --again of its generation: what is based on it is indexed again, too",
                    Err(_) => "hint: put it back as it was; the bytes that only it had are nowhere else",
                }
                .to_owned(),
            ]
        }
        Event::LeftAside { path, why } => vec![format!("skipped {path:?}: {why}")],
        Event::Unreachable { store, why, copies, hint } => {
            let copies = counted(*copies, "copy", "copies");
            let text = format!("cannot look at the {copies} of \"{source}\" in {store:?}: {why}");
            let gone = |at: Time| {
                let at = at.view_name();
                format!(
                    "hint: if {store:?} is gone for good, asof forget {source}@{at} removes the generation of the oldest copy there"
                )
            };
            std::iter::once(text).chain(hint.map(gone)).collect()
        }
        Event::Note { text } | Event::Warning { text } => vec![text.clone()],
    }
}

fn lines_of_indexed(source: &str, done: &Indexed) -> Vec<String> {
    let (at, path) = (done.copy.when.0, &done.copy.path);
    let what = match &done.snapshot {
        Some(name) => format!("snapshot {name:?} in {path:?}"),
        None => format!("{path:?}"),
    };
    let again = done.again.as_ref().map_or("", |_| " again");
    let on = done.parent.map_or_else(String::new, |parent| format!(" on top of {}", local(parent.0)));
    let mut text = format!(
        "indexed {} of \"{source}\"{again} from {what}{on}: {}, {}, {} changed, in {}",
        local(at),
        output::entries(done.entries),
        human_bytes(done.size_bytes as i64),
        grouped(done.changed as i64),
        output::took(done.index_ms),
    );
    if let Some(why) = &done.again {
        text.push_str(&format!("; {why}"));
    }
    if done.losses > 0 {
        text.push_str(&format!("; {} could not be read, the generation is partial", grouped(done.losses as i64)));
    }
    if done.changed_while_indexed {
        text.push_str("; the copy changed while it was indexed");
    }
    let mut lines = vec![text];
    if done.losses + done.notices > 0 {
        let view = local(at);
        let once_more = if done.losses > 0 {
            format!("; when it can be read, asof index {source}@{view} --again reads it once more")
        } else {
            String::new()
        };
        lines.push(format!("hint: asof show {source}@{view} lists what was found{once_more}"));
    }
    if done.suddenly_empty {
        lines.push(format!("the copy {path:?} is empty: was the share mounted when it was made?"));
    }
    if done.in_future {
        let at = local(at);
        lines.push(format!(
            "the generation {at} lies in the future, and is not the latest until then: is its date right?"
        ));
    }
    lines
}

fn line_of_moved(copies: &[MovedCopy]) -> Option<String> {
    let [first, rest @ ..] = copies else { return None };
    let (at, from, to) = (local(first.when.0), &first.from, &first.to);
    Some(match rest.len() {
        0 => format!("the copy of {at} moved from {from:?} to {to:?}"),
        more => format!("{} copies moved: that of {at} from {from:?} to {to:?}, and {more} more", more + 1),
    })
}

fn lines_of_gone(source: &str, gone: &Gone) -> Vec<String> {
    let [first, rest @ ..] = gone.copies.as_slice() else { return Vec::new() };
    let (at, path) = (first.when.0, &first.path);
    let more = if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
    let text = if gone.pruned {
        format!("pruned by whoever makes the copies: the copy of {}, {path:?}{more}", local(at))
    } else {
        format!("not there any more: the copy of {}, {path:?}{more}", local(at))
    };
    vec![text, format!("hint: asof forget {source}@{} removes the generation from the catalog", local(at))]
}

/// Says that there was nothing to do, where nothing else was said.
fn print_quiet(report: &Report) {
    match report.sources.as_slice() {
        [one] if one.is_quiet() => {
            let copy = SourceKind::from_word(&one.kind).map_or("copy", |kind| source::description(kind).copy);
            say!("nothing to index: no {copy} of \"{}\" is new{}", one.source, known(one));
        }
        [] => say!("nothing to index: there is no source"),
        [_] => {}
        all if all.iter().all(SourceReport::is_quiet) => {
            say!("nothing to index: nothing of {} sources is new", all.len());
        }
        _ => {}
    }
}

/// Returns how many copies there are, in brackets.
fn known(report: &SourceReport) -> String {
    let is = |count: u64| if count == 1 { "is" } else { "are" };
    let mut parts = vec![format!("{} {} indexed", report.known, is(report.known))];
    if report.forgotten > 0 {
        parts.push(format!("{} {} forgotten", report.forgotten, is(report.forgotten)));
    }
    format!(" ({})", parts.join(", "))
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
