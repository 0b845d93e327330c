//! What a shim is asked, and what it answers.

use std::os::fd::{AsFd, OwnedFd};

use rcrun::lifecycle::Spawned;
use rcrun::monitor::wire::{self, WireError};
use rcrun::monitor::{Reply, Request, SCHEMA};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::termios::{Winsize, tcsetwinsize};

use crate::attach::Client;
use crate::shim::{Role, Shim};

/// Clients that are gone and whose input is kept. Each holds a descriptor, and a container need never read.
const MOST_LEFT: usize = 16;

impl Shim {
    /// Reads a connection's next message and does it.
    pub(crate) fn hear(&mut self, index: usize) {
        let Some(connection) = self.connections.get(index) else { return };
        match wire::receive::<Request>(connection.socket.as_fd(), RecvFlags::DONTWAIT) {
            Ok((request, fds)) => self.answer(index, request, fds),
            Err(WireError::Call(Errno::AGAIN)) => {}
            Err(WireError::Format { .. }) => {
                let message =
                    format!("shim of container {}: a request that it does not know", self.settings.id);
                self.reply(index, &Reply::Failed { message });
            }
            Err(_) => self.leave(index),
        }
    }

    fn answer(&mut self, index: usize, request: Request, fds: Vec<OwnedFd>) {
        if let Some(Role::Exec(child)) = self.connections.get(index).map(|connection| &connection.role) {
            // Nobody waits for an answer but the process's end.
            if let Request::Kill { signal, .. } = request {
                let _ = rcrun::sys::process::send_signal(child.pidfd.as_fd(), signal as u32);
            }
            return;
        }
        let done = match request {
            Request::Watch => {
                return self.become_role(index, Role::Watcher);
            }
            Request::Status => {
                let lost_lines = self.log.as_ref().map_or(0, |log| log.lost());
                return self.reply(index, &Reply::Status { schema: SCHEMA, pid: self.init.pid, lost_lines });
            }
            Request::Kill { signal, all } => self.kill(signal, all),
            Request::Resize { width, height } => self.resize(width, height),
            Request::ReopenLog => match &mut self.log {
                Some(log) => log.reopen().map_err(|error| error.to_string()),
                None => Ok(()),
            },
            // Who has asked while another was made may have given up since.
            Request::Exec { .. } if self.has_left(index) => return self.leave(index),
            Request::Exec { process } => match self.exec(&process, &fds) {
                Ok(spawned) => return self.started(index, spawned),
                Err(error) => Err(error.to_string()),
            },
            Request::Attach { stdin, stdout, stderr } => {
                let mut fds = fds.into_iter();
                let mut next = |given: bool| given.then(|| fds.next()).flatten();
                let mut client = Client::new(next(stdin), next(stdout), next(stderr));
                if self.streams.input.is_none() {
                    client.close_stdin();
                }
                self.become_role(index, Role::Attached(client));
                Ok(())
            }
        };
        match done {
            Ok(()) => self.reply(index, &Reply::Done),
            Err(message) => self.reply(index, &Reply::Failed { message }),
        }
    }

    fn has_left(&self, index: usize) -> bool {
        let Some(connection) = self.connections.get(index) else { return true };
        let mut fds = [PollFd::from_borrowed_fd(connection.socket.as_fd(), PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
    }

    fn reply(&self, index: usize, reply: &Reply) {
        if let Some(connection) = self.connections.get(index) {
            connection.say(reply, &[]);
        }
    }

    fn started(&mut self, index: usize, spawned: Spawned) {
        let Spawned { child, master, .. } = spawned;
        if let Some(connection) = self.connections.get(index) {
            let fds: Vec<_> = master.iter().map(AsFd::as_fd).collect();
            connection.say(&Reply::Started { pid: child.pid }, &fds);
        }
        self.become_role(index, Role::Exec(child));
    }

    fn become_role(&mut self, index: usize, role: Role) {
        if let Some(connection) = self.connections.get_mut(index) {
            connection.role = role;
        }
    }

    /// The other end has closed. A process of its goes on, and what it has typed counts.
    fn leave(&mut self, index: usize) {
        let left =
            self.connections.iter().filter(|connection| matches!(connection.role, Role::Left(_))).count();
        let (Some(connection), input) = (self.connections.get_mut(index), &mut self.streams.input) else {
            return;
        };
        let Role::Attached(client) = std::mem::replace(&mut connection.role, Role::Done) else { return };
        let (Some(input), true) = (input, client.stdin().is_some()) else { return };
        match client.unread().filter(|_| left < MOST_LEFT) {
            Some(stdin) => connection.role = Role::Left(stdin),
            None if self.settings.stdin_once => input.end(),
            None => {}
        }
        self.write_input();
    }

    fn kill(&self, signal: i32, all: bool) -> Result<(), String> {
        let id = &self.settings.id;
        if all && let Some(cgroup) = self.cgroup() {
            let killed = match signal {
                9 => cgroup.kill(),
                signal => cgroup.signal_all(signal),
            };
            return killed.map_err(|error| error.to_string());
        }
        match rcrun::sys::process::send_signal(self.init.pidfd.as_fd(), signal as u32) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(format!("container {id}: signal {signal}: {error}")),
        }
    }

    fn resize(&self, width: u16, height: u16) -> Result<(), String> {
        let size = Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
        match self.streams.master() {
            Some(master) => tcsetwinsize(master, size)
                .map_err(|error| format!("container {}: ioctl TIOCSWINSZ: {error}", self.settings.id)),
            None => Err(format!("container {} has no terminal to resize", self.settings.id)),
        }
    }
}
