//! Reading ahead: who gets bytes before he asks for them, and who does not. What is served is the same either way (`fidelity`, `served`).

use crate::site::{Site, sh, wait_until};
use std::path::{Path, PathBuf};

/// Directories `00` to `39` of 40 files each, every one with its own path as its content.
fn site() -> Site {
    let site = Site::with_source();
    let script = "for d in $(seq -w 0 39); do mkdir $d; for f in $(seq -w 0 39); do echo $d/$f > $d/$f; done; done";
    sh(&site.copy("2026-11-20"), script);
    site.ok(&["index"]);
    site
}

fn view(mnt: &Path) -> PathBuf {
    mnt.join("homes/@2026-11-20")
}

fn read(view: &Path, dir: usize, file: usize) {
    let name = format!("{dir:02}/{file:02}");
    assert_eq!(std::fs::read_to_string(view.join(&name)).unwrap(), name + "\n");
}

fn list(view: &Path, dir: usize) {
    assert_eq!(std::fs::read_dir(view.join(format!("{dir:02}"))).unwrap().count(), 40);
}

/// Returns of how many files of a directory the kernel has bytes in memory.
fn in_memory(view: &Path, dir: usize) -> usize {
    let pages = sh(&view.join(format!("{dir:02}")), "fincore --noheadings --output PAGES *");
    pages.lines().filter(|pages| pages.trim() != "0").count()
}

#[test]
fn the_files_of_a_directory_are_in_memory_once_it_is_listed_by_who_has_read_others_in_turn_and_by_nobody_else() {
    let site = site();
    let mnt = site.mount(&[]);
    let view = view(&mnt);
    // On a busy machine a second may pass between two calls: then he is not taken to go on, and may try again.
    let found = (0..13).map(|n| 3 * n).find(|dir| {
        list(&view, *dir);
        (0..40).for_each(|file| read(&view, *dir, file));
        sh(&view, &format!("ls -U {:02}", dir + 1));
        list(&view, dir + 2);
        (0..50).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            in_memory(&view, dir + 2) == 40
        })
    });
    let found = found.expect("one of thirteen");
    for dir in (0..=found).step_by(3) {
        assert_eq!(in_memory(&view, dir + 1), 0, "another process has listed {}", dir + 1);
    }
    // And they are the right ones, also where their copy is gone.
    sh(&site.path("copies"), "mv 2026-11-20 ../away");
    (0..40).for_each(|file| read(&view, found + 2, file));
    sh(&site.path(""), "mv away copies/2026-11-20");
    site.umount();
}

#[test]
fn a_file_is_opened_when_it_is_looked_up_by_who_reads_what_he_looks_up_and_by_nobody_else() {
    let site = site();
    let process = site.mount_process(&[]);
    let view = view(&site.path("mnt"));
    let is_open = |name: &str| {
        let files = std::fs::read_dir(format!("/proc/{process}/fd")).expect("it runs").flatten();
        let mut targets = files.filter_map(|file| std::fs::read_link(file.path()).ok());
        targets.any(|target| target.ends_with(Path::new("copies/2026-11-20").join(name)))
    };
    // From one directory each: nothing is read in turn.
    (0..5).for_each(|dir| read(&view, dir, 20));
    sh(&view, "stat 06/20");
    std::fs::metadata(view.join("05/20")).expect("it is there");
    wait_until("the file is open", || is_open("05/20"));
    assert!(!is_open("06/20"), "another process has looked it up");
    // He does not read it: then he is no such reader any more.
    std::fs::metadata(view.join("07/20")).expect("it is there");
    read(&view, 8, 20);
    assert!(is_open("08/20") && !is_open("07/20"));
    read(&view, 5, 20);
    site.umount();
}

#[test]
fn with_no_store_ahead_nothing_is_asked_before_it_is_read() {
    let site = site();
    let process = site.mount_process(&["no_store_ahead"]);
    let view = view(&site.path("mnt"));
    list(&view, 0);
    (0..40).for_each(|file| read(&view, 0, file));
    list(&view, 1);
    (2..7).for_each(|dir| read(&view, dir, 20));
    std::fs::metadata(view.join("08/20")).expect("it is there");
    // Read in the same lane after whatever would have been.
    read(&view, 9, 20);
    assert_eq!(in_memory(&view, 1), 0);
    let open = sh(Path::new("/proc"), &format!("ls -l {process}/fd | grep -c 2026-11-20/08/20 || true"));
    assert_eq!(open, "0\n");
    site.umount();
}
