//! `unpack`: an image as a bundle.

use std::path::PathBuf;

use rcrun::image::Platform;
use rcrun::image::container::{self, Base, Unpack as How};

use super::base::{self, Pull};
use super::create::absolute;
use super::transfer::RegistryFlags;
use super::{Command, Context, log};

/// Flags of `unpack`.
#[derive(clap::Args)]
pub struct Unpack {
    /// Name or id of the image
    image: String,
    /// Directory to make, or an empty one: it gets config.json and rootfs
    directory: PathBuf,
    /// Make no config.json
    #[arg(long)]
    rootfs_only: bool,
    /// Platform to take the image for, such as linux/arm64
    #[arg(long)]
    platform: Option<Platform>,
    /// When to pull the image
    #[arg(long, value_name = "WHEN", value_enum, default_value = "missing")]
    pull: Pull,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl Command for Unpack {
    const NAME: &'static str = "unpack";
    const ABOUT: &'static str =
        "Make a bundle out of an image: its files, and a config.json for rcrun run DIR/";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        let (storage, directory) = (context.storage()?, absolute(self.directory)?);
        let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
        if let Some(note) = super::enter_user_namespace()? {
            log::warning(&note);
        }
        let found = base::find(&storage, &self.image, (self.platform.as_ref(), self.pull), &self.registry)?;
        let base = Base { store: &found.store, image: &found.image, name: &self.image };
        let rootless = (!user.is_root()).then(|| (user.as_raw(), group.as_raw()));
        let how = How { rootfs_only: self.rootfs_only, rootless };
        container::unpack(base, found.in_use, &directory, &how)?;
        Ok(0)
    }
}
