//! The file that is served is the file that was indexed: copies change their names, are exchanged, linked, covered and given to others under
//! a live mount, and none of it shows the bytes of another night or of another user.

use crate::site::{Site, await_view, said, sh, shell, wait_until};
use std::path::Path;

/// A site whose copies tell their date by the mtime of their directory, and whose versions are told apart by their bytes.
fn rotating() -> Site {
    let site = Site::new();
    site.ok(&["init"]);
    let copies = site.path("copies");
    let copies = copies.to_str().expect("a plain path");
    site.ok(&["source", "add", "nfs", "homes", "--copies", copies, "--instant-from", "name,mtime", "--checksum"]);
    site
}

/// Makes the copy `name` of 2026-11-DAY: everywhere `text`, everything of one size and one time.
fn make(site: &Site, name: &str, day: u32, text: &str) {
    let script = format!(
        "mkdir -p {name}/d; for f in f warm d/f; do printf {text} > {name}/$f; done; \
         find {name} -exec touch -d '2026-01-01 00:00Z' {{}} +; touch -d '2026-11-{day:02} 02:00Z' {name}"
    );
    sh(&site.path("copies"), &script);
}

/// Returns what the view of 2026-11-DAY has in a file, or the number of the error.
fn read(mnt: &Path, day: u32, file: &str) -> Result<String, i32> {
    let path = mnt.join(format!("homes/@2026-11-{day:02}T020000Z")).join(file);
    std::fs::read_to_string(path).map_err(|e| e.raw_os_error().expect("an error of the system"))
}

const EIO: Result<&str, i32> = Err(5);

/// What happens to `daily.1` (of the 10th, `aaaa`) and `daily.0` (of the 11th, `bbbb`), what the views of both then have in `f` and in
/// `d/f`, and what the log says of it.
type Exchange = (&'static str, &'static str, [Result<&'static str, i32>; 4], &'static str);

const OTHER: &str = "is another directory than the one that was indexed: found inode ";
const RENAMED: &str = " by now, and is read there; asof index homes writes that down";
const AAAA: Result<&str, i32> = Ok("aaaa");
const BBBB: Result<&str, i32> = Ok("bbbb");

const EXCHANGES: [Exchange; 10] = [
    ("rotated", "mv daily.1 daily.2; mv daily.0 daily.1; cp -a daily.2 daily.0", [AAAA, AAAA, BBBB, BBBB], RENAMED),
    (
        "rotated by two",
        "mv daily.1 daily.3; mv daily.0 daily.2; cp -a daily.3 daily.1; cp -a daily.2 daily.0",
        [AAAA, AAAA, BBBB, BBBB],
        RENAMED,
    ),
    ("exchanged", "mv daily.0 x; mv daily.1 daily.0; mv x daily.1", [AAAA, AAAA, BBBB, BBBB], RENAMED),
    ("renamed and gone", "mv daily.1 daily.2; mv daily.0 ../away", [AAAA, AAAA, EIO, EIO], RENAMED),
    ("made again from the other", "rm -r daily.0; cp -a daily.1 daily.0", [AAAA, AAAA, EIO, EIO], OTHER),
    (
        "a link to the other",
        "mv daily.0 ../away; ln -s daily.1 daily.0",
        [AAAA, AAAA, EIO, EIO],
        "daily.0\" is a symbolic link or below one, and is not followed",
    ),
    (
        "linked back",
        "mv daily.0 ../away; ln -s ../away daily.0",
        [AAAA, AAAA, EIO, EIO],
        "daily.0\" is a symbolic link or below one, and is not followed",
    ),
    ("covered by the other", "mount --bind daily.1 daily.0", [AAAA, AAAA, EIO, EIO], OTHER),
    (
        "covered in part",
        "mount --bind daily.1/d daily.0/d",
        [AAAA, AAAA, Ok("bbbb"), EIO],
        "daily.0/d/f\" is below a mount that covers a part of the copy",
    ),
    (
        "a file covered",
        "mount --bind daily.1/f daily.0/f",
        [AAAA, AAAA, EIO, Ok("bbbb")],
        "is below a mount that covers",
    ),
];

#[test]
fn a_copy_that_is_another_one_by_now_is_an_error_and_never_its_bytes() {
    for (what, script, expected, told) in EXCHANGES {
        // With directories that the daemon has open from before, and without.
        for is_live in [true, false] {
            let site = rotating();
            make(&site, "daily.1", 10, "aaaa");
            make(&site, "daily.0", 11, "bbbb");
            site.ok(&["index", "homes"]);
            if is_live {
                let mnt = site.mount(&["no_store_ahead"]);
                assert_eq!(read(&mnt, 10, "warm").as_deref(), Ok("aaaa"), "{what}");
                assert_eq!(read(&mnt, 11, "warm").as_deref(), Ok("bbbb"), "{what}");
            }
            sh(&site.path("copies"), script);
            let mnt = if is_live { site.path("mnt") } else { site.mount(&["no_store_ahead"]) };
            let found = [(10, "f"), (10, "d/f"), (11, "f"), (11, "d/f")].map(|(day, file)| read(&mnt, day, file));
            assert_eq!(found, expected.map(|text| text.map(str::to_owned)), "{what}, {is_live}\n{}", site.log());
            // What the kernel has in memory is what was indexed.
            if is_live {
                assert_eq!(read(&mnt, 10, "warm").as_deref(), Ok("aaaa"), "{what}");
                assert_eq!(read(&mnt, 11, "warm").as_deref(), Ok("bbbb"), "{what}");
            }
            let log = site.log();
            assert!(log.contains(told), "{what}, {is_live}: no {told:?} in\n{log}");
            // Of a whole copy it is said once, with what to do.
            if told == OTHER {
                let lines: Vec<&str> = log.lines().filter(|line| line.contains("/daily.0\" is another")).collect();
                let hint = "nothing of it is served until asof index homes has found where its copies are now";
                assert!(lines.len() == 1 && lines[0].contains(hint), "{what}, {is_live}\n{log}");
                assert!(!log.contains("has no bytes"), "{what}, {is_live}\n{log}");
            }
            if told == RENAMED {
                let lines = log.lines().filter(|line| line.contains("/daily.1\" has the name "));
                assert_eq!(lines.count(), 1, "{what}, {is_live}\n{log}");
            }
            site.umount();
        }
    }
}

#[test]
fn between_a_rotation_and_the_next_run_and_after_it_all_is_read_and_nothing_is_another_nights() {
    let site = rotating();
    make(&site, "daily.1", 10, "aaaa");
    make(&site, "daily.0", 11, "bbbb");
    site.ok(&["index", "homes"]);
    let mnt = site.mount(&["no_store_ahead"]);
    assert_eq!(read(&mnt, 11, "warm").as_deref(), Ok("bbbb"));
    sh(
        &site.path("copies"),
        "mv daily.1 daily.2; mv daily.0 daily.1; mkdir new; cp -a daily.1/. new; printf cccc > new/f; \
         touch -d '2026-01-01 00:00Z' new/f; rsync -aHAX --checksum --link-dest=../daily.1 new/ daily.0/; rm -r new; \
         touch -d '2026-11-12 02:00Z' daily.0",
    );
    // The directories that were indexed are found beside the places that they had.
    assert_eq!(read(&mnt, 10, "f").as_deref(), Ok("aaaa"));
    assert_eq!(read(&mnt, 11, "f").as_deref(), Ok("bbbb"));
    site.ok(&["index", "homes"]);
    assert_eq!(read(&mnt, 10, "f").as_deref(), Ok("aaaa"));
    assert_eq!(read(&mnt, 11, "f").as_deref(), Ok("bbbb"));
    await_view(&mnt.join("homes"), "2026-11-12T02:00:00Z");
    assert_eq!(read(&mnt, 12, "f").as_deref(), Ok("cccc"));
    // Which shares its inode with the copy before.
    assert_eq!(read(&mnt, 12, "d/f").as_deref(), Ok("bbbb"));
    assert_eq!(read(&mnt, 11, "d/f").as_deref(), Ok("bbbb"));
    site.umount();
}

#[test]
fn a_copy_that_is_renamed_again_and_again_is_found_again_and_another_one_made_in_its_place_is_not() {
    let site = rotating();
    make(&site, "daily.0", 10, "aaaa");
    site.ok(&["index", "homes"]);
    let mnt = site.mount(&["no_store_ahead"]);
    for (script, file) in [("mv daily.0 daily.1", "f"), ("mv daily.1 daily.2", "d/f")] {
        sh(&site.path("copies"), script);
        assert_eq!(read(&mnt, 10, file).as_deref(), Ok("aaaa"), "{script}\n{}", site.log());
    }
    sh(&site.path("copies"), "cp -a daily.2 daily.0; mv daily.2 ../away");
    assert_eq!(read(&mnt, 10, "warm"), Err(5));
    sh(&site.path("copies"), "mv ../away weekly.0");
    wait_until("it is looked for again", || read(&mnt, 10, "warm").as_deref() == Ok("aaaa"));
    site.umount();
}

/// By size and mtime two nights have one version, and only the copies tell them apart.
#[test]
fn what_stood_in_for_a_copy_that_was_away_is_shown_no_more_when_that_is_there_again() {
    let site = Site::new();
    site.ok(&["init"]);
    let copies = site.path("copies");
    let copies_text = copies.to_str().expect("a plain path");
    site.ok(&["source", "add", "nfs", "homes", "--copies", copies_text, "--instant-from", "name,mtime"]);
    make(&site, "daily.1", 10, "aaaa");
    make(&site, "daily.0", 11, "bbbb");
    site.ok(&["index", "homes"]);
    let mnt = site.mount(&[]);
    sh(&copies, "mv daily.1 ../away");
    assert_eq!(read(&mnt, 10, "f").as_deref(), Ok("bbbb"));
    assert!(site.log().contains("the same size and mtime, bytes not compared"), "{}", site.log());
    sh(&copies, "mv ../away daily.1; mv daily.1 daily.2");
    site.ok(&["index", "homes"]);
    assert_eq!(read(&mnt, 10, "f").as_deref(), Ok("aaaa"), "{}", site.log());
    assert_eq!(read(&mnt, 11, "f").as_deref(), Ok("bbbb"));
    site.umount();
}

#[test]
fn an_image_that_is_indexed_again_under_a_live_mount_is_read_at_once() {
    let site = Site::new();
    site.ok(&["init"]);
    let image = |day: u32| {
        format!(
            "printf {day} > live/day; truncate -s 8M g.raw; mkfs.ext4 -q -F -d live g.raw; \
             cp --sparse=always g.raw images/vm-2026-02-{day:02}.raw; touch -d 2026-02-{day:02} images/vm-2026-02-{day:02}.raw"
        )
    };
    sh(&site.path(""), &format!("mkdir images; {}; {}", image(1), image(2)));
    let images = site.path("images");
    site.ok(&["source", "add", "block", "vm", "--images", images.to_str().expect("a plain path")]);
    site.ok(&["index", "vm"]);
    let mnt = site.mount(&[]);
    let day =
        |day: u32| std::fs::read_to_string(mnt.join(format!("vm/@2026-02-{day:02}/fs/day"))).map_err(|e| e.kind());
    let ends = |day: u32| sh(&mnt, &format!("tail -c 4096 vm/@2026-02-{day:02}/disk.raw | wc -c"));
    assert_eq!((day(1).as_deref(), day(2).as_deref(), ends(2).as_str()), (Ok("1"), Ok("2"), "4096\n"));
    sh(&images, "touch vm-2026-02-02.raw");
    site.asof(&["index", "vm"]).output().expect("it runs");
    site.asof(&["index", "vm@2026-02-02", "--again"]).output().expect("it runs");
    assert_eq!((day(2).as_deref(), ends(2).as_str()), (Ok("2"), "4096\n"), "{}", site.log());
    site.umount();
}

#[test]
fn a_version_that_another_copy_has_is_read_there_when_its_own_copy_is_another_one() {
    let site = Site::with_source();
    sh(&site.path("live"), "printf same > both; printf old > one; touch -d '2026-01-01 00:00Z' *");
    site.copy("2026-11-18");
    sh(&site.path("live"), "printf new > one");
    site.copy("2026-11-19");
    site.ok(&["index", "homes"]);
    sh(
        &site.path("copies"),
        "mv 2026-11-19 ../away; cp -a 2026-11-18 2026-11-19; printf evil > 2026-11-19/both; touch -d '2026-01-01 00:00Z' 2026-11-19/both",
    );
    let view = site.mount(&[]).join("homes/@2026-11-19");
    assert_eq!(sh(&view, "cat both"), "same");
    let refused = shell(&view, "cat one");
    assert!(refused.stdout.is_empty() && said(&refused).contains("Input/output error"), "{}", said(&refused));
    // And back again: nothing has to be indexed or mounted anew.
    sh(&site.path("copies"), "rm -r 2026-11-19; mv ../away 2026-11-19");
    assert_eq!(sh(&view, "cat one"), "new");
    site.umount();
}

#[test]
fn a_copy_below_a_folder_that_became_a_link_is_not_entered() {
    let site = Site::with_source();
    let copies = site.path("copies");
    sh(&copies, "mkdir -p deep/one; printf inside > deep/one/f");
    site.ok(&["index", "homes", "copies/deep/one", "--at", "2026-11-20"]);
    sh(&copies, "mv deep ../deep; ln -s ../deep deep");
    let view = site.mount(&[]).join("homes/@2026-11-20");
    assert_eq!(std::fs::read(view.join("f")).unwrap_err().raw_os_error(), Some(5));
    assert!(site.log().contains("/deep/one\" is a symbolic link or below one, and is not followed"), "{}", site.log());
    site.umount();
}

#[test]
fn a_copy_may_be_a_mount_and_is_another_one_when_that_is_not_there() {
    let site = Site::with_source();
    let copies = site.path("copies");
    let fill = |text: &str| {
        format!("printf {text} | tee 2026-11-20/f > 2026-11-20/g; touch -d '2026-01-01 00:00Z' 2026-11-20/?")
    };
    sh(&copies, &format!("mkdir 2026-11-20; {}; mount -t tmpfs none 2026-11-20; {}", fill("under"), fill("inner")));
    site.ok(&["index", "homes"]);
    let view = site.mount(&[]).join("homes/@2026-11-20");
    assert_eq!(sh(&view, "cat f"), "inner");
    sh(&copies, "umount -l 2026-11-20");
    assert_eq!(std::fs::read(view.join("g")).unwrap_err().raw_os_error(), Some(5));
    site.umount();
}

#[test]
fn snapshots_of_btrfs_whose_names_rotate_are_told_apart_and_subvolumes_in_them_are_read() {
    let site = Site::new();
    site.ok(&["init"]);
    // All snapshots have one inode number and one time of birth.
    let disk = "truncate -s 128M disk.img; mkfs.btrfs -q disk.img; mkdir disk; mount -o loop disk.img disk; cd disk; \
                btrfs -q subvolume create live; mkdir snaps; btrfs -q subvolume create snaps/own; \
                btrfs -q subvolume create snaps/own/inner; printf inner > snaps/own/inner/f; \
                take() { printf $2 > live/f; touch -d '2026-01-01 00:00Z' live/f; touch -d \"2026-11-$3 02:00Z\" live; \
                         btrfs -q subvolume snapshot -r live snaps/$1; }; \
                take daily.1 aaaa 10; take daily.0 bbbb 11; touch -d '2026-11-09 02:00Z' snaps/own";
    sh(&site.path(""), disk);
    let snaps = site.path("disk/snaps");
    let snaps_text = snaps.to_str().expect("a plain path");
    site.ok(&["source", "add", "nfs", "homes", "--copies", snaps_text, "--instant-from", "name,mtime"]);
    site.ok(&["index", "homes"]);
    for is_live in [true, false] {
        let mnt = site.mount(&[]);
        if is_live {
            assert_eq!(read(&mnt, 9, "inner/f").as_deref(), Ok("inner"));
            assert_eq!(read(&mnt, 10, "f").as_deref(), Ok("aaaa"));
            // As it is, but for the file that is in the memory of the kernel.
            site.umount();
            site.mount(&[]);
        }
        sh(&snaps, "mv daily.0 x; mv daily.1 daily.0; mv x daily.1");
        assert_eq!(read(&mnt, 10, "f").as_deref(), Ok("aaaa"));
        assert_eq!(read(&mnt, 11, "f").as_deref(), Ok("bbbb"));
        sh(&snaps, "mv daily.0 x; mv daily.1 daily.0; mv x daily.1");
        site.umount();
    }
}

#[test]
fn a_copy_that_is_exchanged_while_a_file_is_read_gives_the_rest_of_that_file() {
    for options in [&["no_store_ahead"][..], &["passthrough"]] {
        let site = rotating();
        let make = "for n in 1 0; do mkdir daily.$n; head -c 8M /dev/urandom > daily.$n/f; cp daily.$n/f ../out/$n; \
                    touch -d '2026-01-01 00:00Z' daily.$n/f; touch -d \"2026-11-1$((1-n)) 02:00Z\" daily.$n; done";
        sh(&site.path("copies"), make);
        site.ok(&["index", "homes"]);
        let mnt = site.mount(options);
        let script = "exec 5< homes/@2026-11-10T020000Z/f; head -c 1000 <&5 > ../out/read; \
                      cd ../copies; mv daily.0 x; mv daily.1 daily.0; mv x daily.1; cat <&5 >> ../out/read; \
                      cmp ../out/read ../out/1 && echo same";
        assert_eq!(sh(&mnt, script), "same\n", "{options:?}\n{}", site.log());
        site.umount();
    }
}

#[test]
fn a_file_that_is_kept_open_and_changed_is_no_passthrough_any_more() {
    let site = Site::with_source();
    sh(&site.path("live"), "head -c 1M /dev/urandom > f; cp -a f g");
    let copy = site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    let view = site.mount(&["passthrough"]).join("homes/@latest");
    sh(&view, "cat f > /dev/null; exec 5< g; head -c 1 <&5 > /dev/null; echo ready");
    for name in ["f", "g"] {
        sh(&copy, &format!("dd if=/dev/zero of={name} bs=1M count=1 conv=notrunc status=none"));
    }
    // Nobody has it open now, and somebody has.
    let script = "exec 5< g; cat g";
    for script in ["cat f", script] {
        let refused = shell(&view, script);
        assert!(refused.stdout.is_empty() && said(&refused).contains("Input/output error"), "{}", said(&refused));
    }
    site.umount();
}

/// The first read is what keeps it open.
#[test]
fn a_sparse_file_that_was_emptied_in_place_is_no_hole() {
    for options in [&[][..], &["passthrough"]] {
        let site = Site::with_source();
        sh(
            &site.path("live"),
            "truncate -s 4M f; dd if=/dev/urandom of=f bs=64k seek=32 count=4 conv=notrunc status=none; cp f g",
        );
        let copy = site.copy("2026-11-20");
        site.ok(&["index", "homes"]);
        let view = site.mount(options).join("homes/@latest");
        sh(&view, "head -c 10 f > ../../../out/head; head -c 10 g > ../../../out/head");
        sh(&copy, "truncate -s 0 f g; truncate -s 4M f g");
        let seek = "python3 -c 'import os; os.lseek(os.open(\"g\", os.O_RDONLY), 0, os.SEEK_HOLE)'";
        for script in ["cp --sparse=auto f ../../../out/f", "cp g ../../../out/g", seek] {
            let refused = shell(&view, script);
            assert!(!refused.status.success(), "{options:?} {script}");
            assert!(said(&refused).contains("Input/output error"), "{options:?} {script}: {}", said(&refused));
        }
        site.umount();
    }
}

/// Two users have files of one size and one time beside each other; what happens to them.
const DEPUTIES: [(&str, &str); 5] = [
    ("another's file under my name", "mv secret mine"),
    ("another's file, linked", "ln -f secret mine"),
    ("mine became another's", "chown 1001 mine"),
    ("another group's", "chgrp 1001 mine"),
    ("closed since", "chmod 600 mine"),
];

#[test]
fn a_file_of_another_owner_group_or_mode_than_recorded_is_not_served() {
    for (what, script) in DEPUTIES {
        let site = Site::with_source();
        let live = "printf public > mine; printf hidden > secret; touch -d '2026-01-01 00:00Z' mine secret; \
                    chown 1000:1000 mine; chmod 644 mine; chmod 600 secret";
        sh(&site.path("live"), live);
        let copy = site.copy("2026-11-20");
        site.ok(&["index", "homes"]);
        sh(&copy, script);
        let view = site.mount(&[]).join("homes/@latest");
        let refused = shell(&view, "cat mine");
        assert!(refused.stdout.is_empty(), "{what}: {}", said(&refused));
        assert!(said(&refused).contains("Input/output error"), "{what}: {}", said(&refused));
        let log = site.log();
        let found = "/mine\" changed after it was indexed: found 6 bytes of 2026-01-01T00:00:00.000000000Z, mode 0";
        assert!(log.contains(found) && log.contains(", mode 0644 of 1000:1000"), "{what}: {log}");
        site.umount();
    }
}
