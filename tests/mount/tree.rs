//! A tree with every kind of file that a backup can meet, and what happens to it from one generation to the
//! next.
//!
//! Five generations: three full copies made by `cp -a`, then two of a farm in which `rsync --link-dest` links what
//! did not change to the copy before.

use crate::site::{Site, sh};
use std::path::PathBuf;

/// A generation as it is seen in the mount, and the copy that it was indexed from.
pub(crate) struct Generation {
    /// `homes/@...` in the mount.
    pub(crate) view: PathBuf,
    pub(crate) copy: PathBuf,
}

/// Makes the copies and indexes them, and returns the generations, oldest first.
pub(crate) fn index_rich_tree(site: &Site) -> Vec<Generation> {
    let live = site.path("live");
    sh(&live, EVERY_KIND);
    site.copy("2026-11-17");
    sh(&live, CHANGES_OF_TYPE);
    site.copy("2026-11-18");
    sh(&live, CHANGES_BACK);
    site.copy("2026-11-19");
    let link = "rsync -aHAXS --numeric-ids --modify-window=-1";
    sh(&site.path("copies"), &format!("{link} --link-dest=../2026-11-19 ../live/ 2026-11-20"));
    sh(&live, CHANGES_IN_THE_FARM);
    sh(&site.path("copies"), &format!("{link} --link-dest=../2026-11-20 ../live/ 2026-11-21"));
    site.ok(&["index", "homes"]);
    let days = ["2026-11-17", "2026-11-18", "2026-11-19", "2026-11-20", "2026-11-21"];
    let generation = |day: &&str| Generation {
        view: site.path(&format!("mnt/homes/@{day}T000000Z")),
        copy: site.path("copies").join(day),
    };
    days.iter().map(generation).collect()
}

/// Run in an empty directory.
const EVERY_KIND: &str = r#"
    mkdir plain plain/sub empty deep special links sparse attrs modes times names shapes

    printf 'hello\n' > plain/file
    : > plain/zero
    head -c 300000 /dev/urandom > plain/random
    printf x > plain/sub/x
    dir=deep
    for level in $(seq 40); do dir=$dir/level$level; done
    mkdir -p $dir
    printf bottom > $dir/bottom

    mknod special/char c 1 3
    mknod special/block b 7 200
    mknod special/large-numbers c 500 70000
    mkfifo special/fifo
    python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("special/socket")'

    ln -s nowhere links/dangling
    ln -s /etc/hostname links/absolute
    ln -s loop links/loop
    ln -s ../plain/file links/relative
    ln -s "$(printf 'a%.0s' $(seq 1000))" links/long
    ln -s $'bytes\xff\n' links/bytes
    printf shared > plain/shared
    ln plain/shared links/shared
    ln plain/shared deep/level1/level2/shared
    ln links/dangling links/dangling-too
    ln special/fifo links/fifo

    truncate -s 64M sparse/few
    printf begin | dd of=sparse/few conv=notrunc status=none
    printf middle | dd of=sparse/few bs=1M seek=31 conv=notrunc status=none
    truncate -s 10M sparse/hole
    head -c 1000000 /dev/zero > sparse/dense

    printf v > attrs/user
    setfattr -n user.colour -v blue attrs/user
    setfattr -n user.bytes -v 0x00ff0a attrs/user
    setfattr -n user.empty attrs/user
    setfattr -n user.large -v "$(printf 'v%.0s' $(seq 2000))" attrs/user
    printf t > attrs/trusted
    setfattr -n trusted.secret -v 1 attrs/trusted
    setfattr -h -n trusted.of-a-link -v 1 links/absolute
    cp /bin/true attrs/capable
    setcap cap_net_raw+ep attrs/capable
    printf a > attrs/acl
    setfacl -m u:1234:rw,g:77:r,m::rw attrs/acl
    mkdir attrs/defaults
    setfacl -m u:1234:rwx -d -m u:4321:rx,g:5:- attrs/defaults
    setfattr -n user.of-a-directory -v 1 attrs/defaults

    for mode in 0000 0200 0644 1777 2755 4755 7777; do printf m > modes/f$mode; chmod $mode modes/f$mode; done
    for mode in 0000 1777 2755; do mkdir modes/d$mode; chmod $mode modes/d$mode; done
    printf o > modes/owner
    chown 4000000000:4000000000 modes/owner
    ln -s x modes/link
    chown -h 12:34 modes/link

    for time in 1960-02-03T04:05:06.000000007 1970-01-01T00:00:00 2100-01-02T03:04:05.123456789; do
        printf t > times/$time
        touch -d $time times/$time
    done
    ln -s x times/link
    touch -h -d 1999-09-09T09:09:09.999999999 times/link

    printf 1 > names/$'new\nline'
    printf 2 > names/$'not\xff\xfeutf8'
    printf 3 > names/"$(printf 'n%.0s' $(seq 255))"
    printf 4 > names/-rf
    printf 5 > names/$'caf\xc3\xa9'
    printf 6 > names/$'cafe\xcc\x81'
    printf 7 > names/'blank and \backslash'
    printf 8 > names/'"quoted"'
    mkdir names/@2026-11-20 names/.asof .asof
    printf 9 > names/@2026-11-20/x
    printf 10 > names/.asof/absent
    printf 11 > .asof/absent
    printf 12 > @2026-11-20

    printf f > shapes/file-to-directory
    mkdir shapes/directory-to-file
    printf i > shapes/directory-to-file/inner
    ln -s ../plain shapes/link-to-directory
    mkfifo shapes/fifo-to-file
    mkdir shapes/directory-to-link
    mknod shapes/char-to-block c 1 5
    printf g > shapes/gone
    printf s > shapes/split
    ln shapes/split shapes/split-too
    printf 1 > shapes/joined
    printf 2 > shapes/joined-too
    touch -h -d 1960-01-01T00:00:00.1 times
"#;

const CHANGES_OF_TYPE: &str = r#"
    cd shapes
    rm file-to-directory; mkdir file-to-directory; printf n > file-to-directory/inner
    rm -r directory-to-file; printf f > directory-to-file
    rm link-to-directory; mkdir link-to-directory; printf n > link-to-directory/file
    rm fifo-to-file; printf f > fifo-to-file
    rmdir directory-to-link; ln -s ../empty directory-to-link
    rm char-to-block; mknod char-to-block b 1 5
    rm gone
    rm split-too; printf other > split-too
    ln -f joined joined-too
    cd ..
    mv plain/sub renamed
    printf more >> plain/file
    printf end | dd of=sparse/few bs=1M seek=63 conv=notrunc status=none
    truncate -s 20M sparse/hole
    setfattr -n user.colour -v red attrs/user
    setfattr -x user.empty attrs/user
    setfacl -b attrs/acl
    setfacl -m u:99:r plain/zero
    chown 5:6 modes/f4755
    touch -d 2001-01-01T00:00:00.000000001 modes/f0644
    rm plain/shared
    ln -sfn elsewhere links/dangling
"#;

const CHANGES_BACK: &str = r#"
    cd shapes
    rm -r file-to-directory; printf f > file-to-directory
    rm directory-to-file; mkdir directory-to-file
    printf g > gone
    cd ..
    mv renamed plain/sub
    rm -r names/@2026-11-20
    printf now > names/@2026-11-20
    setfacl -m u:1234:r attrs/acl
    ln deep/level1/level2/shared plain/shared
    rm -r deep/level1/level2/level3
"#;

const CHANGES_IN_THE_FARM: &str = r#"
    rm shapes/gone
    printf changed > plain/file
    ln plain/sub/x plain/sub/y
    setfattr -n user.new -v 1 plain/random
    chmod 0600 modes/f0000
    rmdir empty
"#;
