//! `--device`: a device of the host's.

use rustix::fs::{FileType, major, minor, stat};

use super::options::Device;

/// `PATH[:TARGET][:rwm]`: looks at the host's node.
pub fn device(text: &str) -> Result<Device, String> {
    let is_access = |word: &str| !word.is_empty() && word.bytes().all(|byte| b"rwm".contains(&byte));
    let parts: Vec<&str> = text.split(':').collect();
    let (path, target, access) = match parts.as_slice() {
        [path] => (*path, *path, "rwm"),
        [path, access] if is_access(access) => (*path, *path, *access),
        [path, target] => (*path, *target, "rwm"),
        [path, target, access] if is_access(access) => (*path, *target, *access),
        _ => return Err(format!("--device {text:?} is not of the form PATH[:TARGET][:rwm]")),
    };
    if !super::config::is_volume_path(target) {
        return Err(format!("--device {text:?}: {target:?} is no absolute path without .."));
    }
    let node = stat(path).map_err(|error| format!("--device {path}: {error}"))?;
    let kind = match FileType::from_raw_mode(node.st_mode) {
        FileType::CharacterDevice => 'c',
        FileType::BlockDevice => 'b',
        _ => return Err(format!("--device {path}: no device")),
    };
    let (major, minor) = (major(node.st_rdev), minor(node.st_rdev));
    let source = std::path::absolute(path).map_err(|error| format!("--device {path}: {error}"))?;
    let (path, access) = (target.to_owned(), access.to_owned());
    Ok(Device { source, path, kind, major, minor, mode: node.st_mode & 0o7777, access })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_that_of_the_host() {
        let null = device("/dev/null:/dev/other:rw").unwrap();
        assert_eq!((null.kind, null.major, null.minor), ('c', 1, 3));
        assert_eq!((null.path.as_str(), null.access.as_str()), ("/dev/other", "rw"));
        assert_eq!(null.source, std::path::Path::new("/dev/null"));
        assert_eq!(device("/dev/zero:r").unwrap().path, "/dev/zero");
        for text in ["/dev/nonesuch", "/etc/passwd", "/dev/null:x", "/dev/null:/dev/../x", "/dev/null:/a:q"] {
            assert!(device(text).is_err(), "{text}");
        }
    }
}
