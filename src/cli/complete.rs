//! Completion in a shell: verbs and options, and what the catalog knows: sources, dates, paths.
//!
//! The shell starts asof with `ASOF_COMPLETE` set and the words so far; `asof completions SHELL` prints what makes it do so.
//! Promises: never writes to the catalog and never says anything on standard error; a catalog that cannot be read completes nothing.

use super::report::{Failure, Outcome};
use super::target::{Target, node_at, pick};
use super::world::{default_catalog, local_zone};
use crate::catalog::{Reader, SourceRow};
use crate::clock::{self, Clock};
use crate::model::{AsOf, Fold, Kind, RelPath, Time, parse_date};
use clap::{Args, ValueEnum};
use clap_complete::CompletionCandidate;
use clap_complete::env::{Bash, Elvish, EnvCompleter, Fish, Powershell, Shells, Zsh};
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// What the shell sets when it asks.
const ASKED: &str = "ASOF_COMPLETE";

/// Words that are dates wherever a date may stand.
const DATES: [&str; 4] = ["latest", "oldest", "today", "yesterday"];

/// Names of a directory that are offered, at most.
const NAMES_MAX: usize = 2_000;

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: ShellArg,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ShellArg {
    Bash,
    Elvish,
    Fish,
    #[value(name = "powershell")]
    PowerShell,
    Zsh,
}

/// Prints what makes a shell ask.
pub(super) fn script(args: &CompletionsArgs) -> Result<Outcome, Failure> {
    let shell: &dyn EnvCompleter = match args.shell {
        ShellArg::Bash => &BashByLine,
        ShellArg::Elvish => &Elvish,
        ShellArg::Fish => &Fish,
        ShellArg::PowerShell => &Powershell,
        ShellArg::Zsh => &Zsh,
    };
    let mut script = Vec::new();
    shell.write_registration(ASKED, "asof", "asof", "asof", &mut script)?;
    std::io::stdout().write_all(&script)?;
    Ok(Outcome::Done)
}

/// Answers a shell that asks about `command`, and ends then; does nothing if none does.
pub(super) fn answer_a_shell(command: fn() -> clap::Command) {
    clap_complete::CompleteEnv::with_factory(command)
        .var(ASKED)
        .bin("asof")
        .completer("asof")
        .shells(Shells(&[&BashByLine, &Elvish, &Fish, &Powershell, &Zsh]))
        .complete();
}

/// Bash, asked with the words of the line: its own words end at `@` and `:`, which stand inside of ours.
struct BashByLine;

impl EnvCompleter for BashByLine {
    fn name(&self) -> &'static str {
        Bash.name()
    }

    fn is(&self, name: &str) -> bool {
        Bash.is(name)
    }

    fn write_registration(
        &self,
        var: &str,
        name: &str,
        bin: &str,
        completer: &str,
        out: &mut dyn Write,
    ) -> std::io::Result<()> {
        let script = include_str!("complete/bash.sh");
        let script = script.replace("VAR", var).replace("NAME", name).replace("BIN", bin);
        out.write_all(script.replace("COMPLETER", completer).as_bytes())
    }

    fn write_complete(
        &self,
        asof: &mut clap::Command,
        args: Vec<OsString>,
        folder: Option<&std::path::Path>,
        out: &mut dyn Write,
    ) -> std::io::Result<()> {
        Bash.write_complete(asof, args, folder, out)
    }
}

/// What the catalog knows.
struct Known {
    reader: Reader,
    zone: jiff::tz::TimeZone,
    now: Time,
}

impl Known {
    /// Opens the catalog that the words so far name, or the usual one.
    fn open() -> Option<Self> {
        let words: Vec<OsString> = std::env::args_os().collect();
        let named = words.iter().zip(words.iter().skip(1)).find_map(|(word, next)| match word.to_str() {
            Some("--catalog") => Some(PathBuf::from(next)),
            word => word.and_then(|word| word.strip_prefix("--catalog=")).map(PathBuf::from),
        });
        let path = named.or_else(|| std::env::var_os("ASOF_CATALOG").map(PathBuf::from));
        let path = path.map_or_else(|| default_catalog().ok(), Some)?;
        let reader = Reader::open(&path).ok()?;
        Some(Self { reader, zone: local_zone(), now: clock::System.now() })
    }

    fn sources(&self) -> Vec<SourceRow> {
        self.reader.sources().unwrap_or_default()
    }

    /// Returns the dates of generations as a mount calls them, newest first.
    fn dates(&self, source: &SourceRow) -> Vec<String> {
        let generations = self.reader.generations(source.id).unwrap_or_default();
        generations.iter().rev().map(|generation| generation.taken_at.view_name()).collect()
    }

    /// Returns `SOURCE:PATH` for the names of the directory that `path` is in.
    fn paths(&self, name: &str, path: &str) -> Option<Vec<String>> {
        let source = self.reader.source(name).ok()?;
        let folder = path.rfind('/').map_or("", |end| &path[..=end]);
        let as_of = date_of_line().and_then(|date| parse_date(&date, self.now, &self.zone, Fold::Later).ok());
        let generations = self.reader.generations(source.id).ok()?;
        let at = pick(&generations, as_of.unwrap_or(AsOf::Latest), self.now)?.taken_at;
        let dir = RelPath::parse(folder.as_bytes()).ok()?;
        let (node, _) = node_at(&self.reader, &source, &dir, at).ok()?;
        let mut found = Vec::new();
        let plain = |text: &String| !text.chars().any(char::is_control);
        let listed = self.reader.list(node, at, None, NAMES_MAX, |entry| {
            if let Some(text) = String::from_utf8(entry.name.as_bytes().to_vec()).ok().filter(plain) {
                let slash = if entry.kind == Kind::Directory { "/" } else { "" };
                found.push(format!("{name}:{folder}{text}{slash}"));
            }
            ControlFlow::Continue(())
        });
        listed.ok().map(|_| found)
    }
}

/// Returns the date that the line gives with `--at`.
fn date_of_line() -> Option<String> {
    let words: Vec<String> = std::env::args().collect();
    let at = words.iter().position(|word| word == "--at")?;
    words.get(at + 1).cloned()
}

/// Returns those that go on from what is typed, in their order.
fn going_on(typed: &OsStr, all: impl IntoIterator<Item = String>) -> Vec<CompletionCandidate> {
    let typed = typed.to_str().unwrap_or("\u{0}");
    let going_on = all.into_iter().filter(|text| text.starts_with(typed));
    going_on.enumerate().map(|(at, text)| CompletionCandidate::new(text).display_order(Some(at))).collect()
}

/// Completes `SOURCE`.
pub(super) fn sources(typed: &OsStr) -> Vec<CompletionCandidate> {
    let known = Known::open();
    going_on(typed, known.iter().flat_map(Known::sources).map(|source| source.name))
}

/// Completes a date: words, and the generations of all sources.
pub(super) fn dates(typed: &OsStr) -> Vec<CompletionCandidate> {
    let known = Known::open();
    let mut dates: Vec<String> =
        known.iter().flat_map(|known| known.sources().into_iter().flat_map(|source| known.dates(&source))).collect();
    dates.sort_by(|one, other| other.cmp(one));
    dates.dedup();
    going_on(typed, DATES.map(str::to_owned).into_iter().chain(dates))
}

/// Completes `SOURCE` and `SOURCE@DATE`.
pub(super) fn generations(typed: &OsStr) -> Vec<CompletionCandidate> {
    let Some((name, _)) = typed.to_str().and_then(|typed| typed.split_once('@')) else { return sources(typed) };
    let known = Known::open();
    let source = known.as_ref().and_then(|known| known.reader.source(name).ok());
    let dates = known.iter().zip(&source).flat_map(|(known, source)| known.dates(source));
    let words = DATES.map(str::to_owned).into_iter();
    going_on(typed, words.chain(dates).map(|date| format!("{name}@{date}")))
}

/// Completes `SOURCE`, `SOURCE@DATE` and `SOURCE:PATH`.
pub(super) fn targets(typed: &OsStr) -> Vec<CompletionCandidate> {
    match Target::parse(typed) {
        Ok(Target::Entry(name, _)) => {
            let path = typed.to_str().and_then(|typed| typed.split_once(':')).map_or("", |(_, path)| path);
            going_on(typed, Known::open().and_then(|known| known.paths(&name, path)).unwrap_or_default())
        }
        _ => generations(typed),
    }
}
