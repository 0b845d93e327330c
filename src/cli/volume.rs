//! `volume`: volumes with names.

use std::path::Path;

use anyhow::{Context as _, bail};

use super::run_image::VOLUMES;
use super::{Command, Context, log, output};

/// `volume ACTION`.
#[derive(clap::Args)]
pub struct Volume {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// List the names of volumes
    #[command(visible_alias = "list")]
    Ls,
    /// Remove volumes that no container has
    #[command(visible_alias = "remove")]
    Rm {
        /// Names
        #[arg(required = true, value_name = "VOLUME")]
        names: Vec<String>,
    },
}

impl Command for Volume {
    const NAME: &'static str = "volume";
    const ABOUT: &'static str = "List and remove volumes with names, as run -v NAME:TARGET makes them";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        let storage = context.storage()?;
        let mut names: Vec<String> = std::fs::read_dir(storage.join(VOLUMES))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            // What is being made begins with a dot.
            .filter(|name| !name.starts_with('.'))
            .collect();
        match self.action {
            Action::Ls => {
                names.sort();
                output::print(&names.iter().map(|name| format!("{name}\n")).collect::<String>())?;
                Ok(0)
            }
            Action::Rm { names: wanted } => {
                let mut failed = false;
                for name in wanted {
                    match remove(
                        &[&storage.join("containers"), context.store().root()],
                        &storage,
                        &names,
                        &name,
                    ) {
                        Ok(()) => output::print(&format!("{name}\n"))?,
                        Err(error) => {
                            failed = true;
                            log::error(&format!("{error:#}"));
                        }
                    }
                }
                Ok(u8::from(failed))
            }
        }
    }
}

/// `containers` have a directory with a config.json for each container.
fn remove(containers: &[&Path], storage: &Path, there: &[String], name: &str) -> anyhow::Result<()> {
    if !there.iter().any(|known| known == name) {
        bail!("no volume is called {name:?}: `rcrun volume ls` lists them");
    }
    let path = storage.join(VOLUMES).join(name);
    if let Some(user) = containers.iter().find_map(|containers| user(containers, &path)) {
        bail!("volume {name} is used by container {user}: remove that first");
    }
    std::fs::remove_dir_all(&path).with_context(|| format!("remove volume {name}"))
}

/// A container whose configuration mounts something of the volume.
fn user(containers: &Path, volume: &Path) -> Option<String> {
    for entry in std::fs::read_dir(containers).ok()?.flatten() {
        let config = std::fs::read(entry.path().join("config.json")).unwrap_or_default();
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap_or_default();
        let sources =
            config["mounts"].as_array().into_iter().flatten().filter_map(|mount| mount["source"].as_str());
        if sources.map(Path::new).any(|source| source.starts_with(volume)) {
            return Some(entry.file_name().to_string_lossy().into_owned());
        }
    }
    None
}
