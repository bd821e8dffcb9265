//! What is damaged in a copy after it was indexed: the listing stays whole, and a file is what it was, or an error.

use crate::site::{Site, said, sh, shell};
use std::path::Path;
use std::process::Command;

/// How a copy was hurt (run in the directory of the files, `file` being one), and what the log says of it.
const DAMAGES: [(&str, &str, &str); 11] = [
    ("missing", "rm $file", "is missing"),
    ("short", "touch -r $file ../ref; truncate -s 3 $file; touch -r ../ref $file", "found 3 bytes"),
    ("longer", "touch -r $file ../ref; printf more >> $file; touch -r ../ref $file", "found 12 bytes"),
    ("touched", "touch -d 2026-01-01T00:00:00.000000001 $file", "found 8 bytes of 2026-01-01"),
    ("to-link", "ln -sf /etc/shadow $file", "is a symbolic link or below one, a regular file was indexed"),
    ("to-link-to-the-same", "mv $file ../moved; ln -s ../moved $file", "is a symbolic link or below one"),
    ("to-directory", "rm $file; mkdir $file", "is a directory, a regular file was indexed"),
    ("to-pipe", "rm $file; mkfifo $file", "is a named pipe, a regular file was indexed"),
    ("to-device", "rm $file; mknod $file c 1 5", "is a character device, a regular file was indexed"),
    ("below-link", "mv $PWD ../elsewhere-$file; ln -s elsewhere-$file ../$dir", "is a symbolic link or below one"),
    ("below-file", "cd ..; rm -r $dir; printf x > $dir", "/both"),
];

/// Two generations; `both` is the same in them, `alone` is only in the newer one as it is there.
#[test]
fn a_damaged_file_is_an_error_or_comes_from_another_copy_and_the_log_says_which() {
    let site = Site::with_source();
    let live = site.path("live");
    for (dir, ..) in DAMAGES {
        sh(&live, &format!("mkdir {dir}; printf original > {dir}/both; printf old > {dir}/alone"));
    }
    site.copy("2026-11-18");
    for (dir, ..) in DAMAGES {
        sh(&live, &format!("printf original > {dir}/alone"));
    }
    let copy = site.copy("2026-11-19");
    site.ok(&["index", "homes"]);
    let before = sh(&copy, LISTING);
    for (dir, script, _) in DAMAGES {
        for file in ["both", "alone"] {
            // A directory that is gone takes both files along.
            if copy.join(dir).is_dir() && !copy.join(dir).is_symlink() {
                sh(&copy.join(dir), &format!("dir={dir} file={file}; {script}"));
            }
        }
    }

    let view = site.mount(&[]).join("homes/@2026-11-19T000000Z");
    assert_eq!(sh(&view, LISTING), before);
    for (dir, _, found) in DAMAGES {
        assert_eq!(sh(&view, &format!("cat {dir}/both")), "original", "{dir}");
        let refused = shell(&view, &format!("cat {dir}/alone"));
        assert!(refused.stdout.is_empty(), "{dir}: {}", said(&refused));
        assert!(said(&refused).contains("Input/output error"), "{dir}: {}", said(&refused));
        let log = site.log();
        let from = format!(
            "\"homes/{dir}/both\" as of 2026-11-19T00:00:00Z is read from the copy of 2026-11-18T00:00:00Z, \
             which has the same size and mtime, bytes not compared: "
        );
        let line = log.lines().find(|line| line.contains(&from)).unwrap_or_else(|| panic!("no \"{from}\" in\n{log}"));
        assert!(line.contains(" WARN ") && line.contains(found), "{line}");
        let none = format!("read of \"homes/{dir}/alone\" as of 2026-11-19T00:00:00Z: ");
        let line = log.lines().find(|line| line.contains(&none)).unwrap_or_else(|| panic!("no \"{none}\" in\n{log}"));
        let found = found.replace("both", "alone");
        assert!(line.contains("ERROR ") && line.contains(" has no bytes: ") && line.contains(&found), "{line}");
        let path = copy.join(dir).join("alone");
        assert!(line.contains(path.to_str().expect("a plain path")), "{line}");
    }
    assert_eq!(sh(&view, LISTING), before);
    // The older generation has nothing to do with it.
    assert_eq!(
        sh(&view.join("../@2026-11-18"), "cat */both */alone"),
        ["original"; 11].concat() + &["old"; 11].concat()
    );
    site.umount();
}

/// Names, types, sizes and times.
const LISTING: &str = "find . -type f -printf '%P %s %T@\\n' -o -printf '%P %y %T@\\n' | sort";

#[test]
fn a_copy_that_is_gone_keeps_its_listing_and_what_other_copies_hold_of_it() {
    let site = Site::with_source();
    let live = site.path("live");
    sh(&live, "printf same > both; printf old > alone; mkdir dir; printf same > dir/both; printf u > dir/unread");
    site.copy("2026-11-18");
    sh(&live, "printf new > alone");
    let copy = site.copy("2026-11-19");
    sh(&live, "printf newest > alone");
    site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    let before = sh(&copy, LISTING);
    sh(&site.path("copies"), "mv 2026-11-19 ../gone");

    let mount = site.mount(&[]);
    let view = mount.join("homes/@2026-11-19");
    assert_eq!(sh(&view, LISTING), before);
    assert_eq!(sh(&view, "cat both dir/both"), "samesame");
    assert_input_output_error(&view, "cat alone");
    assert_eq!(sh(&mount, "cat homes/@2026-11-18/alone homes/@2026-11-20/alone"), "oldnewest");
    let log = site.log();
    let lost = format!("cannot open copy \"{}\": No such file or directory", copy.display());
    assert!(log.contains(&lost) && log.contains("\"homes/alone\" as of 2026-11-19T00:00:00Z has no bytes: "), "{log}");

    // No other copy of anything is left. (What was read a moment ago may still be in memory.)
    sh(&site.path("copies"), "rm -r 2026-11-18 2026-11-20");
    assert_input_output_error(&mount, "cat homes/@2026-11-20/dir/unread");
    assert_input_output_error(&mount, "cat homes/@2026-11-18/dir/unread");
    assert_eq!(sh(&mount.join("homes/@2026-11-20"), "find . | sort"), {
        ".\n./alone\n./both\n./dir\n./dir/both\n./dir/unread\n"
    });

    // And back again: nothing has to be mounted anew.
    sh(&site.path(""), "mv gone copies/2026-11-19");
    assert_eq!(sh(&view, "cat alone dir/unread"), "newu");
    site.umount();
}

#[test]
fn a_file_that_is_overwritten_while_it_is_open_is_an_error_or_comes_from_another_copy() {
    let site = Site::with_source();
    sh(&site.path("live"), "head -c 8M /dev/urandom > twice; head -c 8M /dev/urandom > once");
    site.copy("2026-11-19");
    let copy = site.copy("2026-11-20");
    sh(&site.path("copies"), "rm 2026-11-19/once; cp -a 2026-11-20/twice ../kept");
    site.ok(&["index", "homes"]);
    let view = site.mount(&[]).join("homes/@latest");
    sh(&view, "head -c 1000 once > /dev/null; head -c 1000 twice > /dev/null");
    for name in ["once", "twice"] {
        sh(&copy, &format!("dd if=/dev/zero of={name} bs=1M count=8 conv=notrunc status=none"));
    }
    assert_input_output_error(&view, "cat once");
    assert_eq!(sh(&view, "cmp twice ../../../kept && echo same"), "same\n");
    assert!(site.log().contains("is read from the copy of 2026-11-19T00:00:00Z"), "{}", site.log());
    site.umount();
}

#[test]
fn a_file_that_is_cut_while_it_is_open_is_an_error_and_no_zeros() {
    let site = Site::with_source();
    sh(&site.path("live"), "head -c 8M /dev/zero | tr '\\0' x > file");
    let copy = site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    let view = site.mount(&[]).join("homes/@latest");
    let script = format!(
        "exec 5< file; head -c 3 <&5; truncate -s 1M {}/file; dd bs=1M skip=6 count=1 status=none <&5",
        copy.display()
    );
    let output = shell(&view, &script);
    assert_eq!(output.stdout, b"xxx", "{}", said(&output));
    assert!(said(&output).contains("Input/output error"), "{}", said(&output));
    // The first byte that was missed.
    let ends = format!("\"{}/file\" ends at byte 6291456, expected 8388608 bytes", copy.display());
    assert!(site.log().contains(&ends), "{}", site.log());
    site.umount();
}

/// Runs the program without the rights that let root read what modes forbid.
fn without_rights_over_modes(site: &Site, args: &[&str]) -> (i32, String) {
    let output = Command::new("setpriv")
        .args(["--bounding-set", "-dac_override,-dac_read_search", env!("CARGO_BIN_EXE_asof")])
        .args(args)
        .current_dir(site.path(""))
        .env("ASOF_CATALOG", site.path("catalog.db"))
        .env("TZ", "UTC")
        .output()
        .expect("setpriv is installed");
    (output.status.code().expect("it exits"), said(&output))
}

#[test]
fn a_directory_that_was_unreadable_when_it_was_indexed_fails_to_list_and_is_told_as_a_gap() {
    let site = Site::with_source();
    sh(&site.path("live"), "mkdir open barred; printf o > open/file; printf b > barred/file");
    let first = site.copy("2026-11-19");
    sh(&site.path("live"), "printf n > new");
    let second = site.copy("2026-11-20");
    site.ok(&["index", "homes", first.to_str().expect("a plain path")]);
    sh(&second, "chown 1234 barred; chmod 700 barred");
    let (code, told) = without_rights_over_modes(&site, &["index", "homes"]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("1 could not be read, the generation is partial"), "{told}");

    let mount = site.mount(&[]);
    let view = mount.join("homes/@2026-11-20");
    assert_eq!(sh(&view, "ls; cat new open/file; stat -c '%u %a' barred"), "barred\nnew\nopen\nno1234 700\n");
    assert_input_output_error(&view, "ls barred");
    assert_input_output_error(&view, "find . -name file");
    // What was there before is looked up, and is not vouched for; whether anything else is there nobody knows.
    let kept = sh(&view, "cat barred/file; getfattr --only-values -n user.asof.evidence barred/file");
    assert_eq!(kept, "bunknown");
    assert_input_output_error(&view, "cat barred/new");
    assert_eq!(sh(&mount, "cat homes/@2026-11-19/barred/file"), "b");
    let gaps = sh(&mount.join(".asof"), "cat gaps");
    assert_eq!(
        gaps,
        "source=homes\tgeneration=2026-11-20T00:00:00Z\tlosses=1\tgaps=0\tunsupported=0\tsee=asof show homes@2026-11-20T000000Z\n"
    );
    let unlisted =
        "\"homes/barred\" as of 2026-11-20T00:00:00Z cannot be listed: it could not be read when it was indexed";
    assert!(site.log().contains(unlisted), "{}", site.log());
    site.umount();
}

#[test]
fn a_directory_that_became_unreadable_keeps_its_listing_and_its_files_are_errors() {
    let site = Site::with_source();
    sh(&site.path("live"), "mkdir barred; printf b > barred/file");
    let copy = site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    sh(&copy, "chown 1234 barred; chmod 700 barred");
    let (code, told) = without_rights_over_modes(&site, &["mount", "mnt"]);
    assert_eq!(code, 0, "{told}");
    let view = site.path("mnt/homes/@latest");
    assert_eq!(sh(&view, "ls barred"), "file\n");
    assert_input_output_error(&view, "cat barred/file");
    let lost = format!("cannot read \"{}/barred/file\": Permission denied", copy.display());
    assert!(site.log().contains(&lost), "{}", site.log());
    site.umount();
}

fn assert_input_output_error(dir: &Path, script: &str) {
    let output = shell(dir, script);
    assert!(!output.status.success() && said(&output).contains("Input/output error"), "{script}: {}", said(&output));
}

/// Whoever restores by hand is sent to a file that is there, as far as `asof index` has seen.
#[test]
fn the_restore_source_of_a_file_is_in_a_copy_that_is_there() {
    let site = Site::with_source();
    sh(&site.path("live"), "printf same > f");
    site.copy("2026-11-18");
    site.copy("2026-11-19");
    sh(&site.path("live"), "printf new > g");
    site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    let source = |mount: &Path, path: &str| {
        let asked = "getfattr --only-values --absolute-names -n user.asof.restore_source";
        sh(mount, &format!("{asked} homes/{path} | xargs -0 realpath --relative-to=../copies")).trim().to_owned()
    };
    let mount = site.mount(&[]);
    assert_eq!(source(&mount, "@2026-11-19/f"), "2026-11-19/f");
    sh(&site.path("copies"), "rm -r 2026-11-19 2026-11-20; mkdir 2026-11-21; printf other > 2026-11-21/f");
    site.run(&["index", "homes"], 1);
    assert_eq!(source(&mount, "@2026-11-19/f"), "2026-11-18/f");
    assert_eq!(source(&mount, "@2026-11-20/f"), "2026-11-18/f");
    assert_eq!(source(&mount, "@2026-11-21/f"), "2026-11-21/f");
    let none = said(&shell(&mount, "getfattr -n user.asof.restore_source homes/@2026-11-20/g"));
    assert!(none.contains("No such attribute"), "{none}");
    site.umount();
}
