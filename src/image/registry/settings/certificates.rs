//! Certificates of one registry: containers-certs.d(5), and docker's /etc/docker/certs.d.
//!
//! The first directory that has a `HOST[:PORT]` counts, and is the only one. `*.crt` are authorities, `NAME.cert`
//! and `NAME.key` are what rcrun shows for itself.

use std::io;
use std::path::{Path, PathBuf};

use super::{SettingsError, files};
use crate::image::registry::{Certificates, ClientCertificate};

/// The certificates' directory of `registry` below the first of `directories` that has one.
pub fn directory(directories: &[PathBuf], registry: &str) -> Option<PathBuf> {
    let mut candidates = directories.iter().map(|directory| directory.join(registry));
    // A directory that another user keeps for itself is none.
    candidates.find(|candidate| match std::fs::read_dir(candidate) {
        Ok(_) => true,
        Err(error) => !files::is_missing(&error) && error.kind() != io::ErrorKind::PermissionDenied,
    })
}

/// What is in that directory.
pub fn read(directory: &Path) -> Result<Certificates, SettingsError> {
    let content = |path: &Path| match files::read(path)? {
        Some(bytes) => Ok(bytes),
        None => Err(wrong(directory, format!("{} is not there", name(path)))),
    };
    let roots = files::list(directory, ".crt")?.iter().map(|path| content(path)).collect::<Result<_, _>>()?;
    let (certificates, keys) = (files::list(directory, ".cert")?, files::list(directory, ".key")?);
    if let Some(key) = keys.iter().find(|key| !certificates.contains(&key.with_extension("cert"))) {
        let reason = format!("{} has no certificate beside it: its name would be .cert", name(key));
        return Err(wrong(directory, reason));
    }
    let client = match certificates.as_slice() {
        [] => None,
        [certificate] => {
            let key = certificate.with_extension("key");
            if !keys.contains(&key) {
                let reason = format!("{} has no key beside it: its name would be .key", name(certificate));
                return Err(wrong(directory, reason));
            }
            Some(ClientCertificate { certificate: content(certificate)?, key: content(&key)? })
        }
        [first, second, ..] => {
            let reason = format!("{} and {}: only one can be shown", name(first), name(second));
            return Err(wrong(directory, reason));
        }
    };
    Ok(Certificates { roots, client })
}

fn wrong(directory: &Path, reason: String) -> SettingsError {
    SettingsError::Certificates { directory: directory.to_owned(), reason }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(names: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let top = tempfile::tempdir().unwrap();
        let directory = top.path().join("r.example:5000");
        std::fs::create_dir(&directory).unwrap();
        for name in names {
            std::fs::write(directory.join(name), name).unwrap();
        }
        (top, directory)
    }

    #[test]
    fn authorities_and_a_pair_are_found_by_their_names() {
        let (top, path) = with(&["a.crt", "b.crt", "me.cert", "me.key", "README"]);
        let found = directory(&["/nonexistent".into(), top.path().into()], "r.example:5000").unwrap();
        assert_eq!(found, path);
        let certificates = read(&found).unwrap();
        assert_eq!(certificates.roots, [b"a.crt".to_vec(), b"b.crt".to_vec()]);
        let client = certificates.client.unwrap();
        assert_eq!((client.certificate, client.key), (b"me.cert".to_vec(), b"me.key".to_vec()));
        assert_eq!(directory(&[top.path().into()], "r.example"), None);
    }

    #[test]
    fn half_a_pair_is_an_error_that_says_which_half() {
        for (names, reason) in [
            (&["me.cert"][..], "me.cert has no key"),
            (&["me.key"], "me.key has no certificate"),
            (&["a.cert", "a.key", "b.cert", "b.key"], "only one"),
        ] {
            let (_top, path) = with(names);
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("r.example:5000"), "{error}");
        }
    }
}
