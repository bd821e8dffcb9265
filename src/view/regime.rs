//! Who may look into a directory that shows what several directories had in them: whoever may look into each of them, and nobody else.
//!
//! Promises: by the kernel's rules for modes and ACLs (`path_resolution(7)`, `acl(5)`), whatever groups a user is in: no user is let in who
//! is not let in everywhere. Where owners or groups differ, or there are ACLs that differ, it lets in fewer than it could: of those an owner who
//! is the same everywhere, and root.

use super::stat::Xattrs;
use crate::catalog::Perm;

/// Who may look into a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Regime {
    pub(super) perm: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) xattrs: Xattrs,
}

impl Regime {
    /// For a directory that has nothing but what a name led to: who came so far may look at each of them.
    pub(super) const OPEN: Self = Self { perm: 0o555, uid: 0, gid: 0, xattrs: Xattrs::NONE };

    /// Returns what lets in whom all of these let in, each with whether more than its mode decides (an ACL).
    pub(super) fn of_all(perms: &[(Perm, bool)]) -> Self {
        let Some(((first, _), others)) = perms.split_first() else { return Self::OPEN };
        let Perm { mode, uid, gid, xattr } = *first;
        if others.iter().all(|(perm, _)| perm == first) {
            return Self { perm: mode & 0o7777, uid, gid, xattrs: Xattrs(xattr) };
        }
        let bits = perms.iter().fold(0o777, |bits, (perm, _)| bits & perm.mode);
        let (of_owner, of_group, of_others) = (bits >> 6 & 7, bits >> 3 & 7, bits & 7);
        let is_one_owner = perms.iter().all(|(perm, _)| perm.uid == uid);
        let is_one_group = perms.iter().all(|(perm, _)| perm.gid == gid);
        let has_acl = perms.iter().any(|(_, has_acl)| *has_acl);
        // An ACL decides on everybody but the owner, whose rights are those of the mode with one too.
        let of_group = if has_acl { 0 } else { of_group };
        let of_others = if has_acl { 0 } else { of_others };
        // Who is in no class everywhere may be in any one of those that differ.
        let (owner, group, others) = match (is_one_owner, is_one_group) {
            (true, true) => (of_owner, of_group, of_others),
            (true, false) => (of_owner, of_group & of_others, of_group & of_others),
            (false, true) => (of_owner & of_group & of_others, of_owner & of_group, of_owner & of_others),
            (false, false) => {
                let all = of_owner & of_group & of_others;
                (all, all, all)
            }
        };
        Self {
            perm: owner << 6 | group << 3 | others,
            uid: if is_one_owner { uid } else { 0 },
            gid: if is_one_group { gid } else { 0 },
            xattrs: Xattrs::NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn perm(mode: u32, uid: u32, gid: u32) -> (Perm, bool) {
        (Perm { mode: 0o40000 | mode, uid, gid, xattr: 0 }, false)
    }

    /// What a user may do, as the kernel decides it.
    fn rights(mode: u32, (owner, group): (u32, u32), uid: u32, groups: &[u32]) -> u32 {
        let shift = if uid == owner {
            6
        } else if groups.contains(&group) {
            3
        } else {
            0
        };
        mode >> shift & 7
    }

    /// All modes of the classes nothing, search, all; two owners and two groups; all users there are beside them.
    #[test]
    fn nobody_is_let_in_who_is_not_let_in_by_each_of_them() {
        let bits = [0, 1, 4, 5, 7];
        let modes: Vec<u32> =
            bits.iter().flat_map(|u| bits.iter().flat_map(move |g| bits.map(|o| u << 6 | g << 3 | o))).collect();
        let owners = [(1, 10), (1, 20), (2, 10), (2, 20)];
        let users: [(u32, &[u32]); 8] =
            [(1, &[10]), (1, &[20]), (2, &[10, 20]), (2, &[]), (3, &[10]), (3, &[20, 10]), (3, &[0]), (3, &[])];
        let mut let_in = 0;
        for first in &modes {
            for second in modes.iter().step_by(3) {
                for others in owners {
                    let regime = Regime::of_all(&[perm(*first, 1, 10), perm(*second, others.0, others.1)]);
                    for (uid, groups) in users {
                        let shown = rights(regime.perm, (regime.uid, regime.gid), uid, groups);
                        let each = rights(*first, (1, 10), uid, groups) & rights(*second, others, uid, groups);
                        assert_eq!(shown & !each, 0, "{first:o} and {second:o} of {others:?} for {uid} in {groups:?}");
                        let_in += u32::from(shown & 1 == 1);
                    }
                }
            }
        }
        assert!(let_in > 1000, "somebody is let in: {let_in}");
    }

    #[test]
    fn one_that_never_changed_is_what_it_is_and_acls_that_differ_leave_the_owner() {
        let with_acl = |mode: u32, xattr: i64| (Perm { mode: 0o40000 | mode, uid: 1, gid: 10, xattr }, true);
        let same = Regime::of_all(&[with_acl(0o2770, 5)]);
        assert_eq!(same, Regime { perm: 0o2770, uid: 1, gid: 10, xattrs: Xattrs(5) });
        let other = Regime::of_all(&[with_acl(0o770, 5), perm(0o755, 1, 10)]);
        assert_eq!(other, Regime { perm: 0o700, uid: 1, gid: 10, xattrs: Xattrs::NONE });
        assert_eq!(Regime::of_all(&[]), Regime::OPEN);
    }
}
