//! What a service manager needs: units that it takes without a word, and a log with levels.

use crate::site::{Site, said, sh, shell, wait_until};

#[test]
fn units_are_what_systemd_and_logrotate_take_without_a_word_and_what_is_there_is_left_alone() {
    let site = Site::with_source();
    for (units, mount_point) in [("units", "mnt"), ("other units", "m n")] {
        let mount_point = site.path(mount_point);
        let mount_point = mount_point.to_str().expect("a plain path");
        let write = ["units", units, "--mount-point", mount_point];
        site.ok(&write);
        site.ok(&write);
        let dir = site.path(units);
        let verified =
            shell(&dir, "systemd-analyze verify ./asof-mount.service ./asof-index.service ./asof-index.timer");
        assert!(verified.status.success() && said(&verified) == "\n", "{units}: {}", said(&verified));
        let service = sh(&dir, "cat asof-mount.service");
        let (program, catalog) = (env!("CARGO_BIN_EXE_asof"), site.path("catalog.db"));
        let exec = format!("\nExecStart={program} --catalog {} mount --foreground ", catalog.display());
        assert!(service.contains(&exec) && service.contains("\nType=notify\n"), "{service}");
        sh(&dir, "printf x >> asof-index.timer");
        let refused = said(&site.run(&write, 2));
        assert!(
            refused.contains("asof-index.timer\" is there already and says something else\nhint: mv "),
            "{refused}"
        );
    }
    let process = site.mount_process(&[]);
    let turned =
        shell(&site.path("units"), "logrotate -f -s ../state asof.logrotate; logrotate -f -s ../state asof.logrotate");
    assert!(turned.status.success() && said(&turned) == "\n", "{}", said(&turned));
    assert!(site.path("catalog.db.log.1.gz").exists());
    sh(&site.path(""), &format!("kill -HUP {process}"));
    site.umount();
}

#[test]
fn units_are_for_root_alone_to_write_and_what_is_no_file_is_not_waited_for() {
    let site = Site::with_source();
    let program = env!("CARGO_BIN_EXE_asof");
    let units = |dir: &str, more: &str| {
        shell(&site.path(""), &format!("umask 0; timeout 20 {program} --catalog catalog.db units {dir} {more}"))
    };
    assert!(said(&units("open", "")).contains("hint: systemd does not look there; "));
    assert_eq!(sh(&site.path("open"), "stat -c %a . * | sort | uniq -c | tr -s ' '"), " 4 644\n 1 755\n");
    sh(&site.path("open"), "chmod 666 asof-mount.service");
    let refused = said(&units("open", ""));
    assert!(refused.contains("others may write it") && refused.contains("hint: chmod 0644 "), "{refused}");
    for (make, what) in
        [("mkfifo", "a fifo"), ("mkdir", "a directory"), ("ln -s open/asof-mount.service", "a symbolic link")]
    {
        sh(&site.path(""), &format!("rm -rf odd; mkdir odd; {make} odd/asof-mount.service"));
        let refused = units("odd", "");
        assert_eq!(refused.status.code(), Some(2), "{what}: {}", said(&refused));
        let begins = format!("asof-mount.service\" is there already and is {what}\nhint: mv ");
        assert!(said(&refused).contains(&begins), "{}", said(&refused));
    }
    for at in ["every day at six", "25:00", "''"] {
        let refused = units("late", &format!("--index-at={at:?}"));
        let text = said(&refused);
        assert_eq!(refused.status.code(), Some(2), "{text}");
        assert!(text.contains("is no time of systemd.time(7)") && text.contains("\nhint: write --index-at "), "{text}");
        assert!(!site.path("late").exists());
    }
    // Without systemd nobody can tell, which is said.
    let asked = shell(
        &site.path(""),
        &format!("PATH=/nowhere {program} --catalog catalog.db units late --index-at 'Mon 07:00' 2>&1"),
    );
    assert!(asked.status.success() && said(&asked).contains("here it could not be asked"), "{}", said(&asked));
}

/// Runs what a unit runs, by its own words.
#[test]
fn the_units_mount_and_index_with_the_words_that_they_have() {
    let site = Site::with_source();
    site.ok(&["units", "units", "--mount-point", site.path("mnt").to_str().expect("a plain path")]);
    sh(&site.path("live"), "printf 20 > day");
    site.copy("2026-11-20");
    let exec = |unit: &str| format!("$(sed -n 's/^ExecStart=//p' units/{unit})");
    // Told as systemd is told, and ended as it ends a unit.
    let script = format!(
        "{index}
         python3 -c 'import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(\"notify\"); print(s.recv(99).decode())' > told &
         while [ ! -S notify ]; do sleep 0.01; done
         NOTIFY_SOCKET=$PWD/notify {mount} & daemon=$!
         while [ ! -s told ]; do sleep 0.01; done
         cat told mnt/homes/@latest/day; kill $daemon; wait $daemon; ls mnt | wc -l",
        index = exec("asof-index.service"),
        mount = exec("asof-mount.service")
    );
    assert_eq!(sh(&site.path(""), &script), "READY=1\n200\n");
}

#[test]
fn lines_for_the_journal_have_their_level_and_other_lines_their_time() {
    let site = Site::with_source();
    sh(&site.path("live"), "printf 20 > day");
    let copy = site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    sh(&copy, "rm day");
    for (stream, info, error) in
        [("$(stat -c %d:%i err)", "<6>mounted \"", "<3>"), ("1:1", " INFO mounted \"", " ERROR ")]
    {
        let program = env!("CARGO_BIN_EXE_asof");
        let run = format!(
            "rm -f err; : > err; JOURNAL_STREAM={stream} ASOF_CATALOG=$PWD/catalog.db setsid {program} mount --foreground mnt 2>> err < /dev/null > /dev/null & \
             until [ -e mnt/homes ]; do sleep 0.01; done; cat mnt/homes/@latest/day || true; umount mnt; wait"
        );
        sh(&site.path(""), &run);
        let told = || sh(&site.path(""), "cat err");
        wait_until("it is written", || told().contains("is missing"));
        let told = told();
        let lines: Vec<&str> = told.lines().collect();
        assert!(lines.iter().any(|line| line.contains(info)), "{told}");
        assert!(lines.iter().any(|line| line.contains("is missing") && line.contains(error)), "{told}");
        let has_time = |line: &&str| line.starts_with("20");
        assert_eq!(
            lines.iter().filter(|line| has_time(line)).count(),
            if error == "<3>" { 0 } else { lines.len() },
            "{told}"
        );
    }
}
