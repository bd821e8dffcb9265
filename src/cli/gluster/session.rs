//! `asof gluster register | sessions | changes | confirm | forget-session`: lists for a consumer that is known.
//!
//! Promises: a session is as before until its list is on the disk and in its place, and goes on from there only when the list is confirmed.
//! The window is told on standard error. What a failing command means: before the list, that there is none (2); after it, that it is there and somebody
//! could not take it (1).

use super::list::{List, ListArgs, place};
use super::volume::{AskArgs, VolumeArgs, settings};
use crate::cli::World;
use crate::cli::args::{JsonArgs, RescanArgs};
use crate::cli::output;
use crate::cli::progress::Terminal;
use crate::cli::report::{Failure, Outcome};
use crate::cli::say::say;
use crate::clock::Clock;
use crate::jobs::gluster::lists::{self, Window};
use crate::jobs::gluster::session::{About, Sessions};
use crate::jobs::hooks;
use crate::jobs::take::gluster::Report;
use crate::model::{Time, chain};
use crate::source::gluster::RESCAN_EVERY_S;
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};

/// The help of a session that is there.
const SESSION: &str = "The session";

#[derive(Debug, Args)]
pub(in crate::cli) struct RegisterArgs {
    /// Its name: 2 to 256 letters, digits, - and _; not "default"
    session: String,
    #[command(flatten)]
    volume: VolumeArgs,
    #[command(flatten)]
    how: AskArgs,
    #[command(flatten)]
    rescan: RescanArgs,
    /// Run this command before every list; if it fails, nothing is listed. No shell; ASOF_* is in its environment
    #[arg(long, value_name = "COMMAND")]
    pre: Option<String>,
    /// Run this command after every list; if it ends with 0, the list is confirmed
    #[arg(long, value_name = "COMMAND")]
    post: Option<String>,
}

pub(super) fn register(args: RegisterArgs, world: &World) -> Result<Outcome, Failure> {
    let scan = settings(args.volume, args.how, args.rescan.rescan_every_s().unwrap_or(RESCAN_EVERY_S));
    let about = About { session: args.session, scan, pre: args.pre, post: args.post, told: None, pending: None };
    let has_changelogs = sessions(world)?.register(&about, world.clock.now())?;
    let (session, volume) = (&about.session, &about.scan.volume);
    say!("registered session \"{session}\": volume \"{volume}\"");
    if !has_changelogs {
        eprintln!(
            "changelogs are off, so every list needs a full scan; gluster volume set {volume} changelog.changelog on \
             turns them on"
        );
    }
    say!("hint: asof gluster changes {session} lists everything the first time, then what changed");
    Ok(Outcome::Done)
}

pub(super) fn list(args: &JsonArgs, world: &World) -> Result<Outcome, Failure> {
    let (sessions, troubles) = sessions(world)?.list()?;
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for session in sessions {
        let (about, registered) = (session.about, session.registered_at.to_string());
        let ends = |window: Option<Window>| match window {
            Some(Window { from, until }) => (from.map(|from| from.to_string()), Some(until.to_string())),
            None => (None, None),
        };
        let ((from, until), (pending_from, pending)) = (ends(about.confirmed()), ends(about.pending()));
        values.push(json!({
            "session": about.session, "host": about.scan.host, "volume": about.scan.volume, "exec": about.scan.exec,
            "pre": about.pre, "post": about.post, "registered_at": registered, "confirmed_window_start": from,
            "confirmed_window_end": until, "pending_window_start": pending_from, "pending_window_end": pending,
        }));
        let shown = |at: Option<String>| at.unwrap_or_else(|| "-".to_owned());
        rows.push(vec![about.session, about.scan.host, about.scan.volume, registered, shown(until), shown(pending)]);
    }
    match args.json {
        true => output::json(&values.into())?,
        false => {
            output::table(&["session", "host", "volume", "registered", "confirmed", "pending"], &[false; 6], &rows)?;
        }
    }
    for trouble in &troubles {
        eprintln!("{}", chain(trouble));
    }
    Ok(if troubles.is_empty() { Outcome::Done } else { Outcome::WithFindings })
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SessionArgs {
    #[arg(help = SESSION)]
    session: String,
}

pub(super) fn forget(args: &SessionArgs, world: &World) -> Result<Outcome, Failure> {
    let verb = format!("gluster forget-session {}", args.session);
    sessions(world)?.forget(&args.session, &world.lock_wait(&verb))?;
    say!("forgot session \"{}\"", args.session);
    Ok(Outcome::Done)
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArgs {
    #[arg(help = SESSION)]
    session: String,
    /// The file to write; nothing is overwritten
    file: PathBuf,
}

pub(super) fn export(args: &ExportArgs, world: &World) -> Result<Outcome, Failure> {
    let verb = format!("gluster export-session {}", args.session);
    sessions(world)?.export(&args.session, &args.file, &world.lock_wait(&verb))?;
    say!("exported session \"{}\" into {:?}", args.session, args.file);
    say!("hint: asof gluster import-session {:?} makes it on another machine; use it in one place only", args.file);
    Ok(Outcome::Done)
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ImportArgs {
    /// The file that export-session wrote
    file: PathBuf,
    /// Give it this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    how: AskArgs,
}

pub(super) fn import(args: ImportArgs, world: &World) -> Result<Outcome, Failure> {
    let ImportArgs { file, name, how } = args;
    let about = sessions(world)?.import(&file, &|about| {
        about.session = name.clone().unwrap_or_else(|| about.session.clone());
        how.change(&mut about.scan);
    })?;
    let (session, volume) = (&about.session, &about.scan.volume);
    say!("imported session \"{session}\": volume \"{volume}\"");
    let commands =
        about.scan.commands().into_iter().chain([about.pre.clone(), about.post.clone()].into_iter().flatten());
    for command in commands {
        eprintln!("it runs: {}", crate::model::escape_bytes(command.as_bytes()));
    }
    Ok(Outcome::Done)
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ConfirmArgs {
    #[arg(help = SESSION)]
    session: String,
    /// Only if the list that waits ends here: the second number of its "window" line, unix seconds
    #[arg(value_name = "WINDOW_END")]
    until: Option<i64>,
}

pub(super) fn confirm(args: &ConfirmArgs, world: &World) -> Result<Outcome, Failure> {
    let verb = format!("gluster confirm {}", args.session);
    let mut session = sessions(world)?.open(&args.session, &world.lock_wait(&verb))?;
    let window = session.confirm(args.until.map(Time))?;
    say!("confirmed the list of \"{}\": window {} {}", args.session, seconds(window.from), window.until.0);
    Ok(Outcome::Done)
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ChangesArgs {
    #[arg(help = SESSION)]
    session: String,
    /// Write the last list once more, without a scan
    #[arg(long, conflicts_with = "full")]
    again: bool,
    /// Make a full scan and list everything as new
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    list: ListArgs,
}

pub(super) fn changes(args: &ChangesArgs, world: &World) -> Result<Outcome, Failure> {
    let verb = format!("gluster changes {}", args.session);
    let mut session = sessions(world)?.open(&args.session, &world.lock_wait(&verb))?;
    let mut list = List::begin(&args.list)?;
    let told = session.about().confirmed();
    // What the list will tell; `--again` fails before anything is run if there is nothing.
    let from = match (args.again, args.full) {
        (true, _) => session.again()?.from,
        (false, true) => None,
        (false, false) => told.map(|told| told.until),
    };
    let mut about = vec![
        ("ASOF_SESSION", args.session.clone().into()),
        ("ASOF_VOLUME", session.about().scan.volume.clone().into()),
        ("ASOF_OUT_FILE", place(&args.list.out_file)),
        ("ASOF_LEVEL", if from.is_some() { "incremental" } else { "full" }.into()),
        ("ASOF_WINDOW_START", seconds(from).into()),
    ];
    if let Some(command) = &session.about().pre {
        hooks::run("pre", command, &about).map_err(|e| Failure::new(chain(&e)).hint("nothing was listed"))?;
    }
    let (window, report) = match args.again {
        true => (session.again()?, None),
        false => {
            let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("asof"));
            let (window, report) = session.scan(args.full, &program, &world.clock, &Terminal::new())?;
            (window, Some(report))
        }
    };
    let (reader, source) = session.tree();
    lists::list::<Failure>(reader, source, window, &mut |change, kind| list.line(&change, kind))?;
    let counts = list.finish()?;
    session.wrote(window)?;
    say!("window {} {}", seconds(window.from), window.until.0);
    say!("listed {counts} in {}", shown(&args.list.out_file));
    let mut outcome = report.map_or(Outcome::Done, |report| print(&report));
    about.push(("ASOF_WINDOW_END", window.until.0.to_string().into()));
    let is_pending = session.about().pending().is_some();
    match &session.about().post {
        Some(command) => match hooks::run("post", command, &about) {
            Ok(()) if is_pending => drop(session.confirm(Some(window.until))?),
            Ok(()) => {}
            Err(e) => {
                eprintln!("asof: {}", chain(&e));
                eprintln!(
                    "hint: the list is there and not confirmed: the next one has all of it again; --again writes it once more"
                );
                outcome = Outcome::WithFindings;
            }
        },
        None if is_pending => say!(
            "hint: asof gluster confirm {} {} when it was used; until then the next list has all of it again",
            args.session,
            window.until.0
        ),
        None => {}
    }
    Ok(outcome)
}

/// Prints how the volume was scanned; findings were printed as they came.
fn print(report: &Report) -> Outcome {
    match &report.walked {
        Some(why) => say!("a full scan was made ({why})"),
        None => say!("the changelogs named what changed"),
    }
    if let Some(why) = &report.walk_next {
        say!("the next run makes a full scan: {why}");
    }
    let counts = &report.done.counts;
    if counts.losses > 0 {
        eprintln!("the list may lack changes: {}", output::losses(counts.losses));
    }
    if counts.losses + counts.notices > 0 { Outcome::WithFindings } else { Outcome::Done }
}

fn seconds(at: Option<Time>) -> String {
    at.map_or(0, |at| at.0).to_string()
}

pub(super) fn shown(out_file: &Path) -> String {
    match out_file == Path::new("-") {
        true => "standard output".to_owned(),
        false => format!("{out_file:?}"),
    }
}

fn sessions(world: &World) -> Result<Sessions, Failure> {
    let catalog = std::path::absolute(&world.catalog)
        .map_err(|e| Failure::because(format!("looking for the folder of {:?}", world.catalog), &e))?;
    Ok(Sessions::of(&catalog))
}
