//! `exec`: one more process in a running container.

use std::path::PathBuf;

use anyhow::bail;
use rcrun::id::ContainerId;
use rcrun::lifecycle::{self, ExecOptions, SubCgroup, WholeProcess};

use super::create::absolute;
use super::{Command, Context, WithStatus, background, run_image, words};

/// Flags of `exec`; all stand before the ID.
#[derive(clap::Args)]
#[command(
    override_usage = "rcrun exec [OPTIONS] ID COMMAND [ARGS]...\n       rcrun exec [OPTIONS] --process FILE ID"
)]
pub struct Exec {
    /// Name of a running container, then the command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_names = ["ID", "COMMAND"])]
    words: Vec<String>,
    /// Unix socket that receives the pseudo-terminal's master
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Unix socket that receives a pidfd of the process
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// Working directory in the container
    #[arg(long, visible_alias = "workdir", short_alias = 'w', value_name = "DIR")]
    cwd: Option<String>,
    /// Environment variable to add, NAME=VALUE (repeatable)
    #[arg(short, long, value_name = "VAR")]
    env: Vec<String>,
    /// Give the process a pseudo-terminal
    #[arg(short, long)]
    tty: bool,
    /// Give the process this one's standard input, which it has anyway in a container that is not in the background
    #[arg(short, long)]
    interactive: bool,
    /// Numeric user id and group id, UID[:GID]; in a container in the background also names
    #[arg(short, long, value_name = "IDS")]
    user: Option<String>,
    /// Supplementary group id to add (repeatable)
    #[arg(short = 'g', long, value_name = "GID")]
    additional_gids: Vec<u32>,
    /// File with the whole process object as JSON; the flags that describe a process are ignored then
    #[arg(short, long, value_name = "FILE")]
    process: Option<PathBuf>,
    /// Return as soon as the process runs
    #[arg(short, long)]
    detach: bool,
    /// File to write the pid of the process to
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// SELinux label of the process
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// AppArmor profile of the process
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,
    /// Set no_new_privs: execve(2) grants nothing
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = words::parsed_boolean)]
    no_new_privs: Option<bool>,
    /// Capability to add, such as CAP_NET_ADMIN (repeatable)
    #[arg(short, long, value_name = "NAME")]
    cap: Vec<String>,
    /// Number of file descriptors to pass after stdin, stdout and stderr
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    /// Existing cgroup for the process below the container's: PATH, or CONTROLLER[,CONTROLLER...]:PATH
    /// (repeatable), where the cgroup must have these controllers
    #[arg(long, value_name = "PATH")]
    cgroup: Vec<String>,
    /// Execute in a paused container, too: the process runs after resume
    #[arg(long)]
    ignore_paused: bool,
}

impl Exec {
    /// The container's name and what the library is told about the process.
    pub fn options(mut self) -> anyhow::Result<(ContainerId, ExecOptions)> {
        let args = self.words.split_off(1);
        let id = ContainerId::parse(&self.words[0])?;
        let process = self.process.map(absolute).transpose()?;
        match (&process, args.first()) {
            (None, None) => bail!("no command given: rcrun exec [OPTIONS] {id} COMMAND [ARGS]..."),
            (Some(file), Some(command)) => {
                bail!("both --process {} and the command {command:?} given: leave one out", file.display())
            }
            _ => {}
        }
        let options = ExecOptions {
            process: process.map(WholeProcess::File),
            args,
            cwd: self.cwd.filter(|cwd| !cwd.is_empty()),
            env: self.env,
            tty: self.tty,
            user: self.user.filter(|user| !user.is_empty()),
            additional_gids: self.additional_gids,
            detach: self.detach,
            console_socket: self.console_socket.map(absolute).transpose()?,
            pidfd_socket: self.pidfd_socket.map(absolute).transpose()?,
            pid_file: self.pid_file.map(absolute).transpose()?,
            caps: self.cap,
            no_new_privileges: self.no_new_privs,
            preserve_fds: self.preserve_fds,
            cgroup: SubCgroup::parse(&self.cgroup)?,
            ignore_paused: self.ignore_paused,
            process_label: self.process_label.filter(|label| !label.is_empty()),
            apparmor: self.apparmor.filter(|profile| !profile.is_empty()),
        };
        Ok((id, options))
    }
}

impl Command for Exec {
    const NAME: &'static str = "exec";
    const ABOUT: &'static str = "Execute one more process in a running container";
    const FAILURE: u8 = 255;

    fn run(mut self, context: &Context) -> anyhow::Result<u8> {
        let Some(id) = background::id_of(context, &self.words[0])? else {
            let (id, options) = self.options()?;
            return Ok(lifecycle::exec(&context.store(), &id, &options)?);
        };
        if !self.interactive {
            run_image::without_input()?;
        }
        self.words[0].clone_from(&id);
        if let Some(user) = self.user.take() {
            let found = background::user_of(context, &id, &user);
            let (user, groups) =
                found.map_err(|error| WithStatus { error, status: run_image::NOT_EXECUTABLE })?;
            self.user = Some(user);
            self.additional_gids.extend(groups);
        }
        let (id, options) = self.options()?;
        lifecycle::exec(&context.store(), &id, &options).map_err(|error| {
            // docker's: 126 and 127 of the program's, 1 of all others.
            let status = match run_image::status_of(&error) {
                run_image::OWN_ERROR => 1,
                status => status,
            };
            WithStatus { error: error.into(), status }.into()
        })
    }
}
