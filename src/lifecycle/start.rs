//! `start`: the word that a created container waits for.

use std::os::fd::AsFd;

use super::container::Container;
use super::filters::Filters;
use super::{Error, hooks, out_of_memory};
use crate::fault;
use crate::id::ContainerId;
use crate::launch::{Answers, Conversation, LaunchError, NotifySocket, Outcome};
use crate::plan;
use crate::spec::SpecError;
use crate::state::{Status, Store};

/// Starts a created container. Returns when its program runs.
pub fn start(store: &Store, id: &ContainerId) -> Result<(), Error> {
    let mut container = Container::open(store, id)?;
    let lock = container.directory.lock()?;
    fault::point("lock");
    container.reload()?;
    container.expect(&[Status::Created], "only a created container can be started")?;
    let gone = || Error::Status { id: id.clone(), status: Status::Stopped, cure: "its process has ended" };
    let spec = container.spec()?;
    if spec.process().is_none() {
        return Err(SpecError::missing_process().into());
    }
    let socket = container.directory.connect_start_socket()?.ok_or_else(gone)?;
    let (Some(record), Some(init)) = (container.record.clone(), container.init()) else { return Err(gone()) };
    let notify = match &record.notify {
        Some(host) => Some(NotifySocket::bind(&container.directory.path().join("notify"), host)?),
        None => None,
    };
    fault::point("connect to start.sock");
    let hooks = plan::hooks(&spec);
    let filters = Filters::of(store);
    let filter = plan::notifying_filter(&spec, &|seccomp| filters.find(seccomp))?;
    let filter: Vec<_> = filter.into_iter().collect();
    let mut conversation = Conversation::new(socket, &filter, &[]);
    conversation.proceed()?;
    fault::point("Proceed");
    let mut none = |_: &_| Ok(());
    let mut terminal = |_| Ok(());
    let mut listener = |fd| {
        let state = hooks::state_json(id, &record, Status::Created, Some(init.pid));
        hooks::send_listener(&filter, fd, init.pid, &state)
    };
    let mut answers = Answers { runtime_hooks: &mut none, terminal: &mut terminal, listener: &mut listener };
    let started = match conversation.converse(None, init.pid, &mut answers) {
        Ok(Outcome::Running) => Ok(()),
        Ok(_) => Err(LaunchError::Died { how: "killed while it started".into() }),
        Err(error) => Err(error),
    };
    started.map_err(|error| {
        let cgroup = container.cgroup().ok().flatten();
        out_of_memory::explain(error, cgroup.as_ref())
    })?;
    fault::point("conversation");
    container.directory.forget_start_socket();
    fault::point("unlink of start.sock");
    let state = hooks::state_json(id, &record, Status::Running, Some(init.pid));
    if let Err(error) = hooks::run(&hooks.poststart, &state, None) {
        drop(lock);
        super::delete(store, id, true)?;
        return Err(error.into());
    }
    fault::point("poststart hooks");
    drop(lock);
    if let (Some(notify), Some(pidfd)) = (notify, init.open()) {
        notify.await_ready(init.pid, pidfd.as_fd())?;
    }
    Ok(())
}
