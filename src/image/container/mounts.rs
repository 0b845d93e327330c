//! `-v`, `--mount` and `--tmpfs`: what a user wants mounted, in docker's words.
//!
//! In: the options' texts. Out: [`Wish`]es; nothing of the host is looked at here.

use std::path::PathBuf;

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
        /// Make a directory there where nothing is: `-v` does, `--mount` does not.
        make: bool,
        /// `rprivate`, `rslave`, `rshared`, `private`, `slave`, `shared`.
        propagation: Option<String>,
        /// With all that is mounted below it.
        recursive: bool,
    },
    /// A new tmpfs with these options.
    Tmpfs(Vec<String>),
}

const PROPAGATION: [&str; 6] = ["shared", "slave", "private", "rshared", "rslave", "rprivate"];
const VOLUMES_LATER: &str = "named volumes come later: give a path of this machine, such as ./DIR or /DIR";
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

/// `-v SOURCE:TARGET[:OPTION,...]`. A relative source is one of the working directory `here`.
pub fn volume(text: &str, here: &std::path::Path) -> Result<Wish, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        [target] if target.starts_with('/') => {
            return Err(format!("{text:?}: a volume without a source: {VOLUMES_LATER}, or use --tmpfs"));
        }
        _ => return Err(format!("{text:?} is not of the form SOURCE:TARGET[:OPTION,...]")),
    };
    if !source.starts_with(['/', '.']) {
        return Err(format!("{text:?}: {source:?} is no path: {VOLUMES_LATER}"));
    }
    let mut wish = bind(here.join(source), checked_target(text, target)?, true);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        bind_option(&mut wish, option).map_err(|reason| format!("{text:?}: {reason}"))?;
    }
    Ok(wish)
}

fn bind(source: PathBuf, target: String, make: bool) -> Wish {
    let what = What::Bind { source, make, propagation: None, recursive: true };
    Wish { target, what, readonly: false }
}

fn bind_option(wish: &mut Wish, option: &str) -> Result<(), String> {
    match option {
        "ro" | "readonly" => wish.readonly = true,
        "rw" => wish.readonly = false,
        // There is no SELinux label to be changed where no engine gives containers labels.
        "z" | "Z" | "nocopy" | "cached" | "delegated" | "consistent" => {}
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

/// `--mount type=bind,source=...,target=...` or `--mount type=tmpfs,target=...`.
pub fn mount(text: &str, here: &std::path::Path) -> Result<Wish, String> {
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
        ("bind", Some(source)) => bind(here.join(source), target, false),
        ("bind", None) => return Err(format!("{text:?}: source= is missing")),
        ("tmpfs", None) => {
            Wish { target, what: What::Tmpfs(TMPFS_DEFAULTS.map(str::to_owned).into()), readonly: false }
        }
        ("tmpfs", Some(_)) => return Err(format!("{text:?}: a tmpfs has no source")),
        ("volume", _) => return Err(format!("{text:?}: {VOLUMES_LATER} with type=bind")),
        (other, _) => return Err(format!("{text:?}: {other:?} is no type: expected bind or tmpfs")),
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
    use std::path::Path;

    use super::*;

    fn v(text: &str) -> Result<Wish, String> {
        volume(text, Path::new("/here"))
    }

    fn m(text: &str) -> Result<Wish, String> {
        mount(text, Path::new("/here"))
    }

    #[test]
    fn a_volume_is_a_path_of_the_host() {
        let wish = v("/src:/dst/:ro,rslave,z").unwrap();
        assert_eq!((wish.target.as_str(), wish.readonly), ("/dst", true));
        let What::Bind { source, make, propagation, .. } = wish.what else { panic!("bind") };
        assert_eq!((source.to_str(), make, propagation.as_deref()), (Some("/src"), true, Some("rslave")));
        let What::Bind { source, .. } = v("./a:/b").unwrap().what else { panic!("bind") };
        assert_eq!(source, Path::new("/here/./a"));
    }

    #[test]
    fn what_is_no_bind_is_refused_with_the_reason() {
        for (text, fragment) in [
            ("data:/data", "come later"),
            ("/data", "without a source"),
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
        assert!(wish.readonly && matches!(wish.what, What::Bind { make: false, recursive: true, .. }));
        let wish = m("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700").unwrap();
        let What::Tmpfs(options) = wish.what else { panic!("tmpfs") };
        assert!(options.contains(&"size=1048576".into()) && options.contains(&"mode=700".into()));
        for (text, fragment) in [
            ("type=bind,target=/b", "source="),
            ("type=bind,source=/a", "target="),
            ("source=x,target=/b", "come later"),
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
