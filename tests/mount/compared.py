"""Makes a random tree with owners, modes and ACLs, or compares two trees as a user, call by call.

    compared.py make SEED DIR                                     a tree; made again in another place it is the same
    compared.py change SEED DIR                                   other owners, modes and ACLs for some of it
    compared.py compare SEED CALLS UID GIDS NATIVE VIEW [NATIVE VIEW ...]   the first of GIDS is the own group

What must be equal is what a user gets: a value, or the number of the error. Prints what differs; the last line says how many calls were
made, and how many of them were refused for want of rights.
"""

import errno, os, random, stat, struct, sys

UIDS, GIDS = (0, 1001, 1002, 1003), (0, 2001, 2002, 2003)
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"


def acl(dice):
    """An ACL as xattr(7) has it: version 2, then tag, permissions and id of each entry, sorted."""
    entries = [(0x01, dice.randrange(8), 0xFFFFFFFF)]
    entries += [(0x02, dice.randrange(8), uid) for uid in sorted(dice.sample(UIDS[1:], dice.randrange(3)))]
    entries += [(0x04, dice.randrange(8), 0xFFFFFFFF)]
    entries += [(0x08, dice.randrange(8), gid) for gid in sorted(dice.sample(GIDS[1:], dice.randrange(3)))]
    entries += [(0x10, dice.randrange(8), 0xFFFFFFFF), (0x20, dice.randrange(8), 0xFFFFFFFF)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def give_rights(dice, path):
    is_dir = os.path.isdir(path)
    os.chown(path, dice.choice(UIDS), dice.choice(GIDS))
    # Most directories let most people through, or nobody would get anywhere.
    is_open = is_dir and dice.random() < 0.6
    os.chmod(path, 0o755 | dice.choice((0, 0o1000, 0o2000)) if is_open else dice.randrange(0o1000))
    for name in os.listxattr(path):
        if name in (ACCESS, DEFAULT):
            os.removexattr(path, name)
    if not is_open and dice.random() < 0.5:
        os.setxattr(path, ACCESS, acl(dice))
    if is_dir and dice.random() < 0.1:
        os.setxattr(path, DEFAULT, acl(dice))


def make(dice, top):
    dirs = [top]
    for number in range(60):
        dirs.append(os.path.join(dice.choice(dirs[-20:]), "d%d" % number))
        os.mkdir(dirs[-1])
    for number in range(300):
        path = os.path.join(dice.choice(dirs), "f%d" % number)
        with open(path, "w") as file:
            file.write(str(number) * dice.randrange(4))
        if dice.random() < 0.2:
            os.setxattr(path, "user.note", b"%d" % number)
        if dice.random() < 0.1:
            os.setxattr(path, "trusted.note", b"%d" % number)
        if dice.random() < 0.1:
            os.link(path, os.path.join(dice.choice(dirs), "h%d" % number))
        if dice.random() < 0.1:
            os.symlink(os.path.relpath(path, dice.choice(dirs)), os.path.join(dice.choice(dirs), "l%d" % number))
    change(dice, top, 1.0)


def change(dice, top, share):
    for path, dirs, files in sorted(os.walk(top)):
        for name in sorted(dirs + files):
            one = os.path.join(path, name)
            if not os.path.islink(one) and dice.random() < share:
                give_rights(dice, one)


def attributes(s):
    size = s.st_size if stat.S_ISREG(s.st_mode) else 0
    return (s.st_mode, s.st_uid, s.st_gid, size, s.st_mtime_ns)


def read(path, dir_fd=None):
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK, dir_fd=dir_fd)
    try:
        return os.read(fd, 100) if stat.S_ISREG(os.fstat(fd).st_mode) else "opened"
    finally:
        os.close(fd)


def through(path, flags, act):
    fd = os.open(os.path.dirname(path), flags | os.O_DIRECTORY)
    try:
        return act(os.path.basename(path), fd)
    finally:
        os.close(fd)


def inside(path, act):
    os.chdir(os.path.dirname(path))
    try:
        return act(os.path.basename(path))
    finally:
        os.chdir("/")


def access(mode):
    return lambda path: os.access(path, mode, effective_ids=True)


CALLS = {
    "stat": lambda path: attributes(os.stat(path)),
    "lstat": lambda path: attributes(os.lstat(path)),
    "read": read,
    "list": lambda path: sorted(os.listdir(path)),
    "readlink": os.readlink,
    "may read": access(os.R_OK),
    "may execute": access(os.X_OK),
    "may read and execute": access(os.R_OK | os.X_OK),
    "acl": lambda path: os.getxattr(path, ACCESS),
    "default acl": lambda path: os.getxattr(path, DEFAULT),
    "note": lambda path: os.getxattr(path, "user.note"),
    "trusted note": lambda path: os.getxattr(path, "trusted.note"),
    "attributes": lambda path: sorted(os.listxattr(path)),
    "read beneath": lambda path: through(path, os.O_RDONLY, read),
    "read beneath a place": lambda path: through(path, os.O_PATH, read),
    "stat beneath": lambda path: through(path, os.O_RDONLY, lambda name, fd: attributes(os.stat(name, dir_fd=fd))),
    "read inside": lambda path: inside(path, read),
    "list inside": lambda path: inside(path, lambda name: sorted(os.listdir("."))),
}


def outcome(call, path):
    try:
        return call(path)
    except OSError as e:
        return "E" + errno.errorcode[e.errno]


def compare(dice, calls, pairs):
    differing = refused = 0
    for _ in range(calls):
        (native, view), paths = dice.choice(pairs)
        below, (name, call) = dice.choice(paths), dice.choice(sorted(CALLS.items()))
        expected, found = outcome(call, native + below), outcome(call, view + below)
        refused += expected == "EEACCES" or expected is False
        if expected != found:
            differing += 1
            if differing <= 20:
                print("%s of %s: %r, and in the view %r" % (name, native + below, expected, found))
        if dice.random() < 0.02 and os.access(view + below, os.W_OK, effective_ids=True):
            differing += 1
            print("%s may be written" % (view + below))
    print("%d calls, %d refused, %d differ" % (calls, refused, differing))


def below(top):
    paths = []
    for path, dirs, files in sorted(os.walk(top)):
        for name in sorted(dirs) + sorted(files) + ["missing"]:
            paths.append(os.path.join(path, name)[len(top):])
    return paths + [path + "/below" for path in paths[::20]]


def main():
    what, seed, rest = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    dice = random.Random(seed)
    if what == "make":
        make(dice, rest[0])
    elif what == "change":
        change(dice, rest[0], 0.3)
    else:
        calls, uid, gids = int(rest[0]), int(rest[1]), [int(gid) for gid in rest[2].split(",")]
        # As root: what there is, not what may be seen.
        pairs = [(pair, below(pair[0])) for pair in zip(rest[3::2], rest[4::2])]
        os.setgroups(gids[1:])
        os.setresgid(*[gids[0]] * 3)
        os.setresuid(*[uid] * 3)
        compare(dice, calls, pairs)


main()
