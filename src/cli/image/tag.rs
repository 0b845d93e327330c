//! `tag`.

use anyhow::bail;
use rcrun::image::Name;
use rcrun::image::reference::DOCKER_IO;

use super::{existing_for, find};
use crate::cli::{Command, Context};

/// Flags of `tag`.
#[derive(clap::Args)]
pub struct Tag {
    /// Name or id of an image
    image: String,
    /// The new name, [REGISTRY/]REPOSITORY[:TAG]; an image that has it loses it
    name: String,
}

impl Command for Tag {
    const NAME: &'static str = "tag";
    const ABOUT: &'static str = "Give an image one more name";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        let name = self.name.parse::<Name>()?.in_registry(DOCKER_IO).or_latest();
        if name.digest().is_some() {
            bail!("{:?} has a digest: a name that is given has a tag", self.name);
        }
        let store = existing_for(context, &self.image)?;
        let _use = store.use_shared()?;
        store.tag(&find(&store, &self.image)?, &name)?;
        Ok(0)
    }
}
