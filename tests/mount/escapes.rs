//! What a terminal obeys never reaches one: not from names in backups, nor from a catalog of somebody else, nor from arguments.

use crate::site::{Site, said, sh, wait_until};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::process::{Output, Stdio};

/// Colours, a title, a bell; the same by C1 controls; text that is read from the right; a line and a paragraph of their own.
const HARM: &str = "\u{1b}[31mX\u{1b}]0;t\u{7}\u{9b}31m\u{7f}\u{202e}txt\u{2066}\u{2028}\u{2029}\u{85}";
const LINE: &str = "a\nhint: rm -rf ~\rb";

/// A site whose backup has such names for everything that has a name, and lost files of these names.
fn site() -> Site {
    let site = Site::with_source();
    let copy = site.path("copies/2026-11-20");
    for name in [HARM, LINE] {
        let dir = copy.join(format!("d{name}"));
        std::fs::create_dir_all(&dir).expect("a directory");
        std::fs::write(dir.join(format!("f{name}")), b"x").expect("a file");
        std::fs::write(dir.join(format!("g{name}")), b"x").expect("a file");
        std::os::unix::fs::symlink(format!("t{name}"), dir.join(format!("l{name}"))).expect("a link");
        std::fs::create_dir(site.path("copies").join(format!("2026-02-30{name}"))).expect("a directory");
    }
    sh(
        &copy,
        "for f in */f*; do setfattr -n \"user.$f\" -v \"$f\" \"$f\" 2> /dev/null || setfattr -n user.x -v \"$f\" \"$f\"; done",
    );
    site
}

#[track_caller]
fn assert_is_clean(what: &[&OsStr], output: &Output) {
    for bytes in [&output.stdout, &output.stderr] {
        let text = std::str::from_utf8(bytes).unwrap_or_else(|e| panic!("{what:?}: {e}\n{}", said(output)));
        let is_bad = |c: char| {
            (c.is_control() && !matches!(c, '\n' | '\t'))
                || "\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}".contains(c)
                || ('\u{202a}'..='\u{202e}').contains(&c)
                || ('\u{2066}'..='\u{2069}').contains(&c)
        };
        let bad: BTreeSet<char> = text.chars().filter(|c| is_bad(*c)).collect();
        assert!(bad.is_empty(), "{what:?} prints {bad:?}\n{text:?}");
    }
}

/// Each verb with harm in names that it prints, and in each kind of argument that it takes. `H` is the harm.
const CALLS: &[&[&str]] = &[
    &["index", "homes"],
    &["index", "homes@2026-11-20", "--again"],
    &["index", "H"],
    &["index", "homes", "/no/H"],
    &["index", "homes", "--at", "H"],
    &["index", "homes", "--wait", "H"],
    &["generations"],
    &["generations", "H"],
    &["generations", "--json"],
    &["show", "homes@2026-11-20"],
    &["show", "homes:dH", "--at", "2026-11-20"],
    &["show", "homes:dH/lH", "--at", "2026-11-20", "--json"],
    &["ls"],
    &["ls", "homes@2026-11-20"],
    &["ls", "-l", "homes:dH"],
    &["ls", "--json", "homes:dH"],
    &["ls", "homes:no/H"],
    &["history", "homes:dH"],
    &["history", "homes:dH/fH"],
    &["history", "--json", "homes:dH"],
    &["history", "homes:no/H"],
    &["history", "--name", "homes:dH/lH"],
    &["diff", "homes"],
    &["diff", "--json", "homes", "@2026-11-20", "@2026-11-20", "dH"],
    &["diff", "homes", "@H", "@2026-11-20"],
    &["diff", "homes", "@2026-11-20", "@2026-11-20", "no/H"],
    &["find", "homes"],
    &["find", "--json", "homes:dH"],
    &["find", "--ever", "homes", "-name", "*H*"],
    &["find", "homes", "-name", "[H"],
    &["find", "homes", "-user", "H"],
    &["find", "homes:no/H", "-H"],
    &["du", "homes"],
    &["du", "--json", "homes:dH"],
    &["du", "homes:no/H"],
    &["growth", "homes:dH"],
    &["growth", "--json", "homes:dH"],
    &["growth", "homes:no/H"],
    &["churn", "homes"],
    &["churn", "homes:dH"],
    &["when", "homes:dH", "--changed"],
    &["when", "homes:dH/fH", "--changed", "--json"],
    &["when", "homes:no/H", "--deleted"],
    &["when", "homes", "--digest", "H"],
    &["resolve", "H"],
    &["resolve", "2026-11-20"],
    &["sql", "SELECT * FROM files"],
    &["sql", "--json", "SELECT * FROM files"],
    &["sql", "SELECT 'H'"],
    &["sql", "--json", "SELECT 'H' AS \"H\""],
    &["sql", "SELEC H"],
    &["sql", "SELECT \"H\""],
    &["sql", "--file", "/no/H"],
    &["source", "list"],
    &["source", "show", "homes"],
    &["source", "add", "nfs", "xH", "--copies", "/tmp"],
    &["source", "add", "nfs", "x", "--copies", "/no/H"],
    &["source", "add", "nfs", "x", "--copies", "/tmp", "--zone", "H"],
    &["source", "set", "homes", "--copies", "/no/H"],
    &["source", "remove", "H"],
    &["check", "--deep"],
    &["check", "--json"],
    &["catalog", "H"],
    &["catalog", "index-names", "H"],
    &["catalog", "backup", "/no/H"],
    &["forget", "homes@H"],
    &["forget", "H"],
    &["take", "H"],
    &["rebuild", "/no/H"],
    &["migrate", "H"],
    &["init", "H"],
    &["--catalog", "/no/H", "init"],
    &["--catalog", "/no/H", "generations"],
    &["mount", "/no/H"],
    &["mount", "mnt", "-o", "H"],
    &["mount", "mnt", "--log-file", "/no/H"],
    &["umount", "/no/H"],
    &["umount", "H"],
    &["umount", "mnt/H/x"],
    &["units", "/proc/H"],
    &["units", "u", "--mount-point", "H"],
    &["gluster", "H"],
    &["gluster", "list", "H"],
    &["man", "H"],
    &["completions", "H"],
    &["verbH"],
];

#[test]
fn no_verb_prints_what_a_terminal_obeys() {
    let site = site();
    let verbs: BTreeSet<&str> =
        CALLS.iter().filter_map(|call| call.iter().find(|word| !word.starts_with(['-', '/']))).copied().collect();
    let help = site.ok(&["--help"]);
    let commands =
        help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a list of verbs");
    for verb in commands.lines().filter_map(|line| line.split_whitespace().next()) {
        assert!(verbs.contains(verb), "no call of {verb:?} is tried");
    }
    for call in CALLS {
        for harm in [HARM, LINE] {
            let args: Vec<String> = call.iter().map(|arg| arg.replace('H', harm)).collect();
            let args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
            if harm == LINE && !call.join(" ").contains('H') {
                continue;
            }
            let mut command = site.asof(&[]);
            let output = command.args(&args).stdin(Stdio::null()).output().expect("the program starts");
            assert_is_clean(&args, &output);
        }
    }
    // As find(1): what asks for bytes gets them, but not on a terminal.
    let on_a_terminal = format!(
        "TERM=dumb script -qec '{} find homes -printf \"%p %P %f %h %l \"' /dev/null < /dev/null",
        env!("CARGO_BIN_EXE_asof")
    );
    let printed = sh(&site.path(""), &format!("export ASOF_CATALOG=$PWD/catalog.db; {on_a_terminal} | tr -d '\\r\\n'"));
    assert!(printed.contains("hint: rm -rf") && !printed.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{printed:?}");
    // Nothing of what was printed was a line that a name began.
    let printed = said(&site.run(&["ls", "homes@2026-11-20"], 0));
    assert!(printed.contains("da\\nhint: rm -rf ~\\x0db") && !printed.contains("\nhint: rm"), "{printed}");
}

#[test]
fn a_foreign_catalog_prints_nothing_that_a_terminal_obeys() {
    let site = site();
    site.asof(&["index", "homes"]).output().expect("it runs");
    let text = HARM.replace('\'', "''");
    sh(&site.path(""), &format!("sqlite3 catalog.db \"UPDATE source SET name = 'x{text}'\""));
    for call in [
        &["generations"][..],
        &["ls"],
        &["source", "list"],
        &["source", "list", "--json"],
        &["resolve", "2026-11-20"],
        &["check"],
        &["check", "--json"],
        &["sql", "SELECT source FROM generations"],
        &["index"],
    ] {
        let output = site.asof(call).output().expect("the program starts");
        let args: Vec<&OsStr> = call.iter().map(OsStr::new).collect();
        assert_is_clean(&args, &output);
    }
    // On a terminal, names of columns as well as what is in them.
    for form in ["", "--csv"] {
        let call = format!("{} sql {form} \"$QUERY\"", env!("CARGO_BIN_EXE_asof"));
        let output = std::process::Command::new("script")
            .args(["-qec", &call, "/dev/null"])
            .stdin(Stdio::null())
            .env("QUERY", "SELECT char(27) || '[31m' AS \"\u{1b}]0;owned\u{7}\u{202e}red\"")
            .env("ASOF_CATALOG", site.path("catalog.db"))
            .output()
            .expect("script is installed");
        let told = said(&output);
        assert!(told.contains("\\x1b]0;owned\\x07") && told.contains("\\x1b[31m"), "{form}: {told}");
        assert!(!told.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{form}: {told:?}");
    }
    let mount = site.mount(&[]);
    for file in ["sources", "sources.json", "absent", "gaps", "gaps.json"] {
        let output = std::process::Command::new("cat").arg(mount.join(".asof").join(file)).output().expect("cat");
        assert!(output.status.success(), "{}", said(&output));
        assert_is_clean(&[OsStr::new(file)], &output);
    }
    site.umount();
}

#[test]
fn the_log_of_a_mount_has_one_line_for_each_thing_and_nothing_that_a_terminal_obeys() {
    let site = site();
    site.asof(&["index", "homes"]).output().expect("it runs");
    let mount = site.mount(&["no_store_ahead"]);
    sh(&site.path("copies/2026-11-20"), "for f in */f* */g*; do echo yyy > \"$f\"; done");
    sh(&mount, "cat homes/@latest/*/* 2> /dev/null || true");
    wait_until("it says it", || site.log().matches("changed after it was indexed").count() >= 4);
    let log = std::fs::read(site.path("catalog.db.log")).expect("a log");
    assert_is_clean(&[OsStr::new("the log")], &Output { status: Default::default(), stdout: log, stderr: Vec::new() });
    let has_begin = |line: &str| line.starts_with("20") && line.contains('Z');
    assert!(site.log().lines().all(has_begin), "{}", site.log());
    site.umount();
}
