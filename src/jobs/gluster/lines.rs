//! The lines of a list, and the order in which they can be carried out one after the other.
//!
//! Promises: directories are made and nodes moved before deletions, children before parents, and these before what else is new; what makes
//! room comes before what needs it. Of nodes that change places one is moved aside first. Never knows where lines come from.

use crate::model::{EntryName, Kind};
use crate::source::gluster::list::Change;
use std::collections::{BTreeSet, HashMap, HashSet};

/// Takes one line of a list: the change, and what kind of node it is about.
pub type Each<'a, E> = dyn FnMut(Change, Kind) -> Result<(), E> + 'a;

/// A directory that was made, or a node that moved.
struct Step {
    from: Option<Vec<u8>>,
    to: Vec<u8>,
    kind: Kind,
}

/// The lines of a list, until all are known.
#[derive(Default)]
pub(super) struct Lines {
    steps: Vec<Step>,
    deleted: Vec<(Vec<u8>, Kind)>,
    new: Vec<(Vec<u8>, Kind)>,
    modified: Vec<(Vec<u8>, Kind)>,
    /// What is gone, and of another kind than the directory that comes to its path.
    in_the_way: HashMap<Vec<u8>, Kind>,
}

impl Lines {
    pub(super) fn rename(&mut self, from: Vec<u8>, to: Vec<u8>, kind: Kind) {
        // Its directory was replaced by another one of the same name.
        if from != to {
            self.steps.push(Step { from: Some(from), to, kind });
        }
    }

    pub(super) fn appear(&mut self, path: Vec<u8>, kind: Kind) {
        match kind {
            Kind::Directory => self.steps.push(Step { from: None, to: path, kind }),
            _ => self.new.push((path, kind)),
        }
    }

    pub(super) fn delete(&mut self, path: Vec<u8>, kind: Kind) {
        self.deleted.push((path, kind));
    }

    pub(super) fn modify(&mut self, path: Vec<u8>, kind: Kind) {
        self.modified.push((path, kind));
    }

    pub(super) fn clear(&mut self, path: Vec<u8>, kind: Kind) {
        self.in_the_way.insert(path, kind);
    }

    /// Tells them all in the order that is told above. `is_used` tells whether a tree has something by a name in its top directory.
    pub(super) fn tell<E>(
        mut self,
        is_used: &dyn Fn(&EntryName) -> Result<bool, E>,
        each: &mut Each<'_, E>,
    ) -> Result<(), E> {
        self.deleted.sort_unstable_by(|a, b| b.0.cmp(&a.0));
        self.new.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        self.modified.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let named: HashSet<Vec<u8>> = [&self.new, &self.modified, &self.deleted]
            .into_iter()
            .flatten()
            .map(|(path, _)| path.clone())
            .chain(self.steps.iter().flat_map(|step| step.from.iter().chain([&step.to]).cloned()))
            .collect();
        for Step { from, to, kind } in in_order(self.steps, &named, is_used)? {
            if let Some(gone) = self.in_the_way.remove(&to) {
                each(Change::Delete(to.clone()), gone)?;
            }
            let change = match from {
                Some(from) => Change::Rename { from, to },
                None => Change::New(to),
            };
            each(change, kind)?;
        }
        self.deleted.into_iter().try_for_each(|(path, kind)| each(Change::Delete(path), kind))?;
        self.new.into_iter().try_for_each(|(path, kind)| each(Change::New(path), kind))?;
        self.modified.into_iter().try_for_each(|(path, kind)| each(Change::Modify(path), kind))
    }
}

/// Returns the name of a place in the top directory to which something is moved aside.
pub(super) fn aside_name(number: u32) -> EntryName {
    EntryName::new(format!(".asof-aside-{number}").as_bytes()).expect("it is a name")
}

/// Orders steps so that each can be taken: a directory is there before something is put into it or renamed below it, and a name is left
/// before something else takes it. What stands in a circle is moved aside first, to a name that is none of `named` and not used.
///
/// It ends: once everything that moves is moved aside first, a step to a path needs only what leaves that path, and what is above it.
fn in_order<E>(
    mut steps: Vec<Step>,
    named: &HashSet<Vec<u8>>,
    is_used: &dyn Fn(&EntryName) -> Result<bool, E>,
) -> Result<Vec<Step>, E> {
    let mut names = (1..).map(aside_name).filter(|name| !named.contains(name.as_bytes()));
    let mut asides: HashSet<Vec<u8>> = HashSet::new();
    loop {
        steps = sorted(steps, &asides);
        let early = too_early(&steps, &asides);
        if early.is_empty() {
            return Ok(steps);
        }
        for number in early {
            let aside = loop {
                let name = names.next().expect("there are more names than a list has");
                if !is_used(&name)? {
                    break name.as_bytes().to_vec();
                }
            };
            move_aside(&mut steps, number, &aside);
            asides.insert(aside);
        }
    }
}

/// Has a node moved to `aside` first, and from there to its place. What is taken out of it is taken out of it there.
fn move_aside(steps: &mut Vec<Step>, number: usize, aside: &[u8]) {
    let below = [steps[number].to.as_slice(), b"/"].concat();
    for from in steps.iter_mut().filter_map(|step| step.from.as_mut()).filter(|from| from.starts_with(&below)) {
        *from = [aside, &from[below.len() - 1..]].concat();
    }
    let (from, kind) = (steps[number].from.replace(aside.to_vec()), steps[number].kind);
    steps.push(Step { from, to: aside.to_vec(), kind });
}

/// Which steps have to come before which.
struct Needs<'s> {
    by_to: HashMap<&'s [u8], usize>,
    by_from: HashMap<&'s [u8], usize>,
    /// What is taken out of a directory that was moved aside.
    out_of: HashMap<&'s [u8], Vec<usize>>,
    asides: &'s HashSet<Vec<u8>>,
}

impl<'s> Needs<'s> {
    fn new(steps: &'s [Step], asides: &'s HashSet<Vec<u8>>) -> Self {
        let by_to = steps.iter().enumerate().map(|(number, step)| (step.to.as_slice(), number)).collect();
        let (mut by_from, mut out_of) = (HashMap::new(), HashMap::<&[u8], Vec<usize>>::new());
        for (number, from) in
            steps.iter().enumerate().filter_map(|(number, step)| Some((number, step.from.as_deref()?)))
        {
            by_from.insert(from, number);
            let top = from.split(|byte| *byte == b'/').next().unwrap_or_default();
            if top != from && asides.contains(top) {
                out_of.entry(top).or_default().push(number);
            }
        }
        Self { by_to, by_from, out_of, asides }
    }

    /// Returns the step that leaves the path which `step` takes.
    fn leaver(&self, step: &Step) -> Option<usize> {
        self.by_from.get(step.to.as_slice()).copied().filter(|_| !self.asides.contains(&step.to))
    }

    /// Returns the steps that make the directories above a path.
    fn makers(&self, path: &[u8]) -> Vec<usize> {
        let above = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &path[..at]);
        above.filter_map(|path| self.by_to.get(path).copied()).collect()
    }

    /// Returns, of a step that moves on what was moved aside, the step that did that, and those that take something out of it.
    fn before_moving_on(&self, step: &Step) -> Vec<usize> {
        let Some(from) = step.from.as_deref().filter(|from| self.asides.contains(*from)) else { return Vec::new() };
        self.by_to.get(from).into_iter().chain(self.out_of.get(from).into_iter().flatten()).copied().collect()
    }

    fn all(&self, step: &Step) -> Vec<usize> {
        let mut all = self.makers(&step.to);
        all.extend(step.from.as_deref().map(|from| self.makers(from)).unwrap_or_default());
        all.extend(self.leaver(step));
        all.extend(self.before_moving_on(step));
        all
    }
}

/// Orders steps by what they need. In a circle one of them comes too early.
fn sorted(mut steps: Vec<Step>, asides: &HashSet<Vec<u8>>) -> Vec<Step> {
    steps.sort_unstable_by(|a, b| a.to.cmp(&b.to));
    let needs = Needs::new(&steps, asides);
    let mut seen = vec![false; steps.len()];
    let mut order = Vec::with_capacity(steps.len());
    for first in 0..steps.len() {
        // A step is entered when it is met, and done when all that it needs is.
        let mut stack = vec![(first, false)];
        while let Some((number, entered)) = stack.pop() {
            if entered {
                order.push(number);
            } else if !std::mem::replace(&mut seen[number], true) {
                stack.push((number, true));
                let needed = needs.all(&steps[number]).into_iter();
                stack.extend(needed.filter(|need| !seen[*need]).map(|need| (need, false)));
            }
        }
    }
    let mut taken: Vec<Option<Step>> = steps.into_iter().map(Some).collect();
    order.into_iter().filter_map(|number| taken[number].take()).collect()
}

/// Returns the steps whose node has to be moved aside: it leaves a path after another one takes it, or comes to a directory before that is
/// there.
fn too_early(steps: &[Step], asides: &HashSet<Vec<u8>>) -> BTreeSet<usize> {
    let needs = Needs::new(steps, asides);
    let can_move = |number: &usize| {
        let step = &steps[*number];
        !asides.contains(&step.to) && step.from.as_ref().is_some_and(|from| !asides.contains(from))
    };
    let mut early = BTreeSet::new();
    for (number, step) in steps.iter().enumerate() {
        let is_later = |other: &usize| *other > number;
        let from = step.from.as_deref().map(|from| needs.makers(from)).unwrap_or_default();
        let late = needs
            .leaver(step)
            .into_iter()
            .chain(from)
            .chain(needs.before_moving_on(step))
            .filter(is_later)
            .chain(needs.makers(&step.to).into_iter().filter(is_later).map(|_| number));
        let late: Vec<usize> = late.collect();
        if !late.is_empty() {
            // A circle of directories that are made goes through something that moves.
            early.extend(late.into_iter().find(can_move).or_else(|| (0..steps.len()).find(can_move)));
        }
    }
    early
}
