//! `image`: the commands about images, each also one of its own where docker has it so; and what they share.

mod filter;
mod history;
mod images;
mod inspect;
mod prune;
mod rmi;
mod tag;
mod verify;

pub use filter::{Filter, moment};
pub use images::Images;
pub use rmi::Rmi;
pub use tag::Tag;

use rcrun::image::reference::DOCKER_IO;
use rcrun::image::registry::settings::{Settings, SettingsOptions};
use rcrun::image::store::{Image as Stored, Store, StoreError};
use rcrun::image::{Name, Reference};
use serde::Serialize;

use super::load::Load;
use super::output::{self, Format};
use super::pull::Pull;
use super::push::Push;
use super::save::Save;
use super::{Command, Context, log};

/// `image ACTION`.
#[derive(clap::Args)]
pub struct Image {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// List images, as the command images does
    #[command(visible_alias = "list")]
    Ls(Images),
    /// Remove images, as the command rmi does
    #[command(visible_alias = "remove")]
    Rm(Rmi),
    /// Give an image one more name
    Tag(Tag),
    /// Print what is known of images as JSON
    Inspect(inspect::Inspect),
    /// List the steps by which an image was built
    History(history::History),
    /// Remove images that nobody uses
    Prune(prune::Prune),
    /// Pull images from a registry, as the command pull does
    Pull(Pull),
    /// Push an image to a registry, as the command push does
    Push(Push),
    /// Load images from an archive, as the command load does
    Load(Load),
    /// Save images as an archive, as the command save does
    Save(Save),
    /// Compare images with their digests: documents, kept blobs, and each file of the layers
    Verify(verify::Verify),
}

impl Command for Image {
    const NAME: &'static str = "image";
    const ABOUT: &'static str = "List, inspect, verify and remove images";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        match self.action {
            Action::Ls(command) => command.run(context),
            Action::Rm(command) => command.run(context),
            Action::Tag(command) => command.run(context),
            Action::Inspect(command) => command.run(context),
            Action::History(command) => command.run(context),
            Action::Prune(command) => command.run(context),
            Action::Pull(command) => command.run(context),
            Action::Push(command) => command.run(context),
            Action::Load(command) => command.run(context),
            Action::Save(command) => command.run(context),
            Action::Verify(command) => command.run(context),
        }
    }
}

/// The store; None where there is none yet.
pub fn existing(context: &Context) -> anyhow::Result<Option<Store>> {
    Ok(Store::existing(&context.storage()?)?)
}

/// The store, or the error that there is no such image in it.
pub fn existing_for(context: &Context, name: &str) -> anyhow::Result<Store> {
    Ok(existing(context)?.ok_or_else(|| StoreError::NoImage { name: name.to_owned() })?)
}

/// An image of the store, and the full names that the word which found it may stand for.
pub struct Found {
    pub image: Stored,
    pub candidates: Vec<Reference>,
}

/// The image that a word means: a name, a name with a digest, an id or its beginning.
pub fn find(store: &Store, text: &str) -> anyhow::Result<Stored> {
    Ok(found(store, text)?.image)
}

/// The same with the names that the word may stand for.
pub fn found(store: &Store, text: &str) -> anyhow::Result<Found> {
    let (candidates, ambiguous) = candidates(text)?;
    match store.find(text, &candidates) {
        Ok(image) => Ok(Found { image, candidates }),
        // Why a word is no name, or one of several, says most.
        Err(error @ StoreError::NoImage { .. }) => Err(ambiguous.unwrap_or(error.into())),
        Err(error) => Err(error.into()),
    }
}

/// What a word may stand for: registries.conf says it of a short name, and in docker.io is what `tag` makes of one. An id
/// can look like a short name, so what speaks against the name counts only where no image is found.
fn candidates(text: &str) -> anyhow::Result<(Vec<Reference>, Option<anyhow::Error>)> {
    let is_id = text.trim_start_matches("sha256:").bytes().all(|byte| byte.is_ascii_hexdigit());
    let name: Name = match text.parse() {
        Ok(name) => name,
        Err(_) if is_id && !text.is_empty() => return Ok((Vec::new(), None)),
        Err(error) => return Err(error.into()),
    };
    let tagged = name.in_registry(DOCKER_IO);
    if let Name::Qualified(_) = name {
        return Ok((vec![tagged], None));
    }
    let settings = Settings::load(&SettingsOptions::from_environment(None))?;
    let (mut candidates, ambiguous) = match settings.candidates(&name) {
        Ok(candidates) => (candidates, None),
        Err(error) => (Vec::new(), Some(error.into())),
    };
    if !candidates.contains(&tagged) {
        candidates.push(tagged);
    }
    Ok((candidates, ambiguous))
}

/// Prints a list: ids alone, a table, or a line of JSON for each row.
fn print<R: Serialize>(
    rows: Vec<R>,
    (quiet, format): (bool, Format),
    id: impl Fn(R) -> String,
    table: impl FnOnce(Vec<R>) -> String,
) -> anyhow::Result<u8> {
    output::print(&match format {
        _ if quiet => rows.into_iter().map(|row| id(row) + "\n").collect(),
        Format::Table => table(rows),
        Format::Json => rows.iter().map(output::json_line).collect::<anyhow::Result<String>>()?,
    })?;
    Ok(0)
}

/// Does `one` to each word, past errors: the last error is the result, those before it are printed.
pub fn each<T>(
    words: &[String],
    mut one: impl FnMut(&str) -> anyhow::Result<T>,
) -> (Vec<T>, anyhow::Result<u8>) {
    let (mut done, mut failed) = (Vec::new(), None);
    for word in words {
        match one(word) {
            Ok(value) => done.push(value),
            Err(error) => {
                if let Some(before) = failed.replace(error) {
                    log::error(&format!("{before:#}"));
                }
            }
        }
    }
    (done, failed.map_or(Ok(0), Err))
}

/// `--format` of commands whose docker namesakes also take Go templates.
pub fn parsed_format(value: &str) -> Result<Format, String> {
    match value {
        "table" => Ok(Format::Table),
        "json" => Ok(Format::Json),
        _ if value.contains("{{") => {
            Err("Go templates are not supported: take json, and jq or the like".to_owned())
        }
        _ => Err("expected table or json".to_owned()),
    }
}
