//! What runs: program, environment, directory, ids, capabilities.

use std::collections::BTreeMap;

use oci_spec::runtime::{Process, Spec};
use serde_json::{Value, json};

use super::capabilities::Sets;
use super::{Invalid, Request, defaults};
use crate::config::RestrictOomScoreAdj;

pub(super) fn process(request: &Request<'_>, capabilities: &Sets) -> Result<Value, Invalid> {
    let (user, security) = (&request.user, request.security());
    check_user(request)?;
    let Sets { bounding, ambient } = capabilities;
    Ok(json!({
        "terminal": request.container.tty,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": user.additional_gids},
        "args": arguments(request)?,
        "env": environment(request)?,
        "cwd": working_directory(request)?,
        "capabilities": {
            "bounding": bounding, "effective": bounding, "permitted": bounding,
            "inheritable": ambient, "ambient": ambient,
        },
        "noNewPrivileges": security.no_new_privs,
        "oomScoreAdj": oom_score_adj(request)?,
    }))
}

/// The container's own process with other arguments.
pub(super) fn exec(container: &Spec, args: &[String], terminal: bool) -> Result<Process, Invalid> {
    let mut process = container.process().clone().ok_or_else(|| {
        Invalid::new("container_id", "its config.json has no process: make the container anew")
    })?;
    if args.first().is_none_or(String::is_empty) {
        return Err(Invalid::new("cmd", "empty: name the program to run"));
    }
    no_nul("cmd", args)?;
    if terminal {
        let mut env = process.env().clone().unwrap_or_default();
        if !env.iter().any(|variable| variable.starts_with("TERM=")) {
            env.push(TERM.to_owned());
        }
        process.set_env(Some(env));
    }
    process.set_args(Some(args.to_vec())).set_terminal(Some(terminal)).set_console_size(None);
    Ok(process)
}

const TERM: &str = "TERM=xterm";

fn check_user(request: &Request<'_>) -> Result<(), Invalid> {
    let security = request.security();
    let named = !security.run_as_username.is_empty();
    if named && security.run_as_user.is_some() {
        let reason = "given beside run_as_user: give one of them";
        return Err(Invalid::new("linux.security_context.run_as_username", reason));
    }
    if security.run_as_group.is_some() && !named && security.run_as_user.is_none() {
        let reason = "needs run_as_user or run_as_username";
        return Err(Invalid::new("linux.security_context.run_as_group", reason));
    }
    Ok(())
}

/// A command replaces the image's entrypoint and its command; arguments alone replace its command.
fn arguments(request: &Request<'_>) -> Result<Vec<String>, Invalid> {
    let (container, image) = (request.container, request.image);
    let (command, args) = match (container.command.is_empty(), container.args.is_empty()) {
        (false, _) => (&container.command, &container.args),
        (true, false) => (&image.entrypoint, &container.args),
        (true, true) => (&image.entrypoint, &image.cmd),
    };
    no_nul("command", &container.command)?;
    no_nul("args", &container.args)?;
    let all: Vec<String> = command.iter().chain(args).cloned().collect();
    match all.first() {
        Some(program) if !program.is_empty() => Ok(all),
        Some(_) => Err(Invalid::new("command", "the program's name is empty")),
        None => Err(Invalid::new(
            "command",
            "nothing to run: the image has neither Entrypoint nor Cmd, so give one",
        )),
    }
}

fn no_nul(field: &str, texts: &[String]) -> Result<(), Invalid> {
    match texts.iter().position(|text| text.contains('\0')) {
        Some(index) => Err(Invalid::new(format!("{field}[{index}]"), "contains a NUL byte")),
        None => Ok(()),
    }
}

/// Ours, the image's, the container's; of a name the last counts, in the place of the first. An entry without `=` takes the
/// variable away.
fn environment(request: &Request<'_>) -> Result<Vec<String>, Invalid> {
    let hostname = match request.pod.config.hostname.as_str() {
        "" => request.host.hostname.as_str(),
        hostname => hostname,
    };
    let mut all = vec![format!("PATH={}", defaults::PATH)];
    all.extend(request.container.tty.then(|| TERM.to_owned()));
    all.push(format!("HOSTNAME={hostname}"));
    // Where nobody says it: as login(1) would.
    all.extend((!request.user.home.is_empty()).then(|| format!("HOME={}", request.user.home)));
    all.extend(request.image.env.iter().cloned());
    for (index, variable) in request.container.envs.iter().enumerate() {
        let refuse = |reason: String| Err(Invalid::new(format!("envs[{index}]"), reason));
        if variable.key.is_empty() || variable.key.contains(['=', '\0']) {
            return refuse(format!("{:?} is no variable's name", variable.key));
        }
        match str::from_utf8(&variable.value) {
            Ok(value) if value.contains('\0') => {
                return refuse(format!("the value of {} contains a NUL byte", variable.key));
            }
            Ok(value) => all.push(format!("{}={value}", variable.key)),
            Err(_) => {
                return refuse(format!(
                    "the value of {} is not UTF-8, as config.json has to be",
                    variable.key
                ));
            }
        }
    }
    Ok(last_of_each(&all))
}

fn last_of_each(all: &[String]) -> Vec<String> {
    let mut names: Vec<&str> = Vec::new();
    let mut last: BTreeMap<&str, Option<&String>> = BTreeMap::new();
    for variable in all {
        let (name, value) = match variable.split_once('=') {
            Some((name, _)) => (name, Some(variable)),
            None => (variable.as_str(), None),
        };
        if last.insert(name, value).is_none() {
            names.push(name);
        }
    }
    names.into_iter().filter_map(|name| last.get(name).copied().flatten()).cloned().collect()
}

fn working_directory(request: &Request<'_>) -> Result<String, Invalid> {
    let (wish, image) = (request.container.working_dir.as_str(), request.image.working_dir.as_str());
    if wish.contains('\0') {
        return Err(Invalid::new("working_dir", "contains a NUL byte"));
    }
    match (wish, image) {
        ("", image) if image.starts_with('/') => Ok(image.to_owned()),
        ("", image) => Ok(format!("/{image}")),
        (wish, _) if wish.starts_with('/') => Ok(wish.to_owned()),
        (wish, _) => Err(Invalid::new("working_dir", format!("{wish:?} is not an absolute path"))),
    }
}

/// proc_pid_oom_score_adj(5). Who says nothing does not inherit rcrun-cri's, which may be protected.
fn oom_score_adj(request: &Request<'_>) -> Result<i32, Invalid> {
    const FIELD: &str = "linux.resources.oom_score_adj";
    let given = request.container.linux.as_ref().and_then(|linux| linux.resources.as_ref());
    let wish = given.map_or(0, |resources| resources.oom_score_adj);
    let wish = i32::try_from(wish).ok().filter(|wish| (-1000..=1000).contains(wish));
    let wish = wish.ok_or_else(|| {
        Invalid::new(FIELD, format!("{} is outside of -1000..1000", request.resources().oom_score_adj))
    })?;
    let (lowest, own) = (request.host.lowest_oom_score_adj, request.host.own_oom_score_adj);
    match request.config.restrict_oom_score_adj {
        RestrictOomScoreAdj::Always => Ok(wish.max(own)),
        RestrictOomScoreAdj::Auto => Ok(wish.max(lowest)),
        RestrictOomScoreAdj::Never if wish < lowest && given.is_some() => {
            let reason = format!(
                "{wish} is below {lowest}, the lowest that may be set without CAP_SYS_RESOURCE: run rcrun-cri with it, or \
                 set restrict_oom_score_adj = \"auto\""
            );
            Err(Invalid::new(FIELD, reason))
        }
        RestrictOomScoreAdj::Never => Ok(wish.max(lowest)),
    }
}
