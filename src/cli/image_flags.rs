//! The flags of `run` that are for images alone: docker's names and meanings.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use rcrun::background;
use rcrun::image::Platform;
use rcrun::image::container::mounts::{self, Places};
use rcrun::image::container::options::{Device, Dns, Limits, Network, Userns};
use rcrun::image::container::quantities::{self, Ulimit};
use rcrun::image::container::{self, Options, security};
use rcrun::network::PortMapping;

use super::base::Pull;
use super::transfer::RegistryFlags;

/// Flags of `run` for an image's container.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
#[command(next_help_heading = "Options for an IMAGE")]
pub struct ImageFlags {
    /// Delete the container when its process has ended
    #[arg(long)]
    pub rm: bool,
    /// Give the process this one's standard input; without it that is /dev/null
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the process a pseudo-terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Environment variable: NAME=VALUE, or NAME for the caller's own (repeatable)
    #[arg(short, long, value_name = "VAR")]
    env: Vec<String>,
    /// File of such variables, one a line (repeatable)
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// File or directory of this machine, or volume by its name, to mount: SOURCE:TARGET[:ro,...]; made as a directory
    /// where missing (repeatable)
    #[arg(short, long, value_name = "VOLUME")]
    volume: Vec<String>,
    /// The same in fields: type=bind|volume,source=...,target=...[,readonly], or type=tmpfs,target=... (repeatable)
    #[arg(long, value_name = "MOUNT")]
    mount: Vec<String>,
    /// New tmpfs: TARGET[:size=64m,mode=1777,...] (repeatable)
    #[arg(long, value_name = "TMPFS")]
    tmpfs: Vec<String>,
    /// Working directory in the container
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// User and group of the image, by name or number: USER[:GROUP]
    #[arg(short, long)]
    user: Option<String>,
    /// Further group (repeatable)
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<String>,
    /// Program to run in the place of the image's; an empty one takes the image's away
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Network: none, nothing but the loopback device; bridge, with an address of its own; or host, this machine's own
    /// [default: none; with --detach or --publish: bridge]
    #[arg(long, alias = "net", value_name = "MODE", value_parser = parsed_network)]
    network: Option<Network>,
    /// Port of this machine that leads into the container: [ADDRESS:][PORT]:PORT[/udp] (repeatable)
    #[arg(short, long, value_name = "PORT")]
    publish: Vec<String>,
    /// When to start the container again: no, and nothing else, since nobody is there to do it
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
    /// Seconds that the process has to end after the signal that stops it [default: 10]
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub stop_timeout: Option<i64>,
    /// Host name
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Line for /etc/hosts: NAME:ADDRESS (repeatable)
    #[arg(long, value_name = "HOST")]
    add_host: Vec<String>,
    /// Address of a name server (repeatable)
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<std::net::IpAddr>,
    /// Search domain; . for none (repeatable)
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,
    /// Option of the resolver (repeatable)
    #[arg(long, value_name = "OPTION")]
    dns_option: Vec<String>,
    /// Capability to add to docker's default ones, or ALL (repeatable)
    #[arg(long, value_name = "NAME")]
    cap_add: Vec<String>,
    /// Capability to drop, or ALL (repeatable)
    #[arg(long, value_name = "NAME")]
    cap_drop: Vec<String>,
    /// no-new-privileges, seccomp=unconfined|FILE, apparmor=PROFILE, label=disable|type:TYPE,
    /// systempaths=unconfined (repeatable)
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,
    /// User namespace: auto, one of the container's own with ids that no other container has, or host
    #[arg(long, value_name = "MODE", value_parser = parsed_userns)]
    userns: Option<Userns>,
    /// Read-only root file system
    #[arg(long)]
    read_only: bool,
    /// Device of this machine: PATH[:TARGET][:rwm] (repeatable)
    #[arg(long, value_name = "DEVICE")]
    device: Vec<String>,
    /// Size of /dev/shm [default: 64m]
    #[arg(long, value_name = "SIZE", value_parser = quantities::bytes)]
    shm_size: Option<u64>,
    /// Sysctl of the container's namespaces: NAME=VALUE (repeatable)
    #[arg(long, value_name = "SYSCTL")]
    sysctl: Vec<String>,
    /// Resource limit: NAME=SOFT[:HARD], such as nofile=1024:2048 (repeatable)
    #[arg(long, value_name = "LIMIT")]
    ulimit: Vec<Ulimit>,
    /// Limit of memory, such as 64m
    #[arg(short, long, value_name = "SIZE", value_parser = quantities::bytes_or_unlimited)]
    memory: Option<i64>,
    /// Limit of memory and swap together; -1 for no limit of swap [default: twice the memory]
    #[arg(long, value_name = "SIZE", value_parser = quantities::bytes_or_unlimited, allow_hyphen_values = true)]
    memory_swap: Option<i64>,
    /// Memory that is not taken away while there is other
    #[arg(long, value_name = "SIZE", value_parser = quantities::bytes_or_unlimited)]
    memory_reservation: Option<i64>,
    /// Number of CPUs, such as 1.5
    #[arg(long, value_name = "NUMBER", value_parser = quantities::cpus)]
    cpus: Option<i64>,
    /// Microseconds of CPU time in each period
    #[arg(long, value_name = "US", conflicts_with = "cpus")]
    cpu_quota: Option<i64>,
    /// Length of a period in microseconds
    #[arg(long, value_name = "US", conflicts_with = "cpus")]
    cpu_period: Option<u64>,
    /// Share of CPU time beside others; 1024 is the usual one
    #[arg(short, long, value_name = "SHARES")]
    cpu_shares: Option<u64>,
    /// CPUs to run on, such as 0-2,7
    #[arg(long, value_name = "CPUS")]
    cpuset_cpus: Option<String>,
    /// Memory nodes to use
    #[arg(long, value_name = "NODES")]
    cpuset_mems: Option<String>,
    /// Most processes and threads; -1 for no limit
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// How readily the kernel ends the process when memory is short, -1000 to 1000
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    oom_score_adj: Option<i32>,
    /// Annotation of the container: NAME[=VALUE] (repeatable)
    #[arg(short, long, value_name = "LABEL")]
    label: Vec<String>,
    /// Signal that is meant to stop the process
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Platform to take the image for, such as linux/arm64
    #[arg(long)]
    pub platform: Option<Platform>,
    /// When to pull the image: missing, always or never
    #[arg(long, value_name = "WHEN", value_enum)]
    pub pull: Option<Pull>,
    #[command(flatten, next_help_heading = "Options for an IMAGE")]
    pub registry: RegistryFlags,
}

fn parsed_network(word: &str) -> Result<Network, String> {
    match word {
        "none" => Ok(Network::None),
        "host" => Ok(Network::Host),
        "bridge" | "default" => Ok(Network::Bridge),
        _ => Err("expected none, bridge or host: there are no networks with names".into()),
    }
}

fn parsed_userns(word: &str) -> Result<Userns, String> {
    match word {
        "host" | "" => Ok(Userns::Host),
        "auto" => Ok(Userns::Auto),
        _ => Err("expected auto or host".into()),
    }
}

impl ImageFlags {
    /// One that was given, for a message: a bundle's config.json says all that.
    pub fn given(&self) -> Option<&'static str> {
        let none = Self::default();
        let all = [
            ("--rm", self.rm),
            ("--interactive", self.interactive),
            ("--tty", self.tty),
            ("--env", self.env != none.env || self.env_file != none.env_file),
            ("--volume", self.volume != none.volume),
            ("--mount", self.mount != none.mount || self.tmpfs != none.tmpfs),
            ("--workdir", self.workdir.is_some()),
            ("--user", self.user.is_some() || self.group_add != none.group_add),
            ("--entrypoint", self.entrypoint.is_some()),
            ("--network", self.network.is_some()),
            ("--publish", self.publish != none.publish),
            ("--hostname", self.hostname.is_some()),
            ("--cap-add", self.cap_add != none.cap_add),
            ("--cap-drop", self.cap_drop != none.cap_drop),
            ("--security-opt", self.security_opt != none.security_opt),
            ("--read-only", self.read_only),
            ("--memory", self.memory.is_some()),
            ("--cpus", self.cpus.is_some()),
            ("--pids-limit", self.pids_limit.is_some()),
            ("--platform", self.platform.is_some()),
            ("--pull", self.pull.is_some()),
        ];
        let named = all.into_iter().find(|(_, given)| *given).map(|(name, _)| name);
        named.or((*self != none).then_some("an option for images"))
    }

    /// What `-p` publishes.
    pub fn ports(&self) -> anyhow::Result<Vec<PortMapping>> {
        let ports: Result<Vec<_>, _> = self.publish.iter().map(|text| background::published(text)).collect();
        let ports = ports?.concat();
        match self.network {
            Some(Network::None | Network::Host) if !ports.is_empty() => {
                bail!("--publish is for --network bridge: leave the other network out")
            }
            _ => Ok(ports),
        }
    }

    fn check_restart(&self) -> anyhow::Result<()> {
        match self.restart.as_deref() {
            None | Some("no" | "") => Ok(()),
            Some(policy) => bail!(
                "--restart {policy}: no daemon is there to start it again; a unit of systemd with `rcrun run --rm` and \
                 Restart= does that"
            ),
        }
    }

    /// What the library is told; files are read and devices looked at.
    pub fn options(self, args: Vec<String>, places: Places<'_>, detached: bool) -> anyhow::Result<Options> {
        let here = places.here;
        self.check_restart()?;
        let usual = match detached || !self.publish.is_empty() {
            true => Network::Bridge,
            false => Network::None,
        };
        let read = |path: &Path| read_file(&here.join(path));
        Ok(Options {
            args,
            env: self.environment(here)?,
            mounts: self.mounts(places)?,
            security: security::options(&self.security_opt, &read).map_err(|reason| anyhow!(reason))?,
            devices: self.devices()?,
            sysctls: pairs("--sysctl", &self.sysctl, false)?,
            labels: pairs("--label", &self.label, true)?,
            add_hosts: each("--add-host", &self.add_host, container::add_host)?,
            limits: self.limits(),
            entrypoint: self.entrypoint,
            workdir: self.workdir,
            user: self.user,
            group_add: self.group_add,
            tty: self.tty,
            hostname: self.hostname,
            network: self.network.unwrap_or(usual),
            plugged: Default::default(),
            cap_add: self.cap_add,
            cap_drop: self.cap_drop,
            read_only: self.read_only,
            shm_size: self.shm_size,
            ulimits: self.ulimit,
            stop_signal: self.stop_signal,
            oom_score_adj: self.oom_score_adj,
            dns: Dns { servers: self.dns, search: self.dns_search, options: self.dns_option },
            userns: self.userns.unwrap_or_default(),
        })
    }

    fn limits(&self) -> Limits {
        Limits {
            memory: self.memory,
            memory_swap: self.memory_swap,
            memory_reservation: self.memory_reservation,
            cpu_quota: self.cpus.or(self.cpu_quota),
            cpu_period: self.cpus.map(|_| 100_000).or(self.cpu_period),
            cpu_shares: self.cpu_shares,
            cpuset_cpus: self.cpuset_cpus.clone(),
            cpuset_mems: self.cpuset_mems.clone(),
            pids: self.pids_limit,
        }
    }

    fn mounts(&self, places: Places<'_>) -> anyhow::Result<Vec<mounts::Wish>> {
        let mut wishes = each("--volume", &self.volume, |text| mounts::volume(text, places))?;
        wishes.extend(each("--mount", &self.mount, |text| mounts::mount(text, places))?);
        wishes.extend(each("--tmpfs", &self.tmpfs, mounts::tmpfs)?);
        for (index, wish) in wishes.iter().enumerate() {
            if wishes[..index].iter().any(|earlier| earlier.target == wish.target) {
                bail!("two mounts at {:?}: leave one out", wish.target);
            }
        }
        Ok(wishes)
    }

    fn devices(&self) -> anyhow::Result<Vec<Device>> {
        self.device.iter().map(|text| container::device(text).map_err(|reason| anyhow!(reason))).collect()
    }

    /// The files' variables first. A name alone stands for the caller's value, and for nothing where it has none.
    fn environment(&self, here: &Path) -> anyhow::Result<Vec<String>> {
        let mut variables = Vec::new();
        for file in &self.env_file {
            let text =
                read_file(&here.join(file)).with_context(|| format!("--env-file {}", file.display()))?;
            let text =
                String::from_utf8(text).map_err(|_| anyhow!("--env-file {}: no UTF-8", file.display()))?;
            for line in
                text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'))
            {
                let name = line.split('=').next().unwrap_or_default();
                if name.is_empty() || name.contains(char::is_whitespace) {
                    bail!("--env-file {}: {line:?} is not of the form NAME=VALUE", file.display());
                }
                variables.push(with_value(line)?);
            }
        }
        for variable in &self.env {
            variables.push(with_value(variable)?);
        }
        Ok(variables)
    }
}

/// A file that an option names, which may be a pipe: not one without an end.
fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    const MOST: u64 = 4 << 20;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MOST {
        true => Err(std::io::Error::other("it has more than 4 MiB")),
        false => Ok(bytes),
    }
}

fn with_value(variable: &str) -> anyhow::Result<String> {
    if variable.contains('=') || variable.is_empty() {
        return Ok(variable.to_owned());
    }
    match std::env::var_os(variable) {
        None => Ok(variable.to_owned()),
        Some(value) => match value.into_string() {
            Ok(value) => Ok(format!("{variable}={value}")),
            Err(_) => bail!("--env {variable}: the caller's value is no UTF-8"),
        },
    }
}

fn each<T>(
    option: &str,
    texts: &[String],
    parse: impl Fn(&str) -> Result<T, String>,
) -> anyhow::Result<Vec<T>> {
    texts.iter().map(|text| parse(text).map_err(|reason| anyhow!("{option}: {reason}"))).collect()
}

/// `NAME=VALUE`; where `bare` a name alone has an empty value.
fn pairs(option: &str, texts: &[String], bare: bool) -> anyhow::Result<Vec<(String, String)>> {
    each(option, texts, |text| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        None if bare && !text.is_empty() => Ok((text.to_owned(), String::new())),
        _ => Err(format!("{text:?} is not of the form NAME=VALUE")),
    })
}
