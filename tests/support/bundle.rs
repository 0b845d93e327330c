//! A bundle in a temporary directory: Debian's static busybox as root file system, the
//! configuration that `rcrun spec` writes, and the commands on its container.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::leaks::{MARKER, Traces};

const BUSYBOX: &str = "/bin/busybox";

/// Applets in /bin of the root file system, hard links of busybox.
pub const DEFAULT_APPLETS: &[&str] = &[
    "busybox", "sh", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "df", "echo", "env", "false",
    "grep", "head", "hostname", "id", "kill", "ln", "ls", "mkdir", "mkfifo", "mknod", "mount", "nc",
    "printf", "ps", "pwd", "readlink", "rm", "rmdir", "sed", "seq", "setsid", "sleep", "sort", "stat",
    "stty", "tail", "test", "touch", "tr", "true", "tty", "umount", "uname", "wc",
];

/// A bundle and the container that is made of it.
///
/// Dropping it checks that nothing of the test is left on the host, and fails the test otherwise.
pub struct Bundle {
    pub(super) directory: tempfile::TempDir,
    /// config.json, written before each command that reads it.
    pub config: Value,
    name: String,
    state: String,
    pub(super) id: String,
    pub(super) marker: String,
    pub(super) global: Vec<OsString>,
    pub(super) env: Vec<(String, String)>,
    pub(super) invocations: AtomicU32,
    pub(super) raw_config: Option<String>,
    /// Where the binary is for commands of an unprivileged user.
    pub(super) unprivileged: Option<PathBuf>,
}

/// The user and group of [`Bundle::rootless`].
pub const USER: u32 = 1000;

impl Bundle {
    /// A bundle whose container runs `true`. Err is a reason to skip the test.
    pub fn busybox() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("not root".into());
        }
        super::cgroup_mount()?;
        if !Path::new(BUSYBOX).exists() {
            return Err(format!("no {BUSYBOX}: install busybox-static"));
        }
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("time");
        let marker = format!("t{}x{number}x{:x}", std::process::id(), time.subsec_nanos());
        let directory = tempfile::Builder::new().prefix(&marker).tempdir().expect("make a directory");
        // A user namespace's root must be able to pass through to its root file system.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        for name in ["io", "files"] {
            fs::create_dir(directory.path().join(name)).expect("mkdir");
        }
        let config = prepared_config(default_config(), &marker);
        let bundle = Self {
            directory,
            config,
            name: "bundle".into(),
            state: "state".into(),
            id: marker.clone(),
            marker,
            global: Vec::new(),
            env: Vec::new(),
            invocations: AtomicU32::new(0),
            raw_config: None,
            unprivileged: None,
        };
        busybox_rootfs(&bundle.rootfs());
        Ok(bundle)
    }

    /// The directory of config.json.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join(&self.name)
    }

    /// The root file system.
    pub fn rootfs(&self) -> PathBuf {
        self.path().join("rootfs")
    }

    /// Makes a file in the root file system that can be executed at once.
    pub fn make_program(&self, path: &str, content: &[u8], mode: u32) {
        let original = self.file("program");
        fs::write(&original, content).expect("write");
        copy_program(&original, &self.rootfs().join(path), mode);
    }

    /// A path for the test's own files, outside of the bundle.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("files").join(name)
    }

    /// A directory of the test's with a file `word` in it, which says `hello`.
    pub fn data(&self) -> PathBuf {
        let directory = self.file("data");
        fs::create_dir(&directory).expect("mkdir");
        fs::write(directory.join("word"), "hello\n").expect("write");
        directory
    }

    /// The directory given as `--root`.
    pub fn state_directory(&self) -> PathBuf {
        self.directory.path().join(&self.state)
    }

    /// The container's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The text that is part of everything which belongs to this test.
    pub fn marker(&self) -> &str {
        &self.marker
    }

    // What the container is to be.

    /// process.args.
    pub fn args<const N: usize>(self, args: [&str; N]) -> Self {
        self.edit(|config| config["process"]["args"] = json!(args.as_slice()))
    }

    /// process.args for a shell script.
    pub fn script(self, script: &str) -> Self {
        self.args(["sh", "-c", script])
    }

    /// Any change of the configuration.
    pub fn edit(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.config);
        self
    }

    /// Sets the value at a JSON pointer, making objects on its way.
    pub fn set(mut self, pointer: &str, value: Value) -> Self {
        let place =
            pointer.split('/').skip(1).fold(&mut self.config, |place, key| match key.parse::<usize>() {
                Ok(index) if place.is_array() => &mut place[index],
                _ => &mut place[key],
            });
        *place = value;
        self
    }

    /// One more mount.
    pub fn mount(self, destination: &str, typ: &str, source: impl AsRef<Path>, options: &[&str]) -> Self {
        let source = source.as_ref().to_str().expect("UTF-8").to_owned();
        self.edit(|config| {
            config["mounts"]
                .as_array_mut()
                .expect("mounts")
                .push(json!({"destination": destination, "type": typ, "source": source, "options": options}))
        })
    }

    /// One more bind mount (rbind where the options say so).
    pub fn bind(self, source: impl AsRef<Path>, destination: &str, options: &[&str]) -> Self {
        self.mount(destination, "bind", source, options)
    }

    /// One more hook: a shell script, run on the host's or the container's side by its stage.
    pub fn hook(self, stage: &str, script: &str) -> Self {
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
        self.hook_object(stage, hook)
    }

    /// One more hook as the specification has it; the test's marker is added to its environment.
    pub fn hook_object(mut self, stage: &str, mut hook: Value) -> Self {
        let mut env = hook["env"].as_array().cloned().unwrap_or_default();
        env.push(json!(format!("{MARKER}={}", self.marker)));
        env.push(json!("PATH=/usr/sbin:/usr/bin:/sbin:/bin"));
        hook["env"] = Value::Array(env);
        let list = &mut self.config["hooks"][stage];
        match list {
            Value::Array(hooks) => hooks.push(hook),
            _ => *list = json!([hook]),
        }
        self
    }

    /// Without the namespace of this type.
    pub fn without_namespace(self, typ: &str) -> Self {
        self.edit(|config| {
            let list = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
            list.retain(|namespace| namespace["type"] != typ);
        })
    }

    /// A namespace of this type: a new one, or that of `path`.
    pub fn namespace(self, typ: &str, path: Option<&str>) -> Self {
        let mut namespace = json!({"type": typ});
        if let Some(path) = path {
            namespace["path"] = json!(path);
        }
        let bundle = self.without_namespace(typ);
        bundle
            .edit(|config| config["linux"]["namespaces"].as_array_mut().expect("namespaces").push(namespace))
    }

    /// A root file system that can be written.
    pub fn writable(self) -> Self {
        self.set("/root/readonly", json!(false))
    }

    /// A new user namespace that maps 65536 ids from 100000 on, and a root file system of theirs.
    pub fn user_namespace(self) -> Self {
        let mapping = json!([{"containerID": 0, "hostID": 100000, "size": 65536}]);
        let status = Command::new("chown").args(["-R", "100000:100000"]).arg(self.rootfs()).status();
        assert!(status.expect("chown").success());
        self.namespace("user", None)
            .set("/linux/uidMappings", mapping.clone())
            .set("/linux/gidMappings", mapping)
    }

    /// An unprivileged user's container, as `rcrun spec --rootless` has it: all commands are that
    /// user's from now on. Err is a reason to skip the test.
    pub fn rootless(mut self) -> Result<Self, String> {
        super::program("setpriv")?;
        let mut probe = as_user("unshare");
        let made = probe.args(["--user", "true"]).output().map_err(|e| format!("setpriv: {e}"))?;
        if !made.status.success() {
            return Err("this host lets no unprivileged user make a user namespace".into());
        }
        for path in [self.directory.path(), &self.directory.path().join("files")] {
            std::os::unix::fs::chown(path, Some(USER), Some(USER)).expect("chown");
        }
        let binary = self.directory.path().join("rcrun");
        copy_program(&super::binary(), &binary, 0o755);
        let written = self.file("spec");
        fs::create_dir(&written).expect("mkdir");
        std::os::unix::fs::chown(&written, Some(USER), Some(USER)).expect("chown");
        let output = as_user(&binary).args(["spec", "--rootless", "--bundle"]).arg(&written).output();
        let output = output.expect("start the binary under test");
        assert!(output.status.success(), "rcrun spec: {}", String::from_utf8_lossy(&output.stderr));
        let text = fs::read(written.join("config.json")).expect("config.json of rcrun spec");
        let config = serde_json::from_slice(&text).expect("JSON of rcrun spec");
        self.config = prepared_config(config, &self.marker);
        self.unprivileged = Some(binary);
        Ok(self)
    }

    /// Another id.
    pub fn with_id(mut self, id: &str) -> Self {
        self.id = id.into();
        self
    }

    /// Another name for the bundle's directory.
    pub fn in_directory(mut self, name: &str) -> Self {
        let old = self.path();
        self.name = name.into();
        fs::rename(old, self.path()).expect("rename");
        self
    }

    /// Another state directory, relative to the test's.
    pub fn with_state_directory(mut self, path: &str) -> Self {
        self.state = path.into();
        self
    }

    /// This text as config.json, whatever it is.
    pub fn with_raw_config(mut self, text: &str) -> Self {
        self.raw_config = Some(text.into());
        self
    }

    /// One more global option, before the command.
    pub fn global(mut self, option: impl Into<OsString>) -> Self {
        self.global.push(option.into());
        self
    }

    /// One more environment variable of each command; a later one of the same name counts.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// What to look for after this test.
    pub fn traces(&self) -> Traces {
        Traces {
            marker: self.marker.clone(),
            id: self.id.clone(),
            directory: self.directory.path().into(),
            root: self.state_directory(),
            bundle: self.path(),
        }
    }

    /// Asserts that nothing of this test is on the host, now and not only at the end.
    #[track_caller]
    pub fn leaves_nothing(&self) {
        let remaining = self.traces().remaining();
        assert!(remaining.is_empty(), "left behind: {remaining:#?}");
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let traces = self.traces();
        let remaining = if std::thread::panicking() { Vec::new() } else { traces.remaining() };
        if std::thread::panicking() || !remaining.is_empty() {
            traces.sweep();
        }
        assert!(remaining.is_empty(), "left behind: {remaining:#?}");
    }
}

/// Makes a root file system out of Debian's busybox at `rootfs`.
pub fn busybox_rootfs(rootfs: &Path) {
    for name in ["bin", "dev", "etc", "proc", "sys", "tmp", "root", "run", "var/tmp"] {
        fs::create_dir_all(rootfs.join(name)).expect("mkdir");
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n";
    fs::write(rootfs.join("etc/passwd"), passwd).expect("write passwd");
    fs::write(rootfs.join("etc/group"), "root:x:0:\nuser:x:1000:\n").expect("write group");
    let busybox = rootfs.join("bin/busybox");
    copy_program(Path::new(BUSYBOX), &busybox, 0o755);
    for applet in DEFAULT_APPLETS.iter().filter(|name| **name != "busybox") {
        // Hard links: an applet that is a symbolic link is covered with its target.
        fs::hard_link(&busybox, rootfs.join("bin").join(applet)).expect("link");
    }
}

/// A command of an unprivileged user without any capability.
pub(super) fn as_user(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={USER}"), format!("--regid={USER}"), "--clear-groups".into()]);
    command.args(["--inh-caps=-all", "--bounding-set=-all", "--"]).arg(program);
    command
}

/// `config` for a container of the test `marker` that runs `true`.
fn prepared_config(mut config: Value, marker: &str) -> Value {
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["true"]);
    config["process"]["env"].as_array_mut().expect("env").push(json!(format!("{MARKER}={marker}")));
    config
}

/// What `rcrun spec` writes.
fn default_config() -> Value {
    static CONFIG: OnceLock<Value> = OnceLock::new();
    let make = || {
        let directory = tempfile::tempdir().expect("make a directory");
        let output = Command::new(super::binary()).arg("spec").current_dir(directory.path()).output();
        let output = output.expect("start the binary under test");
        assert!(output.status.success(), "rcrun spec: {}", String::from_utf8_lossy(&output.stderr));
        let text = fs::read(directory.path().join("config.json")).expect("config.json of rcrun spec");
        serde_json::from_slice(&text).expect("JSON of rcrun spec")
    };
    CONFIG.get_or_init(make).clone()
}

/// Copies a program. In a process of its own: as long as any process has the copy open for writing it cannot be
/// executed (ETXTBSY), and here every child of another test's thread has this process's
/// descriptors until its execve(2).
pub fn copy_program(from: &Path, to: &Path, mode: u32) {
    let mut command = Command::new("install");
    command.args(["-D", "-m", &format!("{mode:o}")]).args([from, to]);
    assert!(command.status().expect("start install").success(), "{command:?}");
}
