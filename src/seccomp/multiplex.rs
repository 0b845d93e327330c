//! 32-bit x86's two calls that stand for many: socketcall(2) and ipc(2).

use super::rules::Condition;

const SOCKETCALL: u32 = 102;
const IPC: u32 = 117;

/// The call that also does what `name` does, and the value of its first argument that asks for it.
pub(super) fn x86(name: &str) -> Option<(u32, u64)> {
    const SOCKET: [&str; 20] = [
        "socket",
        "bind",
        "connect",
        "listen",
        "accept",
        "getsockname",
        "getpeername",
        "socketpair",
        "send",
        "recv",
        "sendto",
        "recvfrom",
        "shutdown",
        "setsockopt",
        "getsockopt",
        "sendmsg",
        "recvmsg",
        "accept4",
        "recvmmsg",
        "sendmmsg",
    ];
    const IPC_CALLS: [(&str, u64); 12] = [
        ("semop", 1),
        ("semget", 2),
        ("semctl", 3),
        ("semtimedop", 4),
        ("msgsnd", 11),
        ("msgrcv", 12),
        ("msgget", 13),
        ("msgctl", 14),
        ("shmat", 21),
        ("shmdt", 22),
        ("shmget", 23),
        ("shmctl", 24),
    ];
    if let Some(at) = SOCKET.iter().position(|call| *call == name) {
        return Some((SOCKETCALL, at as u64 + 1));
    }
    IPC_CALLS.iter().find(|(call, _)| *call == name).map(|(_, which)| (IPC, *which))
}

/// The conditions of a rule for such a call. Its first argument says which call it is; those of the
/// rule itself lie in memory that a filter cannot read.
pub(super) fn conditions(which: u64, of_rule: &[Condition]) -> Vec<Condition> {
    let mut conditions = vec![Condition::equal(0, which)];
    conditions.extend(of_rule.iter().filter(|condition| condition.index != 0));
    conditions
}
