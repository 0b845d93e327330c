//! `image verify`.

use anyhow::bail;
use rcrun::image::store::Finding;

use super::{each, existing, existing_for, find};
use crate::cli::{Command, Context, enter_user_namespace, output};

/// Flags of `image verify`.
#[derive(clap::Args)]
pub struct Verify {
    /// Names or ids of images; without any, all that is in the store
    #[arg(value_name = "IMAGE", conflicts_with = "all")]
    images: Vec<String>,
    /// The same as without names
    #[arg(short, long)]
    all: bool,
}

impl Command for Verify {
    const NAME: &'static str = "verify";
    const ABOUT: &'static str = "Compare images with their digests";

    /// Each difference is a line; the exit status is 1 if there is any.
    fn run(self, context: &Context) -> anyhow::Result<u8> {
        enter_user_namespace()?;
        let Some(first) = self.images.first() else { return all(context) };
        let store = existing_for(context, first)?;
        let (found, result) = each(&self.images, |word| find(&store, word));
        let (mut count, mut printed) = (0, Ok(()));
        let verified = store.verify(&found, &mut |finding| print(&finding, &mut count, &mut printed))?;
        printed?;
        let result = result?;
        summary(verified, count).map(|()| result)
    }
}

fn all(context: &Context) -> anyhow::Result<u8> {
    let Some(store) = existing(context)? else { return Ok(0) };
    let (mut count, mut printed) = (0, Ok(()));
    let verified = store.verify_all(&mut |finding| print(&finding, &mut count, &mut printed))?;
    printed?;
    summary(verified, count)?;
    Ok(0)
}

fn print(finding: &Finding, count: &mut usize, printed: &mut anyhow::Result<()>) {
    *count += 1;
    if printed.is_ok() {
        *printed = output::print(&format!("{}: {}\n", finding.object, finding.what));
    }
}

fn summary(verified: rcrun::image::store::Verified, count: usize) -> anyhow::Result<()> {
    let words =
        |count: usize, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
    let all =
        [words(verified.images, "image"), words(verified.layers, "layer"), words(verified.blobs, "blob")];
    match count {
        0 => output::print(&format!("{} are as they must be\n", all.join(", "))),
        _ => bail!(
            "{} in {}: remove these images and pull them again",
            words(count, "difference"),
            all.join(", ")
        ),
    }
}
