//! `unpack BLOB DIRECTORY [RUNS]`: what unpacking a layer costs beside the least that it takes.
//!
//! The floor is what nobody can do without: one thread inflates the blob as a stream and computes both
//! digests, and keeps nothing. Both are done in turns, RUNS times (3); the medians and their ratio are
//! printed, with the processor time and the peak of memory of unpacking. DIRECTORY is made and filled by all
//! runs, then removed; what the last has unpacked is compared with its list. The floor is of one thread: on a
//! busy machine compare the processor time.
//!
//! `unpack --floor BLOB` is the floor alone, once, and prints the DiffID.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rcrun::image::manifest::Compression;
use rcrun::image::unpack::{UnpackOptions, Unpacked, unpack_layer, verify_layer};
use sha2::{Digest, Sha256};

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (blob, directory, runs) = match words.as_slice() {
        [flag, blob] if flag == "--floor" => {
            println!("{}", floor(Path::new(blob))?);
            return Ok(());
        }
        [blob, directory] => (blob, directory, 3),
        [blob, directory, runs] => (blob, directory, runs.parse().context("RUNS is a number")?),
        _ => bail!("usage: unpack BLOB DIRECTORY [RUNS] | unpack --floor BLOB"),
    };
    let (blob, directory) = (Path::new(blob), Path::new(directory));
    let (mut floors, mut unpacks) = (Vec::new(), Vec::new());
    let mut memory = String::new();
    for run in 0..runs {
        let (found, cost) = measured(|| floor(blob))?;
        floors.push(cost);
        // What was removed a moment ago is slow to make anew in ext4: the directories stay until all runs are done.
        let place = directory.join(run.to_string());
        let (unpacked, cost) = measured(|| unpack(blob, &place))?;
        unpacks.push(cost);
        ensure!(unpacked.diff_id.hex() == found, "the DiffIDs differ");
        if run == 0 {
            memory = peak()?;
        }
        if run + 1 == runs {
            report(&unpacked, floors.as_mut_slice(), unpacks.as_mut_slice());
            println!("{memory} when the first had been unpacked");
            verify(&place)?;
        }
    }
    Ok(fs::remove_dir_all(directory)?)
}

/// Seconds by the clock, and of all threads on processors.
type Cost = (f64, f64);

fn measured<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, Cost)> {
    let (start, used) = (Instant::now(), processor_time()?);
    let result = work()?;
    Ok((result, (start.elapsed().as_secs_f64(), processor_time()?.saturating_sub(used).as_secs_f64())))
}

fn report(unpacked: &Unpacked, floors: &mut [Cost], unpacks: &mut [Cost]) {
    println!("{} bytes of blob, {} of archive, {} files", unpacked.blob_size, unpacked.bytes, unpacked.files);
    let (floor, unpack) = (median(floors), median(unpacks));
    let line = |name: &str, (wall, processor): Cost| {
        println!("{name:8} {wall:8.3} s, {processor:8.3} s on processors");
    };
    line("floor", floor);
    line("unpack", unpack);
    println!("ratio    {:8.2}    {:8.2}", unpack.0 / floor.0, unpack.1 / floor.1);
}

fn median(costs: &mut [Cost]) -> Cost {
    costs.sort_by(|a, b| a.0.total_cmp(&b.0));
    costs.get(costs.len() / 2).copied().unwrap_or_default()
}

/// Reads, inflates and hashes; the DiffID in hexadecimal digits.
fn floor(blob: &Path) -> anyhow::Result<String> {
    let mut magic = [0; 4];
    File::open(blob)?.read_exact(&mut magic)?;
    let hashed = Hashed { from: File::open(blob)?, hasher: Sha256::new() };
    let mut plain: Box<dyn Read> = match magic {
        [0x1f, 0x8b, ..] => {
            Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(256 << 10, hashed)))
        }
        [0x28, 0xb5, 0x2f, 0xfd] => {
            Box::new(zstd::Decoder::with_buffer(BufReader::with_capacity(256 << 10, hashed))?)
        }
        _ => Box::new(hashed),
    };
    let (mut buffer, mut hasher) = (vec![0; 256 << 10], Sha256::new());
    loop {
        match plain.read(&mut buffer)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

struct Hashed {
    from: File,
    hasher: Sha256,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

fn unpack(blob: &Path, directory: &Path) -> anyhow::Result<Unpacked> {
    fs::create_dir_all(directory.join("diff"))?;
    let diff = File::open(directory.join("diff"))?;
    let mut digests = File::create(directory.join("digests"))?;
    let options = UnpackOptions { blob_size: Some(fs::metadata(blob)?.len()), ..UnpackOptions::default() };
    Ok(unpack_layer(File::open(blob)?, Compression::Gzip, diff.as_fd(), &mut digests, options)?)
}

fn verify(directory: &Path) -> anyhow::Result<()> {
    let diff = File::open(directory.join("diff"))?;
    let list = File::open(directory.join("digests"))?;
    let size = list.metadata()?.len();
    let start = Instant::now();
    let differences = verify_layer(diff.as_fd(), BufReader::new(list))?;
    println!(
        "verify  {:8.3} s, {} differences; list of {size} bytes",
        start.elapsed().as_secs_f64(),
        differences.len()
    );
    differences.iter().take(10).for_each(|difference| println!("  {difference}"));
    Ok(())
}

/// The most memory that was resident so far.
fn peak() -> anyhow::Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    Ok(status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default().to_owned())
}

/// Of all threads, in user and kernel mode.
fn processor_time() -> anyhow::Result<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Ok(Duration::new(time.tv_sec.try_into()?, time.tv_nsec.try_into()?))
}
