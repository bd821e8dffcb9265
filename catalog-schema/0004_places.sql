-- Format 4: the files that have their bytes in a part of a disk are found by it, and not by a look at all of them.

-- Files of one run up to 16 MiB (inode.place 6): by the block of their node numbers, by how long they are at most (64 KiB, 1 MiB,
-- 16 MiB: so a look for what reaches into a part begins no further before it), and by where they begin.
CREATE INDEX inode_run ON inode(node >> 16, (size > 65536) + (size > 1048576), content, size)
  WHERE place = 6 AND size <= 16777216;
-- The others that are not holes from end to end, what is in the catalog itself, and what could not be read: these are all looked at.
CREATE INDEX inode_map ON inode(node)
  WHERE place = 9 OR (content IS NOT NULL AND (place IN (3, 4) OR (place = 6 AND size > 16777216)));

-- Nodes whose attributes could not be read are among those that may have some, so that nobody takes them for none.
INSERT OR IGNORE INTO xattr_node(node) SELECT i.node FROM inode i JOIN perm p ON p.id = i.perm WHERE p.xattr = -1;

PRAGMA user_version = 4;
