//! From an image in the store to a bundle that is ready to run.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};

use super::config::ImageConfig;
use super::directory::Directory;
use super::mounts::{Missing, What};
use super::options::{Network, Options, Userns};
use super::overlay::Overlay;
use super::spec::Request;
use super::users::{self, User};
use super::{ContainerError, files, ids, spec, volumes};
use crate::bundle::{Bundle, ImageParts};
use crate::host;
use crate::id::ContainerId;
use crate::image::store::{ContainerRecord, Contents, IdRange, Image, Store, StoreError, Use};
use crate::image::{Digest, rootless};

/// The image that a container is made of.
#[derive(Clone, Copy, Debug)]
pub struct Base<'a> {
    /// Where it is.
    pub store: &'a Store,
    /// It.
    pub image: &'a Image,
    /// As the user called it.
    pub name: &'a str,
}

impl Base<'_> {
    /// Its configuration.
    pub(super) fn read(&self) -> Result<(Contents, ImageConfig), ContainerError> {
        let contents = self.store.contents(self.image)?;
        if contents.facts.is_none() {
            let manifest = contents.manifest;
            let kind = manifest.artifact_type.unwrap_or(manifest.config.media_type);
            return Err(ContainerError::Artifact { image: self.name.into(), kind });
        }
        let config = ImageConfig::parse(self.name, &contents.config)?;
        Ok((contents, config))
    }

    /// Its layers' trees, below the directory of all layers, from the lowest that can be seen to the highest: all of them unpacked.
    pub(super) fn trees(&self, diff_ids: &[Digest]) -> Result<Vec<PathBuf>, ContainerError> {
        trees(self.store, &diff_ids[self.image.hidden_layers.min(diff_ids.len())..])
    }

    /// The record of a container `id` of it.
    pub(super) fn record(&self, id: &ContainerId, layers: &[Digest], state: &Path) -> ContainerRecord {
        ContainerRecord::new(id, self.image, self.name, layers, state)
    }
}

/// The trees of `layers`, below the directory of all layers.
pub(super) fn trees(store: &Store, layers: &[Digest]) -> Result<Vec<PathBuf>, ContainerError> {
    let tree = |diff_id: &Digest| match store.layer(diff_id) {
        Some(_) => Ok(Path::new(diff_id.algorithm().name()).join(diff_id.hex()).join("diff")),
        None => Err(StoreError::NoLayer { diff_id: diff_id.clone() }.into()),
    };
    layers.iter().map(tree).collect()
}

/// A container that is ready to run, until it is dropped.
#[derive(Debug)]
pub struct Prepared {
    /// What is run.
    pub bundle: Bundle,
    /// Its directory: [`Directory::keep`] it once the container exists.
    pub directory: Directory,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// Which container is made, and what becomes of it.
#[derive(Clone, Copy, Debug)]
pub struct Life<'a> {
    /// Its name.
    pub id: &'a ContainerId,
    /// The directory of the containers' state.
    pub state: &'a Path,
    /// It goes away with its process.
    pub removed: bool,
    /// Keeps its directory: [`crate::image::store::ContainerRecord::keeper`].
    pub keeper: Option<&'a Path>,
}

/// Makes a container's directory, mounts its root file system and writes its configuration. `in_use` is held until the
/// container's record names what it uses.
pub fn prepare(
    base: Base<'_>,
    in_use: Use,
    options: &Options,
    Life { id, state, removed, keeper }: Life<'_>,
) -> Result<Prepared, ContainerError> {
    let (contents, config) = base.read()?;
    let diff_ids = contents.diff_ids();
    let trees = base.trees(diff_ids)?;
    // The container's record names it.
    if let Some(path) = [Some(state), keeper].into_iter().flatten().find(|path| path.to_str().is_none()) {
        return Err(ContainerError::NotText(path.into()));
    }
    let lock =
        (options.userns == Userns::Auto).then(|| lock(&base.store.root().join("containers"))).transpose()?;
    let mut record = base.record(id, diff_ids, state);
    record.ids = lock.as_ref().map(|_| ids::free(base.store)).transpose()?;
    record.keeper = keeper.map(Path::to_owned);
    let range = record.ids;
    let directory = Directory::make(base.store, &record)?;
    drop((lock, in_use));
    let mount = mounted(&base, &directory, trees, range, removed)?;
    let user = user(base.name, &mount, &config, options)?;
    make_sources(options, &mount, range)?;
    let hostname = hostname(id, options);
    let request = Request {
        name: base.name,
        image: &config,
        options,
        user,
        hostname: &hostname,
        root: directory.path().join("rootfs"),
        files: write_files(&directory, options, &hostname, range)?,
        volumes: make_volumes(&directory, &mount, &config, options, range)?,
        ids: range,
        makes_nodes: range.is_none() && !host::in_user_namespace(),
        permitted: host::permitted_capabilities(),
        many_ids: range.is_some() || !rootless::has_single_id(),
    };
    let bytes = spec::spec(&request)?.to_string().into_bytes();
    let loopback = options.network == Network::None;
    let bundle =
        bundle(&directory, bytes, ImageParts { mount, directory: Some(directory.path().into()), loopback })?;
    Ok(Prepared { bundle, directory, notes: notes(&config) })
}

/// Two containers that take ids at once would take the same.
fn lock(containers: &Path) -> Result<OwnedFd, ContainerError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(containers, flags, Mode::empty());
    let fd = fd.map_err(ContainerError::errno("open", containers))?;
    rustix::fs::flock(&fd, FlockOperation::LockExclusive)
        .map_err(ContainerError::errno("lock", containers))?;
    Ok(fd)
}

/// The overlay. Its root looks like that of the highest layer: it is that of `upper`.
pub(super) fn mounted(
    base: &Base<'_>,
    directory: &Directory,
    trees: Vec<PathBuf>,
    ids: Option<IdRange>,
    volatile: bool,
) -> Result<OwnedFd, ContainerError> {
    let layers = base.store.layers_path();
    let top = trees.last().map(|tree| rustix::fs::stat(layers.join(tree)));
    let top = top.transpose().map_err(ContainerError::errno("stat", &layers))?;
    directory.set_mode("upper", top.as_ref().map_or(0o755, |top| top.st_mode & 0o7777))?;
    directory.make_directory("rootfs", 0o755)?;
    let owner = top.as_ref().map_or((0, 0), |top| (top.st_uid, top.st_gid));
    let seen = |id: u32| ids.map_or(id, |ids| ids.first + if id < ids.count { id } else { 0 });
    let owner = (seen(owner.0), seen(owner.1));
    if owner != (0, 0) {
        directory.give("upper", owner)?;
    }
    let count = trees.len();
    let overlay = Overlay {
        layers: &layers,
        trees,
        directory: (directory.path(), directory.as_fd()),
        ids,
        user_attributes: host::in_user_namespace(),
        volatile,
    };
    overlay.mount().map_err(|failure| ContainerError::Overlay { layers: count, failure })
}

fn user(
    image: &str,
    root: &OwnedFd,
    config: &ImageConfig,
    options: &Options,
) -> Result<User, ContainerError> {
    let text = options.user.as_ref().unwrap_or(&config.config.user);
    users::resolve(root, text, &options.group_add).map_err(|error| ContainerError::User {
        image: image.into(),
        user: text.clone(),
        error,
    })
}

/// That of the option; with the host's network the host's; else the id's digits, as docker has it.
fn hostname(id: &ContainerId, options: &Options) -> String {
    if let Some(name) = &options.hostname {
        return name.clone();
    }
    if options.network == Network::Host {
        return rustix::system::uname().nodename().to_string_lossy().into_owned();
    }
    let id = id.as_str().strip_prefix("rcrun-").unwrap_or(id.as_str());
    let letters = id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' });
    letters.take(12).collect::<String>().trim_matches('-').to_owned()
}

/// hostname, hosts and resolv.conf: sources and targets.
fn write_files(
    directory: &Directory,
    options: &Options,
    hostname: &str,
    ids: Option<IdRange>,
) -> Result<Vec<(PathBuf, String)>, ContainerError> {
    let of_host = |path: &str| {
        let bytes = std::fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let hosts_of_host = if options.network == Network::Host { of_host("/etc/hosts") } else { String::new() };
    let resolv_conf = match options.network {
        Network::Bridge => resolv_conf_past_stub(),
        _ => of_host("/etc/resolv.conf"),
    };
    let own_loopback = options.network == Network::Bridge;
    let texts = [
        ("hostname", format!("{hostname}\n")),
        ("hosts", files::hosts(options, hostname, &hosts_of_host)),
        ("resolv.conf", files::resolv_conf(&options.dns, &resolv_conf, own_loopback)),
    ];
    let mut files = Vec::new();
    for (name, text) in texts {
        files.push((directory.write(name, text.as_bytes())?, format!("/etc/{name}")));
        directory.give_to_root(name, ids)?;
    }
    Ok(files)
}

/// The machine's resolv.conf; where it names systemd-resolved, which a container with a network of its own does not reach, the servers
/// that this asks.
fn resolv_conf_past_stub() -> String {
    const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";
    let text = |path: &str| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    let own = text("/etc/resolv.conf");
    match own.lines().any(|line| line.split_whitespace().eq(["nameserver", "127.0.0.53"])) {
        true => text(RESOLVED),
        false => own,
    }
}

/// A wish for the same place needs no volume.
fn make_volumes(
    directory: &Directory,
    root: &OwnedFd,
    config: &ImageConfig,
    options: &Options,
    ids: Option<IdRange>,
) -> Result<Vec<(PathBuf, String)>, ContainerError> {
    let wished: BTreeSet<&str> = options.mounts.iter().map(|wish| wish.target.as_str()).collect();
    let paths = config.config.volumes.keys().map(|path| path.trim_end_matches('/'));
    volumes::make(directory, root, paths.filter(|path| !wished.contains(path)), ids)
}

/// `-v` makes the directory that it mounts.
fn make_sources(options: &Options, root: &OwnedFd, ids: Option<IdRange>) -> Result<(), ContainerError> {
    for wish in &options.mounts {
        let What::Bind { source, missing, .. } = &wish.what else { continue };
        match missing {
            Missing::Fill if ids.is_some() => {
                return Err(ContainerError::Option(
                    "a volume with a name and --userns auto: its files would belong to nobody there".into(),
                ));
            }
            Missing::Fill => volumes::fill(source, root, &wish.target)?,
            Missing::Make if matches!(rustix::fs::stat(source), Err(rustix::io::Errno::NOENT)) => {
                std::fs::create_dir_all(source).map_err(ContainerError::file("make directory", source))?;
            }
            Missing::Make | Missing::Refuse => {}
        }
    }
    Ok(())
}

fn bundle(directory: &Directory, config: Vec<u8>, image: ImageParts) -> Result<Bundle, ContainerError> {
    let spec = crate::spec::parse(&config)?;
    let root = directory.path().join("rootfs");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root_fd = rustix::fs::openat(directory.as_fd(), "rootfs", flags, Mode::empty())
        .map_err(ContainerError::errno("open", &root))?;
    let path = directory.path().to_owned();
    Ok(Bundle { path, config: rootless::seen_from_outside(config), spec, root, root_fd, image: Some(image) })
}

fn notes(config: &ImageConfig) -> Vec<String> {
    let check = config.config.healthcheck.as_ref();
    check
        .map(|_| "the image's HEALTHCHECK is not run: nobody is there to run it".to_owned())
        .into_iter()
        .collect()
}
