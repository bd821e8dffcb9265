//! What `asof history`, `diff`, `find` and `du` say of sites made by real tools; find(1) and du(1) are the judges.
//!
//! The model of random histories is in `ask/`: what it computes from plain trees is what the verbs have to say.

#[path = "ask/names.rs"]
mod names;
#[path = "common/site.rs"]
mod site;
#[path = "ask/trees.rs"]
mod trees;

use serde_json::Value;
use site::{Site, assert_documented, sh};

/// Returns the rows that a verb prints with `--json`.
fn rows(site: &Site, args: &[&str]) -> Vec<Value> {
    let printed = site.ok(&[args, &["--json"]].concat());
    printed.lines().map(|line| serde_json::from_str(line).expect("a JSON value a line")).collect()
}

/// Returns some fields of each row, with blanks between.
fn told(rows: &[Value], fields: &[&str]) -> Vec<String> {
    let field = |row: &Value, name: &str| match &row[name] {
        Value::String(text) => text.clone(),
        Value::Array(words) => words.iter().map(|word| word.as_str().expect("a word")).collect::<Vec<_>>().join("+"),
        other => other.to_string(),
    };
    rows.iter().map(|row| fields.iter().map(|name| field(row, name)).collect::<Vec<_>>().join(" ")).collect()
}

/// A source `web` of snapshots that keep inode numbers: one directory that is changed and renamed to the next date.
fn snapshots() -> Site {
    let site = Site::new();
    site.ok(&["init"]);
    let dir = site.path("copies");
    site.ok(&["source", "add", "nfs", "web", "--copies", dir.to_str().unwrap(), "--identity", "inode"]);
    let nights = [
        "mkdir -p 2026-11-18/docs/old; cd 2026-11-18; echo one > docs/a; echo gone > docs/old/b; echo c > docs/old/c; echo log > log",
        "mv 2026-11-18 2026-11-19; cd 2026-11-19; mv docs papers; echo two >> papers/a; mv log log.1; echo new > log",
        "mv 2026-11-19 2026-11-20; cd 2026-11-20; rm -r papers/old; chmod 600 papers/a; ln papers/a hard; mkdir -p new/sub; echo x > new/sub/x",
        "mv 2026-11-20 2026-11-21; cd 2026-11-21; rm papers/a hard",
        "mv 2026-11-21 2026-11-22; cd 2026-11-22; echo back > papers/z",
    ];
    for night in nights {
        sh(&dir, night);
        site.ok(&["index", "web"]);
    }
    site
}

#[test]
fn a_history_follows_a_file_through_its_renames_until_it_is_gone() {
    let site = snapshots();
    let versions = rows(&site, &["history", "web:papers/a"]);
    assert_eq!(
        told(&versions, &["since", "until", "began", "path", "old_path", "other_content", "ended"]),
        [
            "2026-11-18T00:00:00Z 2026-11-19T00:00:00Z oldest docs/a null false changed",
            "2026-11-19T00:00:00Z 2026-11-20T00:00:00Z changed papers/a docs/a true changed",
            "2026-11-20T00:00:00Z 2026-11-21T00:00:00Z changed papers/a null false gone",
        ]
    );
    assert_eq!(versions[2]["mode"], "0600");
    assert_eq!(versions[0]["restore_path"], "@2026-11-18T000000Z/web/docs/a");
    // It is the same file by each of its names.
    let by = |name: &str| told(&rows(&site, &["history", name]), &["since", "node"]);
    assert_eq!(by("web:docs/a"), by("web:papers/a"));
    let log = rows(&site, &["history", "web:log", "--name"]);
    assert_eq!(
        told(&log, &["since", "until", "began", "ended", "size_bytes"]),
        ["2026-11-18T00:00:00Z 2026-11-19T00:00:00Z oldest changed 4", "2026-11-19T00:00:00Z null replaced newest 4"]
    );
}

#[test]
fn the_history_of_a_directory_is_what_happened_in_it_and_below_it() {
    let site = snapshots();
    let changes = rows(&site, &["history", "web:papers"]);
    assert_eq!(
        told(&changes, &["taken_at", "what", "path", "old_path", "entries"]),
        [
            "2026-11-19T00:00:00Z renamed papers docs 0",
            "2026-11-19T00:00:00Z modified papers/a null 0",
            "2026-11-20T00:00:00Z attributes papers/a null 0",
            "2026-11-20T00:00:00Z deleted papers/old null 2",
            "2026-11-21T00:00:00Z deleted papers/a null 0",
            "2026-11-22T00:00:00Z created papers/z null 0",
        ]
    );
    assert_eq!(rows(&site, &["history", "web:papers", "--since", "2026-11-21"]).len(), 2);
    let printed = serde_json::json!([rows(&site, &["history", "web:papers"]), rows(&site, &["history", "web:hard"])]);
    assert_documented("asof history", &printed);
}

#[test]
fn a_diff_has_one_line_for_each_thing_that_happened_also_of_a_directory() {
    let site = snapshots();
    let diff = |args: &[&str]| {
        let rows = rows(&site, &[&["diff", "web"], args].concat());
        told(&rows, &["what", "path", "old_path", "entries", "fields"])
    };
    // The top directory itself was renamed.
    assert_eq!(diff(&[]), ["attributes . null 0 ctime", "created papers/z null 0 "]);
    assert_eq!(
        diff(&["@2026-11-18", "@2026-11-19"]),
        [
            "created log null 0 ",
            "renamed log.1 log 0 ",
            "renamed papers docs 0 ",
            "modified papers/a null 0 size+mtime+ctime"
        ]
    );
    assert_eq!(
        diff(&["@2026-11-19", "@2026-11-20"]),
        [
            "linked hard null 0 ",
            "created new null 2 ",
            "attributes papers/a null 0 ctime+mode+links",
            "deleted papers/old null 2 "
        ]
    );
    // The other way around.
    assert_eq!(diff(&["@2026-11-22", "@2026-11-21", "papers"]), ["deleted papers/z null 0 "]);
    assert_eq!(diff(&["@2026-11-19", "@2026-11-20", "new/sub"]), ["created new/sub null 1 "]);
    assert_documented("asof diff", &serde_json::json!(rows(&site, &["diff", "web", "@2026-11-19", "@2026-11-20"])));
}

#[test]
fn what_names_nothing_is_refused_by_name() {
    let site = snapshots();
    for (args, what) in [
        (&["history", "web:never"][..], "asof: no generation of \"web\" has \"never\"\n"),
        (&["history", ":never"], "asof: no source ever had \"never\", as far as its generations go\n"),
        (
            &["history", "web:docs/a", "--at", "2026-11-21"],
            "asof: there is no \"web/docs/a\" as of 2026-11-21T00:00:00Z\n",
        ),
        (&["history", "nobody:a"], "asof: there is no source \"nobody\""),
        (&["diff", "web", "@2026-11-17"], "asof: source \"web\" has no generation by \"2026-11-17\""),
        (&["diff", "web", "@2026-11-18", "@2026-11-19", "none"], "there is no \"web/none\" in either generation\n"),
        (&["diff", "web", "@1999-13-01"], "asof: \"1999-13-01\" is not a date"),
        (&["diff", "web", "a", "b"], "asof: more than one path is given\n"),
        (&["history", "web/docs/a"], "hint: a path stands behind a colon: web:docs/a\n"),
        (&["history", "/srv/docs/a"], "hint: an entry is SOURCE:PATH, its path the one in the source"),
    ] {
        let output = site.run(args, 2);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(what), "{args:?}: {text}");
        assert_eq!(output.stdout, b"", "{args:?}");
    }
}

#[test]
fn names_with_odd_bytes_come_out_as_they_are_with_0_and_escaped_elsewhere() {
    let site = Site::with_source();
    for day in ["2026-11-18", "2026-11-19"] {
        let dir = format!("copies/{day}/d\n\x1b");
        let bytes = [dir.as_bytes(), b"/\xff\\"].concat();
        std::fs::create_dir_all(site.path(&dir)).unwrap();
        let path = site.path("").join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&bytes));
        std::fs::write(path, day.repeat(if day == "2026-11-18" { 1 } else { 2 })).unwrap();
    }
    sh(&site.path("copies"), "find . -depth -exec touch -d 2026-11-17T12:00:00Z {} +");
    site.ok(&["index", "homes"]);
    let raw = b"@2026-11-19T000000Z/homes/d\n\x1b/\xff\\\0";
    assert_eq!(site.run(&["diff", "homes", "-0"], 0).stdout, raw);
    let escaped = "@2026-11-19T000000Z/homes/d\\n\\x1b/\\xff\\\\";
    assert_eq!(rows(&site, &["diff", "homes"])[0]["restore_path"], escaped);
    let target = <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(b"homes:d\n\x1b/\xff\\".to_vec());
    let output = site.asof(&["history", "-0"]).arg(target).output().unwrap();
    assert_eq!(output.stdout, [&raw.replace_18()[..], raw].concat());
    let table = site.ok(&["diff", "homes"]);
    assert!(table.contains("homes:d\\n\\x1b/\\xff\\\\"), "{table}");
}

/// The same path in the generation of the day before.
trait DayBefore {
    fn replace_18(&self) -> Vec<u8>;
}

impl DayBefore for [u8] {
    fn replace_18(&self) -> Vec<u8> {
        let mut bytes = self.to_vec();
        bytes[10] = b'8';
        bytes
    }
}

/// A tree with files of every kind, and what tests of find(1) tell apart.
const ZOO: &str = r#"
cd live; umask 022
mkdir -p docs/letters docs/empty music; cd docs
head -c 511 /dev/zero > small; head -c 512 /dev/zero > block; head -c 513 /dev/zero > more; : > nothing; head -c 3000000 /dev/zero > big
echo x > letters/Alice.TXT; echo y > letters/bob.txt; echo z > 'letters/with space.txt'; echo b > 'letters/br[ack]et'; echo h > letters/.hidden
ln letters/bob.txt letters/link1; ln letters/bob.txt letters/link2; ln -s letters/bob.txt sym; mkfifo pipe; mknod null c 1 3
printf a > "$(printf 'odd\n\377')"; echo u > 'ümläut'; echo s > 'back\slash'
chmod 4755 small; chmod 600 block; chmod 000 nothing; chmod 1777 empty; chown 1000:100 letters/bob.txt; chown 1001 more
setfattr -n user.comment -v hello letters/Alice.TXT; setfacl -m u:1000:rwx block
touch -d '2026-11-01 12:00:00.25Z' small letters/bob.txt; touch -d '2026-11-17 12:00:00Z' block
touch -h -d '1969-12-31 23:59:58.75Z' sym
"#;

/// Tests of find(1); `@` stands for what is searched, as each of both programs writes it.
const FIND: [&str; 56] = [
    "",
    "-name *.txt",
    "-iname *.txt",
    "-name *",
    "-name [a-c]*",
    "-name [!a-c]*",
    "-name [[:upper:]]*",
    "-name *\\[ack]*",
    "-name back\\\\slash",
    "-name ?ml?ut",
    "-name .*",
    "-path */letters/*",
    "-ipath */LETTERS/b*",
    "-regex .*/[a-z]+\\.txt",
    "-iregex .*\\(alice\\|bob\\)\\.txt",
    "-regex .*/b\\(ig\\|lock\\)",
    "-regex .*/[^/]*[[:space:]].*",
    "-size 1",
    "-size -2",
    "-size +1",
    "-size 512c",
    "-size +512c",
    "-size -3M",
    "-size 3M",
    "-size +2k",
    "-empty",
    "-type f",
    "-type d",
    "-type l,p,c",
    "-links 3",
    "-links +1 -type f",
    "-uid 1000",
    "-user 1001",
    "-user root -type d",
    "-gid 100",
    "-group root -name m*",
    "-perm 600",
    "-perm -4000",
    "-perm /022",
    "-perm -111 -type f",
    "-perm u+rw,g+r",
    "-perm -u=rwx,g=rx",
    "-perm /u+s,g+s",
    "-perm /+t",
    "-perm -a+rX",
    "-perm u=rw,g=u,o-r",
    "-perm -ug+s",
    "-newermt 2026-11-10T00:00Z ! -type d",
    "-newermt 1970-01-01T00:00Z -type l",
    "! -newermt 2026-11-10T00:00Z -type f",
    "-maxdepth 1",
    "-mindepth 2 -name b*",
    "-name a* -o -name b* -type f",
    "( -name *.txt -o -name m* ) ! -type d",
    "-not ( -name *.txt -a -uid 1000 ) -type f",
    "-mtime +300000 -o -mmin -3 -name big",
];

#[test]
fn find_finds_what_find_finds() {
    let site = Site::with_source();
    sh(&site.path(""), ZOO);
    site.copy("2026-11-18");
    sh(&site.path("live"), "rm -r docs/letters; echo new > docs/new; rm docs/big; echo w > docs/small");
    site.copy("2026-11-19");
    site.ok(&["index", "homes"]);
    let sorted = |output: std::process::Output, what: &str| -> Vec<Vec<u8>> {
        assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
        let mut lines: Vec<Vec<u8>> = output.stdout.split(|b| *b == 0).map(<[u8]>::to_vec).collect();
        lines.sort();
        lines
    };
    let mut found = 0;
    for day in ["2026-11-18", "2026-11-19"] {
        for test in FIND {
            let words: Vec<&str> = test.split(' ').filter(|word| !word.is_empty()).collect();
            let is_any = !test.contains('(') && words.contains(&"-o");
            let words = if is_any { [&["("][..], &words, &[")"]].concat() } else { words };
            let print = ["-printf", r"%P|%f|%s|%m|%M|%U|%G|%n|%y|%l|%d|%T@|%T+|%TY\0"];
            let real = std::process::Command::new("find")
                .arg(".")
                .current_dir(site.path("copies").join(day))
                .args(&words)
                .args(print)
                .env("TZ", "UTC")
                .env("LC_ALL", "C.UTF-8")
                .output()
                .expect("find is installed");
            let real = sorted(real, test);
            let args = [&["find", "--at", day, "homes"][..], &words, &print].concat();
            let ours = sorted(site.run(&args, 0), test);
            let shown =
                |lines: &[Vec<u8>]| lines.iter().map(|l| String::from_utf8_lossy(l).into_owned()).collect::<Vec<_>>();
            assert_eq!(shown(&ours), shown(&real), "{day}: {test}");
            found += ours.len() - 1;
        }
    }
    assert!(found > 300, "{found} entries");
    // Over all time: what is in any copy.
    let all = |test: &[&str]| {
        let mut lines: Vec<String> = ["2026-11-18", "2026-11-19"]
            .iter()
            .flat_map(|day| {
                let mut find = std::process::Command::new("find");
                let output =
                    find.arg(site.path("copies").join(day)).args(test).arg("-printf").arg(r"%P\n").output().unwrap();
                String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
            })
            .collect();
        lines.sort();
        lines.dedup();
        lines
    };
    for test in [&["-name", "*.txt"][..], &["-type", "d"], &["-size", "-2", "-name", "small"], &["-size", "+5000"]] {
        let ours = site.ok(&[&["find", "--ever", "homes"][..], test, &["-printf", r"%P\n"]].concat());
        let mut ours: Vec<String> = ours.lines().map(str::to_owned).collect();
        ours.sort();
        assert_eq!(ours, all(test), "{test:?}");
    }
    let paths = |args: &[&str]| told(&rows_of(&site, args), &["path", "taken_at", "gone_in"]);
    let gone = "2026-11-18T00:00:00Z 2026-11-19T00:00:00Z";
    assert_eq!(
        paths(&["find", "--json", "--deleted-since", "2026-11-18", "homes", "-type", "f", "-name", "b*"]),
        [format!("docs/big {gone}"), format!("docs/letters/bob.txt {gone}"), format!("docs/letters/br[ack]et {gone}")]
    );
    assert_eq!(
        paths(&["find", "--json", "--changed-since", "2026-11-18", "-type", "f"]),
        ["docs/new 2026-11-19T00:00:00Z null", "docs/small 2026-11-19T00:00:00Z null"]
    );
    assert_eq!(paths(&["find", "--json", "--deleted-since", "2026-11-19", "homes"]), Vec::<String>::new());
    let xattr = |test: &[&str]| site.ok(&[&["find", "--at", "2026-11-18", "homes"][..], test, &["-print"]].concat());
    assert_eq!(xattr(&["-xattr", "user.comment"]), "homes:docs/letters/Alice.TXT\n");
    assert_eq!(xattr(&["-acl"]), "homes:docs/block\n");
    assert_eq!(xattr(&["-newer", "docs/block", "-name", "small"]), "");
    assert_documented("asof find", &serde_json::json!(rows_of(&site, &["find", "--json", "homes"])));
    let du = rows_of(&site, &["du", "--json", "-d", "9", "homes", "--at", "2026-11-18"]);
    assert_documented("asof du", &serde_json::json!(du));
    let mut du = told(&du, &["size_bytes", "path"]);
    du.sort();
    let real = std::process::Command::new("du")
        .args(["-b", "."])
        .current_dir(site.path("copies/2026-11-18"))
        .output()
        .unwrap();
    let mut real: Vec<String> = String::from_utf8(real.stdout)
        .unwrap()
        .lines()
        .map(|line| line.replace("\t./", " ").replace('\t', " "))
        .collect();
    real.sort();
    assert_eq!(du, real);
}

fn rows_of(site: &Site, args: &[&str]) -> Vec<Value> {
    site.ok(args).lines().map(|line| serde_json::from_str(line).expect("a JSON value a line")).collect()
}

#[test]
fn what_find_does_not_know_is_refused_by_name() {
    let site = Site::with_source();
    sh(&site.path(""), "echo a > live/a");
    site.copy("2026-11-18");
    site.ok(&["index", "homes"]);
    for (words, what) in [
        ("homes -atime 3", "\"-atime\" is not a test of asof find"),
        ("homes -name", "-name needs a value"),
        ("homes ( -name a", "a ( has no )"),
        ("homes -name a )", "there is a ) without a ("),
        ("homes -name a -o", "a test is missing at the end"),
        ("homes -name a -o -name b -print", "write parentheses"),
        ("homes -print -name a", "stands once, at the end"),
        ("homes -size 3X", "\"3X\" is not a size"),
        ("homes -regex \\(", "is not a regular expression"),
        ("homes -type z", "\"z\" is not a type"),
        ("homes -perm u+q", "\"u+q\" is not a mode: write octal digits, or letters as chmod has them"),
        ("homes -user nobody-here", "is neither known on this machine nor a number"),
        ("homes -printf %i", "-printf knows no %i"),
        ("homes -newermt never", "\"never\" is not a date"),
        ("homes:b -name a", "there is no \"homes:b\""),
        ("homes -name a --json", "stands behind the target or a test"),
    ] {
        let args: Vec<&str> = [&["find"][..], &words.split(' ').collect::<Vec<_>>()].concat();
        let output = site.run(&args, 2);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(what), "{words}: {text}");
        assert_eq!(output.stdout, b"", "{words}");
    }
}

#[test]
fn growth_and_churn_count_what_du_and_the_copies_say() {
    let site = snapshots();
    let growth = rows(&site, &["growth", "web"]);
    assert_documented("asof growth", &serde_json::json!(growth));
    assert_eq!(
        told(&growth, &["taken_at", "entries", "size_bytes", "more_entries", "more_bytes", "restore_path"]),
        [
            "2026-11-18T00:00:00Z 6 15 null null @2026-11-18T000000Z/web",
            "2026-11-19T00:00:00Z 7 23 1 8 @2026-11-19T000000Z/web",
            "2026-11-20T00:00:00Z 8 18 1 -5 @2026-11-20T000000Z/web",
            "2026-11-21T00:00:00Z 6 10 -2 -8 @2026-11-21T000000Z/web",
            "2026-11-22T00:00:00Z 7 15 1 5 @2026-11-22T000000Z/web",
        ]
    );
    let churn = rows(&site, &["churn", "web"]);
    assert_documented("asof churn", &serde_json::json!(churn));
    let columns = ["taken_at", "created", "deleted", "modified", "renamed", "new_bytes", "gone_bytes"];
    assert_eq!(
        told(&churn, &columns),
        [
            "2026-11-19T00:00:00Z 1 0 1 2 12 4",
            "2026-11-20T00:00:00Z 3 3 0 1 2 7",
            "2026-11-21T00:00:00Z 0 1 0 0 0 8",
            "2026-11-22T00:00:00Z 1 0 0 0 5 0",
        ]
    );
    for row in &churn {
        let sum: i64 = ["created", "deleted", "modified", "renamed", "attributes"]
            .iter()
            .map(|kind| row[*kind].as_i64().unwrap())
            .sum();
        assert_eq!(row["changed"], sum);
    }
    assert_eq!(rows(&site, &["churn", "web", "--since", "2026-11-21"]).len(), 2);
    assert_eq!(rows(&site, &["churn"]).len(), 4);
    assert_eq!(site.run(&["churn", "-0", "web", "--since", "2026-11-22"], 0).stdout, b"@2026-11-22T000000Z/web\0");
    // A directory, against du(1) of what the newest generation is, and of what it was before the last night.
    let papers = || sh(&site.path("copies"), "du -sb 2026-11-22/papers | cut -f1").trim().to_owned();
    let now = papers();
    let growth = rows(&site, &["growth", "web:papers", "--since", "2026-11-21"]);
    assert_eq!(told(&growth, &["size_bytes", "entries", "more_bytes"])[1], format!("{now} 1 5"));
    sh(&site.path("copies"), "rm 2026-11-22/papers/z");
    assert_eq!(growth[0]["size_bytes"].to_string(), papers());
    // It has another name before.
    assert_eq!(told(&rows(&site, &["growth", "web:docs"]), &["taken_at", "more_bytes"]), ["2026-11-18T00:00:00Z null"]);
    for (args, what) in [
        (&["growth", "web:never"][..], "no generation has \"web:never\""),
        (&["growth", "nobody"], "there is no source \"nobody\""),
        (&["growth", "web@2026-11-18"], "growth is that of all generations"),
        (&["churn", "web:docs"], "hint: asof history web:docs lists what each generation changed there"),
        (&["churn", "web", "--since", "1999-13-01"], "is not a date"),
    ] {
        let output = site.run(args, 2);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(what), "{args:?}: {text}");
    }
}

#[test]
fn when_tells_what_happened_to_a_path_and_who_had_a_content() {
    let site = snapshots();
    let when = |args: &[&str]| {
        let rows = rows(&site, &[&["when"], args].concat());
        assert_documented("asof when", &serde_json::json!(rows));
        told(&rows, &["taken_at", "what", "last_seen", "path", "lives_as"])
    };
    assert_eq!(when(&["web:docs", "--deleted"]), ["2026-11-19T00:00:00Z deleted 2026-11-18T00:00:00Z docs papers"]);
    assert_eq!(when(&["web:hard", "--deleted"]), ["2026-11-21T00:00:00Z deleted 2026-11-20T00:00:00Z hard null"]);
    assert_eq!(
        when(&["web:papers/a", "--changed"]),
        ["2026-11-20T00:00:00Z changed 2026-11-19T00:00:00Z papers/a null"]
    );
    assert_eq!(when(&[":log", "--changed"]), ["2026-11-19T00:00:00Z changed 2026-11-18T00:00:00Z log null"]);
    assert_eq!(site.ok(&["when", "web:papers/z", "--deleted"]), "taken_at\twhat\tlast_seen\tpath\tdetails\n");
    // Contents are known of a source whose files were read.
    let copies = site.path("sums");
    sh(
        &site.path(""),
        "mkdir -p sums/2026-11-18 sums/2026-11-19; echo same > sums/2026-11-18/a; echo same > sums/2026-11-19/b; echo other > sums/2026-11-19/a",
    );
    site.ok(&["source", "add", "nfs", "sums", "--copies", copies.to_str().unwrap(), "--checksum"]);
    site.ok(&["index", "sums"]);
    let digest = blake3::hash(b"same\n").to_hex();
    let mut found = when(&["sums", "--digest", &digest]);
    found.sort();
    assert_eq!(
        found,
        [
            "2026-11-18T00:00:00Z content 2026-11-18T00:00:00Z a null",
            "2026-11-19T00:00:00Z content 2026-11-19T00:00:00Z b null"
        ]
    );
    for (args, what) in [
        (&["web:never", "--deleted"][..], "no generation has \"web:never\""),
        (&["web", "--digest", "00"], "a digest is 64 hexadecimal digits"),
        (&["web", "--digest", &digest], "no content with this digest is known of \"web\""),
        (&["web:a"], "required arguments were not provided"),
    ] {
        let output = site.run(&[&["when"], args].concat(), 2);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(what), "{args:?}: {text}");
    }
}
