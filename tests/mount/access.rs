//! Who may do what: modes and ACLs of the day decide, nobody writes, and nothing of a backup gains rights.

use crate::lifecycle::Insider;
use crate::site::{Site, as_nobody, await_view, said, sh, shell, wait_until};
use std::path::Path;

const REFUSED: &str = "Permission denied";
const READ_ONLY: &str = "Read-only file system";

/// A tree whose files let the user `nobody` (65534) in, or not, by mode or by ACL; each holds the word `told`.
fn site_with_rights() -> Site {
    let site = Site::with_source();
    site.let_everybody_pass();
    sh(
        &site.path("live"),
        "for file in open closed own group-only acl-grants acl-masked acl-denies acl-group; do printf told > $file; done
         chmod 644 open
         chmod 600 closed
         chown 65534 own; chmod 400 own
         chmod 640 group-only
         chmod 600 acl-grants; setfacl -m u:65534:r acl-grants
         chmod 600 acl-masked; setfacl -m u:65534:r,m::- acl-masked
         chmod 644 acl-denies; setfacl -m u:65534:- acl-denies
         chmod 600 acl-group; setfacl -m g:65534:r acl-group
         mkdir passed barred listed acl-passed
         for dir in passed barred listed acl-passed; do printf told > $dir/file; done
         chmod 711 passed; chmod 700 barred; chmod 744 listed
         chmod 700 acl-passed; setfacl -m u:65534:x acl-passed",
    );
    site.copy("2026-11-19");
    sh(&site.path("live"), "chmod 600 open; setfacl -m u:65534:- acl-grants; chmod 644 closed; setfacl -b acl-denies");
    site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    site
}

/// What `nobody` meets, in the first generation: a command, and whether it tells `told` or is refused.
const DECISIONS: [(&str, bool); 13] = [
    ("cat open", true),
    ("cat closed", false),
    ("cat own", true),
    ("cat group-only", false),
    ("cat acl-grants", true),
    ("cat acl-masked", false),
    ("cat acl-denies", false),
    ("cat acl-group", true),
    ("cat passed/file", true),
    ("cat barred/file", false),
    ("cat listed/file", false),
    ("cat acl-passed/file", true),
    ("ls acl-passed", false),
];

fn assert_decisions(dir: &Path) {
    for (command, is_let_in) in DECISIONS {
        let output = as_nobody(dir, command);
        let told = said(&output);
        assert_eq!(output.status.success(), is_let_in, "{command} in {dir:?}: {told}");
        assert!(told.contains(if is_let_in { "told" } else { REFUSED }), "{command} in {dir:?}: {told}");
        assert_eq!(sh(dir, "cat closed"), "told", "root reads everything");
    }
}

#[test]
fn another_user_is_let_in_and_refused_as_by_the_copy_in_both_ways_of_mounting() {
    let site = site_with_rights();
    // The rights mean the same where they were set: this holds the table itself to account.
    assert_decisions(&site.path("copies/2026-11-19"));
    for options in [&[][..], &["passthrough"]] {
        let mount = site.mount(options);
        let first = mount.join("homes/@2026-11-19T000000Z");
        assert_decisions(&first);
        // As root has read them all, the bytes are in memory; the answer must not depend on that.
        assert_decisions(&first);
        assert_decisions(&mount.join("@2026-11-19/homes"));
        site.umount();
    }
}

#[test]
fn each_generation_has_its_own_rights() {
    let site = site_with_rights();
    let mount = site.mount(&[]);
    let told =
        |day: &str, file: &str| as_nobody(&mount, &format!("cat homes/@2026-11-{day}T000000Z/{file}")).status.success();
    for (file, first, second) in
        [("open", true, false), ("acl-grants", true, false), ("closed", false, true), ("acl-denies", false, true)]
    {
        assert_eq!((told("19", file), told("20", file)), (first, second), "{file}");
    }
    site.umount();
}

/// Whoever mounts without attributes wants speed, and does not let anybody in for it.
#[test]
fn acls_decide_also_on_a_mount_that_shows_no_extended_attributes() {
    let site = site_with_rights();
    let first = site.mount(&["noxattr"]).join("homes/@2026-11-19");
    assert_decisions(&first);
    site.umount();
}

/// Processes that are inside stay in the old mount; it guards what comes with ACLs too.
#[test]
fn who_was_at_the_top_when_the_first_acl_came_is_not_let_in_by_the_back_door() {
    assert_no_back_door(&[]);
}

#[test]
fn nor_is_he_let_in_where_no_attributes_are_shown() {
    assert_no_back_door(&["noxattr"]);
}

fn assert_no_back_door(options: &[&str]) {
    let site = Site::with_source();
    site.let_everybody_pass();
    sh(&site.path("live"), "printf told > secret; chmod 644 secret");
    site.copy("2026-11-19");
    site.ok(&["index", "homes"]);
    let mount = site.mount(options);
    let secret = "homes/@2026-11-20T000000Z/secret";
    // Stays inside while it is mounted anew, and then tries every way that leads on from where it is.
    let mut waits = std::process::Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "bash", "-c"])
        .args(["cat homes/@2026-11-19/secret; read line; ls . homes; cat $0 homes/@latest/secret @latest/homes/secret @20*/*/secret", secret])
        .current_dir(&mount)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("setpriv is installed");
    sh(&site.path("live"), "printf 'not for you' > secret; setfacl -m u:65534:- secret");
    site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    wait_until("the generation is there", || mount.join(secret).exists());
    wait_until("it is listed", || sh(&mount, "ls").contains("@2026-11-20T000000Z"));
    wait_until("it is mounted anew", || site.log().contains("mounted anew"));
    drop(waits.stdin.take());
    let told = waits.wait_with_output().expect("it ends");
    let told = String::from_utf8(told.stdout).expect("text");
    assert!(told.starts_with("told") && !told.contains("not for you"), "{told}");
    // Its names are no secret: what is listed is what is there.
    assert!(told.contains(".:\n@2026-11-19T000000Z\n@2026-11-20T000000Z\nhomes\n"), "{told}");
    site.umount();
}

/// Where no generation has an ACL the kernel goes by the modes; it is told anew what decides before the first one is shown.
#[test]
fn whoever_is_inside_when_the_first_acl_comes_meets_no_file_that_has_one_and_all_others() {
    let site = Site::with_source();
    site.let_everybody_pass();
    sh(
        &site.path("live"),
        "mkdir plain mixed; for file in plain/file mixed/a mixed/b mixed/c; do printf told > $file; done; chmod 644 */*
         setfattr -n user.note -v x mixed/a",
    );
    site.copy("2026-11-19");
    site.ok(&["index", "homes"]);
    let mount = site.mount(&[]);
    let mut insider = Insider::new(&mount);
    assert_eq!(insider.tells("cat homes/@2026-11-19/mixed/b"), "told");
    sh(&site.path("live"), "setfacl -m u:65534:- mixed/b; setfacl -m u:65534:r mixed/c; chmod 600 plain/file");
    site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    wait_until("it is mounted anew", || site.log().contains("mounted anew"));
    let day = await_view(&mount.join("homes"), "2026-11-20T000000Z");

    // In the old mount: what the modes of that day say, or nothing; not even root gets a file of which it cannot be said who may.
    assert_eq!(insider.tells("cat homes/@2026-11-20/plain/file homes/@2026-11-20/mixed/a"), "toldtold");
    for command in ["cat homes/@2026-11-20/mixed/b", "stat homes/@2026-11-20/mixed/c", "getfacl homes/@latest/mixed/b"]
    {
        let told = insider.tells(command);
        assert!(told.contains("Stale file handle") && !told.contains("user:"), "{command}: {told}");
    }
    // A listing that cannot be whole is an error.
    assert!(insider.tells("ls homes/@2026-11-20/mixed").contains("Stale file handle"));
    assert_eq!(insider.tells("ls homes/@2026-11-19/mixed"), "a b c");
    assert_eq!(insider.tells("cat homes/@2026-11-19/mixed/c"), "told");
    // By path he comes to the new one.
    assert_eq!(insider.tells(&format!("cat {}/mixed/b", day.display())), "told");
    assert!(insider.tells(&format!("cd {}; getfacl -cpn mixed/c", day.display())).contains("user:65534:r--"));

    for (file, is_let_in) in [("mixed/a", true), ("mixed/b", false), ("mixed/c", true), ("plain/file", false)] {
        assert_eq!(as_nobody(&day, &format!("cat {file}")).status.success(), is_let_in, "{file}");
    }
    drop(insider);
    site.umount();
}

/// Of one who is inside as another user, and knows the names.
#[test]
fn nor_does_another_user_inside_get_what_an_acl_keeps_from_him_by_any_call() {
    let site = Site::with_source();
    site.let_everybody_pass();
    sh(
        &site.path("live"),
        "mkdir dir; printf told > dir/file; printf told > file; chmod 644 file dir/file; chmod 755 dir",
    );
    site.copy("2026-11-19");
    site.ok(&["index", "homes"]);
    let mount = site.mount(&[]);
    let mut insider = Insider::new(&mount);
    insider.tells("true");
    sh(&site.path("live"), "setfacl -m u:65534:- dir; setfacl -m u:65534:- file");
    site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    await_view(&mount.join("homes"), "2026-11-20T000000Z");
    for command in
        ["cat file", "cat dir/file", "ls dir", "stat -c %s file", "cp file /dev/stdout", "getfattr -d -m - file"]
    {
        let as_nobody =
            format!("setpriv --reuid 65534 --regid 65534 --clear-groups bash -c 'cd homes/@2026-11-20; {command}'");
        let told = insider.tells(&as_nobody);
        assert!(told.contains("Stale file handle") && !told.contains("told"), "{command}: {told}");
    }
    drop(insider);
    site.umount();
}

#[test]
fn a_set_uid_program_runs_with_the_rights_of_its_caller() {
    let site = Site::with_source();
    site.let_everybody_pass();
    sh(&site.path("live"), "cp /usr/bin/id id; chmod 4755 id; cp /bin/cat capable; setcap cap_dac_override+ep capable");
    let copy = site.copy("2026-11-20");
    sh(&site.path(""), "printf secret > secret; chmod 600 secret");
    site.ok(&["index", "homes"]);
    let view = site.mount(&[]).join("homes/@latest");
    // The copy's gain rights here, or the test shows nothing.
    assert_eq!(said(&as_nobody(&copy, "./id -u")), "0\n\n");
    assert_eq!(said(&as_nobody(&copy, "./capable ../../secret")), "secret\n");
    assert_eq!(said(&as_nobody(&view, "./id -u")), "65534\n\n");
    let refused = as_nobody(&view, &format!("./capable {}", site.path("secret").display()));
    assert!(!refused.status.success() && said(&refused).contains(REFUSED), "{}", said(&refused));
    site.umount();
}

#[test]
fn a_device_node_is_shown_and_copied_but_not_opened() {
    let site = Site::with_source();
    sh(&site.path("live"), "mknod -m 666 zero c 1 5; mkfifo pipe");
    site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    let view = site.mount(&[]).join("homes/@latest");
    let opened = shell(&view, "head -c 1 zero");
    assert!(!opened.status.success() && said(&opened).contains(REFUSED), "{}", said(&opened));
    sh(&site.path("out"), &format!("cp -a {}/. .", view.display()));
    assert_eq!(sh(&site.path("out"), "stat -c '%n %F %t:%T' pipe zero; head -c 1 zero | od -An -tx1"), {
        "pipe fifo 0:0\nzero character special file 1:5\n 00\n"
    });
    site.umount();
}

#[test]
fn writing_anything_anywhere_is_refused_to_root_too() {
    let site = Site::with_source();
    sh(&site.path("live"), "mkdir dir; printf x > dir/file; printf y > file; ln -s file link");
    site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    let mount = site.mount(&[]);
    let writes = [
        "touch new",
        "mkdir new",
        "ln -s x new",
        "mkfifo new",
        "mknod new c 1 3",
        "chmod 777 .",
        "chown 1 .",
        "touch .",
        "setfattr -n user.x -v y .",
        "setfacl -m u:1:r .",
    ];
    for place in ["", "homes", "@latest", "@latest/homes", "homes/@latest/dir", ".asof", "homes/@2026-11-20T000000Z"] {
        for write in writes {
            assert_read_only(&mount.join(place), write);
        }
    }
    let writes_to_files = [
        "printf z > file",
        "printf z >> file",
        "truncate -s 0 file",
        "rm file",
        "rm -r dir",
        "rmdir dir",
        "rm link",
        "mv file new",
        "mv dir/file dir/new",
        "ln file new",
        "chmod 777 file",
        "chown 1 file",
        "chown -h 1 link",
        "touch file",
        "touch -h link",
        "setfattr -n user.x -v y file",
        "setfacl -m u:1:r file",
        r#"python3 -c 'import os; os.open("file", os.O_RDWR)'"#,
    ];
    for place in ["homes/@latest", "@2026-11-20T000000Z/homes"] {
        for write in writes_to_files {
            assert_read_only(&mount.join(place), write);
        }
    }
    for write in
        ["rmdir homes", "rm -r @2026-11-20T000000Z", "mv homes new", "printf z > .asof/version", "rm .asof/version"]
    {
        assert_read_only(&mount, write);
    }
    assert_eq!(sh(&mount, "cat homes/@latest/file homes/@latest/dir/file"), "yx");
    site.umount();
}

/// A file that is open for reading cannot be mapped for shared writing, so its pages in memory stay what they are.
#[test]
fn a_file_cannot_be_mapped_for_shared_writing() {
    let site = Site::with_source();
    sh(&site.path("live"), "printf 'as it was' > file");
    site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    let view = site.mount(&[]).join("homes/@latest");
    let map = |protection: &str| {
        let script = format!(
            "import mmap, os\nmapped = mmap.mmap(os.open('file', os.O_RDONLY), 0, mmap.MAP_SHARED, {protection})\nprint(mapped[:])"
        );
        shell(&view, &format!("python3 -c \"{script}\""))
    };
    assert_eq!(said(&map("mmap.PROT_READ")), "b'as it was'\n\n");
    let refused = said(&map("mmap.PROT_READ | mmap.PROT_WRITE"));
    assert!(refused.contains("PermissionError"), "{refused}");
    site.umount();
}

fn assert_read_only(dir: &Path, write: &str) {
    let output = shell(dir, write);
    assert!(!output.status.success() && said(&output).contains(READ_ONLY), "{write} in {dir:?}: {}", said(&output));
}

/// > `private` lets nobody in but the user who mounts, whatever modes say.
#[test]
fn a_private_mount_lets_nobody_else_in_by_path_by_another_mount_of_it_or_after_it_was_mounted_anew() {
    let site = Site::with_source();
    site.let_everybody_pass();
    sh(&site.path("live"), "mkdir dir; printf told > file; printf told > dir/file; chmod -R a+rX .");
    site.copy("2026-11-19");
    site.ok(&["index", "homes"]);
    // What closes the copies and not the mount is why there is such an option.
    sh(&site.path(""), "chmod 700 copies; mkdir other");
    let assert_is_private = |mount: &Path| {
        for command in ["ls mnt", "stat mnt", "cat mnt/@latest/homes/file", "ls other", "cat other/file"] {
            let output = as_nobody(&site.path(""), command);
            assert!(!output.status.success() && said(&output).contains(REFUSED), "{command}: {}", said(&output));
        }
        assert_eq!(sh(mount, "cat @latest/homes/file homes/@2026-11-19/dir/file"), "toldtold");
    };
    let mount = site.mount(&["private,allow_other"]);
    sh(&site.path(""), "mount --bind mnt/homes/@2026-11-19/dir other");
    assert_is_private(&mount);
    assert!(site.log().contains(", for this user only"), "{}", site.log());
    sh(&site.path("live"), "setfacl -m u:65534:r file");
    site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    wait_until("it is mounted anew", || site.log().contains("mounted anew"));
    assert_is_private(&mount);
    sh(&site.path(""), "umount other");
    site.umount();
    // The same without the option: whoever passes sees it.
    let mount = site.mount(&["passthrough"]);
    assert_eq!(said(&as_nobody(&mount, "cat @latest/homes/file")), "told\n");
    site.umount();
}

/// > `asof source set NAME --visible-to root` closes a source to all but root [...]; `--visible-to GROUP` to all but root and the members of
/// > a group.
#[test]
fn a_source_of_another_domain_of_ids_is_closed_to_whom_it_is_not_for_by_all_ways_to_it() {
    let site = Site::with_source();
    site.let_everybody_pass();
    sh(
        &site.path("live"),
        "printf told > file; mkdir dir; printf told > dir/file; chmod -R a+rX .; chown 1000:1000 .; chmod 775 .",
    );
    site.copy("2026-11-19");
    // This one lets the user in by his name, whatever the modes say.
    sh(&site.path("live"), "setfacl -m u:65534:rwx,g:65534:rwx .");
    site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    let mount = site.mount(&[]);
    let ways = [
        "@2026-11-19T000000Z/homes",
        "@2026-11-20T000000Z/homes",
        "@latest/homes",
        "@2026-11-19/homes",
        "@-1d/homes",
        "homes/@2026-11-19T000000Z",
        "homes/@2026-11-20T000000Z",
        "homes/@latest",
    ];
    let ways = ways.iter().filter(|way| mount.join(way).exists()).copied().collect::<Vec<_>>();
    assert!(ways.len() >= 7, "{ways:?}");
    let is_let_in = |groups: &[&str]| {
        let let_in = |way: &&str| {
            let user = [&["--reuid", "65534", "--regid", "65534"], groups].concat();
            let output = std::process::Command::new("setpriv")
                .args(user)
                .args(["cat", "file", "dir/file"].map(|word| {
                    if word == "cat" { word.to_owned() } else { mount.join(way).join(word).display().to_string() }
                }))
                .env("LC_ALL", "C.UTF-8")
                .output()
                .expect("setpriv is installed");
            assert!(output.status.success() || said(&output).contains(REFUSED), "{way}: {}", said(&output));
            output.status.success()
        };
        let count = ways.iter().filter(|way| let_in(way)).count();
        assert!(count == 0 || count == ways.len(), "{count} of {ways:?} with {groups:?}");
        count > 0
    };
    let (alone, member) = (["--clear-groups"], ["--groups", "4711"]);
    // Everything is in the memory of the kernel by now.
    assert!(is_let_in(&alone) && is_let_in(&member));
    for (visible_to, words, expected) in [
        ("root", "root", (false, false)),
        ("4711", "group 4711", (false, true)),
        ("modes", "modes", (true, true)),
        ("root", "root", (false, false)),
    ] {
        site.ok(&["source", "set", "homes", "--visible-to", visible_to]);
        assert_eq!((is_let_in(&alone), is_let_in(&member)), expected, "{visible_to}");
        assert!(sh(&mount, "cat .asof/sources").contains(&format!("visible_to={words}\n")), "{visible_to}");
        for way in &ways {
            assert_eq!(sh(&mount, &format!("cat {way}/file {way}/dir/file")), "toldtold", "root, {way}, {visible_to}");
        }
    }
    // What is restored from below the source's own directory is as it was; in a view of all it is what it is here.
    assert_eq!(
        sh(&mount, "stat -c '%u:%g %a' homes homes/@2026-11-19 @2026-11-19/homes"),
        "0:0 700\n1000:1000 775\n0:0 700\n"
    );
    assert!(sh(&mount, "getfacl -cpn homes/@2026-11-20").contains("user:65534:rwx"));
    let here = sh(&mount, "getfacl -cpn @2026-11-20T000000Z/homes; getfattr -d -m - @2026-11-20T000000Z/homes");
    assert!(!here.contains("65534") && !here.contains("posix_acl_access"), "{here}");
    // It stays closed for what comes, and after a restart.
    site.copy("2026-11-21");
    site.ok(&["index", "homes"]);
    assert!(!as_nobody(&mount, "ls @2026-11-21T000000Z/homes").status.success());
    site.umount();
    let mount = site.mount(&["noxattr"]);
    assert!(!as_nobody(&mount, "ls @latest/homes || ls homes").status.success());
    site.umount();
}
