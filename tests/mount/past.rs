//! What a mount shows of several generations: the history of each path, and what differs between two dates.

use crate::site::{Site, as_nobody, await_view, difference, said, sh, shell, wait_until};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const REFUSED: &str = "Permission denied";

/// Three generations: a file that changes, is renamed and goes; directories that come, go and come back; a name that is a file, a
/// directory and a file again; names that look like dates.
fn site() -> Site {
    let site = Site::with_source();
    site.keep_in_memory(&["copies", "live"]);
    site.let_everybody_pass();
    let live = site.path("live");
    sh(
        &live,
        "mkdir -p alice/letters both deep/a/b; printf one > alice/report.txt; printf dear > alice/letters/ada
         printf same > alice/same; ln alice/same alice/other; ln -s report.txt alice/link; setfattr -n user.note -v kept alice/report.txt
         printf x > both/@x; printf y > both/y; printf z > deep/a/b/z; truncate -s 1M alice/sparse; mkfifo alice/pipe
         printf 1 > .before; printf 1 > ..before
         find . -exec touch -hd 2026-11-01T00:00:00.123456789Z {} +",
    );
    site.copy("2026-11-18");
    sh(
        &live,
        "printf 'two words' > alice/report.txt; chmod 600 alice/report.txt; rm -r alice/letters both; printf plain > both; printf new > deep/a/new
         printf 22 > .before; printf 22 > ..before; find . -newermt 2026-11-02 -exec touch -hd 2026-11-18T12:00:00Z {} +",
    );
    site.copy("2026-11-19");
    sh(
        &live,
        "mkdir -p alice/letters; printf again > alice/letters/ada; rm both; mkdir both; printf x2 > both/@x; mv alice/report.txt alice/renamed.txt
         mv deep shallow; find . -newermt 2026-11-18T13:00:00Z -exec touch -hd 2026-11-19T12:00:00Z {} +",
    );
    site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    site
}

fn names(dir: &Path) -> Vec<String> {
    sh(dir, "ls -A").lines().map(str::to_owned).collect()
}

/// > `@history` [...] has every name that the source ever had [...]; for a file a directory with its versions, by date.
#[test]
fn a_history_lists_every_name_there_ever_was_and_every_version_by_its_date() {
    let site = site();
    let homes = site.mount(&[]).join("homes");
    let history = homes.join("@history");
    assert_eq!(names(&history), ["..before", ".before", "alice", "both", "deep", "shallow"]);
    assert_eq!(
        names(&history.join("alice")),
        ["letters", "link", "other", "pipe", "renamed.txt", "report.txt", "same", "sparse"]
    );
    assert_eq!(names(&history.join("alice/report.txt")), ["@2026-11-18T000000Z", "@2026-11-19T000000Z"]);
    assert_eq!(names(&history.join("alice/letters/ada")), ["@2026-11-18T000000Z", "@2026-11-20T000000Z"]);
    assert_eq!(names(&history.join("alice/letters")), ["ada"]);
    assert_eq!(names(&history.join("deep/a/b/z")), ["@2026-11-18T000000Z"]);
    // A directory, then a file, then a directory: its own names that begin with @ have one more.
    assert_eq!(names(&history.join("both")), ["@2026-11-19T000000Z", "@@x", "y"]);
    assert_eq!(sh(&history, "cat both/@2026-11-19T000000Z both/@@x/@2026-11-18 both/@@x/@2026-11-20"), "plainxx2");
    // Any date leads to the version that holds then.
    assert_eq!(sh(&history, "cat alice/report.txt/@2026-11-18 alice/report.txt/@2026-11-19T13:00"), "onetwo words");
    for gone in ["alice/report.txt/@2026-11-20", "alice/report.txt/@2026-11-17", "alice/nobody", "alice/report.txt/x"] {
        assert!(said(&shell(&history, &format!("stat {gone}"))).contains("No such file"), "{gone}");
    }
    // Of the top nothing of it is listed.
    assert_eq!(names(&homes).len(), 3);
    assert_eq!(sh(&homes, "find . -maxdepth 1 -name '@history*' -o -maxdepth 1 -name '*..*' ! -name ."), "");
    site.umount();
}

/// > A version is the file of that generation: its bytes, its attributes, its inode number.
#[test]
fn each_version_is_the_file_of_its_generation_to_the_last_attribute() {
    let site = site();
    let homes = site.mount(&[]).join("homes");
    let mut versions = 0;
    for dir in sh(&homes, "cd @history; find . -mindepth 1 -type d -links 2").lines() {
        let path = dir.trim_start_matches("./");
        for date in names(&homes.join("@history").join(path)) {
            let version = homes.join("@history").join(path).join(&date);
            if !date.starts_with("@2026") || version.symlink_metadata().unwrap().is_dir() {
                continue;
            }
            versions += 1;
            let own = homes.join(&date).join(path.replace("/@@", "/@"));
            let stat =
                |path: &Path| sh(Path::new("/"), &format!("stat -c '%i %f %u %g %s %b %h %.9Y %.9Z %t %T' {path:?}"));
            assert_eq!(stat(&version), stat(&own), "{version:?}");
            if own.is_file() && !own.is_symlink() {
                sh(Path::new("/"), &format!("cmp {version:?} {own:?}"));
            }
        }
        // As many as the command line and SQL tell.
        let target = format!("homes:{}", path.replace("/@@", "/@"));
        let told = site.ok(&["history", "--name", "--json", &target]);
        let told = told.lines().filter(|row| !row.contains(r#""kind":"directory""#)).count();
        let shown = names(&homes.join("@history").join(path)).iter().filter(|name| name.starts_with("@2026")).count();
        assert_eq!(shown, told, "{path}");
    }
    assert_eq!(versions, 22);
    let history = homes.join("@history/alice");
    assert_eq!(sh(&history, "getfattr -n user.note --only-values report.txt/@2026-11-18"), "kept");
    assert_eq!(sh(&history, "getfattr -n user.asof.generation --only-values same/@latest"), "2026-11-18T00:00:00Z");
    assert_eq!(sh(&history, "readlink link/@2026-11-18"), "report.txt\n");
    sh(&site.path("out"), &format!("cp -a {}/. .; rsync -aHAX {}/ again", history.display(), history.display()));
    assert_eq!(
        sh(&site.path("out"), "cat report.txt/* again/report.txt/*; stat -c %F pipe/*"),
        "onetwo wordsonetwo wordsfifo\n"
    );
    site.umount();
}

/// What differs between two trees, by plain system calls: path, and whether it is a directory on that side.
fn differing(own: &Path, other: &Path) -> Vec<String> {
    fn below(dir: &Path, at: &Path, into: &mut BTreeMap<String, std::fs::Metadata>) {
        for entry in std::fs::read_dir(dir.join(at)).unwrap() {
            let path = at.join(entry.unwrap().file_name());
            let stat = dir.join(&path).symlink_metadata().unwrap();
            let is_dir = stat.is_dir();
            into.insert(path.to_str().unwrap().to_owned(), stat);
            if is_dir {
                below(dir, &path, into);
            }
        }
    }
    let (mut owns, mut others) = (BTreeMap::new(), BTreeMap::new());
    below(own, Path::new(""), &mut owns);
    below(other, Path::new(""), &mut others);
    let mut differ: Vec<String> = Vec::new();
    for (path, stat) in &owns {
        let is_same = others.get(path).is_some_and(|there| {
            let what = |stat: &std::fs::Metadata| (stat.mode(), stat.uid(), stat.gid(), stat.rdev());
            let content = |stat: &std::fs::Metadata| (stat.len(), stat.mtime(), stat.mtime_nsec());
            // Times of a directory are those of its names.
            what(stat) == what(there) && (stat.is_dir() || content(stat) == content(there))
        });
        if !is_same {
            differ.push(path.clone());
            differ.extend(Path::new(path).ancestors().skip(1).map(|above| above.to_str().unwrap().to_owned()));
        }
    }
    differ.retain(|path| !path.is_empty());
    differ.sort();
    differ.dedup();
    differ
}

/// Compares what is shown to differ with what plain tools say of the two trees.
fn assert_differing(homes: &Path, before: &str, after: &str) {
    let shown = homes.join(format!("@{before}..@{after}"));
    let listed = |dir: &Path| -> Vec<String> {
        let is_top = !dir.ends_with(".before");
        let skipped = if is_top { "-path ./.before -prune -o" } else { "" };
        let found = sh(dir, &format!("find . -mindepth 1 {skipped} -printf '%P\\n'"));
        let own_name = |path: &str| if is_top { path.replacen("..before", ".before", 1) } else { path.to_owned() };
        let mut found: Vec<String> = found.lines().map(own_name).collect();
        found.sort();
        found
    };
    for (shown, own, other) in [(shown.clone(), after, before), (shown.join(".before"), before, after)] {
        let (own, other) = (homes.join(format!("@{own}")), homes.join(format!("@{other}")));
        let found = listed(&shown);
        assert_eq!(found, differing(&own, &other), "{shown:?}");
        for path in &found {
            let is_top = !shown.ends_with(".before");
            let there = shown.join(if is_top && path.ends_with(".before") { format!(".{path}") } else { path.clone() });
            let stat = |path: &Path| sh(Path::new("/"), &format!("stat -c '%f %u %g %s %h %.9Y %t %T' {path:?}"));
            assert_eq!(stat(&there), stat(&own.join(path)), "{there:?}");
            if there.is_file() && !there.is_symlink() {
                sh(Path::new("/"), &format!("cmp {there:?} {:?}", own.join(path)));
            }
        }
    }
}

/// > `@A..@B` has what differs between two dates [...], as it is at the second; `.before` in it as it was at the first.
#[test]
fn what_differs_between_two_dates_is_what_plain_tools_find() {
    let site = site();
    let homes = site.mount(&[]).join("homes");
    for (before, after) in [
        ("2026-11-18", "2026-11-19"),
        ("2026-11-19", "2026-11-20"),
        ("2026-11-18", "2026-11-20"),
        ("2026-11-20", "2026-11-18"),
        ("2026-11-19", "2026-11-19"),
    ] {
        assert_differing(&homes, before, after);
    }
    let last = homes.join("@2026-11-19..@latest");
    assert_eq!(names(&last), [".before", "alice", "both", "shallow"]);
    assert_eq!(sh(&last, "cat alice/renamed.txt .before/alice/report.txt both/@x"), "two wordstwo wordsx2");
    assert_eq!(sh(&last, "find shallow -type f | sort | tr '\\n' ' '"), "shallow/a/b/z shallow/a/new ");
    // What came as a whole is copied as it is.
    sh(&site.path("out"), &format!("cp -a {}/shallow .", last.display()));
    assert_eq!(difference(&homes.join("@latest/shallow"), &site.path("out/shallow")), "");
    // From both ends, and with dates that mean nothing.
    for none in ["@2026-11-17..@latest", "@latest..@x", "@latest..latest", "@..@latest"] {
        assert!(said(&shell(&homes, &format!("stat {none}"))).contains("No such file"), "{none}");
    }
    site.umount();
}

/// > `@before-delete:PATH` is the last generation that has PATH.
#[test]
fn the_last_generation_before_something_was_gone_is_a_date() {
    let site = site();
    let mount = site.mount(&[]);
    let homes = mount.join("homes");
    assert_eq!(sh(&homes, "cat @before-delete:alice%2fletters/alice/letters/ada"), "dear");
    assert_eq!(sh(&mount, "cat @before-delete:homes:alice%2freport.txt/homes/alice/report.txt"), "two words");
    assert_eq!(sh(&homes, "cat @before-delete:both%2fy/both/y"), "y");
    for none in ["alice", "alice%2fnobody", "alice%2", "%", "both", "alice%2frenamed.txt", ""] {
        assert!(said(&shell(&homes, &format!("stat @before-delete:{none}"))).contains("No such file"), "{none}");
    }
    for none in ["homes", "nobody:alice", "homes:", "homes:alice"] {
        assert!(said(&shell(&mount, &format!("stat @before-delete:{none}"))).contains("No such file"), "{none}");
    }
    site.umount();
}

/// > Nobody finds a name there that no generation shows him.
#[test]
fn another_user_finds_nothing_in_what_is_of_several_generations_that_a_generation_keeps_from_him() {
    let site = Site::with_source();
    site.let_everybody_pass();
    sh(
        &site.path("live"),
        "mkdir -p open closed/below once own mine acl passed
         for dir in open closed closed/below once own mine acl passed; do printf told > $dir/secret; printf told > $dir/goes; done
         chmod 755 . open once own acl; chmod 700 closed; chown 65534 own mine; chmod 700 mine; setfacl -m u:65534:rx acl; chmod 711 passed",
    );
    site.copy("2026-11-18");
    // It lets others in afterwards, or no more.
    sh(
        &site.path("live"),
        "chmod 755 closed; chmod 700 once; setfacl -b acl; chmod 700 acl; chown 0 own; rm */goes closed/below/goes; touch */secret",
    );
    site.copy("2026-11-19");
    site.ok(&["index", "homes"]);
    for options in [&[][..], &["passthrough"]] {
        let homes = site.mount(options).join("homes");
        for (command, is_let_in) in [
            ("ls @history", true),
            ("ls @history/open", true),
            ("cat @history/open/goes/@2026-11-18", true),
            ("ls @history/mine", true),
            ("cat @history/mine/secret/@2026-11-19", true),
            ("cat @history/passed/goes/@2026-11-18", true),
            ("ls @history/passed", false),
            ("ls @history/closed", false),
            ("ls @history/closed/secret", false),
            ("cat @history/closed/below/secret/@2026-11-19", false),
            ("cat @history/closed/secret/@2026-11-19", false),
            ("ls @history/once", false),
            ("cat @history/once/secret/@2026-11-18", false),
            ("ls @history/acl", false),
            ("ls @2026-11-18..@2026-11-19/closed", true),
            ("ls @2026-11-18..@2026-11-19/.before/closed", false),
            ("cat @2026-11-18..@2026-11-19/.before/closed/goes", false),
            ("cat @2026-11-18..@2026-11-19/.before/open/goes", true),
            ("ls @2026-11-18..@2026-11-19/once", false),
            ("cat @2026-11-18..@2026-11-19/.before/once/goes", true),
            ("ls @2026-11-18..@2026-11-19/.before/acl", true),
            ("ls @2026-11-18..@2026-11-19/acl", false),
            ("cat @before-delete:open%2fgoes/open/goes", true),
            ("cat @before-delete:mine%2fgoes/mine/goes", true),
        ] {
            // Root's way there leaves nothing that lets another one in.
            sh(&homes, &command.replacen("ls ", "ls -R ", 1));
            let output = as_nobody(&homes, command);
            assert_eq!(output.status.success(), is_let_in, "{command}: {}", said(&output));
            assert!(is_let_in || said(&output).contains(REFUSED), "{command}: {}", said(&output));
        }
        // Whether there is such a name is not told.
        for (path, is_there) in [("closed%2fgoes", true), ("closed%2fbelow%2fgoes", true), ("closed%2fnobody", false)] {
            assert_eq!(shell(&homes, &format!("stat @before-delete:{path}")).status.success(), is_there);
            let output = as_nobody(&homes, &format!("stat @before-delete:{path}"));
            assert!(said(&output).contains("No such file"), "{path}: {}", said(&output));
        }
        site.umount();
    }
    site.ok(&["source", "set", "homes", "--visible-to", "root"]);
    let mount = site.mount(&[]);
    for path in
        ["homes/@history", "homes/@history/open", "homes/@2026-11-18..@2026-11-19", "@before-delete:homes:open%2fgoes"]
    {
        sh(&mount, &format!("ls {path}"));
        let output = as_nobody(&mount, &format!("ls {path}"));
        assert!(!output.status.success(), "{path}: {}", said(&output));
    }
    site.umount();
}

/// > What is published or forgotten shows there when `asof index` and `asof forget` return.
#[test]
fn a_history_follows_what_is_published_and_forgotten_for_who_stands_in_it_too() {
    let site = site();
    let homes = site.mount(&[]).join("homes");
    let mut insider = crate::lifecycle::Insider::new(&homes.join("@history/alice"));
    assert_eq!(insider.tells("ls letters/ada report.txt").split_whitespace().count(), 6);
    sh(
        &site.path("live"),
        "printf three > alice/letters/ada; printf fresh > alice/fresh; touch -d 2026-11-20T12:00Z alice/letters/ada",
    );
    site.copy("2026-11-21");
    site.ok(&["index", "homes"]);
    assert!(insider.tells("ls").contains("fresh"));
    assert_eq!(insider.tells("cat letters/ada/*"), "dearagainthree");
    assert_eq!(insider.tells("cat fresh/@latest"), "fresh");
    assert_eq!(
        sh(&homes, "ls -A @2026-11-20..@latest/alice; ls -A @2026-11-20..@latest/.before/alice"),
        "fresh\nletters\nletters\n"
    );
    let mut between = crate::lifecycle::Insider::new(&homes.join("@2026-11-19..@2026-11-20/alice"));
    assert!(between.tells("ls").contains("renamed.txt"));
    site.ok(&["forget", "homes@2026-11-19"]);
    assert_eq!(insider.tells("ls report.txt letters/ada both"), insider.tells("ls letters/ada report.txt both"));
    assert_eq!(insider.tells("ls report.txt"), "@2026-11-18T000000Z");
    assert_eq!(insider.tells("cat letters/ada/@2026-11-20"), "again");
    // A date means another generation now, and who is inside of what it meant has to come in again.
    assert!(between.tells("ls letters").contains("Stale file handle"));
    assert_eq!(sh(&homes, "cat @2026-11-19..@2026-11-20/.before/alice/report.txt"), "one");
    assert_eq!(names(&homes.join("@history/both")), ["@x", "y"]);
    site.ok(&["forget", "homes@2026-11-18"]);
    assert!(insider.tells("ls report.txt").contains("No such file"));
    assert_eq!(insider.tells("ls letters/ada"), "@2026-11-20T000000Z @2026-11-21T000000Z");
    drop((insider, between));
    let _ = await_view(&homes, "2026-11-21T000000Z");
    site.umount();
}

/// Of one who is inside a mount of before the first ACL, which cannot let that decide.
#[test]
fn whoever_is_inside_when_the_first_acl_comes_meets_no_history_that_it_decides_on() {
    let site = Site::with_source();
    site.let_everybody_pass();
    sh(&site.path("live"), "mkdir open; printf told > open/file; chmod -R a+rX .");
    site.copy("2026-11-19");
    site.ok(&["index", "homes"]);
    let mount = site.mount(&[]);
    let mut insider = crate::lifecycle::Insider::new(&mount);
    assert_eq!(insider.tells("cat homes/@history/open/file/@latest"), "told");
    sh(
        &site.path("live"),
        "mkdir new; printf hidden > new/file; chmod 755 new; setfacl -m u:65534:- new; setfacl -m u:65534:- open",
    );
    site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    wait_until("it is mounted anew", || site.log().contains("mounted anew"));
    let mut as_nobody_inside = |command: &str| {
        insider.tells(&format!("setpriv --reuid 65534 --regid 65534 --clear-groups bash -c '{command}'"))
    };
    for path in ["@history/new", "@2026-11-19..@2026-11-20/new"] {
        let told = as_nobody_inside(&format!("ls homes/{path}; cat homes/{path}/file homes/{path}/file/@latest"));
        assert!(told.contains("Stale file handle") && !told.contains("hidden"), "{path}: {told}");
        // In the new one it decides.
        let output = as_nobody(&mount, &format!("ls homes/{path}"));
        assert!(!output.status.success() && said(&output).contains(REFUSED), "{path}: {}", said(&output));
    }
    let told = as_nobody_inside("ls homes/@history/open");
    assert!(told.contains(REFUSED) || told.contains("Stale file handle"), "{told}");
    assert_eq!(sh(&mount, "cat homes/@history/new/file/@latest homes/@history/open/file/@latest"), "hiddentold");
    drop(insider);
    site.umount();
}

/// A user who looks up what never was, and asks for all pairs of dates, while another one works.
#[test]
fn a_user_who_asks_for_everything_takes_no_memory_that_lasts_and_nobodys_place() {
    let site = site();
    let process = site.mount_process(&[]);
    let homes = site.path("mnt/homes");
    let mut insider = crate::lifecycle::Insider::new(&homes.join("@history/alice"));
    let ask = |count: usize| {
        let script = format!(
            "import os\nfor n in range({count}):\n  for name in ('@history/no%d', '@history/alice/no%d/@latest', '@before-delete:alice%%2f%d', '@-%ds..@latest/no', '@2026-11-18..@-%ds/.before/alice'):\n    try: os.stat(name % n)\n    except OSError: pass"
        );
        let output = as_nobody(&homes, &format!("python3 -c \"{script}\""));
        assert!(output.status.success(), "{}", said(&output));
    };
    let resident_kib = || -> i64 {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory is told");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    ask(500);
    let before = resident_kib();
    ask(4_000);
    let grown = resident_kib() - before;
    assert!(grown < 4_096, "20,000 questions took {grown} KiB");
    assert_eq!(insider.tells("ls report.txt"), "@2026-11-18T000000Z @2026-11-19T000000Z");
    drop(insider);
    site.umount();
}
