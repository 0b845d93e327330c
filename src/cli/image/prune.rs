//! `image prune`.

use std::io::{BufRead, Write};

use anyhow::Context as _;
use rcrun::image::Digest;
use rcrun::image::store::{Image, Removed, Store};

use super::{Filter, existing, rmi};
use crate::cli::{Command, Context, enter_user_namespace, human, output};

/// Flags of `image prune`.
#[derive(clap::Args)]
pub struct Prune {
    /// Also images that have a tag, where no container uses them
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only some: until=TIME or AGE, label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
}

impl Command for Prune {
    const NAME: &'static str = "prune";
    const ABOUT: &'static str = "Remove images that nobody uses";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        let filter = Filter::parse(&self.filter)?;
        enter_user_namespace()?;
        if !self.force && !self.is_wanted()? {
            return Ok(0);
        }
        let Some(store) = existing(context)? else {
            output::print(&report(&Removed::default()))?;
            return Ok(0);
        };
        let removed = store.prune(|images| self.ids(&store, images, &filter))?;
        output::print(&report(&removed))?;
        rmi::collected(removed)?;
        Ok(0)
    }
}

impl Prune {
    fn is_wanted(&self) -> anyhow::Result<bool> {
        let what = match self.all {
            true => "all images without at least one container associated to them",
            false => "all dangling images",
        };
        output::print(&format!(
            "WARNING! This will remove {what}.\nAre you sure you want to continue? [y/N] "
        ))?;
        std::io::stdout().flush().context("write to stdout")?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).context("read the answer from stdin")?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// Images without a tag; with `--all` every image. What another program has put there is its own.
    fn ids(&self, store: &Store, images: &[Image], filter: &Filter) -> anyhow::Result<Vec<Digest>> {
        let all = self.all || filter.dangling == Some(false);
        let of = |id: &Digest| images.iter().filter(|other| other.id == *id).collect::<Vec<_>>();
        // docker's dangling=false stands for --all and chooses nothing itself.
        let mut filter = filter.clone();
        filter.dangling = None;
        let chosen = filter.chosen(store, images)?;
        let removable = chosen.into_iter().filter(|image| {
            let entries = of(&image.id);
            let untagged = entries.iter().all(|entry: &&Image| entry.is_untagged());
            entries.iter().all(|entry| !entry.foreign) && (all || untagged)
        });
        let mut ids: Vec<Digest> = removable.map(|image| image.id.clone()).collect();
        ids.dedup();
        Ok(ids)
    }
}

/// docker's lines.
fn report(removed: &Removed) -> String {
    let mut text = String::new();
    let layers = &removed.collected.layers;
    if !removed.untagged.is_empty() || !removed.deleted.is_empty() || !layers.is_empty() {
        text.push_str("Deleted Images:\n");
        text.extend(removed.untagged.iter().map(|name| format!("untagged: {name}\n")));
        text.extend(removed.deleted.iter().chain(layers).map(|digest| format!("deleted: {digest}\n")));
        text.push('\n');
    }
    text + &format!("Total reclaimed space: {}\n", human::size(removed.collected.bytes))
}
