//! Every answer that a user gets from a view compared with the copy itself: random trees, owners, modes, ACLs and groups, call by call.
//!
//! `ASOF_CALLS` says how many calls are made, `ASOF_SEED` which: the soak makes millions.

#[path = "../common/dice.rs"]
mod dice;

use crate::site::{Site, said, sh};
use dice::number;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Who compares: the user, his group, and the further groups that he is in.
const USERS: [(u32, &str); 7] = [
    (0, "0"),
    (1001, "2001"),
    (1001, "2001,2002"),
    (1002, "2003"),
    (1002, "2999,2001,2002,2003"),
    (1003, "2002,0"),
    (1999, "2999"),
];

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mount/compared.py");

fn python(args: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.arg(SCRIPT).args(args).current_dir("/").env("LC_ALL", "C.UTF-8");
    command
}

fn change(what: &str, seed: u64, dir: &Path) {
    let output = python(&[what, &seed.to_string(), dir.to_str().expect("a plain path")]).output().expect("python3");
    assert!(output.status.success(), "{}", said(&output));
}

/// Compares as all users at once; returns what they said.
fn compare(seed: u64, calls: u64, pairs: &[&str]) -> Vec<String> {
    let start = |(place, (uid, gids)): (u64, &(u32, &str))| -> Child {
        let (seed, calls, uid) =
            ((seed + place).to_string(), (calls / USERS.len() as u64 + 1).to_string(), uid.to_string());
        let args = [&["compare", &seed, &calls, &uid, gids][..], pairs].concat();
        python(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("python3 is installed")
    };
    let running: Vec<Child> = (0..).zip(&USERS).map(start).collect();
    running.into_iter().map(|child| said(&child.wait_with_output().expect("it ends"))).collect()
}

#[test]
fn every_user_gets_from_a_view_what_he_gets_from_the_copy_call_by_call() {
    let (seed, calls) = (number("ASOF_SEED", 1), number("ASOF_CALLS", 100_000));
    println!("seed {seed}, {calls} calls");
    let site = Site::with_source();
    site.let_everybody_pass();
    sh(&site.path(""), "chmod 755 live copies");
    change("make", seed, &site.path("live"));
    let first = site.copy("2026-11-19");
    change("change", seed + 1, &site.path("live"));
    let second = site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    for options in [&[][..], &["passthrough"]] {
        let mount = site.mount(options);
        let views = ["homes/@2026-11-19", "@2026-11-20/homes"].map(|view| mount.join(view));
        let pairs: Vec<&str> =
            [&first, &views[0], &second, &views[1]].map(|path| path.to_str().expect("a plain path")).to_vec();
        for told in compare(seed, calls / 2, &pairs) {
            assert!(told.contains(", 0 differ\n"), "seed {seed}, {options:?}\n{told}");
        }
        // A comparison that notices nothing proves nothing: rights that are not those of the day.
        let crossed = [pairs[0], pairs[3], pairs[2], pairs[1]];
        for (told, (uid, gids)) in compare(seed, 2000, &crossed).iter().zip(USERS) {
            assert!(!told.contains(", 0 differ\n"), "user {uid} of {gids} noticed nothing: {told}");
            assert!(uid == 0 || !told.contains(" 0 refused"), "user {uid} of {gids} was refused nothing: {told}");
        }
        site.umount();
    }
}
