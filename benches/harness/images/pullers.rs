//! Who pulls, and how each is called.

use std::path::{Path, PathBuf};
use std::process::Command;

use rcrun::bench::{Contender, Step, Word};

use super::disk;
use super::services::{Services, done};

/// One of the images of tests/bin/images.
#[derive(Clone, Copy)]
pub struct Image {
    /// Its layout's directory.
    pub name: &'static str,
    /// Its tag: gzip or zstd.
    pub packing: &'static str,
}

/// One who takes part.
pub enum Puller {
    /// The program under test.
    Rcrun(PathBuf),
    /// containerd, asked by this ctr: the daemon's processor time and memory are not ctr's.
    Containerd(PathBuf),
    /// podman, which runs containers by this crun, where there is one.
    Podman(PathBuf, Option<PathBuf>),
    /// skopeo copies into a layout, umoci unpacks that into a bundle.
    SkopeoUmoci,
}

impl Puller {
    /// What it is called in a report.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rcrun(_) => "rcrun",
            Self::Containerd(_) => "containerd",
            Self::Podman(..) => "podman",
            Self::SkopeoUmoci => "skopeo+umoci",
        }
    }

    /// Does it run images?
    pub fn runs(&self) -> bool {
        matches!(self, Self::Rcrun(_) | Self::Podman(..))
    }

    /// A turn: pull into an empty store, then empty it. What is still to be written to the disk is written before the next one's turn.
    pub fn pull(&self, image: Image, services: &Services) -> Contender {
        let reset = format!("{} && sync", self.reset(image, services));
        let steps = vec![
            Step { words: words(&self.pulling(image, services)), measured: true },
            Step { words: words(&shell(&reset)), measured: false },
        ];
        Contender::new(self.name(), steps, Some(words(&shell(&reset))))
    }

    /// A turn: a container of the image, which is there.
    pub fn run(&self, image: Image, services: &Services) -> Contender {
        let run = ["run", "--rm", "--network", "none", &services.name(image), "/bin/true"];
        let words_of_run = self.words(services, &run);
        Contender::new(self.name(), vec![Step { words: words(&words_of_run), measured: true }], None)
    }

    /// Pulls, not measured.
    pub fn once(&self, image: Image, services: &Services) -> anyhow::Result<()> {
        let words = self.pulling(image, services);
        done(Command::new(&words[0]).args(&words[1..]))
    }

    /// What its store takes on the disk with this image alone, told in a line; that it fails is told where it is measured.
    pub fn disk(&self, image: Image, services: &Services) -> anyhow::Result<Option<String>> {
        if matches!(self, Self::SkopeoUmoci) || self.once(image, services).is_err() {
            return Ok(None);
        }
        let taken = disk::taken(&self.store(services))?;
        let mut line = format!("{}: {} MiB on the disk", self.name(), taken >> 20);
        if let Self::Rcrun(_) = self {
            let unpacked = disk::taken_by_layers(&self.store(services))?;
            let ratio = taken as f64 / unpacked as f64;
            line.push_str(&format!(
                ", of which {} MiB are unpacked files: {ratio:.3} times those",
                unpacked >> 20
            ));
        }
        done(Command::new("sh").arg("-c").arg(self.reset(image, services)))?;
        Ok(Some(line))
    }

    fn store(&self, services: &Services) -> PathBuf {
        services.out.join(self.name())
    }

    /// The program with its own options, and these words.
    fn words(&self, services: &Services, more: &[&str]) -> Vec<String> {
        let store = text(&self.store(services));
        let own = match self {
            Self::Rcrun(path) => {
                vec![text(path), "--storage".into(), store, "--root".into(), "/run/bench/rcrun".into()]
            }
            Self::Containerd(ctr) => vec![text(ctr), "--address".into(), text(&services.socket)],
            Self::Podman(path, crun) => {
                let mut own =
                    vec![text(path), "--root".into(), store, "--runroot".into(), "/run/bench/podman".into()];
                own.extend(["--storage-driver".into(), "overlay".into()]);
                own.extend(crun.iter().flat_map(|crun| ["--runtime".into(), text(crun)]));
                own
            }
            Self::SkopeoUmoci => Vec::new(),
        };
        own.into_iter().chain(more.iter().map(|word| (*word).to_owned())).collect()
    }

    fn pulling(&self, image: Image, services: &Services) -> Vec<String> {
        let name = services.name(image);
        match self {
            Self::Rcrun(_) | Self::Podman(..) => self.words(services, &["pull", "--quiet", &name]),
            Self::Containerd(_) => self.words(services, &["images", "pull", "--plain-http", &name]),
            Self::SkopeoUmoci => {
                let store = quoted(&text(&self.store(services)));
                let script = format!(
                    "skopeo copy --quiet docker://{name} oci:{store}/layout:1 && \
                     umoci unpack --image {store}/layout:1 {store}/bundle"
                );
                shell(&format!("mkdir {store} && {script}"))
            }
        }
    }

    /// A script that empties the store.
    fn reset(&self, image: Image, services: &Services) -> String {
        let script = match self {
            Self::Rcrun(_) | Self::SkopeoUmoci => {
                vec!["rm".to_owned(), "-rf".into(), text(&self.store(services))]
            }
            Self::Containerd(_) => self.words(services, &["images", "rm", "--sync", &services.name(image)]),
            Self::Podman(..) => self.words(services, &["rmi", "--all", "--force"]),
        };
        script.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn shell(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
}

fn words(words: &[String]) -> Vec<Word> {
    words.iter().map(Word::text).collect()
}
