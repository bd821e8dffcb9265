//! `asof man`, and the examples of `--help`: made from the arguments of the verbs and from `pages/examples.txt`.
//!
//! Promises: a page has what `--help` has, and EXAMPLES, EXIT STATUS, ENVIRONMENT, FILES and SEE ALSO. Examples stand in one place, and
//! `tests/documents.rs` runs them.

use super::report::{Failure, Outcome};
use super::say::say;
use clap::{Args, Command};
use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

/// Blocks, an empty line between them: a verb, then what an example does (two blanks) and its commands (four).
const EXAMPLES: &str = include_str!("pages/examples.txt");

/// When ENVIRONMENT, FILES and the examples were last gone over.
const GONE_OVER: &str = "2026-11-30";

/// What the environment changes, for all verbs.
const ENVIRONMENT: [(&str, &str); 4] = [
    ("ASOF_CATALOG", "the catalog, where --catalog does not name one"),
    ("TZ", "the time zone of dates without one, and of the times that are printed; else /etc/localtime"),
    (
        "XDG_STATE_HOME, HOME",
        "where the catalog of a user other than root is, and what was asked in asof sql (sql_history): $XDG_STATE_HOME/asof, else ~/.local/state/asof",
    ),
    ("XDG_RUNTIME_DIR", "where the mounts of a user other than root can be reached"),
];

/// Which files there are, for all verbs.
const FILES: [(&str, &str); 7] = [
    ("/var/lib/asof/catalog.db", "the catalog of root; CATALOG below is any catalog"),
    ("CATALOG-wal, CATALOG-shm", "SQLite's log of the catalog: never delete them while CATALOG is there"),
    ("CATALOG-views", "inode numbers of views"),
    ("CATALOG-manifests/", "what each generation did: asof rebuild makes a lost catalog from them"),
    ("CATALOG.lock, CATALOG-locks/", "who writes"),
    ("CATALOG.log", "the log of a mount"),
    ("/run/asof/", "sockets through which verbs reach the mounts"),
];

const EXIT_STATUS: [(&str, &str); 3] =
    [("0", "done"), ("1", "done, with losses or findings: they were printed"), ("2", "not done")];

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Write asof.1 and a page for each verb into this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Returns a command with the examples of its verbs in their help; `verb` is how it is called.
pub(super) fn with_examples(command: Command, verb: &str) -> Command {
    let command = command.mut_subcommands(|sub| {
        let verb = format!("{verb} {}", sub.get_name());
        with_examples(sub, &verb)
    });
    let examples = examples_of(verb);
    if examples.is_empty() {
        return command;
    }
    let mut text = command.get_after_help().map_or_else(String::new, |text| format!("{text}\n\n"));
    text.push_str("Examples:");
    for (what, lines) in &examples {
        write!(text, "\n  {what}:").expect("a string takes all");
        lines.iter().for_each(|line| write!(text, "\n    {line}").expect("a string takes all"));
    }
    command.after_help(text)
}

/// Returns what each example of a verb does, and its commands.
fn examples_of(verb: &str) -> Vec<(&'static str, Vec<&'static str>)> {
    let block = EXAMPLES.split("\n\n").find_map(|block| block.trim_start().strip_prefix(verb)?.strip_prefix('\n'));
    let mut examples: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in block.unwrap_or_default().lines() {
        match (line.strip_prefix("    "), examples.last_mut()) {
            (Some(command), Some((_, commands))) => commands.push(command),
            _ => examples.push((line.trim(), Vec::new())),
        }
    }
    examples
}

pub(super) fn man(args: &ManArgs, mut asof: Command) -> Result<Outcome, Failure> {
    let mut pages = Vec::new();
    write_pages(&mut asof, "asof", &mut pages)?;
    match &args.dir {
        Some(dir) => {
            let fail = |e| Failure::because(format!("writing manual pages into {dir:?}"), &e);
            std::fs::create_dir_all(dir).map_err(fail)?;
            for (name, page) in &pages {
                std::fs::write(dir.join(format!("{name}.1")), page).map_err(fail)?;
            }
            say!("wrote the manual pages into {dir:?}");
        }
        None => std::io::stdout().write_all(pages[0].1.as_bytes())?,
    }
    Ok(Outcome::Done)
}

/// Adds the page of a command, and those of its verbs after it.
fn write_pages(command: &mut Command, verb: &str, pages: &mut Vec<(String, String)>) -> std::io::Result<()> {
    command.build();
    let name = verb.replace(' ', "-");
    let shown = command.clone().name(name.clone()).bin_name(verb.to_owned()).after_help(None::<&str>);
    let man = clap_mangen::Man::new(shown)
        .title(name.to_uppercase())
        .date(GONE_OVER)
        .source(format!("asof {}", env!("CARGO_PKG_VERSION")))
        .manual("asof");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let verbs = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    let about = |sub: &Command| sub.get_about().map(ToString::to_string).unwrap_or_default();
    let verbs: Vec<(String, String)> = verbs.map(|sub| (format!("{verb} {}", sub.get_name()), about(sub))).collect();
    let mut text = String::new();
    if !verbs.is_empty() {
        section(&mut text, "COMMANDS", verbs.iter().map(|(name, about)| (name.as_str(), about.as_str())));
    }
    if let Some(notes) = command.get_after_help() {
        text.push_str(".SH NOTES\n.nf\n");
        notes.to_string().lines().for_each(|line| push_line(&mut text, line));
        text.push_str(".fi\n");
    }
    let examples = examples_of(verb);
    if !examples.is_empty() {
        text.push_str(".SH EXAMPLES\n");
        for (at, (what, lines)) in examples.iter().enumerate() {
            // Right after a title mandoc complains of it.
            text.push_str(if at > 0 { ".PP\n" } else { "" });
            push_line(&mut text, &format!("{what}:"));
            text.push_str(".PP\n.RS 4\n.nf\n");
            lines.iter().for_each(|line| push_line(&mut text, line));
            text.push_str(".fi\n.RE\n");
        }
    }
    section(&mut text, "EXIT STATUS", EXIT_STATUS);
    section(&mut text, "ENVIRONMENT", ENVIRONMENT);
    section(&mut text, "FILES", FILES);
    see_also(&mut text, verb, &verbs);
    // An empty line between two breaks is one that mandoc complains of.
    let page = String::from_utf8_lossy(&page).replace("\n.br\n\n.br\n", "\n.sp\n");
    pages.push((name, page + &text));
    for sub in command.get_subcommands_mut().filter(|sub| !sub.is_hide_set()) {
        let verb = format!("{verb} {}", sub.get_name());
        write_pages(sub, &verb, pages)?;
    }
    Ok(())
}

/// Adds a section of words and what each means.
fn section<'t>(text: &mut String, title: &str, items: impl IntoIterator<Item = (&'t str, &'t str)>) {
    writeln!(text, ".SH {title}").expect("a string takes all");
    for (word, means) in items {
        text.push_str(".TP\n");
        push_line(text, word);
        push_line(text, means);
    }
}

fn see_also(text: &mut String, verb: &str, verbs: &[(String, String)]) {
    let mut pages: Vec<String> = verbs.iter().map(|(verb, _)| verb.replace(' ', "-")).collect();
    if let Some((above, _)) = verb.rsplit_once(' ') {
        pages.insert(0, above.replace(' ', "-"));
    }
    let mut pages: Vec<String> = pages.into_iter().map(|page| format!("{page}(1)")).collect();
    match verb {
        "asof" | "asof mount" | "asof umount" => pages.extend(["mount(8)", "fstab(5)", "fuse(4)"].map(str::to_owned)),
        "asof sql" => pages.push("sqlite3(1)".to_owned()),
        "asof index" => pages.extend(["rsync(1)", "crontab(5)"].map(str::to_owned)),
        _ => {}
    }
    text.push_str(".SH SEE ALSO\n");
    push_line(text, &pages.join(", "));
}

/// Adds a line of text so that roff shows it as it is.
fn push_line(text: &mut String, line: &str) {
    if line.trim().is_empty() {
        text.push_str(".sp\n");
        return;
    }
    // A line that begins with a dot or an apostrophe would be a request.
    if line.starts_with(['.', '\'']) {
        text.push_str("\\&");
    }
    for c in line.chars() {
        match c {
            '\\' => text.push_str("\\e"),
            '-' => text.push_str("\\-"),
            '\'' => text.push_str("\\(aq"),
            '~' => text.push_str("\\(ti"),
            '^' => text.push_str("\\(ha"),
            '`' => text.push_str("\\(ga"),
            c => text.push(c),
        }
    }
    text.push('\n');
}
