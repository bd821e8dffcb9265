//! Runs a script under a kernel that mounts FAT, by `scripts/with-fat`. The script has `truth DIR`, which prints what that kernel shows.
#![allow(dead_code, unreachable_pub)] // each test binary uses its own part

use super::site::sh;
use std::fs;
use std::path::Path;

/// Runs `script` in `dir` and returns what it printed.
///
/// # Panics
/// If it fails, or there is no such kernel.
pub fn with_fat(dir: &Path, script: &str) -> String {
    fs::write(dir.join("script.sh"), script).expect("it can be written");
    sh(dir, &format!("{}/scripts/with-fat . script.sh", env!("CARGO_MANIFEST_DIR")))
}
