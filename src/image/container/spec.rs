//! The container's configuration, out of the image's and the user's wishes: OCI image specification, conversion.md,
//! with docker's defaults.
//!
//! Pure: in go values alone, out comes a config.json. What it takes from the host was looked up before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::config::{ImageConfig, RESERVED, variable_name};
use super::mounts::{What, Wish};
use super::options::{Device, Limits, Network, Options, Seccomp};
use super::users::User;
use super::{ContainerError, defaults, security};
use crate::image::store::IdRange;
use crate::seccomp::default_profile;

/// How the annotations begin that this or another runtime obeys.
const INSTRUCTIONS: [&str; 3] = ["org.systemd.property.", "org.criu.", "run.oci."];

/// What a configuration is made of.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The image's name, for messages.
    pub name: &'a str,
    /// Its configuration.
    pub image: &'a ImageConfig,
    /// The user's wishes.
    pub options: &'a Options,
    /// Whom the process belongs to.
    pub user: User,
    /// The container's host name.
    pub hostname: &'a str,
    /// The root file system's directory.
    pub root: PathBuf,
    /// Files that rcrun mounts: source and target. A wish of the same target comes before them.
    pub files: Vec<(PathBuf, String)>,
    /// Directories of the container for the image's volumes: source and target.
    pub volumes: Vec<(PathBuf, String)>,
    /// A user namespace of its own.
    pub ids: Option<IdRange>,
    /// May device nodes be made? Not in a user namespace.
    pub makes_nodes: bool,
    /// rcrun's own capabilities, a bit mask.
    pub permitted: u64,
    /// May groups be set, and is the group of terminals mapped? Not where a user namespace maps a single id.
    pub many_ids: bool,
}

impl Request<'_> {
    fn bad_config(&self, reason: String) -> ContainerError {
        ContainerError::Config { image: self.name.into(), reason }
    }
}

/// The configuration.
pub fn spec(request: &Request<'_>) -> Result<Value, ContainerError> {
    check_paths(request)?;
    let capabilities =
        security::capabilities(&request.options.cap_add, &request.options.cap_drop, request.permitted)
            .map_err(ContainerError::Option)?;
    Ok(json!({
        "ociVersion": crate::spec::OCI_VERSION,
        "process": process(request, &capabilities)?,
        "root": {"path": request.root, "readonly": request.options.read_only},
        "hostname": request.hostname,
        "mounts": mounts(request),
        "annotations": annotations(request)?,
        "linux": linux(request, &capabilities)?,
    }))
}

fn check_paths(request: &Request<'_>) -> Result<(), ContainerError> {
    let own = request.files.iter().chain(&request.volumes).map(|(source, _)| source);
    let wished = request.options.mounts.iter().filter_map(|wish| match &wish.what {
        What::Bind { source, .. } => Some(source),
        What::Tmpfs(_) => None,
    });
    let devices = request.options.devices.iter().map(|device| &device.source);
    let mut all = std::iter::once(&request.root).chain(own).chain(wished).chain(devices);
    all.find(|path| path.to_str().is_none()).map_or(Ok(()), |path| Err(ContainerError::NotText(path.clone())))
}

fn process(request: &Request<'_>, capabilities: &[String]) -> Result<Value, ContainerError> {
    let options = request.options;
    let user = &request.user;
    // Who is not root gets none until a program with a setuid bit gives them, as execve(2) has it.
    let effective = if user.uid == 0 { capabilities } else { &[] };
    let groups: &[u32] = if request.many_ids { &user.groups } else { &[] };
    let mut process = json!({
        "terminal": options.tty,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": groups},
        "args": arguments(request)?,
        "env": environment(request)?,
        "cwd": working_directory(request)?,
        "capabilities": {
            "bounding": capabilities, "effective": effective, "permitted": effective,
            "inheritable": [], "ambient": [],
        },
        "noNewPrivileges": options.security.no_new_privileges,
    });
    let mut limits: BTreeMap<&str, Value> = BTreeMap::new();
    for limit in &options.ulimits {
        limits.insert(&limit.name, json!({"type": limit.name, "soft": limit.soft, "hard": limit.hard}));
    }
    if !limits.is_empty() {
        process["rlimits"] = limits.into_values().collect();
    }
    let optional = [
        ("apparmorProfile", options.security.apparmor.clone().map(Value::from)),
        ("selinuxLabel", options.security.selinux.clone().map(Value::from)),
        ("oomScoreAdj", options.oom_score_adj.map(Value::from)),
    ];
    for (field, value) in optional {
        if let Some(value) = value {
            process[field] = value;
        }
    }
    Ok(process)
}

/// The entrypoint and its arguments. Another entrypoint takes the image's command away, too.
fn arguments(request: &Request<'_>) -> Result<Vec<String>, ContainerError> {
    let (image, options) = (&request.image.config, request.options);
    let mut args: Vec<String> = match &options.entrypoint {
        Some(program) => Some(program.clone()).filter(|program| !program.is_empty()).into_iter().collect(),
        None => image.entrypoint.clone(),
    };
    match (options.args.is_empty(), &options.entrypoint) {
        (false, _) => args.extend(options.args.iter().cloned()),
        (true, None) => args.extend(image.cmd.iter().cloned()),
        (true, Some(_)) => {}
    }
    match args.first() {
        Some(program) if !program.is_empty() => Ok(args),
        _ => Err(ContainerError::NoCommand { image: request.name.into() }),
    }
}

/// rcrun's variables, then the image's, then the user's; of a name the last counts, in the place of the first.
fn environment(request: &Request<'_>) -> Result<Vec<String>, ContainerError> {
    let options = request.options;
    let mut all = vec![format!("PATH={}", defaults::PATH), format!("HOSTNAME={}", request.hostname)];
    all.extend(options.tty.then(|| "TERM=xterm".to_owned()));
    all.extend(request.image.config.env.iter().cloned());
    all.extend(options.env.iter().cloned());
    let mut names: Vec<&str> = Vec::new();
    let mut last: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    for variable in &all {
        let name = match (variable_name(variable), variable.contains('=')) {
            (Some(name), _) => name,
            (None, false) if !variable.is_empty() => variable,
            _ => return Err(ContainerError::Option(format!("--env {variable:?}: the variable has no name"))),
        };
        let value = variable.contains('=').then_some(variable.as_str());
        if last.insert(name, value).is_none() {
            names.push(name);
        }
    }
    Ok(names.into_iter().filter_map(|name| last.get(name).copied().flatten()).map(str::to_owned).collect())
}

fn working_directory(request: &Request<'_>) -> Result<String, ContainerError> {
    if let Some(directory) = &request.options.workdir {
        return match directory.starts_with('/') {
            true => Ok(directory.clone()),
            false => Err(ContainerError::Option(format!("--workdir {directory:?} is not an absolute path"))),
        };
    }
    let directory = request.image.config.working_dir.as_str();
    Ok(if directory.starts_with('/') { directory.to_owned() } else { format!("/{directory}") })
}

/// Parents before what is below them. A wish hides what rcrun would mount at the same place.
fn mounts(request: &Request<'_>) -> Vec<Value> {
    let wishes = &request.options.mounts;
    let wished = |target: &str| wishes.iter().any(|wish| wish.target == target);
    let bind = |(source, target): &(PathBuf, String)| bind_mount(source, target, &["rbind", "rprivate"]);
    let files = request.files.iter().chain(&request.volumes).filter(|(_, target)| !wished(target)).map(bind);
    let devices = request.options.devices.iter().filter(|device| is_bound(request, device));
    let devices = devices.map(|device| bind_mount(&device.source, &device.path, &["bind", "rprivate"]));
    let mut own: Vec<Value> = wishes.iter().map(wish).chain(files).chain(devices).collect();
    own.sort_by_key(|mount| depth(mount["destination"].as_str().unwrap_or_default()));
    let mut all = defaults::mounts(request.options.shm_size, request.many_ids);
    all.retain(|mount| !mount["destination"].as_str().is_some_and(wished));
    all.extend(own);
    all
}

/// Where no node can be made the runtime takes the host's of the same path; one of another path has to be a mount.
fn is_bound(request: &Request<'_>, device: &Device) -> bool {
    !request.makes_nodes && device.source != Path::new(&device.path)
}

fn depth(target: &str) -> usize {
    target.split('/').filter(|name| !name.is_empty()).count()
}

fn bind_mount(source: &Path, target: &str, options: &[&str]) -> Value {
    json!({"destination": target, "type": "bind", "source": source, "options": options})
}

fn wish(wish: &Wish) -> Value {
    match &wish.what {
        What::Bind { source, propagation, recursive, .. } => {
            let mut options = vec![if *recursive { "rbind" } else { "bind" }];
            options.push(propagation.as_deref().unwrap_or("rprivate"));
            options.extend(wish.readonly.then_some("ro"));
            bind_mount(source, &wish.target, &options)
        }
        What::Tmpfs(options) => {
            let options: Vec<&str> =
                options.iter().map(String::as_str).chain(wish.readonly.then_some("ro")).collect();
            json!({"destination": wish.target, "type": "tmpfs", "source": "tmpfs", "options": options})
        }
    }
}

/// conversion.md, "Annotation Fields": what people may want to know; labels as they are.
fn annotations(request: &Request<'_>) -> Result<Value, ContainerError> {
    let (image, options) = (request.image, request.options);
    let signal = options.stop_signal.as_ref().unwrap_or(&image.config.stop_signal);
    if !signal.is_empty() && !is_signal(signal) {
        return Err(match &options.stop_signal {
            Some(_) => ContainerError::Option(format!("--stop-signal {signal:?} is no signal")),
            None => request.bad_config(format!("config.StopSignal: {signal:?} is no signal")),
        });
    }
    let ports: Vec<&str> = image.config.exposed_ports.keys().map(String::as_str).collect();
    let mut all = Map::new();
    let own = [
        ("org.opencontainers.image.os", image.os.as_str()),
        ("org.opencontainers.image.architecture", image.architecture.as_str()),
        ("org.opencontainers.image.variant", image.variant.as_str()),
        ("org.opencontainers.image.stopSignal", signal.as_str()),
        ("org.opencontainers.image.exposedPorts", &ports.join(",")),
        ("org.rcrun.image", request.name),
    ];
    let own = own.into_iter().filter(|(_, value)| !value.is_empty());
    all.extend(own.map(|(name, value)| (name.to_owned(), value.into())));
    let labels = image.config.labels.iter().filter(|(name, _)| !is_instruction(name));
    all.extend(labels.map(|(name, value)| (name.clone(), value.as_str().into())));
    for (name, value) in &options.labels {
        if name.is_empty() || name.starts_with(RESERVED) {
            let reason = format!("--label {name:?}: labels that begin with {RESERVED} are rcrun's own");
            return Err(ContainerError::Option(reason));
        }
        all.insert(name.clone(), value.as_str().into());
    }
    Ok(Value::Object(all))
}

/// Does the annotation tell rcrun what to do on the host (properties of the cgroup's unit, CRIU's configuration)? That
/// is the user's to say, and never an image's.
fn is_instruction(name: &str) -> bool {
    INSTRUCTIONS.iter().any(|beginning| name.starts_with(beginning))
}

/// `SIGTERM`, `TERM`, `15`, `RTMIN+3`.
fn is_signal(text: &str) -> bool {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let real_time = name.strip_prefix("RTMIN").or_else(|| name.strip_prefix("RTMAX"));
    let offset =
        |rest: &str| rest.trim_start_matches(['+', '-']).parse::<u8>().is_ok_and(|offset| offset <= 30);
    text.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number))
        || real_time.is_some_and(|rest| rest.is_empty() || offset(rest))
        || format!("SIG{name}").parse::<nix::sys::signal::Signal>().is_ok()
}

fn linux(request: &Request<'_>, capabilities: &[String]) -> Result<Value, ContainerError> {
    let options = request.options;
    let mut kinds = vec!["pid", "ipc", "uts", "mount", "cgroup"];
    kinds.extend((options.network == Network::None).then_some("network"));
    kinds.extend(request.ids.map(|_| "user"));
    let mut namespaces: Vec<Value> = kinds.into_iter().map(|kind| json!({"type": kind})).collect();
    if options.network == Network::Bridge {
        namespaces.push(json!({"type": "network", "path": options.plugged.namespace}));
    }
    let mut linux = json!({"namespaces": namespaces, "resources": resources(options)?});
    if !options.security.system_paths_unconfined {
        linux["maskedPaths"] = json!(defaults::MASKED);
        linux["readonlyPaths"] = json!(defaults::READ_ONLY);
    }
    match &options.security.seccomp {
        Seccomp::Default => linux["seccomp"] = default_profile(capabilities),
        Seccomp::Profile(profile) => linux["seccomp"] = security::resolved(profile, capabilities),
        Seccomp::Unconfined => {}
    }
    if !options.sysctls.is_empty() {
        linux["sysctl"] =
            options.sysctls.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    }
    if let Some(IdRange { first, count }) = request.ids {
        let mapping = json!([{"containerID": 0, "hostID": first, "size": count}]);
        linux["uidMappings"] = mapping.clone();
        linux["gidMappings"] = mapping;
    }
    let devices = options.devices.iter().filter(|device| !is_bound(request, device)).map(|device| {
        json!({"path": device.path, "type": device.kind.to_string(), "major": device.major,
            "minor": device.minor, "fileMode": device.mode, "uid": 0, "gid": 0})
    });
    linux["devices"] = devices.collect();
    Ok(linux)
}

/// Devices are denied but for the usual ones, which the runtime adds, and those that were asked for.
fn resources(options: &Options) -> Result<Value, ContainerError> {
    let limits = &options.limits;
    let rules = options.devices.iter().map(|device| {
        json!({"allow": true, "type": device.kind.to_string(), "major": device.major, "minor": device.minor,
            "access": device.access})
    });
    let denied = json!({"allow": false, "access": "rwm"});
    let mut resources = json!({"devices": std::iter::once(denied).chain(rules).collect::<Vec<_>>()});
    let memory = without_nulls(json!({
        "limit": limits.memory, "reservation": limits.memory_reservation, "swap": swap(limits)?,
    }));
    let cpu = without_nulls(json!({
        "quota": limits.cpu_quota, "period": limits.cpu_period, "shares": limits.cpu_shares,
        "cpus": limits.cpuset_cpus, "mems": limits.cpuset_mems,
    }));
    // 0 is no limit, too, for docker.
    let pids = without_nulls(json!({"limit": limits.pids.filter(|limit| *limit > 0)}));
    for (field, value) in [("memory", memory), ("cpu", cpu), ("pids", pids)] {
        if let Some(value) = value {
            resources[field] = value;
        }
    }
    Ok(resources)
}

/// None where nothing is left.
fn without_nulls(value: Value) -> Option<Value> {
    let Value::Object(mut fields) = value else { return None };
    fields.retain(|_, value| !value.is_null());
    (!fields.is_empty()).then_some(Value::Object(fields))
}

/// Memory and swap together: without a word twice the memory, as docker has it.
fn swap(limits: &Limits) -> Result<Option<i64>, ContainerError> {
    let refuse = |reason: &str| Err(ContainerError::Option(format!("--memory-swap {reason}")));
    match (limits.memory, limits.memory_swap) {
        (None | Some(-1), Some(swap)) if swap > 0 => refuse("needs --memory"),
        (Some(memory), Some(swap)) if swap > 0 && swap < memory => {
            refuse("is memory and swap together: give more than --memory")
        }
        (_, Some(swap)) if swap != 0 => Ok(Some(swap)),
        (Some(memory), _) if memory > 0 => Ok(Some(memory.saturating_mul(2))),
        _ => Ok(None),
    }
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
