-- Format 2: generations whose bytes asof copied itself, and sources that go on from where they stopped.
-- inode.place has one more number, 2: see 0001_base.sql.

-- How it was found out what changed: walk (everything was looked at), changelog (what the source's own log names),
-- list (what another tool names). NULL: a whole copy was walked.
ALTER TABLE generation ADD COLUMN scan TEXT;
-- Where the next generation of this source goes on, as JSON that only the kind understands.
ALTER TABLE generation ADD COLUMN resume TEXT;
-- Findings of kind gap: spans of time in which the source did not record what changed.
ALTER TABLE generation ADD COLUMN gaps INTEGER NOT NULL DEFAULT 0;

PRAGMA user_version = 2;
