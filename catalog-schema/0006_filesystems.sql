-- Format 6: which file system the root of a copy is on. Inode number and birth time do not tell apart the top directories of two file
-- systems that were made in one second.

-- UUID of the file system of its root, folded to 64 bits, as a signed number; NULL: not known (a network, or a program of format 5)
ALTER TABLE copy ADD COLUMN root_filesystem INTEGER;

PRAGMA user_version = 6;
