//! The command line as transcripts: what every verb prints, on which output, and how it exits, errors included.
//!
//! A test runs a session and compares it with `tests/data/cli/NAME.txt`; `UPDATE=1 cargo test --test cli` writes
//! the transcripts anew, to be read before they are kept. In a transcript `$` is a command of asof, `#` what was done
//! beside it, a line with `! ` went to standard error, `exit N` ends what did not exit with 0. The site's directory is
//! `/site`; durations, process numbers and the times at which something was added or indexed are masked.

#[path = "common/site.rs"]
mod site;

use serde_json::Value;
use site::{Site, said, sh, shell};
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A session of commands on a site.
struct Session<'s> {
    site: &'s Site,
    text: String,
}

impl<'s> Session<'s> {
    fn on(site: &'s Site) -> Self {
        Self { site, text: String::new() }
    }

    /// Runs asof and notes what it said.
    fn asof(&mut self, args: &[&str]) -> Output {
        let mut command = self.site.asof(args);
        command.env_remove("COLUMNS");
        self.command(&shown(args), command)
    }

    /// Runs a command and notes what it said as what `asof LINE` says.
    fn command(&mut self, line: &str, mut command: Command) -> Output {
        let output = command.output().expect("the program starts");
        writeln!(self.text, "$ asof {line}").unwrap();
        self.text.push_str(&String::from_utf8(output.stdout.clone()).expect("text"));
        for line in String::from_utf8(output.stderr.clone()).expect("text").lines() {
            writeln!(self.text, "! {line}").unwrap();
        }
        match output.status.code() {
            Some(0) => {}
            Some(code) => writeln!(self.text, "exit {code}").unwrap(),
            None => panic!("asof {line} was killed\n{}", said(&output)),
        }
        output
    }

    /// Does something beside asof and notes it.
    fn note(&mut self, script: &str) {
        for line in script.lines() {
            writeln!(self.text, "# {}", line.trim_start_matches("# ")).unwrap();
        }
        sh(&self.site.path(""), script);
    }

    /// Compares the session with the transcript `name`.
    fn is(self, name: &str) {
        let found = masked(&self.text, &self.site.path(""));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cli").join(name).with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &found).expect("the transcript can be written");
        }
        let wanted = std::fs::read_to_string(&path).expect("the transcript is there");
        for (found, wanted) in found.split("\n$").zip(wanted.split("\n$")) {
            assert_eq!(found, wanted, "{name}");
        }
        assert_eq!(found, wanted, "{name}");
    }
}

/// Returns arguments as somebody would type them.
fn shown(args: &[&str]) -> String {
    let plain =
        |arg: &str| !arg.is_empty() && arg.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:@,=+%".contains(c));
    let quoted: Vec<String> = args.iter().map(|arg| if plain(arg) { (*arg).to_owned() } else { quoted(arg) }).collect();
    quoted.join(" ")
}

fn quoted(arg: &str) -> String {
    if arg.contains('\'') { format!("\"{}\"", arg.replace('"', "\\\"")) } else { format!("'{arg}'") }
}

/// Returns a session without what differs from one run to the next.
fn masked(text: &str, site: &Path) -> String {
    let site = site.to_str().expect("a plain path").trim_end_matches('/');
    let mut masked = String::new();
    for line in text.replace(site, "/site").lines() {
        let mut line = line.to_owned();
        for (before, after) in [(" in ", " ms"), (" in ", " s"), ("process ", ","), ("process ", " ")] {
            line = mask_number(&line, before, after);
        }
        line = line.replace(" in N ms", " in N s");
        let value_at = ["indexed at ", "looked at ", "added at ", "ctime ", "indexed in "]
            .iter()
            .find(|key| line.starts_with(**key));
        if let Some(key) = value_at {
            line = format!(
                "{}{}",
                key,
                line[key.len()..].chars().map_while(|c| (c == ' ').then_some(c)).collect::<String>()
            ) + "MASKED";
        }
        masked.push_str(&line);
        masked.push('\n');
    }
    masked
}

/// Replaces a number between `before` and `after` by N.
fn mask_number(line: &str, before: &str, after: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(before) {
        let (head, tail) = rest.split_at(at + before.len());
        out.push_str(head);
        let digits = tail.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(tail.len());
        if digits > 0 && tail[digits..].starts_with(after) {
            out.push('N');
            rest = &tail[digits..];
        } else {
            rest = tail;
        }
    }
    out + rest
}

/// Makes the first two copies of a small tree: two files, a link, a directory, an odd name.
fn two_copies(site: &Site) {
    sh(
        &site.path("live"),
        "umask 022; mkdir docs; echo one > a; echo two > docs/b; ln a docs/hard; ln -s docs/b link; echo x > \"$(printf 'odd\\n\\377')\"\n\
         chown -h 1000:100 a link; setfattr -n user.comment -v hello docs/b; mknod null c 1 3; truncate -s 1M sparse\n\
         find . -depth -exec touch -h -d 2024-11-17T12:00:00Z {} +",
    );
    site.copy("2024-11-18");
    sh(&site.path("live"), "echo more >> a; rm docs/b; touch -d 2024-11-18T12:00:00Z a docs");
    site.copy("2024-11-19");
}

/// Returns asof as another user runs it, with a catalog of its own in the site's `user` directory.
fn as_nobody(site: &Site, args: &[&str]) -> Command {
    let program = site.path("user/asof");
    if !program.exists() {
        // The build directory may be closed to others.
        std::fs::set_permissions(site.path(""), PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::create_dir(site.path("user")).unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_asof"), &program).unwrap();
        sh(&site.path(""), "chown -R 65534:65534 user");
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program).args(args);
    command.current_dir(site.path("user")).env("ASOF_CATALOG", site.path("user/catalog.db")).env("TZ", "UTC");
    command.stdin(Stdio::null());
    command
}

#[test]
fn init_makes_a_catalog_once_and_only_where_it_works() {
    let site = Site::new();
    let mut session = Session::on(&site);
    session.asof(&["ls"]);
    session.asof(&["init"]);
    session.asof(&["init"]);
    session.asof(&["--catalog", "new/folder/catalog.db", "init"]);
    session
        .note("echo text > file; sqlite3 other.db 'CREATE TABLE t(a)'; cp catalog.db newer.db; cp catalog.db older.db");
    session.note("sqlite3 newer.db 'PRAGMA user_version = 99'; sqlite3 older.db 'PRAGMA user_version = 0'");
    session.asof(&["--catalog", "file", "ls"]);
    session.asof(&["--catalog", "file", "init"]);
    session.asof(&["--catalog", "file/catalog.db", "init"]);
    session.asof(&["--catalog", "other.db", "ls"]);
    session.asof(&["--catalog", "newer.db", "ls"]);
    session.asof(&["--catalog", "newer.db", "index", "homes"]);
    session.asof(&["--catalog", "older.db", "index", "homes"]);
    session.asof(&["--catalog", "newer.db", "mount", "mnt"]);
    session.asof(&["--catalog", "out", "ls"]);
    session.note("cp catalog.db gone.db-wal");
    session.asof(&["--catalog", "gone.db", "init"]);
    session.note("head -c 8192 catalog.db > short.db; : > empty.db");
    session.asof(&["--catalog", "short.db", "ls"]);
    session.asof(&["--catalog", "empty.db", "ls"]);
    session.asof(&["mount", "mnt"]);
    session.asof(&["--catalog", "mnt/catalog.db", "init"]);
    session.asof(&["umount", "mnt"]);
    let nobody = as_nobody(&site, &["--catalog", "../no.db", "init"]);
    session.command("--catalog ../no.db init    (as nobody, in a directory of root's)", nobody);
    let nobody = as_nobody(&site, &["--catalog", "../catalog.db", "source", "remove", "x"]);
    session.command("--catalog ../catalog.db source remove x    (as nobody)", nobody);
    let mut homeless = as_nobody(&site, &["ls"]);
    homeless.env_remove("ASOF_CATALOG").env_remove("HOME").env_remove("XDG_STATE_HOME");
    session.command("ls    (as nobody, without a home)", homeless);
    session.is("init");
    let mut left: Vec<String> =
        std::fs::read_dir(site.path("")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    left.retain(|name| name.contains("no.db") || name.ends_with(".new"));
    assert_eq!(left, Vec::<String>::new(), "an init that did not succeed leaves nothing");
}

#[test]
fn source_adds_lists_shows_changes_and_removes() {
    let site = Site::new();
    let mut session = Session::on(&site);
    session.asof(&["init"]);
    session.asof(&["source", "list"]);
    session.asof(&["ls"]);
    session.asof(&["index", "homes"]);
    for name in ["", "@2024", ".hidden", "a/b", "a b", "a:b", "ä", "homes"] {
        session.asof(&["source", "add", "nfs", name, "--copies", "copies"]);
    }
    session.asof(&["source", "add", "nfs", "--copies", "out", "--", "-x"]);
    session.asof(&["source", "add", "nfs", "homes", "--copies", "copies"]);
    session.asof(&["source", "add", "nfs", "web", "--copies", "missing"]);
    session.asof(&["source", "add", "nfs", "web", "--copies", "catalog.db"]);
    session.asof(&["source", "add", "nfs", "web"]);
    session.asof(&["source", "add", "nfs", "web", "--copies", "copies", "--name-pattern", "backup"]);
    session.asof(&["source", "add", "nfs", "web", "--copies", "copies", "--name-pattern", "%H%M"]);
    session.asof(&["source", "add", "nfs", "web", "--copies", "copies", "--name-pattern", "%&"]);
    session.asof(&["source", "add", "nfs", "web", "--copies", "copies", "--zone", "Europe/Nowhere"]);
    session.asof(&["source", "add", "nfs", "web", "--copies", "copies", "--identity", "name"]);
    session.asof(&["source", "add", "tape", "disk", "--images", "copies"]);
    session.asof(&["source", "list"]);
    session.asof(&["source", "list", "--json"]);
    session.asof(&["source", "show", "homes"]);
    session.asof(&["source", "show", "web"]);
    session.asof(&[
        "source",
        "set",
        "homes",
        "--zone",
        "Europe/Berlin",
        "--name-pattern",
        "backup-%Y%m%d",
        "--checksum",
    ]);
    session.asof(&["source", "set", "homes", "--zone", "Mars/Olympus"]);
    session.asof(&["source", "set", "homes", "--copies", "out", "--checksum", "no", "--instant-from", "name,mtime"]);
    session.asof(&["source", "set", "homes", "--visible-to", "nosuchgroup"]);
    session.asof(&["source", "set", "homes", "--visible-to", "4711"]);
    session.asof(&["source", "show", "homes"]);
    session.asof(&["source", "set", "homes", "--visible-to", "modes"]);
    session.asof(&["source", "set", "nothing", "--copies", "out"]);
    session.asof(&["source", "show", "homes"]);
    session.note("mkdir out/backup-20241118 && touch out/backup-20241118/a");
    session.asof(&["index", "homes"]);
    session.asof(&["source", "set", "homes", "--identity", "inode"]);
    session.asof(&["source", "set", "homes", "--zone", "Europe/Berlin", "--checksum=no"]);
    session.asof(&["source", "remove", "homes"]);
    session.asof(&["source", "remove", "homes", "--force"]);
    session.asof(&["source", "remove", "homes"]);
    session.asof(&[
        "sql",
        "SELECT count(*) FROM dirent UNION ALL SELECT count(*) FROM inode UNION ALL SELECT count(*) FROM generation",
    ]);
    session.is("source");
}

#[test]
fn index_takes_copies_by_their_names_by_their_times_and_by_hand() {
    let site = Site::with_source();
    two_copies(&site);
    let mut session = Session::on(&site);
    session.asof(&["index", "homes"]);
    session.asof(&["index", "homes"]);
    session.asof(&["index", "homes", "copies/2024-11-19"]);
    session.note("cp -a live copies/@GMT-2024.11.20-02.00.00; cp -a live copies/2024-11-20T0230; cp -a live copies/20241120-040000Z; touch copies/file; mkdir copies/.hidden");
    session.asof(&["index", "homes"]);
    session.note("# names that tell no date, or none that there is\ncp -a live copies/daily.0; touch -d 2024-11-21T01:00:00Z copies/daily.0; mkdir copies/2024-02-30");
    session.asof(&["index", "homes"]);
    session.asof(&["index", "homes", "copies/daily.0"]);
    session.asof(&["source", "set", "homes", "--instant-from", "name,mtime", "--checksum"]);
    session.asof(&["source", "remove", "homes", "--force"]);
    session.asof(&["source", "add", "nfs", "homes", "--copies", "copies", "--instant-from", "name,mtime"]);
    session.asof(&["index", "homes"]);
    session.note("rmdir copies/2024-02-30");
    session.note("# names rotate\nmv copies/daily.0 copies/daily.1; cp -a live copies/daily.0; touch -d 2024-11-22T01:00:00Z copies/daily.0");
    session.asof(&["index", "homes"]);
    session.asof(&["show", "homes@2024-11-21"]);
    session.note("# two copies of one second\ncp -a copies/2024-11-18 copies/20241118");
    session.asof(&["index", "homes"]);
    session.asof(&["index", "homes", "copies/20241118"]);
    session.asof(&["index", "homes", "copies/20241118", "--at", "2024-11-18T00:00:01"]);
    session.asof(&["index", "homes", "copies/20241118", "--at", "2024-11-18T00:00:02"]);
    session.asof(&["index", "homes"]);
    session.note("cp -a live by-hand; cp -a live 2024-12-01; cp -a live 20241201; mkfifo fifo");
    session.asof(&["index", "homes", "by-hand"]);
    session.asof(&["index", "homes", "by-hand", "--at", "2024-11-30"]);
    session.asof(&["index", "homes", "by-hand", "--at", "2024-11-30"]);
    session.asof(&["index", "homes", "by-hand", "live", "--at", "2024-11-30"]);
    session.asof(&["index", "homes", "--at", "2024-11-30"]);
    session.asof(&["index", "homes", "2024-12-01", "20241201"]);
    session.asof(&["index", "homes", "missing"]);
    session.asof(&["index", "homes", "fifo"]);
    session.asof(&["index", "homes", "live", "--at", "latest"]);
    session.asof(&["index", "homes", "live", "--at", "2024-13-01"]);
    session.asof(&["index", "web"]);
    session.asof(&["index", "homes", "2024-12-01"]);
    session.asof(&["generations"]);
    session.note("mv copies gone");
    session.asof(&["index", "homes"]);
    session.note("sqlite3 catalog.db \"UPDATE source SET settings = '{\\\"copies\\\":1}'\"");
    session.asof(&["index", "homes"]);
    session.is("index");
}

#[test]
fn index_tells_what_it_could_not_read_and_exits_with_1() {
    let site = Site::new();
    let mut session = Session::on(&site);
    session.note("mkdir -p copies/2024-11-18/{open,closed,list-only,crossed} copies/2024-11-19");
    session.note("cd copies/2024-11-18; echo a > open/a; echo b > closed/b; echo c > list-only/c; chmod 700 closed; chmod 704 list-only; chmod 700 ../2024-11-19");
    let nobody = |args: &[&str]| as_nobody(&site, args);
    for args in [
        &["init"][..],
        &["source", "add", "nfs", "homes", "--copies", "../copies"],
        &["index", "homes", "../copies/2024-11-18"],
        &["show", "homes@2024-11-18"],
        &["ls", "homes"],
        &["ls", "homes:closed"],
        &["show", "homes:closed/b"],
        &["ls", "homes:list-only"],
        &["generations"],
        &["resolve", "2024-11-18"],
        &["index", "homes"],
    ] {
        session.command(&format!("{}    (as nobody)", shown(args)), nobody(args));
    }
    session.is("unreadable");
    let mut session = Session::on(&site);
    session.asof(&["init"]);
    session.asof(&["source", "add", "nfs", "homes", "--copies", "copies"]);
    session.note("echo inside > live/inside; mount --bind live copies/2024-11-18/crossed");
    session.asof(&["index", "homes", "copies/2024-11-18"]);
    session.asof(&["show", "homes@2024-11-18"]);
    session.asof(&["ls", "homes:crossed"]);
    session.note("umount copies/2024-11-18/crossed");
    session.is("boundary");
}

/// The writer touches one file without a pause for as long as the walk takes, so that its stamp is always later than
/// the beginning of the walk when the walk comes to it, after thousands of others.
#[test]
fn a_copy_that_changes_while_it_is_walked_is_told_of_as_such() {
    let site = Site::with_source();
    sh(
        &site.path("copies"),
        "mkdir -p 2024-11-18/{a..j}/{a..j} && touch 2024-11-18/{a..j}/{a..j}/file{0..49} && mkdir -p 2024-11-18/z/z/z && touch 2024-11-18/z/z/z/busy",
    );
    let busy = std::fs::File::options().write(true).open(site.path("copies/2024-11-18/z/z/z/busy")).unwrap();
    let mut child = site.asof(&["index", "homes"]).stderr(Stdio::piped()).spawn().unwrap();
    let status = loop {
        busy.set_modified(std::time::SystemTime::now()).unwrap();
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
    };
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(text.contains("changed: \"z/z/z/busy\": it changed at 2"), "{text}");
    assert!(text.contains(", after the walk began\n"), "{text}");
    assert!(text.contains("; the copy changed while it was indexed\n"), "{text}");
    assert_eq!(
        site.ok(&["sql", "SELECT kind, path FROM findings; SELECT losses, partial, notices FROM generations"]),
        "kind\tpath\nchanged\tz/z/z/busy\nlosses\tpartial\tnotices\n0\t0\t1\n"
    );
}

#[test]
fn ls_show_and_generations_tell_of_any_date() {
    let site = Site::with_source();
    let mut session = Session::on(&site);
    session.asof(&["generations"]);
    session.asof(&["ls", "homes"]);
    session.asof(&["show", "homes@2024-11-18"]);
    two_copies(&site);
    session.note("# two copies of a small tree");
    session.asof(&["index", "homes"]);
    session.asof(&["generations", "homes"]);
    session.asof(&["generations", "web"]);
    session.asof(&["ls"]);
    session.asof(&["ls", "homes"]);
    session.asof(&["ls", "homes:docs"]);
    session.asof(&["ls", "homes:docs", "--at", "2024-11-18"]);
    session.asof(&["ls", "-l", "homes:docs", "--at", "2024-11-18"]);
    session.asof(&["ls", "homes@2024-11-18", "--at", "2024-11-18"]);
    session.asof(&["ls", "homes@oldest"]);
    session.asof(&["ls", "homes", "--at", "2024-11-17"]);
    session.asof(&["ls", "homes", "--at", "2999-01-01T00:00"]);
    session.asof(&["ls", "homes:a"]);
    session.asof(&["ls", "homes:a/b"]);
    session.asof(&["ls", "homes:docs/b"]);
    session.asof(&["ls", "homes:docs/../a"]);
    session.asof(&["ls", "web"]);
    session.asof(&["ls", "--json", "homes:docs", "--at", "2024-11-18"]);
    session.asof(&["show", "homes"]);
    session.asof(&["show", "homes@2024-11-18"]);
    session.asof(&["show", "homes@2024-11-17"]);
    session.asof(&["show", "homes@2024-11-18", "--at", "2024-11-18"]);
    session.asof(&["show", "homes", "--at", "2024-11-18"]);
    session.asof(&["show", "homes:a"]);
    session.asof(&["show", "homes:a", "--at", "2024-11-18"]);
    session.asof(&["show", "homes:docs/b", "--at", "oldest"]);
    session.asof(&["show", "homes:link"]);
    session.asof(&["show", "homes:null"]);
    session.asof(&["show", "homes:sparse"]);
    session.asof(&["show", "homes:docs/b"]);
    session.asof(&["show", "homes:docs/b", "--at", "then"]);
    session.note("# a catalog that lost a row\nsqlite3 catalog.db 'DELETE FROM inode WHERE node = (SELECT node FROM dirent WHERE name = CAST('\"'docs'\"' AS BLOB))'");
    session.asof(&["show", "homes:docs"]);
    session.is("ls");
}

#[test]
fn every_date_that_is_none_says_why() {
    let site = Site::with_source();
    two_copies(&site);
    site.ok(&["index", "homes"]);
    site.ok(&["source", "add", "nfs", "web", "--copies", "out"]);
    let mut session = Session::on(&site);
    for date in [
        "2024-11-18",
        "20241118",
        "2024-11-18T12:00",
        "@2024-11-18T000000Z",
        "2024-W47",
        "1731888000",
        "GMT-2024.11.18-00.00.00",
        "latest",
        "oldest",
        "2024-11-17",
        "1970-01-01",
        "2999-01-01T00:00:00Z",
        "then",
        "",
        "@",
        "20241318",
        "99999999",
        "2024-13",
        "2024-13-01",
        "2024-02-30",
        "2024-W54",
        "2024-11-18T25:00",
        "2024-11-18T12:60",
        "2024-11-18T12:00:60",
        "2024-11-18T12:00+25:00",
        "2024-11-18T12:00+01:99",
        "0999",
        "1969",
        "9999",
        "99999999999",
        "3d",
        "-3",
        "-3x",
        "-1h1d",
        "-99999y",
        "next week",
        "2024-11-18 ",
        "18.11.2024",
        "2024-11-18T12",
        "2024-11-18t12:00",
    ] {
        session.asof(&["resolve", date]);
    }
    session.asof(&["resolve"]);
    session.asof(&["resolve", "--json", "2024-11-18"]);
    writeln!(session.text, "# TZ=Europe/Berlin").unwrap();
    for date in ["2024-11-18", "2024-10-27T02:30", "2024-10-27T02:30+01:00", "2024-03-31T02:30", "2024-03-31"] {
        let mut command = site.asof(&["resolve", date]);
        command.env("TZ", "Europe/Berlin");
        session.command(&shown(&["resolve", date]), command);
    }
    session.is("resolve");
}

#[test]
fn sql_reads_and_nothing_else() {
    let site = Site::with_source();
    two_copies(&site);
    site.ok(&["index", "homes"]);
    let mut session = Session::on(&site);
    let names = "SELECT path, kind, nlink, link_target FROM files WHERE taken_at = '2024-11-18T00:00:00Z' AND kind <> 'directory' ORDER BY path";
    session.asof(&["sql", names]);
    session.asof(&["sql", "--csv", names]);
    session.asof(&["sql", "--json", names]);
    session.asof(&["sql", "SELECT NULL, 1, 1.5, 'a' || char(10) || 'b', x'00ff41'"]);
    session.asof(&["sql", "--csv", "SELECT NULL, 1, 1.5, 'a\"b,c', x'41'"]);
    session.asof(&["sql", "--json", "SELECT NULL AS n, 1 AS i, 1.5 AS r, 'a' || char(10) || 'b' AS t, x'00ff41' AS b"]);
    session.asof(&["sql", "SELECT 1 AS a; SELECT 2 AS b WHERE 0; SELECT 3 AS c"]);
    session.asof(&["sql", ""]);
    session.asof(&["sql", "-- nothing but a comment"]);
    session.note("echo 'SELECT 42 AS answer;' > question.sql");
    session.asof(&["sql", "--file", "question.sql"]);
    session.asof(&["sql", "--file", "missing.sql"]);
    session.asof(&["sql", "--file", "question.sql", "SELECT 1"]);
    session.asof(&["sql"]);
    session.asof(&["sql", "--json", "--csv", "SELECT 1"]);
    let mut from_stdin = site.asof(&["sql", "-"]);
    from_stdin.stdin(std::fs::File::open(site.path("question.sql")).unwrap());
    session.command("sql - < question.sql", from_stdin);
    for sql in [
        "SELEC 1",
        "SELECT",
        "SELECT color FROM files",
        "SELECT * FROM nowhere",
        "SELECT 1; SELEC 2",
        "SELECT load_extension('x')",
        "SELECT 'open",
        "DELETE FROM source",
        "INSERT INTO source(name) VALUES ('x')",
        "UPDATE source SET name = 'x'",
        "DROP VIEW files",
        "CREATE TABLE t(a)",
        "CREATE TEMP TABLE t(a)",
        "ATTACH 'other.db' AS other",
        "DETACH main",
        "PRAGMA query_only = OFF",
        "PRAGMA user_version",
        "VACUUM INTO 'copy.db'",
        "BEGIN IMMEDIATE",
        "REINDEX",
        "ANALYZE",
    ] {
        session.asof(&["sql", sql]);
    }
    session.asof(&[
        "sql",
        "--timeout",
        "1",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
    ]);
    session.is("sql");
    let closed = shell(
        &site.path(""),
        &format!(
            "export ASOF_CATALOG=catalog.db; set +e; '{}' sql 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n' | head -n 2\necho ${{PIPESTATUS[0]}}",
            env!("CARGO_BIN_EXE_asof")
        ),
    );
    assert_eq!(said(&closed), "i\n1\n0\n\n", "a reader that had enough is no error");
    assert_eq!(site.ok(&["ls"]), "homes\n");
}

#[test]
fn mount_and_umount_say_why_not() {
    let site = Site::with_source();
    two_copies(&site);
    site.ok(&["index", "homes"]);
    let mut session = Session::on(&site);
    session.asof(&["umount", "mnt"]);
    session.asof(&["umount", "missing"]);
    session.asof(&["mount"]);
    session.asof(&["mount", "missing"]);
    session.asof(&["mount", "catalog.db"]);
    session.asof(&["mount", "live"]);
    session.asof(&["mount", "mnt", "-o", "fast"]);
    session.asof(&["mount", "mnt", "-o", "store_timeout=soon"]);
    session.asof(&["mount", "mnt", "--log-file", "missing/log"]);
    session.asof(&["--catalog", "none.db", "mount", "mnt"]);
    session.asof(&["mount", "mnt", "-o", "ro,nofail,x-systemd.automount,store_timeout=5"]);
    session.asof(&["mount", "mnt"]);
    session.asof(&["mount", "mnt", "--foreground"]);
    let inside = std::fs::File::open(site.path("mnt/@latest/homes/a")).expect("the mount answers");
    session.asof(&["umount", "mnt"]);
    drop(inside);
    session.asof(&["umount", "mnt"]);
    session.asof(&["mount", "mnt"]);
    let inside = std::fs::File::open(site.path("mnt/@latest/homes/a")).expect("the mount answers");
    session.asof(&["umount", "--lazy", "mnt"]);
    drop(inside);
    session.asof(&["umount", "mnt"]);
    session.is("mount");
}

/// The zone in which names are read is that in which the source was added, whoever runs `index`.
#[test]
fn a_run_in_another_time_zone_finds_nothing_new() {
    let site = Site::with_source();
    for hour in ["00", "01", "02"] {
        sh(&site.path("copies"), &format!("mkdir 2024-11-18T{hour}00; echo {hour} > 2024-11-18T{hour}00/file"));
    }
    site.ok(&["index", "homes"]);
    let output = site.asof(&["index", "homes"]).env("TZ", "CET-1CEST,M3.5.0,M10.5.0/3").output().expect("it starts");
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "nothing to index: no copy of \"homes\" is new (3 are indexed)\n"
    );
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn usage_is_told_on_standard_error_and_help_on_standard_output() {
    let site = Site::new();
    let mut session = Session::on(&site);
    session.asof(&[]);
    session.asof(&["--help"]);
    session.asof(&["index", "--help"]);
    session.asof(&["frobnicate"]);
    // What the program calls itself by is told to nobody.
    session.asof(&["let-gone"]);
    session.asof(&["restore", "homes"]);
    session.asof(&["add", "homes"]);
    session.asof(&["ls", "--long", "--wide"]);
    session.asof(&["--version"]);
    session.is("usage");
}

#[test]
fn every_json_is_json() {
    let site = Site::with_source();
    two_copies(&site);
    for args in [
        &["index", "homes"][..],
        &["index", "homes"],
        &["source", "list"],
        &["source", "show", "homes"],
        &["generations"],
        &["show", "homes"],
        &["show", "homes@2024-11-18"],
        &["show", "homes:docs/b", "--at", "2024-11-18"],
        &["ls"],
        &["ls", "homes"],
        &["resolve", "2024-11-18"],
    ] {
        let text = site.ok(&[args, &["--json"]].concat());
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?}: {e}\n{text}"));
        assert!(value.is_array() || value.is_object(), "{args:?}");
    }
    // One object a row, so that a result of any length can be read as it comes.
    let lines = site.ok(&["sql", "--json", "SELECT * FROM files"]);
    assert_eq!(lines.lines().count(), 15);
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok_and(|row| row["path"].is_string())));
}

#[test]
fn manual_pages_have_every_section_and_no_mistake() {
    let site = Site::new();
    let page = site.ok(&["man"]);
    assert!(page.contains(".TH ASOF 1"), "{page}");
    let output = site.run(&["man", "--dir", "pages"], 0);
    assert_eq!(masked(&said(&output), &site.path("")), "\nwrote the manual pages into \"pages\"\n");
    let mut pages: Vec<String> =
        std::fs::read_dir(site.path("pages")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    pages.sort();
    for verb in ["index", "source-add-nfs", "take", "gluster-changes", "sql", "mount", "completions"] {
        assert!(pages.contains(&format!("asof-{verb}.1")), "{pages:?}");
    }
    for page in &pages {
        let text = std::fs::read_to_string(site.path("pages").join(page)).unwrap();
        for title in ["NAME", "SYNOPSIS", "EXIT STATUS", "ENVIRONMENT", "FILES", "SEE ALSO"] {
            assert_eq!(text.matches(&format!("\n.SH {title}\n")).count(), 1, "{page}: {title}");
        }
    }
    for page in ["asof-index.1", "asof-sql.1", "asof-mount.1", "asof-forget.1"] {
        let text = std::fs::read_to_string(site.path("pages").join(page)).unwrap();
        assert!(text.contains("\n.SH EXAMPLES\n"), "{page}");
    }
    assert_eq!(sh(&site.path("pages"), "mandoc -T lint -W warning *.1 2>&1"), "");
    assert_eq!(sh(&site.path("pages"), "for page in *.1; do groff -man -ww -z -K utf8 $page 2>&1; done"), "");
    let shown = sh(&site.path("pages"), "MANWIDTH=100 man -l asof-sql.1 | col -b");
    assert!(shown.contains("deleted: ") && shown.contains("restore_path"), "{shown}");
    let refused = site.run(&["man", "--dir", "/dev/null/pages"], 2);
    assert_eq!(
        said(&refused),
        "\nasof: writing manual pages into \"/dev/null/pages\": Not a directory (os error 20)\n"
    );
}

/// What bash offers for a line, in its order.
fn completed(site: &Site, line: &str) -> Vec<String> {
    let program = Path::new(env!("CARGO_BIN_EXE_asof")).parent().unwrap();
    let script = format!(
        "PATH={}:$PATH; export ASOF_CATALOG=$PWD/catalog.db; source <(asof completions bash); compopt() {{ :; }}
         COMP_LINE={}; COMP_POINT=${{#COMP_LINE}}; _asof || true
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        program.display(),
        quoted(line)
    );
    sh(&site.path(""), &script).lines().map(str::to_owned).collect()
}

#[test]
fn completions_know_verbs_sources_dates_and_paths() {
    let site = Site::with_source();
    two_copies(&site);
    site.ok(&["index", "homes"]);
    assert_eq!(completed(&site, "asof gen"), ["generations"]);
    assert_eq!(completed(&site, "asof index --ag"), ["--again"]);
    assert_eq!(completed(&site, "asof show ho"), ["homes"]);
    // Bash has `@` and `:` between its words: what stands before the last one is in the line already.
    assert_eq!(completed(&site, "asof forget homes@2024-11-19"), ["2024-11-19T000000Z"]);
    assert_eq!(completed(&site, "asof show homes@l"), ["latest"]);
    assert_eq!(completed(&site, "asof ls homes:do"), ["docs/"]);
    assert_eq!(completed(&site, "asof show homes:docs/"), ["docs/hard"]);
    assert_eq!(completed(&site, "asof show --at 2024-11-18 homes:docs/"), ["docs/b", "docs/hard"]);
    assert_eq!(
        completed(&site, "asof ls homes --at "),
        ["latest", "oldest", "today", "yesterday", "2024-11-19T000000Z", "2024-11-18T000000Z"]
    );
    assert_eq!(completed(&site, "asof show web:"), [""]);
    for (shell, asks) in [("zsh", "ASOF_COMPLETE=\"zsh\""), ("fish", "ASOF_COMPLETE=fish"), ("elvish", "asof")] {
        let script = site.ok(&["completions", shell]);
        assert!(script.contains(asks), "{shell}: {script}");
    }
    let refused = site.run(&["completions", "csh"], 2);
    assert!(said(&refused).contains("possible values: bash"), "{}", said(&refused));
}

#[test]
fn a_quiet_run_says_nothing_where_all_is_well_and_all_that_is_wrong() {
    let site = Site::new();
    let quiet = |args: &[&str], code: i32| said(&site.run(&[&["-q"], args].concat(), code));
    assert_eq!(quiet(&["init"], 0), "\n");
    assert_eq!(quiet(&["source", "add", "nfs", "homes", "--copies", "copies"], 0), "\n");
    two_copies(&site);
    assert_eq!(quiet(&["index"], 0), "\n");
    assert_eq!(quiet(&["index", "homes"], 0), "\n", "nothing is new");
    sh(&site.path(""), "mv copies/2024-11-18 copies/20241118");
    assert_eq!(quiet(&["index"], 0), "\n", "a copy moved");
    for verb in [&["check"][..], &["mount", "mnt"], &["umount", "mnt"], &["source", "set", "homes", "--settle", "0"]] {
        assert_eq!(quiet(verb, 0), "\n", "{verb:?}");
    }
    // Answers are not in the way.
    assert!(quiet(&["generations"], 0).contains("2024-11-19T00:00:00Z"));
    sh(&site.path(""), "mkdir copies/nonsense");
    let told = quiet(&["index"], 1);
    assert!(told.contains("skipped ") && !told.contains("indexed"), "{told}");
    sh(&site.path(""), "rmdir copies/nonsense; mv copies/2024-11-19 away");
    let told = quiet(&["index"], 1);
    assert!(told.contains("not there any more: the copy of 2024-11-19T00:00:00Z"), "{told}");
    assert!(quiet(&["forget", "homes@2024"], 2).contains("homes"), "errors are always said");
}

/// Copies that changed in the last minutes are walked once more by the next run.
#[test]
fn a_verbose_run_says_what_was_walked_again_and_had_not_changed() {
    for (amount, says) in [(&[][..], false), (&["-v"], true)] {
        let site = Site::with_source();
        two_copies(&site);
        site.ok(&["index"]);
        let told = said(&site.run(&[amount, &["index"]].concat(), 0));
        let line = "2024-11-18\" is as it was indexed, as 2024-11-18T00:00:00Z\n";
        assert_eq!(told.contains(line), says, "{told}");
    }
    let refused = Site::new().run(&["-q", "-v", "index"], 2);
    assert!(said(&refused).contains("cannot be used with"), "{}", said(&refused));
}

#[test]
fn people_read_times_of_their_zone_and_programs_read_utc() {
    let site = Site::new();
    let here = |args: &[&str]| {
        let output = site.asof(args).env("TZ", "Asia/Kolkata").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}\n{}", said(&output));
        said(&output)
    };
    here(&["init"]);
    here(&["source", "add", "nfs", "homes", "--copies", "copies"]);
    two_copies(&site);
    let told = here(&["index"]);
    assert!(told.contains("indexed 2024-11-18T00:00:00+05:30 of \"homes\""), "{told}");
    for args in [
        &["generations"][..],
        &["source", "list"],
        &["show", "homes@2024-11-19"],
        &["resolve", "latest"],
        &["resolve", "2024-11-19T00:00:00+05:30"],
    ] {
        let told = here(args);
        assert!(told.contains("2024-11-19T00:00:00+05:30") && !told.contains("2024-11-18T18:30"), "{args:?}: {told}");
    }
    assert!(here(&["ls", "-l", "homes"]).contains(" 2024-11-18T17:30:00+05:30 a\n"));
    assert!(here(&["show", "homes:a"]).contains("mtime          2024-11-18T17:30:00.000000000+05:30"));
    for args in
        [&["generations", "--json"][..], &["show", "homes@2024-11-19", "--json"], &["resolve", "latest", "--json"]]
    {
        let told = here(args);
        assert!(told.contains("2024-11-18T18:30:00Z") && !told.contains("+05:30"), "{args:?}: {told}");
    }
    assert!(here(&["sql", "SELECT taken_at FROM generations"]).contains("2024-11-18T18:30:00Z"));
}

#[test]
fn show_tells_programs_numbers_and_people_words() {
    let site = Site::with_source();
    two_copies(&site);
    site.ok(&["index"]);
    let json =
        |args: &[&str]| -> Value { serde_json::from_str(&site.ok(&[args, &["--json"]].concat())).expect("JSON") };
    let source = json(&["show", "homes"]);
    assert_eq!(source["generations"], 2);
    assert_eq!(source["oldest"], "2024-11-18T00:00:00Z");
    assert_eq!(source["settings"]["copies"], site.path("copies").to_str().unwrap());
    let generation = json(&["show", "homes@2024-11-18"]);
    assert_eq!(generation["entries"], 8);
    assert_eq!(generation["size_bytes"], 1_048_586);
    assert!(generation["index_ms"].is_u64() && generation["findings"].as_array().is_some_and(Vec::is_empty));
    assert_eq!(generation["copies"][0], site.path("copies/2024-11-18").to_str().unwrap());
    let entry = json(&["show", "homes:docs/hard"]);
    assert_eq!((&entry["mode"], &entry["size_bytes"]), (&"0644".into(), &9.into()));
    assert_eq!(entry["version_until"], Value::Null);
    let docs = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json.md")).unwrap();
    let section = docs.split_once("## `asof show`").expect("the section").1;
    for (of, value) in [("source", source), ("generation", generation), ("entry", entry)] {
        for field in value.as_object().unwrap().keys() {
            assert!(section.contains(&format!("`{field}`")), "{of}: {field}");
        }
    }
}

#[test]
fn oldest_is_one_date_for_all_sources_in_a_command_and_in_a_mount() {
    let site = Site::with_source();
    two_copies(&site);
    sh(&site.path(""), "mkdir -p web/2024-11-19; touch web/2024-11-19/page");
    site.ok(&["source", "add", "nfs", "web", "--copies", "web"]);
    site.ok(&["index"]);
    let told: Value = serde_json::from_str(&site.ok(&["resolve", "oldest", "--json"])).unwrap();
    let generation = |at: usize| &told["sources"][at]["generation"];
    assert_eq!((generation(0), generation(1)), (&"2024-11-18T00:00:00Z".into(), &Value::Null));
    let mount = site.mount(&[]);
    assert_eq!(sh(&mount, "ls @oldest"), "homes\n");
    assert_eq!(sh(&mount, "ls web/@oldest"), "page\n");
    assert_eq!(site.ok(&["ls", "web@oldest"]), "page\n");
    site.umount();
}

#[test]
fn again_without_a_source_says_what_to_write() {
    let site = Site::with_source();
    let refused = said(&site.run(&["index", "--again"], 2));
    assert!(refused.contains("no source is named") && refused.contains("asof index NAME@DATE --again"), "{refused}");
}

#[test]
fn help_of_sql_lists_every_view_with_its_columns() {
    let site = Site::with_source();
    let help = site.ok(&["sql", "--help"]);
    let views = site.ok(&["sql", "SELECT name FROM sqlite_schema WHERE type = 'view' ORDER BY name"]);
    for view in views.lines().skip(1) {
        assert!(help.contains(&format!("\n  {view}: ")), "{view}\n{help}");
    }
    assert!(help.contains("restore_path") && help.contains("xattr_set"), "{help}");
}
