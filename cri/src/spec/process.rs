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
    let mut all: Vec<Variable<'_>> = vec![("PATH", Some(defaults::PATH.as_bytes()))];
    all.extend(request.container.tty.then_some(("TERM", Some(&b"xterm"[..]))));
    all.push(("HOSTNAME", Some(hostname.as_bytes())));
    // Where nobody says it: as login(1) would.
    let home = request.user.home.as_str();
    all.extend((!home.is_empty()).then_some(("HOME", Some(home.as_bytes()))));
    all.extend(request.image.env.iter().map(|entry| match entry.split_once('=') {
        Some((name, value)) => (name, Some(value.as_bytes())),
        None => (entry.as_str(), None),
    }));
    for (index, variable) in request.container.envs.iter().enumerate() {
        let refuse = |reason: String| Err(Invalid::new(format!("envs[{index}]"), reason));
        if variable.key.is_empty() || variable.key.contains(['=', '\0']) {
            return refuse(format!("{:?} is no variable's name", variable.key));
        }
        if variable.value.contains(&0) {
            return refuse(format!("the value of {} contains a NUL byte", variable.key));
        }
        // What stands for bytes in a config.json rcrun's own library alone understands.
        if request.profile.program.is_some() && str::from_utf8(&variable.value).is_err() {
            let name = &variable.key;
            return refuse(format!(
                "the value of {name} is not UTF-8, as a config.json for another runtime has to be"
            ));
        }
        all.push((&variable.key, Some(&variable.value)));
    }
    Ok(last_of_each(&all))
}

/// Name and value; None takes it away.
type Variable<'a> = (&'a str, Option<&'a [u8]>);

fn last_of_each(all: &[Variable<'_>]) -> Vec<String> {
    let mut names: Vec<&str> = Vec::new();
    let mut last: BTreeMap<&str, Option<&[u8]>> = BTreeMap::new();
    for (name, value) in all {
        if last.insert(name, *value).is_none() {
            names.push(name);
        }
    }
    let entry = |name| Some(rcrun::spec::variable(name, last.get(name).copied().flatten()?));
    names.into_iter().filter_map(entry).collect()
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

#[cfg(test)]
mod tests {
    use super::super::tests::Wish;
    use super::*;
    use crate::api::{Int64Value, KeyValue, LinuxContainerResources};

    fn own(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn a_command_replaces_entrypoint_and_cmd_and_args_replace_cmd() {
        let cases: [(&[&str], &[&str], &[&str]); 4] = [
            (&[], &[], &["entry", "cmd"]),
            (&["c"], &[], &["c"]),
            (&[], &["a"], &["entry", "a"]),
            (&["c"], &["a", "b"], &["c", "a", "b"]),
        ];
        for (command, args, expected) in cases {
            let wish = Wish::with(|wish| {
                (wish.container.command, wish.container.args) = (own(command), own(args));
                (wish.image.entrypoint, wish.image.cmd) = (own(&["entry"]), own(&["cmd"]));
            });
            assert_eq!(wish.json()["process"]["args"], json!(expected));
        }
        let nothing = Wish::with(|wish| wish.container.command = Vec::new());
        assert_eq!(
            nothing.error(),
            "command: nothing to run: the image has neither Entrypoint nor Cmd, so give one"
        );
        let empty = Wish::with(|wish| wish.container.command = own(&["", "x"]));
        assert_eq!(empty.error(), "command: the program's name is empty");
        let nul = Wish::with(|wish| wish.container.args = own(&["x", "a\0b"]));
        assert_eq!(nul.error(), "args[1]: contains a NUL byte");
    }

    fn variable(key: &str, value: &[u8]) -> KeyValue {
        KeyValue { key: key.into(), value: value.into() }
    }

    #[test]
    fn of_a_variable_the_last_counts_in_the_first_place() {
        let wish = Wish::with(|wish| {
            wish.image.env = own(&["PATH=/bin", "A=1", "B=1", "C=1"]);
            wish.container.envs = vec![variable("B", b"x=y"), variable("D", b"")];
            wish.container.tty = true;
            wish.user.home = "/home/u".into();
        });
        let expected =
            ["PATH=/bin", "TERM=xterm", "HOSTNAME=web-0", "HOME=/home/u", "A=1", "B=x=y", "C=1", "D="];
        assert_eq!(wish.json()["process"]["env"], json!(expected));
        let hosts = Wish::with(|wish| {
            wish.pod.config.hostname = String::new();
            wish.image.env = own(&["PATH"]);
        });
        assert_eq!(hosts.json()["process"]["env"], json!(["HOSTNAME=node"]));
    }

    #[test]
    fn variables_that_are_none_are_named() {
        for (key, value, expected) in [
            ("", &b"x"[..], "envs[0]: \"\" is no variable's name"),
            ("A=B", b"x", "envs[0]: \"A=B\" is no variable's name"),
            ("A", b"\0", "envs[0]: the value of A contains a NUL byte"),
        ] {
            let wish = Wish::with(|wish| wish.container.envs = vec![variable(key, value)]);
            assert_eq!(wish.error(), expected);
        }
        let mut bytes = Wish::with(|wish| wish.container.envs = vec![variable("A", b"\xff")]);
        let entry = bytes.json()["process"]["env"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(entry, rcrun::spec::variable("A", b"\xff"));
        bytes.profile.program = Some("/usr/bin/runc".into());
        assert_eq!(
            bytes.error(),
            "envs[0]: the value of A is not UTF-8, as a config.json for another runtime has to be"
        );
    }

    #[test]
    fn the_working_directory_is_absolute() {
        for (wish, image, expected) in
            [("", "", "/"), ("", "srv", "/srv"), ("", "/srv", "/srv"), ("/own", "/srv", "/own")]
        {
            let made = Wish::with(|made| {
                (made.container.working_dir, made.image.working_dir) = (wish.into(), image.into());
            });
            assert_eq!(made.json()["process"]["cwd"], expected);
        }
        let relative = Wish::with(|wish| wish.container.working_dir = "srv".into());
        assert_eq!(relative.error(), "working_dir: \"srv\" is not an absolute path");
    }

    #[test]
    fn the_user_is_who_was_looked_up() {
        let wish = Wish::with(|wish| {
            wish.user =
                super::super::User { uid: 7, gid: 8, additional_gids: vec![9, 10], home: String::new() };
            wish.security().no_new_privs = true;
            wish.security().readonly_rootfs = true;
        });
        let config = wish.json();
        assert_eq!(config["process"]["user"], json!({"uid": 7, "gid": 8, "additionalGids": [9, 10]}));
        assert_eq!(config["process"]["noNewPrivileges"], true);
        assert_eq!(config["root"]["readonly"], true);
        let group = Wish::with(|wish| wish.security().run_as_group = Some(Int64Value { value: 8 }));
        assert_eq!(
            group.error(),
            "linux.security_context.run_as_group: needs run_as_user or run_as_username"
        );
        let both = Wish::with(|wish| {
            wish.security().run_as_user = Some(Int64Value { value: 7 });
            wish.security().run_as_username = "u".into();
        });
        assert_eq!(
            both.error(),
            "linux.security_context.run_as_username: given beside run_as_user: give one of them"
        );
    }

    #[test]
    fn oom_score_adj_is_raised_to_what_may_be_set() {
        let wish = |adj: i64, lowest: i32, own: i32, restrict: RestrictOomScoreAdj| {
            Wish::with(|wish| {
                wish.resources().oom_score_adj = adj;
                (wish.host.lowest_oom_score_adj, wish.host.own_oom_score_adj) = (lowest, own);
                wish.config.restrict_oom_score_adj = restrict;
            })
        };
        use RestrictOomScoreAdj::{Always, Auto, Never};
        for (adj, lowest, own, restrict, expected) in [
            (-997, -1000, 0, Auto, -997),
            (-997, 100, 100, Auto, 100),
            (500, 100, 100, Auto, 500),
            (-997, -1000, -5, Always, -5),
            (-997, -1000, 0, Never, -997),
        ] {
            let wish = wish(adj, lowest, own, restrict);
            assert_eq!(wish.json()["process"]["oomScoreAdj"], expected);
        }
        assert_eq!(
            wish(-997, 0, 0, Never).error(),
            "linux.resources.oom_score_adj: -997 is below 0, the lowest that may be set without CAP_SYS_RESOURCE: run \
             rcrun-cri with it, or set restrict_oom_score_adj = \"auto\""
        );
        assert_eq!(
            wish(1001, 0, 0, Auto).error(),
            "linux.resources.oom_score_adj: 1001 is outside of -1000..1000"
        );
        let silent = Wish::with(|wish| wish.host.own_oom_score_adj = -999);
        assert_eq!(silent.json()["process"]["oomScoreAdj"], 0);
        assert_eq!(LinuxContainerResources::default().oom_score_adj, 0);
    }

    #[test]
    fn an_exec_is_the_container_with_other_arguments() {
        let wish = Wish::with(|wish| {
            wish.user.uid = 7;
            wish.container.envs = vec![variable("A", b"1")];
            wish.container.working_dir = "/srv".into();
            wish.security().no_new_privs = true;
        });
        let spec = wish.made().unwrap().spec;
        let process = exec(&spec, &own(&["ls", "-l"]), true).unwrap();
        let container = spec.process().as_ref().unwrap();
        assert_eq!(process.args().as_deref(), Some(&own(&["ls", "-l"])[..]));
        assert_eq!(process.terminal(), Some(true));
        assert_eq!(process.env().as_ref().unwrap().last().unwrap(), "TERM=xterm");
        assert_eq!((process.user(), process.cwd()), (container.user(), container.cwd()));
        assert_eq!(process.capabilities(), container.capabilities());
        assert_eq!(process.no_new_privileges(), Some(true));
        let plain = exec(&spec, &own(&["ls"]), false).unwrap();
        assert_eq!((plain.terminal(), plain.env()), (Some(false), container.env()));
        assert_eq!(exec(&spec, &[], false).unwrap_err().to_string(), "cmd: empty: name the program to run");
    }
}
