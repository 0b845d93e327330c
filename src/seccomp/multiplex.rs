//! 32-bit x86's two calls that stand for many: socketcall(2) and ipc(2).

use super::rules::Condition;

const SOCKETCALL: u32 = 102;
const IPC: u32 = 117;

/// By name: the call that also does what this one does, and the value of its first argument that asks for it.
const CALLS: [(&str, u32, u64); 32] = [
    ("accept", SOCKETCALL, 5),
    ("accept4", SOCKETCALL, 18),
    ("bind", SOCKETCALL, 2),
    ("connect", SOCKETCALL, 3),
    ("getpeername", SOCKETCALL, 7),
    ("getsockname", SOCKETCALL, 6),
    ("getsockopt", SOCKETCALL, 15),
    ("listen", SOCKETCALL, 4),
    ("msgctl", IPC, 14),
    ("msgget", IPC, 13),
    ("msgrcv", IPC, 12),
    ("msgsnd", IPC, 11),
    ("recv", SOCKETCALL, 10),
    ("recvfrom", SOCKETCALL, 12),
    ("recvmmsg", SOCKETCALL, 19),
    ("recvmsg", SOCKETCALL, 17),
    ("semctl", IPC, 3),
    ("semget", IPC, 2),
    ("semop", IPC, 1),
    ("semtimedop", IPC, 4),
    ("send", SOCKETCALL, 9),
    ("sendmmsg", SOCKETCALL, 20),
    ("sendmsg", SOCKETCALL, 16),
    ("sendto", SOCKETCALL, 11),
    ("setsockopt", SOCKETCALL, 14),
    ("shmat", IPC, 21),
    ("shmctl", IPC, 24),
    ("shmdt", IPC, 22),
    ("shmget", IPC, 23),
    ("shutdown", SOCKETCALL, 13),
    ("socket", SOCKETCALL, 1),
    ("socketpair", SOCKETCALL, 8),
];

/// The call that also does what `name` does, and the value of its first argument that asks for it.
pub(super) fn x86(name: &str) -> Option<(u32, u64)> {
    let row = CALLS.binary_search_by_key(&name, |(name, ..)| name).ok()?;
    CALLS.get(row).map(|(_, call, which)| (*call, *which))
}

/// The conditions of a rule for such a call. Its first argument says which call it is; those of the
/// rule itself lie in memory that a filter cannot read.
pub(super) fn conditions(which: u64, of_rule: &[Condition]) -> Vec<Condition> {
    let mut conditions = vec![Condition::equal(0, which)];
    conditions.extend(of_rule.iter().filter(|condition| condition.index != 0));
    conditions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted() {
        assert!(CALLS.is_sorted_by(|(one, ..), (other, ..)| one < other));
        assert_eq!([x86("accept"), x86("socketpair")], [Some((SOCKETCALL, 5)), Some((SOCKETCALL, 8))]);
        assert_eq!([x86("shmget"), x86("mkdir")], [Some((IPC, 23)), None]);
    }
}
