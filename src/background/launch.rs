//! Making a container in the background, and starting it: the first time and again.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{BackgroundError, Containers, Record, Status, write_whole};
use crate::cgroups::MissingControllers;
use crate::id::ContainerId;
use crate::image::container::options::Network as Kind;
use crate::image::container::{self, Base, Life, Options, Prepared, root};
use crate::image::store::{Image, Use};
use crate::monitor::{self, EXIT_FILE, Program, SCHEMA, Settings};
use crate::network::PortMapping;
use crate::signal;
use crate::state::rfc3339;

/// What is to be made.
#[derive(Debug)]
pub struct Wanted {
    /// What people will call it; None: a name is made up.
    pub name: Option<String>,
    /// The image as it was called.
    pub image: String,
    /// As of a run in the foreground; with [`Kind::Bridge`] it is plugged in here.
    pub options: Options,
    /// With a bridge.
    pub ports: Vec<PortMapping>,
    /// It goes away with its process.
    pub remove: bool,
    /// Its standard input stays open.
    pub stdin: bool,
    /// Seconds between the signal that stops it and the one that kills it.
    pub stop_timeout: Option<i64>,
    /// What to do about limits whose controller the host lacks.
    pub missing_controllers: MissingControllers,
    /// Have systemd make the cgroup.
    pub systemd_cgroup: bool,
    /// The `rcrun` that is called when the container has ended, and the arguments with which it then calls [`Containers::ended`];
    /// the container's id is added.
    pub ended: (PathBuf, Vec<String>),
}

/// A container that runs.
#[derive(Debug)]
pub struct New {
    /// What is known of it.
    pub record: Record,
    /// What the user should know.
    pub notes: Vec<String>,
}

impl Containers {
    /// Makes a container of `image` and starts it. `in_use` is held until the container's record names what it uses. A failure
    /// leaves nothing.
    pub fn run(&self, image: &Image, in_use: Use, mut wanted: Wanted) -> Result<New, BackgroundError> {
        if !rustix::process::geteuid().is_root() || crate::host::in_user_namespace() {
            return Err(BackgroundError::NotRoot);
        }
        let program = Program::find()?;
        let id = ContainerId::parse(&new_id())?;
        let lock = self.lock()?;
        let name = self.name(&id, wanted.name.take())?;
        let network = match wanted.options.network {
            Kind::Bridge => Some(self.plug(&lock, &id, &wanted.ports)?),
            Kind::None | Kind::Host => None,
        };
        wanted.options.plugged = network.as_ref().map(super::Network::plugged).unwrap_or_default();
        let made = self.make(image, in_use, &wanted, &id).and_then(|(prepared, command)| {
            let record = Record {
                schema: Record::SCHEMA,
                id: id.to_string(),
                name,
                image: wanted.image.clone(),
                image_id: image.id.clone(),
                command,
                created: rfc3339(std::time::SystemTime::now()),
                started: None,
                remove: wanted.remove,
                stop_signal: stop_signal(&prepared),
                stop_timeout: wanted.stop_timeout,
                network: network.clone(),
            };
            record.write(prepared.directory.path())?;
            Ok((prepared, record))
        });
        // Whoever comes now finds the record.
        drop(lock);
        let launched =
            made.and_then(|(prepared, record)| self.launch_new(&program, &wanted, prepared, record));
        if launched.is_err() {
            // The error is why there is no container.
            let _ = network.map(|_| self.unplug_id(&id));
        }
        launched
    }

    fn name(&self, id: &ContainerId, name: Option<String>) -> Result<String, BackgroundError> {
        let name = match name {
            Some(name) => ContainerId::parse(&name)?.to_string(),
            None => format!("rcrun-{}", &id.as_str()[..12]),
        };
        self.check_name(&name)?;
        Ok(name)
    }

    fn make(
        &self,
        image: &Image,
        in_use: Use,
        wanted: &Wanted,
        id: &ContainerId,
    ) -> Result<(Prepared, Vec<String>), BackgroundError> {
        let base = Base { store: &self.images, image, name: &wanted.image };
        let keeper = self.directory(id.as_str()).join(super::record::FILE);
        let life =
            Life { id, state: self.state.root(), removed: wanted.remove, keeper: Some(keeper.as_path()) };
        let prepared = container::prepare(base, in_use, &wanted.options, life)?;
        let path = prepared.directory.path().join("config.json");
        let damaged = |error: serde_json::Error| BackgroundError::Damaged {
            path: path.clone(),
            reason: error.to_string(),
        };
        let mut config: Value = serde_json::from_slice(&prepared.bundle.config).map_err(damaged)?;
        config["hooks"]["poststop"] = hook(&wanted.ended, id);
        write_whole(&path, config.to_string().as_bytes())?;
        let args = config["process"]["args"].as_array().into_iter().flatten();
        let command = args.filter_map(Value::as_str).map(str::to_owned).collect();
        Ok((prepared, command))
    }

    fn launch_new(
        &self,
        program: &Program,
        wanted: &Wanted,
        prepared: Prepared,
        mut record: Record,
    ) -> Result<New, BackgroundError> {
        // Removed on drop until it runs.
        let Prepared { bundle, mut directory, notes } = prepared;
        let settings = Settings {
            schema: SCHEMA,
            id: record.id.clone(),
            runtime: monitor::Runtime::Own { state: self.state.root().to_owned() },
            bundle: directory.path().to_owned(),
            run: self.shim_run(&record.id),
            root: Some(directory.path().join("rootfs")),
            directory: None,
            stdin: wanted.stdin,
            stdin_once: false,
            terminal: wanted.options.tty,
            log: Some(self.log(&record.id)),
            max_log_line: 16384,
            missing_controllers: wanted.missing_controllers,
            systemd_cgroup: wanted.systemd_cgroup,
            loopback: wanted.options.network == Kind::None,
        };
        let mount = bundle.image.map(|image| image.mount);
        let started = program.launch(&settings, mount);
        // Its name is free again before its files go.
        let started = started.inspect_err(|_| forget(directory.path()))?;
        directory.keep();
        self.note_start(&mut record, started.at)?;
        Ok(New { record, notes })
    }

    /// Starts a container that has ended once more, with what it has written.
    pub fn start(&self, record: &Record) -> Result<(), BackgroundError> {
        let lock = self.lock()?;
        if self.settle(record)?.is_running() {
            return Ok(());
        }
        let directory = self.directory(&record.id);
        let settings = Settings::read(&directory)?;
        let (mut record, id) = (record.clone(), ContainerId::parse(&record.id)?);
        if let Some(before) = record.network.take() {
            let network = self.plug(&lock, &id, &before.ports)?;
            let renamed = rename_hosts(&directory.join("hosts"), &before.addresses, &network.addresses);
            record.network = Some(network);
            renamed?;
        }
        let launched = self.launch_again(&settings, &id);
        match launched {
            Ok(at) => self.note_start(&mut record, at),
            Err(error) => {
                let _ = self.unplug(&record);
                Err(error)
            }
        }
    }

    fn launch_again(&self, settings: &Settings, id: &ContainerId) -> Result<i64, BackgroundError> {
        let mount: OwnedFd = root::mount(&self.images, id, false)?;
        let exit = settings.bundle.join(EXIT_FILE);
        match std::fs::remove_file(&exit) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(BackgroundError::file("remove", &exit, error));
            }
            _ => {}
        }
        Ok(Program::find()?.launch(settings, Some(mount))?.at)
    }

    /// It may have ended, and with `--rm` be gone by now.
    fn note_start(&self, record: &mut Record, at: i64) -> Result<(), BackgroundError> {
        record.started = Some(at);
        let directory = self.directory(&record.id);
        let is_there = || directory.join(super::record::FILE).exists();
        if !is_there() {
            return Ok(());
        }
        match record.write(&directory) {
            // It went while this was written: its end waits for nobody.
            Err(_) if !is_there() => Ok(()),
            written => written,
        }
    }

    /// All with what has become of them. Those that were to go with their process and could not are gone now.
    pub fn all(&self) -> Result<Vec<(Record, Status)>, BackgroundError> {
        let mut all = Vec::new();
        for record in self.list()? {
            let status = self.settle(&record)?;
            match record.remove && matches!(status, Status::Exited(_)) {
                true => self.discard(&record)?,
                false => all.push((record, status)),
            }
        }
        Ok(all)
    }
}

fn forget(directory: &Path) {
    let _ = std::fs::remove_file(directory.join(super::record::FILE));
}

fn hook((program, args): &(PathBuf, Vec<String>), id: &ContainerId) -> Value {
    let mut argv = vec!["rcrun".to_owned()];
    argv.extend(args.iter().cloned());
    argv.push(id.to_string());
    json!([{"path": program, "args": argv, "timeout": 60}])
}

/// What `--stop-signal` or the image says, else SIGTERM.
fn stop_signal(prepared: &Prepared) -> i32 {
    let annotations = prepared.bundle.spec.annotations().as_ref();
    let said = annotations.and_then(|all| all.get("org.opencontainers.image.stopSignal"));
    said.and_then(|word| signal::parse(word).ok()).filter(|number| *number > 0).unwrap_or(libc::SIGTERM)
}

/// The container's own lines of /etc/hosts, with the addresses that it has now.
fn rename_hosts(path: &Path, before: &[IpAddr], now: &[IpAddr]) -> Result<(), BackgroundError> {
    let text = std::fs::read_to_string(path).map_err(|error| BackgroundError::file("read", path, error))?;
    let line = |line: &str| {
        let renamed = before.iter().zip(now).find_map(|(before, now)| {
            let rest = line.strip_prefix(&format!("{before}\t"))?;
            Some(format!("{now}\t{rest}\n"))
        });
        renamed.unwrap_or_else(|| format!("{line}\n"))
    };
    let text: String = text.lines().map(line).collect();
    // In place: the container has this very file mounted.
    std::fs::write(path, text).map_err(|error| BackgroundError::file("write", path, error))
}

/// 64 hexadecimal digits of getrandom(2), as docker's ids have.
fn new_id() -> String {
    let mut bytes = [0; 32];
    crate::sys::random(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use rustix::fs::{CWD, FileType, Mode};

    use super::*;
    use crate::image::Digest;
    use crate::image::store::Store;
    use crate::state;

    fn containers(place: &Path) -> Containers {
        let images = Store::open(&place.join("store")).unwrap();
        Containers::new(images, state::Store::new(place.join("state"), |_| ()), place.join("shims"))
    }

    fn record(name: String) -> Record {
        Record {
            schema: Record::SCHEMA,
            id: "a".repeat(64),
            name,
            image: "app".into(),
            image_id: Digest::of(b""),
            command: Vec::new(),
            created: String::new(),
            started: None,
            remove: true,
            stop_signal: 15,
            stop_timeout: None,
            network: None,
        }
    }

    #[test]
    fn a_container_may_go_while_its_start_is_noted() {
        let place = tempfile::tempdir().unwrap();
        let containers = containers(place.path());
        // Longer than a pipe is.
        let mut record = record("x".repeat(20_000));
        let directory = containers.directory(&record.id);
        std::fs::create_dir_all(&directory).unwrap();
        record.write(&directory).unwrap();
        // Its writer stands in the middle of the new file until that is read.
        let fifo = directory.join("background.new");
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let mut reader = std::fs::File::options().read(true).write(true).open(&fifo).unwrap();
        rustix::pipe::fcntl_setpipe_size(&reader, 4096).unwrap();
        std::thread::scope(|scope| {
            let noting = scope.spawn(|| containers.note_start(&mut record, 1));
            reader.read_exact(&mut [0]).unwrap();
            std::fs::remove_dir_all(&directory).unwrap();
            std::io::copy(&mut (&mut reader).take(20_000), &mut std::io::sink()).unwrap();
            noting.join().unwrap().unwrap();
        });
        assert!(!directory.exists());
        // Nor is one made anew for one that is gone.
        containers.note_start(&mut record, 1).unwrap();
        assert!(!directory.exists());
    }

    #[test]
    fn a_start_that_cannot_be_noted_is_an_error() {
        let place = tempfile::tempdir().unwrap();
        let containers = containers(place.path());
        let mut record = record("web".into());
        let directory = containers.directory(&record.id);
        std::fs::create_dir_all(directory.join("background.new")).unwrap();
        std::fs::write(directory.join("background.json"), "{}").unwrap();
        let error = containers.note_start(&mut record, 1).unwrap_err().to_string();
        assert!(error.contains("background.new"), "{error}");
    }
}
