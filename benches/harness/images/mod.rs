//! What pulling an image and running one by name cost, beside containerd, podman, and skopeo with umoci: all of them from the
//! same docker-registry on loopback.
//!
//! In: `harness --images LAYOUTS OUT ...`, the directory that tests/bin/images has filled. Runs in the view of
//! tests/clients/enter, where these programs are as if installed, with a $HOME of the benchmark's own. The stores are in
//! a file system of their own, in a file below OUT, and gone at the end.

mod disk;
mod pullers;
mod services;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use rcrun::bench::{Contender, Schedule, Step, Word};
use serde_json::Value;

use crate::cases::{Case, Outcome, turns};
use crate::{Amount, Bench};
use pullers::{Image, Puller};
use services::Services;

/// How long any command may take: umoci unpacks 1.6 GiB.
const LIMIT: Duration = Duration::from_secs(600);

/// What the least that a pull needs is called.
pub const FLOOR: &str = "inflate+hashes";

/// What the cases work with.
pub struct Images {
    /// The image layouts of tests/bin/images.
    pub layouts: PathBuf,
    /// Where stores are.
    pub out: PathBuf,
}

/// In the order in which they run.
pub const CASES: &[Case] = &[
    Case { name: "layers", title: "pull 60 small layers, gzip", quick: true, run: layers },
    Case { name: "gzip", title: "pull 8 layers of 1.6 GiB and 63,000 files, gzip", quick: false, run: gzip },
    Case { name: "zstd", title: "the same, zstd", quick: false, run: zstd },
    Case { name: "single", title: "pull one layer of 445 MiB, gzip", quick: false, run: single },
    Case { name: "image", title: "run --rm true of an image that is present", quick: true, run: image },
];

fn layers(bench: &mut Bench) -> anyhow::Result<Outcome> {
    pulls(bench, Image { name: "layers", packing: "gzip" }, [10, 2])
}

fn gzip(bench: &mut Bench) -> anyhow::Result<Outcome> {
    pulls(bench, Image { name: "big", packing: "gzip" }, [3, 1])
}

fn zstd(bench: &mut Bench) -> anyhow::Result<Outcome> {
    pulls(bench, Image { name: "big", packing: "zstd" }, [3, 1])
}

/// Beside the floor: one thread that inflates the blob and computes both digests.
fn single(bench: &mut Bench) -> anyhow::Result<Outcome> {
    let image = Image { name: "single", packing: "gzip" };
    let images = bench.images.as_ref().context("no --images given")?;
    let floor = floor(&images.layouts.join(image.name), image.packing).ok();
    pulls_beside(bench, image, floor, [5, 1])
}

/// benches/unpack with the only layer of the image in this layout.
fn floor(layout: &Path, packing: &str) -> anyhow::Result<Contender> {
    let blob = |digest: &Value| {
        let digest = digest.as_str().context("a digest")?;
        anyhow::Ok(layout.join("blobs").join(digest.replace(':', "/")))
    };
    let read = |path: &Path| anyhow::Ok(serde_json::from_slice::<Value>(&std::fs::read(path)?)?);
    let index = read(&layout.join("index.json"))?;
    let is_meant = |entry: &&Value| entry["annotations"]["org.opencontainers.image.ref.name"] == packing;
    let entry = index["manifests"].as_array().into_iter().flatten().find(is_meant).context("an entry")?;
    let layer = blob(&read(&blob(&entry["digest"])?)?["layers"][0]["digest"])?;
    let program = std::env::current_exe()?.with_file_name("unpack");
    let words = vec![Word::text(program), Word::text("--floor"), Word::text(layer)];
    Ok(Contender::new(FLOOR, vec![Step { words, measured: true }], None))
}

/// Every program pulls and unpacks the image into an empty store.
fn pulls(bench: &mut Bench, image: Image, counts: [usize; 2]) -> anyhow::Result<Outcome> {
    pulls_beside(bench, image, None, counts)
}

fn pulls_beside(
    bench: &mut Bench,
    image: Image,
    other: Option<Contender>,
    counts: [usize; 2],
) -> anyhow::Result<Outcome> {
    let services = match services(bench, image)? {
        Ok(services) => services,
        Err(why) => return Ok(Outcome::left_out(&why)),
    };
    let pullers = pullers(bench, &services);
    let mut contenders: Vec<Contender> = pullers.iter().map(|puller| puller.pull(image, &services)).collect();
    contenders.extend(other);
    let mut outcome = turns(bench, &mut contenders, &[""], &schedule(bench, counts))?;
    for puller in &pullers {
        outcome.notes.extend(puller.disk(image, &services)?);
    }
    Ok(outcome)
}

/// A container of the smallest Debian, without a network: rcrun has no bridge yet.
fn image(bench: &mut Bench) -> anyhow::Result<Outcome> {
    let image = Image { name: "debian", packing: "gzip" };
    let services = match services(bench, image)? {
        Ok(services) => services,
        Err(why) => return Ok(Outcome::left_out(&why)),
    };
    let mut outcome = Outcome::default();
    let mut contenders = Vec::new();
    for puller in pullers(bench, &services).iter().filter(|puller| puller.runs()) {
        match puller.once(image, &services) {
            Ok(()) => contenders.push(puller.run(image, &services)),
            Err(error) => outcome.notes.push(format!("{} is left out: {error:#}", puller.name())),
        }
    }
    let counts = match bench.amount {
        Amount::Full => [100, 100],
        Amount::Quick => [5, 5],
    };
    let measured = turns(bench, &mut contenders, &[""], &schedule(bench, counts))?;
    outcome.series = measured.series;
    outcome.notes.extend(measured.notes);
    Ok(outcome)
}

/// The registry with the image, and containerd; the inner error is why the case is left out.
fn services(bench: &Bench, image: Image) -> anyhow::Result<Result<Services, String>> {
    let images = bench.images.as_ref().context("no --images given")?;
    if !images.layouts.join(image.name).join("index.json").exists() {
        return Ok(Err(format!("the image {} was not made (tests/bin/images)", image.name)));
    }
    let containerd = bench.runtimes.iter().find(|runtime| runtime.name == "containerd");
    Services::start(&images.out, &images.layouts, image, containerd.map(|runtime| runtime.path.as_path()))
        .map(Ok)
}

fn pullers(bench: &Bench, services: &Services) -> Vec<Puller> {
    let rcrun = Puller::Rcrun(bench.runtimes[0].path.clone());
    let mut pullers = vec![rcrun];
    if let Some(ctr) = services.ctr() {
        pullers.push(Puller::Containerd(ctr.to_owned()));
    }
    let crun = bench.runtimes.iter().find(|runtime| runtime.name == "crun").map(|crun| crun.path.clone());
    pullers.extend(installed("podman").map(|podman| Puller::Podman(podman, crun)));
    pullers.extend(installed("skopeo").zip(installed("umoci")).map(|_| Puller::SkopeoUmoci));
    pullers
}

/// A program of the view.
fn installed(name: &str) -> Option<PathBuf> {
    Some(Path::new("/usr/bin").join(name)).filter(|path| path.exists())
}

fn schedule(bench: &Bench, [full, quick]: [usize; 2]) -> Schedule {
    let count = if bench.amount == Amount::Full { full } else { quick };
    let warm_up = if bench.amount == Amount::Full { 1 } else { 0 };
    Schedule { count, parallel: 1, warm_up, limit: LIMIT }
}
