//! Trees packed by GNU tar, in all its formats, and unpacked again are the same trees.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::process::Command;

use super::*;

/// xorshift64*, so that a seed says all.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    fn name(&mut self, longest: usize) -> std::ffi::OsString {
        let length = 1 + self.below(longest);
        let bytes: Vec<u8> = (0..length)
            .map(|_| match self.below(8) {
                0 => 1 + self.below(255) as u8,
                _ => b'a' + self.below(26) as u8,
            })
            .map(|byte| if matches!(byte, b'/' | b'.') { b'_' } else { byte })
            .collect();
        std::ffi::OsStr::from_bytes(&bytes).to_owned()
    }
}

/// Makes a tree; names are short enough for the oldest format if `short`.
fn make(root: &Path, random: &mut Random, short: bool) {
    let mut directories = vec![root.to_owned()];
    let mut files: Vec<PathBuf> = Vec::new();
    for _ in 0..100 {
        let parent = directories[random.below(directories.len())].clone();
        let deep = parent.as_os_str().len() - root.as_os_str().len();
        let path = parent.join(random.name(if short { 12 } else { 100 }));
        if fs::symlink_metadata(&path).is_ok() || (short && deep > 60) {
            continue;
        }
        match random.below(10) {
            0..3 => {
                fs::create_dir(&path).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o700 | random.below(0o7777) as u32))
                    .unwrap();
                directories.push(path);
            }
            3 => symlink(random.name(if short { 50 } else { 250 }), &path).unwrap(),
            4 if !files.is_empty() => fs::hard_link(&files[random.below(files.len())], &path).unwrap(),
            5 => {
                let file = File::create(&path).unwrap();
                for _ in 0..random.below(6) {
                    file.write_all_at(&vec![b'x'; random.below(9000)], random.below(80_000) as u64).unwrap();
                }
                file.set_len(100_000).unwrap();
            }
            _ => {
                let length = [0, 1, 511, 512, 513, 5000, 70_000][random.below(7)];
                fs::write(&path, (0..length).map(|n| (n * 7 % 251) as u8).collect::<Vec<_>>()).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o400 | random.below(0o7777) as u32))
                    .unwrap();
                files.push(path);
            }
        }
    }
}

/// All of a tree that matters. Times in seconds, or finer.
fn describe(root: &Path, fine: bool) -> BTreeMap<PathBuf, String> {
    let (mut all, mut pending, mut inodes) = (BTreeMap::new(), vec![root.to_owned()], BTreeMap::new());
    while let Some(path) = pending.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        let relative = path.strip_prefix(root).unwrap().to_owned();
        let content = if stat.is_file() {
            inodes.entry(stat.ino()).or_insert_with(Vec::new).push(relative.clone());
            Digest::of(&fs::read(&path).unwrap()).to_string()
        } else if stat.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            String::new()
        } else {
            format!("{:?}", fs::read_link(&path).unwrap())
        };
        let nanoseconds = if fine { stat.mtime_nsec() } else { 0 };
        let (mode, uid, gid, mtime) = (stat.mode(), stat.uid(), stat.gid(), stat.mtime());
        all.insert(relative, format!("{mode:o} {uid} {gid} {mtime}.{nanoseconds} {content}"));
    }
    for mut names in inodes.into_values().filter(|names| names.len() > 1) {
        names.sort();
        let first = names[0].clone();
        names.iter().for_each(|name| all.get_mut(name).unwrap().push_str(&format!(" = {first:?}")));
    }
    all
}

#[test]
fn a_tree_packed_by_gnu_tar_is_the_same_again() {
    let formats: [(&[&str], bool); 8] = [
        (&["--format=v7"], true),
        (&["--format=oldgnu"], false),
        (&["--format=gnu"], false),
        (&["--format=gnu", "--sparse"], false),
        (&["--format=ustar"], true),
        (&["--format=posix"], false),
        (&["--format=posix", "--sparse", "--sparse-version=0.1"], false),
        (&["--format=posix", "--sparse", "--sparse-version=1.0"], false),
    ];
    for (seed, (arguments, short)) in formats.into_iter().enumerate() {
        for seed in [seed as u64 + 1, seed as u64 + 1001] {
            let source = tempfile::tempdir().unwrap();
            make(source.path(), &mut Random(seed), short);
            let tar = Command::new("tar")
                .args(arguments)
                .arg("-C")
                .arg(source.path())
                .args(["-cf", "-", "."])
                .output()
                .unwrap();
            assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
            let layer = Layer::new();
            layer.unpack(&tar.stdout).unwrap_or_else(|error| panic!("{arguments:?}, seed {seed}: {error}"));
            let fine = arguments.contains(&"--format=posix");
            let (expected, found) = (describe(source.path(), fine), describe(&layer.root(), fine));
            for (path, expected) in &expected {
                assert_eq!(found.get(path), Some(expected), "{arguments:?}, seed {seed}: {path:?}");
            }
            assert_eq!(found.len(), expected.len());
        }
    }
}
