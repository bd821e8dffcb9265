//! Which processes read what they look up, one file after another: for those the store is asked when they look up, while they are still on
//! their way to the read.
//!
//! Promises: nothing is asked ahead for a look-up alone: not before a process has read the last [`STEADY`] files that it looked up, and not
//! any more after one that it did not read; then as many again and twice as many are asked of it, so that who reads only now and then
//! what he looks up soon costs a store nothing. Memory is bounded whatever the number of processes.

use crate::view::Ino;
use lru::LruCache;
use std::num::NonZeroUsize;

/// After so many files that were looked up and read, the next one will be.
const STEADY: u32 = 2;
/// The most that is asked of a process that was wrongly taken for such a one.
const STEADY_MAX: u32 = 1024;
/// Processes that are remembered.
const PROCESSES_MAX: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");

/// What processes did with the files that they looked up.
pub(super) struct Looked(LruCache<u32, Process>);

struct Process {
    /// Looked up and not read yet; whether its store was asked.
    last: Option<(Ino, bool)>,
    /// Read one after another, each right after it was looked up.
    in_turn: u32,
    wanted: u32,
}

impl Default for Looked {
    fn default() -> Self {
        Self(LruCache::new(PROCESSES_MAX))
    }
}

impl Looked {
    /// Notes that the process `pid` looked up a file. Returns whether it is going to read it, by what it did before.
    pub(super) fn look_up(&mut self, ino: Ino, pid: u32) -> bool {
        // 0: in another name space.
        if pid == 0 {
            return false;
        }
        let process = self.0.get_or_insert_mut(pid, || Process { last: None, in_turn: 0, wanted: STEADY });
        if let Some((_, was_asked)) = process.last {
            process.in_turn = 0;
            if was_asked {
                process.wanted = (process.wanted * 2).min(STEADY_MAX);
            }
        }
        let is_reader = process.in_turn >= process.wanted;
        process.last = Some((ino, is_reader));
        is_reader
    }

    /// Notes that the process `pid` reads the beginning of a file.
    pub(super) fn read(&mut self, ino: Ino, pid: u32) {
        if let Some(process) = self.0.peek_mut(&pid)
            && process.last.is_some_and(|(last, _)| last == ino)
        {
            process.last = None;
            process.in_turn += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PID: u32 = 4711;

    fn look_up_and_read(looked: &mut Looked, ino: u64) -> bool {
        let is_reader = looked.look_up(Ino(ino), PID);
        looked.read(Ino(ino), PID);
        is_reader
    }

    #[test]
    fn who_has_read_what_he_looked_up_is_taken_to_go_on_so() {
        let mut looked = Looked::default();
        let told: Vec<_> = (1..=4).map(|ino| look_up_and_read(&mut looked, ino)).collect();
        assert_eq!(told, [false, false, true, true]);
        assert!(!looked.look_up(Ino(9), PID + 1), "another process");
    }

    #[test]
    fn look_ups_alone_ask_for_nothing() {
        let mut looked = Looked::default();
        assert!((1..1000).all(|ino| !looked.look_up(Ino(ino), PID)));
        let mut looked = Looked::default();
        assert!((1..1000).all(|ino| !looked.look_up(Ino(ino), 0)));
        // Reads of what was not looked up last count for nothing.
        let mut looked = Looked::default();
        for ino in 1..1000 {
            assert!(!looked.look_up(Ino(ino), PID));
            looked.read(Ino(5000), PID);
            looked.read(Ino(ino), PID + 1);
        }
    }

    #[test]
    fn who_reads_now_and_then_what_he_looks_up_costs_less_and_less() {
        let mut looked = Looked::default();
        let mut asked_in_vain = 0;
        for round in 0..1000_u64 {
            for ino in 0..4 {
                look_up_and_read(&mut looked, round * 10 + ino);
            }
            asked_in_vain += u32::from(looked.look_up(Ino(round * 10 + 9), PID));
        }
        // At two files and at four in turn.
        assert_eq!(asked_in_vain, 2);
    }

    #[test]
    fn the_process_that_was_seen_longest_ago_is_forgotten() {
        let mut looked = Looked::default();
        (1..=3).for_each(|ino| _ = look_up_and_read(&mut looked, ino));
        (0..PROCESSES_MAX.get() as u32).for_each(|n| _ = looked.look_up(Ino(1), 10_000 + n));
        assert!(!looked.look_up(Ino(4), PID));
    }
}
