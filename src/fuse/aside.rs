//! Questions that may take a while and ask no store: what is in a history, or differs between two generations. They are answered by
//! threads of their own, so that those which answer everything else go on.
//!
//! Promises: whoever asks waits for his own questions and not for those of others: each user has a queue, and at most
//! [`OF_ONE_USER`] of the [`THREADS`] at a time. Threads are started when they are needed; where none can be, the question is answered on the spot.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Most of them wait for the catalog's disk.
const THREADS: usize = 4;
/// So that one who asks for what takes long leaves half of them to others.
const OF_ONE_USER: usize = 2;

/// Answers one question.
type Work = Box<dyn FnOnce() + Send>;

/// The threads, and what waits for them.
#[derive(Default)]
pub(super) struct Aside(Arc<Waiting>);

#[derive(Default)]
struct Waiting {
    state: Mutex<State>,
    came: Condvar,
}

#[derive(Default)]
struct State {
    /// By user.
    queues: HashMap<u32, VecDeque<Work>>,
    /// Users whose turn it is; each once.
    turns: VecDeque<u32>,
    /// How many questions of each user are being answered.
    running: HashMap<u32, usize>,
    waiting: usize,
    threads: usize,
    idle: usize,
    is_over: bool,
}

impl Aside {
    /// Has a question of a user answered.
    pub(super) fn ask(&self, uid: u32, work: Work) {
        let mut state = self.0.lock();
        let queue = state.queues.entry(uid).or_default();
        queue.push_back(work);
        if queue.len() == 1 {
            state.turns.push_back(uid);
        }
        state.waiting += 1;
        if state.idle < state.waiting && state.threads < THREADS {
            let own = Arc::clone(&self.0);
            match std::thread::Builder::new().name("aside".to_owned()).spawn(move || own.work()) {
                Ok(_) => state.threads += 1,
                Err(e) => tracing::debug!("no thread for a question: {e}"),
            }
        }
        if state.threads > 0 {
            self.0.came.notify_one();
            return;
        }
        while let Some((_, work)) = state.next() {
            drop(state);
            work();
            state = self.0.lock();
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.came.notify_all();
    }
}

impl Waiting {
    fn work(&self) {
        let mut state = self.lock();
        while !state.is_over {
            let Some((uid, work)) = state.next() else {
                state.idle += 1;
                state = self.came.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
                continue;
            };
            *state.running.entry(uid).or_default() += 1;
            drop(state);
            // Its reply is an error then; the thread and the user's turn are not lost with it.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            state = self.lock();
            state.ended(uid);
            // One that had to wait for this user's turn may go on.
            self.came.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes the next question of the user whose turn it is, of those who have not enough under way.
    fn next(&mut self) -> Option<(u32, Work)> {
        let running = &self.running;
        let may_go_on = |uid: &u32| running.get(uid).is_none_or(|count| *count < OF_ONE_USER);
        let uid = self.turns.iter().position(may_go_on).and_then(|place| self.turns.remove(place))?;
        let queue = self.queues.get_mut(&uid)?;
        let work = queue.pop_front();
        self.waiting -= usize::from(work.is_some());
        if queue.is_empty() {
            self.queues.remove(&uid);
        } else {
            self.turns.push_back(uid);
        }
        work.map(|work| (uid, work))
    }

    fn ended(&mut self, uid: u32) {
        if let Some(count) = self.running.get_mut(&uid) {
            *count -= 1;
            if *count == 0 {
                self.running.remove(&uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// Questions that wait until they are told to end.
    fn held(aside: &Aside, uid: u32, begun: &Sender<u32>) -> Sender<()> {
        let (end, is_over): (Sender<()>, Receiver<()>) = channel();
        let begun = begun.clone();
        aside.ask(
            uid,
            Box::new(move || {
                begun.send(uid).unwrap();
                let _ = is_over.recv();
            }),
        );
        end
    }

    #[test]
    fn who_asks_a_thousand_things_holds_up_nobody_else() {
        let aside = Aside::default();
        let (begun, begins) = channel();
        let ends: Vec<_> = (0..1000).map(|_| held(&aside, 7, &begun)).collect();
        assert_eq!([begins.recv().unwrap(), begins.recv().unwrap()], [7, 7]);
        let other = held(&aside, 8, &begun);
        assert_eq!(begins.recv().unwrap(), 8, "it begins though none of the others has ended");
        assert!(begins.try_recv().is_err(), "a third one of the first user waits");
        drop(other);
        drop(ends);
        assert_eq!(begins.iter().take(998).filter(|uid| *uid == 7).count(), 998, "all come to their turn");
    }

    #[test]
    fn users_take_turns() {
        let mut state = State::default();
        for uid in [1, 1, 1, 2, 3] {
            let queue = state.queues.entry(uid).or_default();
            queue.push_back(Box::new(|| ()));
            if queue.len() == 1 {
                state.turns.push_back(uid);
            }
            state.waiting += 1;
        }
        let order: Vec<u32> = std::iter::from_fn(|| state.next().map(|(uid, _)| uid)).collect();
        assert_eq!(order, [1, 2, 3, 1, 1]);
        assert!(state.queues.is_empty() && state.turns.is_empty() && state.waiting == 0);
    }
}
