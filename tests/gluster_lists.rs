//! Lists of changes of a real volume, as a consumer of them asks: sessions, full lists, formats, files, hooks.
//!
//! Expected lists are written out. Needs root, `/dev/fuse` and the packages that `scripts/gluster-volume` installs.

#[path = "common/examples.rs"]
mod examples;
#[path = "common/site.rs"]
mod site;

use examples::examples_of;
use site::{assert_fields_documented, said, said as said_of, sh, shell};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A volume that is mounted at `mnt`, and a catalog that is never made: sessions lie beside it.
struct Volume {
    dir: tempfile::TempDir,
}

impl Volume {
    fn start(shape: &str) -> Self {
        assert!(Path::new("/dev/fuse").exists(), "this test needs /dev/fuse");
        // Bricks need extended attributes of trusted, and paths of sockets are short.
        let dir = tempfile::Builder::new().prefix("asof-l-").tempdir_in("/var/tmp").unwrap();
        let volume = Self { dir };
        volume.script(&["start", "vol", shape, "g", "mnt", "--rollover", "30"]);
        volume
    }

    fn script(&self, args: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/gluster-volume");
        let output = Command::new(script).args(args).current_dir(self.dir.path()).output().unwrap();
        assert!(output.status.success(), "{args:?}\n{}", said(&output));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Changes files as a client.
    fn on_client(&self, script: &str) {
        sh(&self.path("mnt"), script);
    }

    /// Closes the changelogs of all bricks: what was written until now is not written in a slice that is read again.
    fn close_changelogs(&self, seconds: u32) {
        sh(
            self.dir.path(),
            &format!("./g/gluster --mode=script volume set vol changelog.rollover-time {seconds} > /dev/null"),
        );
    }

    fn asof(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_asof"));
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        command.env("ASOF_CATALOG", self.path("catalog.db")).env("TZ", "UTC");
        command.output().unwrap()
    }

    /// Runs asof, which must exit with `code`, and returns what it wrote to standard error.
    fn run(&self, code: i32, args: &[&str]) -> String {
        let output = self.asof(args);
        assert_eq!(output.status.code(), Some(code), "asof {args:?}\n{}", said(&output));
        String::from_utf8(output.stderr).unwrap()
    }

    fn register(&self, session: &str, more: &[&str]) {
        let gluster = self.path("g/gluster");
        let args = ["gluster", "register", session, "localhost", "vol", "--gluster", gluster.to_str().unwrap()];
        self.run(0, &[&args, more].concat());
    }

    /// Returns the list of `asof gluster ARGS --out-file -`.
    fn listed(&self, args: &[&str]) -> Vec<u8> {
        let output = self.asof(&[&["gluster"], args, &["--out-file", "-"]].concat());
        assert_eq!(output.status.code(), Some(0), "asof {args:?}\n{}", said(&output));
        output.stdout
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/gluster-volume");
        let _ = Command::new(script).args(["stop-all", "g"]).current_dir(self.dir.path()).output();
    }
}

/// Returns a list as text; bytes that are no text are shown.
fn text(list: &[u8]) -> String {
    list.utf8_chunks()
        .map(|chunk| {
            let odd: String = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")).collect();
            format!("{}{odd}", chunk.valid())
        })
        .collect()
}

#[test]
fn a_session_lists_everything_and_then_what_changed() {
    let volume = Volume::start("distrep");
    volume.register("nightly", &[]);
    volume.on_client(
        "mkdir -p docs/old docs/sub tree/below
         for f in docs/keep docs/old/a docs/sub/b modified moved both mgone over onto tree/x tree/below/y; do echo $f > $f; done
         echo 1 > 'a,b'; echo 2 > $'line\\nbreak'; echo 3 > '100% sure'; echo 4 > $'odd\\xff'; ln docs/keep hard; ln -s nowhere sym",
    );
    let first = text(&volume.listed(&["changes", "nightly"]));
    let mut lines: Vec<&str> = first.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "NEW 100%25%20sure",
            "NEW a,b",
            "NEW both",
            "NEW docs",
            "NEW docs/keep",
            "NEW docs/old",
            "NEW docs/old/a",
            "NEW docs/sub",
            "NEW docs/sub/b",
            "NEW hard",
            "NEW line%0Abreak",
            "NEW mgone",
            "NEW modified",
            "NEW moved",
            "NEW odd\\xff",
            "NEW onto",
            "NEW over",
            "NEW sym",
            "NEW tree",
            "NEW tree/below",
            "NEW tree/below/y",
            "NEW tree/x",
        ]
    );
    // A log that stays is read whole by the next run, however long it is.
    assert_eq!(sh(&volume.path("catalog.db-sessions"), "ls"), "nightly.db\nnightly.db.lock\n");
    let again = text(&volume.listed(&["changes", "nightly"]));
    assert_eq!(again, first, "nobody has said that the first list was used");
    volume.run(0, &["gluster", "confirm", "nightly"]);
    volume.close_changelogs(31);
    assert_eq!(text(&volume.listed(&["changes", "nightly"])), "", "nothing changed");

    volume.on_client(
        "mv docs papers; mv papers/old papers/older; echo more >> modified; mv moved papers/sub/moved
         echo more >> both; mv both both2; echo more >> mgone; rm mgone; mv over onto; rm -r tree; ln modified hard2
         rm hard; mv 'a,b' $'c,\\n%\\xfe'; rm $'line\\nbreak'; echo more >> '100% sure'; chmod 600 $'odd\\xff'
         mkdir new; echo x > 'new/a b'; touch came; rm came; chmod 711 papers/sub; ln -s x new/sym; chown -h 1 sym",
    );
    let lines = "RENAME a,b c,%0A%25\\xfe\nNEW new\nRENAME docs papers\nRENAME moved papers/sub/moved\n\
                 RENAME both both2\nRENAME over onto\nRENAME papers/old papers/older\n\
                 DELETE tree/x\nDELETE tree/below/y\nDELETE tree/below\nDELETE tree\nDELETE mgone\n\
                 DELETE line%0Abreak\nDELETE hard\n\
                 NEW hard2\nNEW new/a%20b\nNEW new/sym\n\
                 MODIFY 100%25%20sure\nMODIFY both2\nMODIFY modified\nMODIFY odd\\xff\nMODIFY papers/sub\nMODIFY sym\n";
    let second = text(&volume.listed(&["changes", "nightly"]));
    let ordered = |list: &str| {
        let mut lines: Vec<String> = list.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(ordered(&second), ordered(lines));
    let place = |line: &str| second.lines().position(|found| found == line).expect(line);
    assert!(place("RENAME docs papers") < place("RENAME papers/old papers/older"));
    assert!(place("DELETE tree/below/y") < place("DELETE tree/below"));
    assert!(place("DELETE tree/below") < place("DELETE tree"));
    assert!(place("NEW new") < place("NEW new/a%20b"));

    // A consumer that crashed asks again, in any form, and gets the same.
    assert_eq!(text(&volume.listed(&["changes", "nightly", "--again"])), second);
    let again = |more: &[&str]| text(&volume.listed(&[&["changes", "nightly", "--again"], more].concat()));
    assert_eq!(
        again(&["-N", "--type", "d"]),
        "NEW new\nRENAME docs papers\nRENAME papers/old papers/older\nDELETE tree/below\nDELETE tree\n"
    );
    let files = again(&["--type", "f", "--field-separator", "==", "--output-prefix", "/snap/"]);
    assert!(files.contains("RENAME==/snap/a,b==/snap/c,%0A%25\\xfe\n"), "{files}");
    assert!(!files.contains("papers\n"), "{files}");
    assert!(again(&["-0"]).contains("NEW\0new/a b\0NEW\0new/sym\0MODIFY\x00100% sure\0"));
    assert!(again(&["--no-encode"]).contains("DELETE line\nbreak\n"));
    assert!(again(&["--json"]).contains(r#"{"what":"rename","path":"c,\\n%\\xfe","old_path":"a,b"}"#));

    volume.run(0, &["gluster", "confirm", "nightly"]);
    assert_eq!(text(&volume.listed(&["changes", "nightly"])), "", "nothing changed since");
    let full = text(&volume.listed(&["changes", "nightly", "--full"]));
    let gluster = volume.path("g/gluster");
    let stateless = volume.listed(&["full", "localhost", "vol", "--gluster", gluster.to_str().unwrap()]);
    assert_eq!(ordered(&text(&stateless)), ordered(&full));
    assert_eq!(full.lines().count(), 18, "{full}");
}

#[test]
fn a_file_of_the_admin_is_kept_and_a_list_that_failed_is_told_again() {
    let volume = Volume::start("dist1");
    volume.on_client("mkdir d; echo 1 > d/f");
    volume.register("s1", &["--exec", "env X={host}"]);
    let said = volume.run(0, &["gluster", "changes", "s1"]);
    assert!(said.starts_with("window 0 "), "{said}");
    assert_eq!(std::fs::read_to_string(volume.path("output.txt")).unwrap(), "NEW d\nNEW d/f\n");
    let end = said.lines().next().unwrap().rsplit(' ').next().unwrap();
    let hint =
        format!("hint: asof gluster confirm s1 {end} when it was used; until then the next list has all of it again\n");
    assert!(said.ends_with(&hint), "{said}");
    let other = volume.run(2, &["gluster", "confirm", "s1", "7"]);
    assert_eq!(
        other,
        format!(
            "asof: the list of session \"s1\" that waits to be confirmed ends at {end}, not at 7\n\
             hint: a later run wrote another list, which has all that this one had\n"
        )
    );
    let confirmed = volume.run(0, &["gluster", "confirm", "s1", end]);
    assert_eq!(confirmed, format!("confirmed the list of \"s1\": window 0 {end}\n"));

    // A list that has its own name is not overwritten, and nothing was looked at.
    std::fs::write(volume.path("mine"), "precious").unwrap();
    volume.on_client("echo 2 > g");
    let refused = volume.run(2, &["gluster", "changes", "s1", "--out-file", "mine"]);
    assert_eq!(
        refused,
        "asof: the list \"mine\" is there already\n\
         hint: --force overwrites it; one called output.txt needs no --force\n"
    );
    assert_eq!(std::fs::read_to_string(volume.path("mine")).unwrap(), "precious");

    // A list that cannot be written: the window stays open, though the volume was looked at.
    let output = volume.asof(&["gluster", "changes", "s1", "--out-file", "no/such/folder"]);
    assert_eq!(output.status.code(), Some(2), "{}", said_of(&output));
    let full_disk = sh(
        volume.dir.path(),
        &format!(
            "ASOF_CATALOG=$PWD/catalog.db {} gluster changes s1 --out-file - > /dev/full 2> said && exit 1; tail -1 said",
            env!("CARGO_BIN_EXE_asof")
        ),
    );
    assert_eq!(full_disk, "asof: writing the answer: No space left on device (os error 28)\n");
    volume.on_client("echo 3 > h");
    let said = volume.run(0, &["gluster", "changes", "s1", "--out-file", "mine", "--force"]);
    assert!(said.starts_with(&format!("window {end} ")), "{said}");
    assert_eq!(std::fs::read_to_string(volume.path("mine")).unwrap(), "NEW g\nNEW h\n");
    let said = volume.run(0, &["gluster", "changes", "s1", "--again"]);
    assert!(said.starts_with(&format!("window {end} ")), "{said}");
    assert_eq!(std::fs::read_to_string(volume.path("output.txt")).unwrap(), "NEW g\nNEW h\n");
    let left: Vec<String> = std::fs::read_dir(volume.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("tmp"))
        .collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn commands_run_before_and_after_a_list_and_know_what_it_is() {
    let volume = Volume::start("dist1");
    volume.on_client("echo 1 > f");
    std::fs::write(
        volume.path("note"),
        "#!/bin/sh\necho \"$1 $ASOF_SESSION $ASOF_VOLUME $ASOF_LEVEL $ASOF_WINDOW_START ${ASOF_WINDOW_END:-open} $ASOF_OUT_FILE\" >> notes\n\
         test -e output.txt && echo list >> notes\necho spoken\ntest ! -e fail-$1\n",
    )
    .unwrap();
    sh(volume.dir.path(), "chmod +x note");
    volume.register("hooked", &["--pre", "./note pre", "--post", "./note 'post'"]);
    let notes = || {
        let notes = std::fs::read_to_string(volume.path("notes")).unwrap();
        std::fs::remove_file(volume.path("notes")).unwrap();
        notes
    };
    std::fs::write(volume.path("fail-pre"), "").unwrap();
    let said = volume.run(2, &["gluster", "changes", "hooked"]);
    assert!(
        said.ends_with("the pre command \"./note pre\" ended with exit status: 1\nhint: nothing was listed\n"),
        "{said}"
    );
    assert!(!volume.path("output.txt").exists());
    let list = volume.path("output.txt").display().to_string();
    assert_eq!(notes(), format!("pre hooked vol full 0 open {list}\n"));
    std::fs::remove_file(volume.path("fail-pre")).unwrap();

    let said = volume.run(0, &["gluster", "changes", "hooked"]);
    let end = said.lines().find_map(|line| line.strip_prefix("window 0 ")).expect("a window").to_owned();
    assert_eq!(notes(), format!("pre hooked vol full 0 open {list}\npost hooked vol full 0 {end} {list}\nlist\n"));
    std::fs::write(volume.path("fail-post"), "").unwrap();
    let said = volume.run(1, &["gluster", "changes", "hooked"]);
    assert!(said.contains("asof: the post command \"./note 'post'\" ended with exit status: 1\n"), "{said}");
    assert!(notes().starts_with(&format!("pre hooked vol incremental {end} open {list}\nlist\npost hooked")));
    assert!(said.contains("hint: the list is there and not confirmed: the next one has all of it again"), "{said}");
    let said = volume.run(1, &["gluster", "changes", "hooked", "--again"]);
    assert!(said.contains(&format!("window {end} ")), "{said}");
    // What failed is listed again, with what came since; when the command works, the next list begins there.
    volume.on_client("echo 2 > g");
    std::fs::remove_file(volume.path("fail-post")).unwrap();
    let said = volume.run(0, &["gluster", "changes", "hooked"]);
    assert!(said.contains(&format!("window {end} ")), "{said}");
    assert!(std::fs::read_to_string(volume.path("output.txt")).unwrap().contains("NEW g\n"));
    let nothing = volume.run(2, &["gluster", "confirm", "hooked"]);
    assert!(nothing.starts_with("asof: session \"hooked\" has no list that waits to be confirmed\n"), "{nothing}");
}

#[test]
fn sessions_are_registered_once_by_a_name_that_can_be_one() {
    let volume = Volume::start("dist1");
    volume.register("one_1", &[]);
    volume.register("Two-2", &[]);
    let gluster = volume.path("g/gluster");
    let register = |name: &str| {
        let args = ["gluster", "register", name, "localhost", "vol", "--gluster", gluster.to_str().unwrap()];
        volume.run(2, &args).lines().next().unwrap().to_owned()
    };
    assert_eq!(register("one_1"), "asof: there is a session \"one_1\" already");
    assert_eq!(register("x"), "asof: \"x\" cannot name a session: it has to have 2 to 256 characters");
    assert_eq!(register("default"), "asof: \"default\" cannot name a session: the name is reserved");
    assert_eq!(
        register("../up"),
        "asof: \"../up\" cannot name a session: it may hold letters, digits, dashes and underscores"
    );
    let other =
        volume.run(2, &["gluster", "register", "three", "localhost", "other", "--gluster", gluster.to_str().unwrap()]);
    assert!(other.starts_with("asof: there is no volume \"other\""), "{other}");
    let listed = volume.asof(&["gluster", "sessions"]).stdout;
    let listed = String::from_utf8(listed).unwrap();
    let names: Vec<&str> = listed.lines().skip(1).map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(names, ["Two-2", "one_1"]);
    let values = volume.asof(&["gluster", "sessions", "--json"]).stdout;
    assert_fields_documented("asof gluster sessions", &serde_json::from_slice(&values).unwrap(), "registered_at");
    volume.run(0, &["gluster", "forget-session", "Two-2"]);
    let nothing = volume.run(2, &["gluster", "changes", "one_1", "--again"]);
    assert_eq!(
        nothing,
        "asof: session \"one_1\" has written no list yet\nhint: without --again everything is listed\n"
    );
    let args = ["gluster", "register", "three", "127.99.99.99", "vol", "--gluster", gluster.to_str().unwrap()];
    let refused = volume.run(2, &args);
    assert!(
        refused.starts_with("asof: \"127.99.99.99\" is not in the pool of volume \"vol\": the pool has 127.")
            && refused.ends_with("hint: name one of these, or localhost on one of them\n"),
        "{refused}"
    );
    // What was listed and confirmed goes with it to another machine.
    volume.on_client("echo 1 > one");
    volume.run(0, &["gluster", "changes", "one_1", "--out-file", "first"]);
    volume.run(0, &["gluster", "confirm", "one_1"]);
    volume.run(0, &["gluster", "export-session", "one_1", "carried"]);
    let again = volume.run(2, &["gluster", "export-session", "one_1", "carried"]);
    assert!(again.starts_with("asof: making the file \"carried\": "), "{again}");
    let there = volume.run(2, &["gluster", "import-session", "carried"]);
    assert!(there.starts_with("asof: there is a session \"one_1\" already\n"), "{there}");
    volume.run(0, &["--catalog", "other.db", "gluster", "import-session", "carried", "--name", "moved"]);
    volume.on_client("echo 2 > two");
    let list = ["--catalog", "other.db", "gluster", "changes", "moved", "--out-file", "-"];
    let output = volume.asof(&list);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "NEW two\n"));
    sh(
        volume.dir.path(),
        "cp carried theirs; chmod 666 theirs; cp -r catalog.db-sessions/one_1.db rubbish; truncate -s 1000 rubbish",
    );
    let refused = |file: &str| volume.run(2, &["--catalog", "third.db", "gluster", "import-session", file]);
    assert!(refused("theirs").starts_with("asof: \"theirs\" can be written to by others\n"));
    assert!(refused("rubbish").contains("rubbish"));
    assert_eq!(sh(volume.dir.path(), "ls -d third.db* 2>/dev/null || true"), "");

    let unknown = volume.run(2, &["gluster", "changes", "Two-2"]);
    assert_eq!(
        unknown,
        "asof: there is no session \"Two-2\"; known are one_1\n\
         hint: asof gluster register SESSION HOST VOLUME makes one\n"
    );
    assert!(!volume.path("output.txt").exists());
}

#[test]
fn a_span_of_time_is_listed_without_a_session() {
    let volume = Volume::start("distrep");
    volume.on_client("mkdir -p before/dir gone/below; for f in before/f before/dir/x gone/a gone/below/b m r over onto link; do echo 1 > $f; done");
    volume.close_changelogs(31);
    let start = next_second();
    volume.on_client(
        "echo 2 >> m; mv r before/dir/renamed; mv before later; rm -r gone; echo 2 >> later/f; mv later/f later/g
         echo new > $'a,b %\\xff'; ln link link2; mv over onto; touch came; rm came; chmod 700 later/dir; echo x > swap; mv swap m2",
    );
    let end = next_second();
    next_second();
    volume.close_changelogs(32);
    let later = next_second();
    volume.on_client("echo 3 > after; mv m later/m");
    let gluster = volume.path("g/gluster");
    let inc = |from: &str, until: &[&str]| {
        let args = ["inc", "localhost", "vol", from];
        text(&volume.listed(&[&args, until, &["--gluster", gluster.to_str().unwrap()]].concat()))
    };
    let mut lines: Vec<String> = inc(&start, &[&end]).lines().map(str::to_owned).collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "DELETE gone",
            "DELETE gone/a",
            "DELETE gone/below",
            "DELETE gone/below/b",
            "MODIFY later/dir",
            "MODIFY later/g",
            "MODIFY later/m",
            "NEW a,b%20%25\\xff",
            "NEW link2",
            "NEW m2",
            "RENAME before later",
            "RENAME later/f later/g",
            "RENAME over onto",
            "RENAME r later/dir/renamed",
        ],
        "what was modified is told by the name of now"
    );
    let after = inc(&later, &[]);
    assert!(after.contains("NEW after\n") && after.contains("RENAME m later/m\n"), "{after}");
    assert!(!after.contains("gone"), "{after}");
    assert!(!volume.path("catalog.db-sessions").exists());

    // Carried by hand: the same lists.
    let carry = |folder: &str, span: &[&str]| {
        std::fs::create_dir(volume.path(folder)).unwrap();
        let how = ["--into", folder, "--gluster", gluster.to_str().unwrap()];
        volume.run(0, &[&["gluster", "requests", "localhost", "vol"], span, &how].concat());
    };
    let merged = |folder: &str, but: &str| loop {
        let asof = env!("CARGO_BIN_EXE_asof");
        let answer = format!(
            "for request in *.request; do
                 if [ ! -e ${{request%.request}}.part ]; then '{asof}' gluster scan-brick --request $request --out ${{request%.request}}.part; fi
             done; rm -f {but}; ls *.part"
        );
        let parts: Vec<String> =
            sh(&volume.path(folder), &answer).lines().map(|part| format!("{folder}/{part}")).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let output =
            volume.asof(&[&["gluster", "merge"], &parts[..], &["--requests", folder, "--out-file", "-"]].concat());
        let told = said(&output);
        if !told.contains("no list was written") {
            break (output.status.code(), text(&output.stdout), told);
        }
    };
    let full = text(&volume.listed(&["full", "localhost", "vol", "--gluster", gluster.to_str().unwrap()]));
    carry("all", &[]);
    assert_eq!(merged("all", "nothing").1, full);
    carry("some", &[&start, &end]);
    let (code, list, told) = merged("some", "nothing");
    assert_eq!((code, list), (Some(0), inc(&start, &[&end])), "{told}");
    // One of two copies is lacking: the other tells. Both are: nothing can be told.
    let (code, list, told) = merged("all", "vol-brick-2.part");
    assert_eq!((code, list), (Some(1), full), "{told}");
    assert!(told.contains("/vol-b2 did not answer, others of its set did: there is no part of "), "{told}");
    let (code, list, told) = merged("all", "vol-brick-[12].part");
    assert_eq!((code, list.as_str()), (Some(2), ""), "{told}");
    assert!(told.contains("no brick of replica set 1 answered"), "{told}");
    let args = ["gluster", "merge", "all/vol-brick-3.part", "some/vol-brick-3.part", "--out-file", "-"];
    let refused = volume.run(2, &args);
    assert!(
        refused.starts_with("asof: \"some/vol-brick-3.part\" answers requests that were written at another time"),
        "{refused}"
    );

    let args = ["gluster", "inc", "localhost", "vol", "--gluster", gluster.to_str().unwrap(), "--out-file", "-"];
    let refused = volume.run(2, &[&args[..], &[&end, &start]].concat());
    assert!(refused.starts_with("asof: the time span ends at "), "{refused}");
    let output = volume.asof(&[&args[..], &["2020-01-01", &end]].concat());
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(said.contains("nothing is known of the time before HTIME."), "{said}");
    assert!(said.contains("NEW before") || said.contains("NEW later"), "what is known is listed: {said}");
}

/// Waits until the next second begins and returns it, as changelogs count them.
/// The sessions of `docs/gluster.md` that need a volume, with other paths.
#[test]
fn the_examples_of_the_manual_do_what_they_say() {
    let volume = Volume::start("distrep");
    volume.on_client("mkdir d; echo one > d/a; echo two > b");
    volume.run(0, &["init"]);
    sh(volume.dir.path(), "mkdir store requests");
    let path = |name: &str| volume.path(name).display().to_string();
    let (gluster, store, list) = (path("g/gluster"), path("store"), path("changed.txt"));
    let asof = format!("ASOF_CATALOG={} TZ=UTC {}", path("catalog.db"), env!("CARGO_BIN_EXE_asof"));
    for example in examples_of("docs/gluster.md", "gluster") {
        let example = example.with(&[
            ("--volume gv0", "--volume vol"),
            ("volume \"gv0\"", "volume \"vol\""),
            ("localhost gv0", "localhost vol"),
            ("volume set gv0", "volume set vol"),
            ("/srv/asof", &store),
            ("/root/changed.txt", &list),
            ("/root/requests/gv0-", &path("requests/vol-")),
            ("/root/requests", &path("requests")),
        ]);
        let mut command = match example.command.split_once(' ') {
            Some(("asof", rest)) => format!("{asof} {rest}"),
            Some(("gluster", rest)) => format!("{gluster} --mode=script {rest}"),
            _ => panic!("{}", example.command),
        };
        if example.command.contains(" add ")
            || ["register", "requests"].iter().any(|verb| example.command.contains(&format!(" {verb} ")))
        {
            command.push_str(&format!(" --gluster {gluster}"));
        }
        let output = shell(volume.dir.path(), &format!("{command} 2>&1"));
        assert!(output.status.success(), "{}\n{}", example.command, said(&output));
        example.must_be_like(&String::from_utf8_lossy(&output.stdout));
    }
}

fn next_second() -> String {
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    // Changelogs are cut at whole seconds: what is on either side of one is in the same slice.
    let next = now() + 2;
    site::wait_until("the clock goes on", || now() >= next);
    next.to_string()
}
