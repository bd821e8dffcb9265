//! One source in one pass: its nodes with their names and versions, and its directories with what is in them, side by side.
//!
//! Promises: rows of names, by directory and by node, and rows of versions are read side by side; no more than the rows of one
//! node are in memory.

use super::pass::{Child, Pass};
use super::report::{Report, Subject};
use crate::catalog::Error;
use crate::catalog::history::{blocks, each_history, history_of};
use crate::catalog::rows::{KindNumber, SourceRow};
use crate::catalog::timeline::Timeline;
use crate::model::NodeId;
use rusqlite::Rows;
use std::ops::Range;

/// Names between two words about progress.
const PROGRESS: u64 = 10_000;

const CHILDREN: &str = "SELECT parent, name, born, died, fork, node, kind FROM dirent \
     WHERE parent BETWEEN ?1 AND ?2 ORDER BY parent, name, born";

pub(super) fn check(report: &mut Report<'_>, source: &SourceRow, deep: bool) -> Result<(), Error> {
    report.step("checking a source", |report, c| {
        let mut pass = Pass::new(report, c, source, deep)?;
        pass.root()?;
        for block in blocks(c, source.id)? {
            pass.block(block)?;
        }
        pass.finish()
    })?;
    Ok(())
}

/// The rows of `dirent` in the order of directories, the next one at hand.
struct Children<'s> {
    rows: Rows<'s>,
    next: Option<Child>,
}

impl Children<'_> {
    fn advance(&mut self) -> rusqlite::Result<Option<Child>> {
        let next = match self.rows.next()? {
            None => None,
            Some(row) => Some(Child {
                dir: row.get(0)?,
                name: row.get(1)?,
                born: row.get(2)?,
                died: row.get(3)?,
                fork: row.get(4)?,
                node: NodeId(row.get(5)?),
                kind: row.get::<_, KindNumber>(6)?.0,
            }),
        };
        Ok(std::mem::replace(&mut self.next, next))
    }
}

impl Pass<'_, '_> {
    /// Looks for the top directory, which no name leads to: without any row it would not be met.
    fn root(&mut self) -> rusqlite::Result<()> {
        let root = history_of(self.c, self.source.root)?;
        if self.generations.instants.len() > 0 && root.names.is_empty() && root.versions.is_empty() {
            self.add("versions", Some(0), Subject::Node(root.node), "no version", String::new());
        }
        Ok(())
    }

    fn block(&mut self, block: (i64, i64)) -> rusqlite::Result<()> {
        let c = self.c;
        let mut statement = c.prepare_cached(CHILDREN)?;
        let mut children = Children { rows: statement.query([block.0, block.1])?, next: None };
        children.advance()?;
        each_history(c, block, &mut |history| {
            // What lies in a node without rows lies in no directory.
            self.children(&mut children, history.node.0 - 1, &[])?;
            let node = Timeline::new(history, self.source.root, &self.generations);
            let life = self.node(&node)?;
            if self.sums.is_some() {
                self.state(history)?;
                self.notes(&node)?;
            }
            self.children(&mut children, history.node.0, &life)
        })?;
        self.children(&mut children, block.1, &[])
    }

    /// Checks the rows of directories up to `last`, of which that one lives as a directory during `life`, and the others never.
    fn children(&mut self, children: &mut Children<'_>, last: i64, life: &[Range<usize>]) -> rusqlite::Result<()> {
        while children.next.as_ref().is_some_and(|child| child.dir <= last) {
            let Some(child) = children.advance()? else { break };
            let life = if child.dir == last { life } else { &[] };
            self.child(&child, life)?;
            self.before = Some(child);
            self.names += 1;
            if self.names == PROGRESS {
                self.report.advance(std::mem::take(&mut self.names));
            }
        }
        Ok(())
    }
}
