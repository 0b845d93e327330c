//! `-v`, `--mount` and `--tmpfs`: what a user wants mounted, in docker's words.
//!
//! In: the options' texts. Out: [`Wish`]es; nothing of the host is looked at here.

use std::path::{Path, PathBuf};

use super::config::is_volume_path;
use super::quantities;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Where, absolute in the container.
    pub target: String,
    /// What.
    pub what: What,
    /// Read-only.
    pub readonly: bool,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A file or directory of the host.
    Bind {
        /// Its path, absolute.
        source: PathBuf,
        /// What to do where nothing is.
        missing: Missing,
        /// `rprivate`, `rslave`, `rshared`, `private`, `slave`, `shared`.
        propagation: Option<String>,
        /// With all that is mounted below it.
        recursive: bool,
    },
    /// A new tmpfs with these options.
    Tmpfs(Vec<String>),
}

/// What becomes of a source that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// An error: `--mount type=bind`.
    Refuse,
    /// A directory: `-v`.
    Make,
    /// A directory with what the image has there: a volume with a name.
    Fill,
}

const PROPAGATION: [&str; 6] = ["shared", "slave", "private", "rshared", "rslave", "rprivate"];
const NAME: &str = "a volume's name has letters, digits and _.- and begins with a letter or a digit; a path begins with / or .";
/// As docker has it for `--tmpfs`.
const TMPFS_DEFAULTS: [&str; 3] = ["noexec", "nosuid", "nodev"];
/// Words that --tmpfs takes alone.
const TMPFS_FLAGS: [&str; 18] = [
    "ro",
    "rw",
    "exec",
    "noexec",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "sync",
    "async",
    "dirsync",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
];
/// Words that --tmpfs takes with a value.
const TMPFS_VALUES: [&str; 7] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"];

/// Where paths and names are.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The working directory: a relative source is one of it.
    pub here: &'a Path,
    /// The directory of volumes with names.
    pub volumes: &'a Path,
}

impl Places<'_> {
    /// The directory of the volume `name`.
    fn volume(&self, text: &str, name: &str) -> Result<PathBuf, String> {
        let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        match first && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)) {
            true => Ok(self.volumes.join(name).join(DATA)),
            false => Err(format!("{text:?}: {name:?}: {NAME}")),
        }
    }
}

/// A volume's files in its directory; as docker has it.
const DATA: &str = "_data";

/// `-v SOURCE:TARGET[:OPTION,...]`, of which the source is a path or the name of a volume.
pub fn volume(text: &str, places: Places<'_>) -> Result<Wish, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        [target] if target.starts_with('/') => {
            return Err(format!("{text:?}: a volume without a name: give it one, or a path, or use --tmpfs"));
        }
        _ => return Err(format!("{text:?} is not of the form SOURCE:TARGET[:OPTION,...]")),
    };
    let target = checked_target(text, target)?;
    let mut wish = match source.starts_with(['/', '.']) {
        true => bind(places.here.join(source), target, Missing::Make),
        false => bind(places.volume(text, source)?, target, Missing::Fill),
    };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        bind_option(&mut wish, option).map_err(|reason| format!("{text:?}: {reason}"))?;
    }
    Ok(wish)
}

fn bind(source: PathBuf, target: String, missing: Missing) -> Wish {
    let what = What::Bind { source, missing, propagation: None, recursive: true };
    Wish { target, what, readonly: false }
}

fn bind_option(wish: &mut Wish, option: &str) -> Result<(), String> {
    match option {
        "ro" | "readonly" => wish.readonly = true,
        "rw" => wish.readonly = false,
        "nocopy" => {
            if let What::Bind { missing: missing @ Missing::Fill, .. } = &mut wish.what {
                *missing = Missing::Make;
            }
        }
        // There is no SELinux label to be changed where no engine gives containers labels.
        "z" | "Z" | "cached" | "delegated" | "consistent" => {}
        propagation if PROPAGATION.contains(&propagation) => {
            if let What::Bind { propagation: kind, .. } = &mut wish.what {
                *kind = Some(propagation.to_owned());
            }
        }
        other => {
            return Err(format!(
                "{other:?} is no option: expected ro, rw, z, Z, or a propagation such as rslave"
            ));
        }
    }
    Ok(())
}

/// `--mount type=bind,source=...,target=...`, `--mount type=volume,source=NAME,target=...` or `--mount type=tmpfs,target=...`.
pub fn mount(text: &str, places: Places<'_>) -> Result<Wish, String> {
    let (mut kind, mut source, mut target) = ("volume", None, None);
    let mut options: Vec<(&str, Option<&str>)> = Vec::new();
    for field in text.split(',') {
        let (key, value) = field.split_once('=').map_or((field, None), |(key, value)| (key, Some(value)));
        match (key.to_ascii_lowercase().as_str(), value) {
            ("type", Some(value)) => kind = value,
            ("source" | "src", Some(value)) => source = Some(value),
            ("target" | "destination" | "dst", Some(value)) => target = Some(value),
            _ => options.push((key, value)),
        }
    }
    let target = target.ok_or_else(|| format!("{text:?}: target= is missing"))?;
    let target = checked_target(text, target)?;
    let mut wish = match (kind, source) {
        ("bind", Some(source)) => bind(places.here.join(source), target, Missing::Refuse),
        ("volume", Some(name)) => bind(places.volume(text, name)?, target, Missing::Fill),
        ("bind" | "volume", None) => return Err(format!("{text:?}: source= is missing")),
        ("tmpfs", None) => {
            Wish { target, what: What::Tmpfs(TMPFS_DEFAULTS.map(str::to_owned).into()), readonly: false }
        }
        ("tmpfs", Some(_)) => return Err(format!("{text:?}: a tmpfs has no source")),
        (other, _) => return Err(format!("{text:?}: {other:?} is no type: expected bind, volume or tmpfs")),
    };
    for (key, value) in options {
        mount_option(&mut wish, key, value).map_err(|reason| format!("{text:?}: {reason}"))?;
    }
    Ok(wish)
}

fn mount_option(wish: &mut Wish, key: &str, value: Option<&str>) -> Result<(), String> {
    let truth = |value: Option<&str>| match value {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => Err(format!("{key}={other}: expected true or false")),
    };
    match (key, &mut wish.what) {
        ("readonly" | "ro", _) => wish.readonly = truth(value)?,
        ("bind-propagation", What::Bind { propagation, .. }) => match value {
            Some(value) if PROPAGATION.contains(&value) => *propagation = Some(value.to_owned()),
            _ => return Err(format!("bind-propagation: expected one of {}", PROPAGATION.join(", "))),
        },
        ("volume-nocopy", What::Bind { missing: missing @ Missing::Fill, .. }) => {
            if truth(value)? {
                *missing = Missing::Make;
            }
        }
        ("bind-nonrecursive", What::Bind { recursive, .. }) => *recursive = !truth(value)?,
        ("bind-recursive", What::Bind { recursive, .. }) => match value {
            Some("enabled") => *recursive = true,
            Some("disabled") => *recursive = false,
            _ => return Err("bind-recursive: expected enabled or disabled".into()),
        },
        ("tmpfs-size", What::Tmpfs(options)) => {
            options.push(format!("size={}", quantities::bytes(value.unwrap_or_default())?));
        }
        ("tmpfs-mode", What::Tmpfs(options)) => match value {
            Some(mode) if u32::from_str_radix(mode, 8).is_ok_and(|mode| mode <= 0o7777) => {
                options.push(format!("mode={mode}"));
            }
            _ => return Err("tmpfs-mode: expected an octal number such as 1777".into()),
        },
        (other, _) => return Err(format!("{other:?} is no option of such a mount")),
    }
    Ok(())
}

/// `--tmpfs TARGET[:OPTION,...]`.
pub fn tmpfs(text: &str) -> Result<Wish, String> {
    let (target, words) = text.split_once(':').unwrap_or((text, ""));
    let target = checked_target(text, target)?;
    let mut options: Vec<String> = TMPFS_DEFAULTS.map(str::to_owned).into();
    let mut readonly = false;
    for word in words.split(',').filter(|word| !word.is_empty()) {
        let (key, value) = word.split_once('=').map_or((word, None), |(key, value)| (key, Some(value)));
        match (key, value) {
            ("ro", None) => readonly = true,
            ("rw", None) => readonly = false,
            (flag, None) if TMPFS_FLAGS.contains(&flag) => options.push(flag.to_owned()),
            ("size", Some(value)) if !value.ends_with('%') => {
                options.push(format!("size={}", quantities::bytes(value)?));
            }
            (key, Some(_)) if TMPFS_VALUES.contains(&key) => options.push(word.to_owned()),
            _ => return Err(format!("{text:?}: {word:?} is no option of a tmpfs")),
        }
    }
    Ok(Wish { target, what: What::Tmpfs(options), readonly })
}

fn checked_target(text: &str, target: &str) -> Result<String, String> {
    match is_volume_path(target) {
        true => Ok(target.trim_end_matches('/').to_owned()),
        false => Err(format!(
            "{text:?}: {target:?} is no place to mount at: expected an absolute path but /, without .."
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places<'static> {
        Places { here: Path::new("/here"), volumes: Path::new("/volumes") }
    }

    fn v(text: &str) -> Result<Wish, String> {
        volume(text, places())
    }

    fn m(text: &str) -> Result<Wish, String> {
        mount(text, places())
    }

    #[test]
    fn a_word_is_the_name_of_a_volume() {
        for wish in
            [v("data:/d:ro"), m("source=data,target=/d,readonly"), m("type=volume,src=data,dst=/d,ro")]
        {
            let wish = wish.unwrap();
            let What::Bind { source, missing, .. } = wish.what else { panic!("bind") };
            assert_eq!((source.as_path(), missing), (Path::new("/volumes/data/_data"), Missing::Fill));
            assert!(wish.readonly && wish.target == "/d");
        }
        for wish in [v("data:/d:nocopy"), m("source=data,target=/d,volume-nocopy")] {
            assert!(matches!(wish.unwrap().what, What::Bind { missing: Missing::Make, .. }));
        }
    }

    #[test]
    fn a_volume_is_a_path_of_the_host() {
        let wish = v("/src:/dst/:ro,rslave,z").unwrap();
        assert_eq!((wish.target.as_str(), wish.readonly), ("/dst", true));
        let What::Bind { source, missing, propagation, .. } = wish.what else { panic!("bind") };
        let said = (source.to_str(), missing, propagation.as_deref());
        assert_eq!(said, (Some("/src"), Missing::Make, Some("rslave")));
        let What::Bind { source, .. } = v("./a:/b").unwrap().what else { panic!("bind") };
        assert_eq!(source, Path::new("/here/./a"));
    }

    #[test]
    fn what_is_no_bind_is_refused_with_the_reason() {
        for (text, fragment) in [
            ("da/ta:/data", "letters, digits"),
            ("-data:/data", "letters, digits"),
            ("/data", "without a name"),
            ("/a:b", "absolute"),
            ("/a:/", "place to mount"),
            ("/a:/b/../../c", "without .."),
            ("/a:/b:what", "what"),
            ("/a:/b:ro:x", "form"),
            ("", "form"),
        ] {
            let error = v(text).unwrap_err();
            assert!(error.contains(fragment), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_mount_is_a_list_of_fields() {
        let wish = m("type=bind,src=/a,dst=/b,readonly,bind-propagation=rshared").unwrap();
        assert!(
            wish.readonly
                && matches!(wish.what, What::Bind { missing: Missing::Refuse, recursive: true, .. })
        );
        let wish = m("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700").unwrap();
        let What::Tmpfs(options) = wish.what else { panic!("tmpfs") };
        assert!(options.contains(&"size=1048576".into()) && options.contains(&"mode=700".into()));
        for (text, fragment) in [
            ("type=bind,target=/b", "source="),
            ("type=bind,source=/a", "target="),
            ("target=/b", "source="),
            ("source=a/b,target=/b", "letters, digits"),
            ("type=npipe,target=/b,source=/a", "npipe"),
            ("type=tmpfs,target=/b,tmpfs-mode=9", "octal"),
            ("type=bind,source=/a,target=/b,tmpfs-size=1", "tmpfs-size"),
        ] {
            let error = m(text).unwrap_err();
            assert!(error.contains(fragment), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_tmpfs_has_dockers_options() {
        let wish = tmpfs("/run:rw,size=64m,mode=755,exec").unwrap();
        let What::Tmpfs(options) = wish.what else { panic!("tmpfs") };
        assert_eq!(options, ["noexec", "nosuid", "nodev", "size=67108864", "mode=755", "exec"]);
        assert!(tmpfs("/run:ro").unwrap().readonly);
        for text in ["run", "/run:size=much", "/run:bogus", "/run:source=x", "/"] {
            assert!(tmpfs(text).is_err(), "{text:?}");
        }
    }
}
