//! The mount options of config.json, as mount(8) and runc name them, and what each does.

use std::ffi::CString;

use rustix::mount::MountPropagationFlags as Propagation;

use super::step::{Attributes, FsOption};

const RDONLY: u64 = 0x01;
const NOSUID: u64 = 0x02;
const NODEV: u64 = 0x04;
const NOEXEC: u64 = 0x08;
const ATIME: u64 = 0x70;
const RELATIME: u64 = 0x00;
const NOATIME: u64 = 0x10;
const STRICTATIME: u64 = 0x20;
const NODIRATIME: u64 = 0x80;
const NOSYMFOLLOW: u64 = 0x20_0000;

/// MOUNT_ATTR_RDONLY of linux/mount.h.
pub const MOUNT_ATTR_RDONLY: u64 = RDONLY;

/// Options with an effect on the mount itself: name, bits to set, bits to clear (MOUNT_ATTR_*).
/// Each has a recursive twin with an `r` before it.
const ATTRIBUTES: [(&str, u64, u64); 16] = [
    ("ro", RDONLY, 0),
    ("rw", 0, RDONLY),
    ("nosuid", NOSUID, 0),
    ("suid", 0, NOSUID),
    ("nodev", NODEV, 0),
    ("dev", 0, NODEV),
    ("noexec", NOEXEC, 0),
    ("exec", 0, NOEXEC),
    ("noatime", NOATIME, ATIME),
    ("atime", RELATIME, ATIME),
    ("relatime", RELATIME, ATIME),
    ("strictatime", STRICTATIME, ATIME),
    ("nodiratime", NODIRATIME, 0),
    ("diratime", 0, NODIRATIME),
    ("nosymfollow", NOSYMFOLLOW, 0),
    ("symfollow", 0, NOSYMFOLLOW),
];

/// The negated access time options: back to the kernel's default, relatime(mount(8)).
const ATIME_NEGATIONS: [&str; 2] = ["norelatime", "nostrictatime"];

const PROPAGATION: [(&str, Propagation); 8] = [
    ("private", Propagation::PRIVATE),
    ("rprivate", Propagation::PRIVATE.union(Propagation::REC)),
    ("slave", Propagation::DOWNSTREAM),
    ("rslave", Propagation::DOWNSTREAM.union(Propagation::REC)),
    ("shared", Propagation::SHARED),
    ("rshared", Propagation::SHARED.union(Propagation::REC)),
    ("unbindable", Propagation::UNBINDABLE),
    ("runbindable", Propagation::UNBINDABLE.union(Propagation::REC)),
];

/// Options of the superblock that every file system takes as a flag.
const SUPERBLOCK: [&str; 5] = ["sync", "dirsync", "lazytime", "iversion", "mand"];

/// Options that ask for what is the case anyway.
const NO_EFFECT: [&str; 8] =
    ["defaults", "async", "nolazytime", "noiversion", "nomand", "loud", "silent", "_netdev"];

/// `idmap` or, of the whole tree, `ridmap`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IdMapOption {
    pub recursive: bool,
    /// crun's mapping after `=`.
    pub ids: Option<String>,
}

impl IdMapOption {
    fn parse(option: &str) -> Option<Self> {
        let (name, ids) = match option.split_once('=') {
            Some((name, ids)) => (name, Some(ids).filter(|ids| !ids.is_empty()).map(str::to_owned)),
            None => (option, None),
        };
        match name {
            "idmap" => Some(Self { recursive: false, ids }),
            "ridmap" => Some(Self { recursive: true, ids }),
            _ => None,
        }
    }
}

/// The options of one mount, sorted by what they do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct MountOptions {
    /// Some(recursive) for `bind` and `rbind`.
    pub bind: Option<bool>,
    /// Change what is mounted instead of mounting.
    pub remount: bool,
    pub attributes: Attributes,
    pub propagation: Option<Propagation>,
    pub copy_up: bool,
    /// A symbolic link as a bind's source: itself (`src-nofollow`), or a copy (`copy-symlink`).
    pub src_nofollow: bool,
    pub copy_symlink: bool,
    /// Mount on the target itself, even if that is a symbolic link.
    pub dest_nofollow: bool,
    /// `idmap` and `ridmap`.
    pub idmap: Option<IdMapOption>,
    /// What is left: options of the file system.
    pub data: Vec<FsOption>,
}

impl MountOptions {
    /// Sorts `options`; a string with a NUL byte never comes here (spec validation).
    pub fn parse<'a>(options: impl Iterator<Item = &'a str>) -> Self {
        let mut parsed = Self::default();
        for option in options {
            parsed.take(option);
        }
        parsed
    }

    fn take(&mut self, option: &str) {
        match option {
            "bind" => self.bind = Some(self.bind.unwrap_or(false)),
            "rbind" => self.bind = Some(true),
            "remount" => self.remount = true,
            "tmpcopyup" => self.copy_up = true,
            "src-nofollow" => self.src_nofollow = true,
            "dest-nofollow" => self.dest_nofollow = true,
            "copy-symlink" => self.copy_symlink = true,
            option if NO_EFFECT.contains(&option) => {}
            option if self.take_attribute(option) => {}
            option => {
                if let Some(flags) = propagation(option) {
                    self.propagation = Some(flags);
                } else if let Some(idmap) = IdMapOption::parse(option) {
                    self.idmap = Some(idmap);
                } else if !option.is_empty() {
                    self.data.push(data(option));
                }
            }
        }
    }

    fn take_attribute(&mut self, option: &str) -> bool {
        let a = &mut self.attributes;
        if let Some((set, clear)) = attribute(option) {
            (a.set, a.clear) = merge(a.set, a.clear, set, clear);
        } else if let Some((set, clear)) = option.strip_prefix('r').and_then(attribute) {
            (a.set_recursive, a.clear_recursive) = merge(a.set_recursive, a.clear_recursive, set, clear);
        } else {
            return false;
        }
        true
    }
}

/// The later option wins over an earlier one of the same bits.
fn merge(set: u64, clear: u64, more_set: u64, more_clear: u64) -> (u64, u64) {
    let group = more_clear & ATIME;
    ((set & !more_clear) | more_set, (clear & !more_set) | more_clear | group)
}

fn attribute(option: &str) -> Option<(u64, u64)> {
    if ATIME_NEGATIONS.contains(&option) {
        return Some((RELATIME, ATIME));
    }
    ATTRIBUTES.iter().find(|(name, ..)| *name == option).map(|(_, set, clear)| (*set, *clear))
}

/// A propagation type by its name.
pub(super) fn propagation(name: &str) -> Option<Propagation> {
    PROPAGATION.iter().find(|(known, _)| *known == name).map(|(_, flags)| *flags)
}

fn data(option: &str) -> FsOption {
    let text = |s: &str| CString::new(s).unwrap_or_default();
    match option.split_once('=') {
        Some((key, value)) => FsOption::Value(text(key), text(value)),
        None => FsOption::Flag(text(option)),
    }
}

/// Every option that has a meaning of its own here, sorted: for `rcrun features`.
pub fn mount_option_names() -> Vec<String> {
    let attributes = ATTRIBUTES.iter().map(|(name, ..)| *name).chain(ATIME_NEGATIONS);
    let mut names: Vec<String> = attributes.flat_map(|name| [name.to_string(), format!("r{name}")]).collect();
    let others = [
        "bind",
        "rbind",
        "remount",
        "tmpcopyup",
        "idmap",
        "ridmap",
        "src-nofollow",
        "dest-nofollow",
        "copy-symlink",
    ];
    let flags =
        SUPERBLOCK.iter().chain(&NO_EFFECT).chain(&others).chain(PROPAGATION.iter().map(|(name, _)| name));
    names.extend(flags.filter(|name| **name != "_netdev").map(|name| name.to_string()));
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &str) -> MountOptions {
        MountOptions::parse(options.split(','))
    }

    #[test]
    fn the_last_of_two_opposites_wins() {
        assert_eq!(parse("ro,rw").attributes, Attributes { clear: RDONLY, ..Attributes::default() });
        assert_eq!(parse("rw,ro").attributes, Attributes { set: RDONLY, ..Attributes::default() });
        assert_eq!(parse("noatime,strictatime").attributes.set, STRICTATIME);
    }

    #[test]
    fn access_time_is_a_field_that_is_cleared_before_it_is_set() {
        let a = parse("strictatime").attributes;
        assert_eq!((a.set, a.clear), (STRICTATIME, ATIME));
    }

    #[test]
    fn recursive_twins_change_the_tree() {
        let a = parse("rro,rnosuid").attributes;
        assert_eq!((a.set, a.set_recursive), (0, RDONLY | NOSUID));
        assert_eq!(parse("rrelatime").attributes.clear_recursive, ATIME);
    }

    #[test]
    fn bind_and_rbind_and_propagation_are_recognised() {
        let p = parse("rbind,rslave,tmpcopyup,remount");
        assert_eq!(p.bind, Some(true));
        assert_eq!(p.propagation, Some(Propagation::DOWNSTREAM | Propagation::REC));
        assert!(p.copy_up && p.remount && p.data.is_empty());
    }

    #[test]
    fn the_rest_goes_to_the_file_system() {
        let p = parse("size=64k,newinstance,sync,defaults");
        let value = FsOption::Value(c"size".into(), c"64k".into());
        assert_eq!(p.data, [value, FsOption::Flag(c"newinstance".into()), FsOption::Flag(c"sync".into())]);
    }
}
