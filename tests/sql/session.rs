//! `asof sql` at a terminal: a session with completion and a history. `script` of util-linux is the terminal.

use super::{Site, sh};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};

/// Types lines into a session, each when it asks for one, with `home` as the home of its user; returns what the terminal was sent.
fn type_in(site: &Site, home: &str, args: &str, lines: &[&[u8]]) -> String {
    let program = env!("CARGO_BIN_EXE_asof");
    let mut session = Command::new("timeout")
        .args(["-s", "KILL", "60", "script", "-qec", &format!("stty cols 100; exec {program} sql {args}"), "/dev/null"])
        .env("ASOF_CATALOG", site.path("catalog.db"))
        .env("HOME", site.path(home))
        .env_remove("XDG_STATE_HOME")
        .env("TERM", "xterm")
        .current_dir(site.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script is installed");
    let (mut keys, mut output) = (session.stdin.take().expect("its keys"), session.stdout.take().expect("its output"));
    let (mut said, mut room, mut next) = (Vec::new(), [0; 4096], 0);
    loop {
        let read = output.read(&mut room).expect("it can be read");
        if read == 0 {
            break;
        }
        said.extend_from_slice(&room[..read]);
        let prompts = ["\n\rasof> \x1b[K", "\n\r  ... \x1b[K"];
        let text = String::from_utf8_lossy(&said);
        while next < lines.len() && prompts.iter().map(|prompt| text.matches(prompt).count()).sum::<usize>() > next {
            keys.write_all(lines[next]).expect("it reads");
            next += 1;
        }
    }
    let status = session.wait().expect("it ends");
    let text = String::from_utf8(said).expect("text");
    assert!(status.success() && next == lines.len(), "{text:?}");
    text
}

#[test]
fn a_session_completes_names_and_remembers_statements_for_its_user_alone() {
    let site = Site::with_source();
    sh(&site.path(""), "mkdir -p home other; chmod 755 home; chown 1000 other; echo a > live/a; umask 000");
    site.copy("2026-11-18");
    site.ok(&["index", "homes"]);
    // A view and a column are completed; a mistake does not end it; a statement of two lines; then the end.
    let lines: [&[u8]; 6] = [
        b"SELECT 'n=' || count(*) FROM generat\t;\r",
        b"SELECT nosuch FROM files;\r",
        b"SELECT entr\t\r",
        b"FROM generations;\r",
        b"SELECT 'tab' || path FROM fil\t\t;\x03",
        b"\x04",
    ];
    let said = type_in(&site, "home", "", &lines);
    assert!(said.contains("n=1"), "{said}");
    assert!(said.contains("asof: no such column: nosuch"), "{said}");
    assert!(said.contains("entries"), "{said}");
    // Two views begin like that: what they have in common is there, and both are listed.
    assert!(said.contains("files  files_at("), "{said}");
    assert!(!said.contains("taba"), "not run without Enter: {said}");
    let file = site.path("home/.local/state/asof/sql_history");
    let stat = std::fs::metadata(&file).expect("a history");
    assert_eq!((stat.permissions().mode() & 0o777, stat.uid()), (0o600, 0));
    assert_eq!(std::fs::metadata(site.path("home/.local/state/asof")).unwrap().permissions().mode() & 0o777, 0o700);
    let kept = std::fs::read_to_string(&file).unwrap();
    assert_eq!(
        kept,
        "SELECT 'n=' || count(*) FROM generations ;\nSELECT nosuch FROM files;\nSELECT entries  FROM generations;\n"
    );
    // What somebody else put there comes back written out, and a terminal obeys none of it; Up calls it back, and Enter runs it.
    std::fs::write(&file, b"SELECT 'x\x1b]0;evil\x07\xff\xe2\x80\xae';\nSELECT 'again' || 7;\n").unwrap();
    let said = type_in(&site, "home", "", &[b"\x1b[A\r", b"\x1b[A\x1b[A\x03", b".views\r", b".quit\r"]);
    assert!(said.contains("again7"), "{said}");
    assert!(said.contains("SELECT 'x\\x1b]0;evil\\x07"), "{said}");
    assert!(!said.contains("\x1b]0;evil") && !said.contains('\u{202e}'), "{said:?}");
    assert!(said.contains("usage_by_owner"), "{said}");
    // The home of another user: nothing is left there.
    type_in(&site, "other", "", &[b"SELECT 1;\r", b"\x04"]);
    assert!(!site.path("other/.local").exists());
}

#[test]
fn a_session_goes_on_after_a_statement_that_takes_too_long_and_needs_a_terminal() {
    let site = Site::with_source();
    sh(&site.path(""), "mkdir home");
    let endless = b"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n;\r";
    let said = type_in(&site, "home", "--timeout 1", &[endless, b"SELECT 'still ' || 'there';\r", b"\x04"]);
    assert!(said.contains("the query was stopped after 1 s, its time limit"), "{said}");
    assert!(said.contains("still there"), "{said}");
    let output = site.asof(&["sql"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("there is no query, and no terminal to ask for one"));
}
