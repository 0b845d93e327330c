//! The registry that all pull from, and containerd, which works for ctr.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::pullers::Image;

/// Both, as long as this value.
pub struct Services {
    /// On a disk of its own, gone at the end.
    pub out: PathBuf,
    /// `127.0.0.1:PORT`.
    pub registry: String,
    /// containerd's socket.
    pub socket: PathBuf,
    ctr: Option<PathBuf>,
    // Dropped in this order.
    _containerd: Option<Daemon>,
    _registry: Daemon,
    _disk: Disk,
}

impl Services {
    /// Starts them in a new directory below `out`, and pushes the image.
    pub fn start(
        out: &Path,
        layouts: &Path,
        image: Image,
        containerd: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let (out, disk) = disk(&fs::canonicalize(out)?)?;
        let (daemon, registry) = registry(&out)?;
        let socket = PathBuf::from("/run/bench/containerd.sock");
        let (ctr, containerd) = match containerd {
            Some(path) => (Some(path.with_file_name("ctr")), Some(containerd_at(path, &out, &socket)?)),
            None => (None, None),
        };
        configure(&registry)?;
        let services =
            Self { out, registry, socket, ctr, _containerd: containerd, _registry: daemon, _disk: disk };
        services.push(layouts, image)?;
        Ok(services)
    }

    /// ctr's path, where containerd is there.
    pub fn ctr(&self) -> Option<&Path> {
        self.ctr.as_deref()
    }

    /// What an image is called.
    pub fn name(&self, image: Image) -> String {
        format!("{}/{}:{}", self.registry, image.name, image.packing)
    }

    fn push(&self, layouts: &Path, image: Image) -> anyhow::Result<()> {
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]);
        skopeo.arg(format!("oci:{}:{}", layouts.join(image.name).display(), image.packing));
        done(skopeo.arg(format!("docker://{}", self.name(image))))
    }
}

/// A file with a file system of its own, mounted.
struct Disk {
    file: PathBuf,
    mounted: PathBuf,
}

/// ext4 with a journal, in a file below `out`: without one, as some machines have it, ext4 does not use what was deleted again for
/// minutes but looks at each such inode, and whoever unpacks after a store was removed pays for that.
fn disk(out: &Path) -> anyhow::Result<(PathBuf, Disk)> {
    let (file, mounted) = (out.join("disk"), out.join("stores"));
    remove(&mounted)?;
    fs::create_dir_all(&mounted).with_context(|| format!("make {}", mounted.display()))?;
    File::create(&file)?.set_len(24 << 30).with_context(|| format!("make {}", file.display()))?;
    let made = Disk { file, mounted };
    let mut mkfs = Command::new("mkfs.ext4");
    done(mkfs.args(["-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"]).arg(&made.file))?;
    done(Command::new("mount").args(["-o", "loop"]).arg(&made.file).arg(&made.mounted))?;
    Ok((made.mounted.clone(), made))
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What is left is removed by the next one; the mount is gone with the view. podman may have mounts below it.
        let _ = Command::new("umount").args(["--recursive", "--lazy"]).arg(&self.mounted).output();
        let _ = fs::remove_file(&self.file);
    }
}

fn registry(out: &Path) -> anyhow::Result<(Daemon, String)> {
    let (file, log) = (out.join("registry.yml"), out.join("registry.log"));
    let storage = out.join("registry");
    let text = format!(
        "version: 0.1\nlog: {{accesslog: {{disabled: true}}}}\nhttp: {{addr: 127.0.0.1:0}}\n\
         storage: {{filesystem: {{rootdirectory: {storage:?}}}}}\n"
    );
    fs::write(&file, text).context("write the registry's configuration")?;
    let mut command = Command::new("docker-registry");
    let daemon = Daemon::start(command.arg("serve").arg(file), &log)?;
    let address = wait("docker-registry", || {
        let text = fs::read_to_string(&log).ok()?;
        let (_, rest) = text.split_once("listening on ")?;
        rest.contains('\n').then(|| rest.split(['"', ',']).next().map(str::to_owned))?
    })?;
    Ok((daemon, address))
}

/// containerd with what its images need, and no more.
fn containerd_at(path: &Path, out: &Path, socket: &Path) -> anyhow::Result<Daemon> {
    let file = out.join("containerd.toml");
    let root = out.join("containerd");
    let text = format!(
        "version = 3\nroot = {root:?}\nstate = \"/run/bench/containerd\"\n\
         disabled_plugins = [\"io.containerd.cri.v1.images\", \"io.containerd.cri.v1.runtime\", \
         \"io.containerd.grpc.v1.cri\", \"io.containerd.nri.v1.nri\", \"io.containerd.snapshotter.v1.btrfs\", \
         \"io.containerd.snapshotter.v1.zfs\", \"io.containerd.snapshotter.v1.devmapper\", \
         \"io.containerd.snapshotter.v1.erofs\", \"io.containerd.snapshotter.v1.blockfile\"]\n\
         [grpc]\naddress = {socket:?}\n"
    );
    fs::write(&file, text).context("write containerd's configuration")?;
    let log = out.join("containerd.log");
    let mut command = Command::new(path);
    let daemon = Daemon::start(command.arg("--config").arg(file), &log)?;
    let ctr = path.with_file_name("ctr");
    let ready = wait("containerd", || {
        let mut command = Command::new(&ctr);
        command.arg("--address").arg(socket).arg("version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().ok()?.success().then_some(())
    });
    ready.with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
    Ok(daemon)
}

/// What rcrun, podman and skopeo read in $HOME, which is the benchmark's own: HTTP is good enough for the registry.
fn configure(registry: &str) -> anyhow::Result<()> {
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    let directory = PathBuf::from(home).join(".config/containers");
    fs::create_dir_all(&directory)?;
    let text = format!("[[registry]]\nlocation = \"{registry}\"\ninsecure = true\n");
    fs::write(directory.join("registries.conf"), text)?;
    fs::write(directory.join("policy.json"), r#"{"default": [{"type": "insecureAcceptAnything"}]}"#)?;
    let text = "[containers]\npids_limit = 0\ndefault_sysctls = []\n[engine]\ncgroup_manager = \"cgroupfs\"\n\
                events_logger = \"none\"\n";
    fs::write(directory.join("containers.conf"), text)?;
    Ok(())
}

/// Runs a command to its end.
pub fn done(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Removes a directory that may not be there.
fn remove(directory: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

fn wait<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        if let Some(value) = ready() {
            return Ok(value);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("{what} is not ready after 30 s")
}

/// A process that is ended with this value.
struct Daemon(Child);

impl Daemon {
    fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let log = File::create(log).with_context(|| format!("make {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Ok(Self(command.spawn().with_context(|| format!("start {command:?}"))?))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Politely: containerd has mounts to undo.
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline && matches!(self.0.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
