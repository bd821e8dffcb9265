//! What is said of extended attributes that are not there: tools that ask every file for one are to learn when they need not, and never
//! by losing one that is.

use crate::site::{Site, await_view, difference, said, sh, shell};
use std::path::Path;

/// Returns what `getfattr` says of an attribute: its value, or why there is none.
fn told(dir: &Path, file: &str, name: &str) -> String {
    let output = shell(dir, &format!("getfattr --only-values -n {name} {file}"));
    let told = said(&output);
    told.trim().strip_prefix(&format!("{file}: {name}: ")).unwrap_or(told.trim()).to_owned()
}

const NOT_HERE: &str = "No such attribute";
const NOWHERE: &str = "Operation not supported";

/// `ls -l` asks each file for `security.selinux` until it hears that there are none such here.
#[test]
fn a_name_that_no_generation_recorded_is_not_supported_until_one_did_and_then_it_is_there() {
    let site = Site::with_source();
    sh(&site.path("live"), "touch plain marked; setfattr -n user.note -v x marked");
    site.copy("2026-11-19");
    site.ok(&["index", "homes"]);
    let mount = site.mount(&[]);
    let homes = mount.join("homes");
    let first = homes.join("@2026-11-19T000000Z");
    let number = || sh(&mount, "findmnt -no ID --target .");
    let before = number();
    for (dir, file) in [(&first, "plain"), (&first, "marked"), (&first, "."), (&homes, "."), (&mount, ".")] {
        assert_eq!(told(dir, file, "security.label"), NOWHERE, "{dir:?} {file}");
        assert_eq!(told(dir, file, "trusted.label"), NOWHERE, "{dir:?} {file}");
        assert_eq!(told(dir, file, "user.label"), NOT_HERE, "{dir:?} {file}");
        assert_eq!(told(dir, file, "system.posix_acl_access"), NOWHERE, "{dir:?} {file}");
    }

    sh(&site.path("live"), "setfattr -n security.label -v first plain; setfattr -n trusted.label -v second marked");
    let copy = site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    let second = await_view(&homes, "2026-11-20T00:00:00Z");
    assert_eq!(number(), before, "it is the same mount");
    assert_eq!(told(&second, "plain", "security.label"), "first");
    assert_eq!(told(&second, "marked", "trusted.label"), "second");
    for (dir, file) in [(&second, "marked"), (&first, "plain"), (&first, "."), (&mount, ".")] {
        assert_eq!(told(dir, file, "security.label"), NOT_HERE, "{dir:?} {file}");
    }
    assert_eq!(told(&first, "plain", "security.other"), NOWHERE, "by its name, not by its name space");
    sh(&site.path("out"), &format!("cp -a {}/. .", second.display()));
    assert_eq!(difference(&copy, &site.path("out")), "");
    assert_eq!(difference(&copy, &second), "");
    site.umount();
}

/// `getfattr` and `tar` take anything else for a loss, file by file.
#[test]
fn a_file_without_attributes_beside_one_that_has_some_has_none_without_an_error() {
    let site = Site::with_source();
    sh(&site.path("live"), "touch plain marked; ln -s plain link; setfattr -n user.note -v x marked");
    site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    let view = site.mount(&[]).join("homes/@latest");
    for (command, expected) in [
        ("getfattr -hd -m - plain link", "\n"),
        ("getfattr -Rd . 2>&1", "# file: marked\nuser.note=\"x\"\n\n\n"),
        ("tar --xattrs --acls -cf - . 2>&1 >/dev/null", "\n"),
        ("cp -a --preserve=all . ../../../out", "\n"),
        ("rsync -aHAX ./ ../../../out", "\n"),
    ] {
        let output = shell(&view, command);
        assert!(output.status.success(), "{command}: {}", said(&output));
        assert_eq!(said(&output), expected, "{command}");
    }
    site.umount();
}

#[test]
fn a_mount_that_shows_no_attributes_says_that_it_supports_none() {
    let site = Site::with_source();
    sh(&site.path("live"), "touch marked; setfattr -n user.note -v x marked; setfattr -n security.label -v y marked");
    site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    let view = site.mount(&["noxattr"]).join("homes/@latest");
    for name in ["user.note", "security.label", "user.asof.source"] {
        assert_eq!(told(&view, "marked", name), NOWHERE, "{name}");
    }
    site.umount();
}
