//! `rmi`.

use rcrun::image::store::Removed;

use super::{each, existing_for, found};
use crate::cli::{Command, Context, enter_user_namespace, log, output};

/// Flags of `rmi`.
#[derive(clap::Args)]
pub struct Rmi {
    /// Names or ids of images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// Also an image of several names by its id, and one that a stopped container uses
    #[arg(short, long)]
    force: bool,
}

impl Command for Rmi {
    const NAME: &'static str = "rmi";
    const ABOUT: &'static str = "Remove images, or names of them";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        enter_user_namespace()?;
        let (_, result) = each(&self.images, |word| {
            let store = existing_for(context, word)?;
            let found = found(&store, word)?;
            let removed = store.remove_image(word, &found.candidates, self.force)?;
            output::print(&report(&removed))?;
            collected(removed)
        });
        result
    }
}

/// docker's lines.
fn report(removed: &Removed) -> String {
    let untagged = removed.untagged.iter().map(|name| format!("Untagged: {name}\n"));
    let layers = &removed.collected.layers;
    let deleted = removed.deleted.iter().chain(layers).map(|digest| format!("Deleted: {digest}\n"));
    untagged.chain(deleted).collect()
}

/// Says what garbage collection could not do.
pub fn collected(removed: Removed) -> anyhow::Result<()> {
    if removed.collected.deferred {
        log::warning(
            "the store is in use by a pull, a load or a beginning run: layers are left for the next removal",
        );
    }
    let mut errors = removed.collected.errors.into_iter();
    let last = errors.next_back();
    errors.for_each(|error| log::error(&error.to_string()));
    last.map_or(Ok(()), |error| Err(error.into()))
}
