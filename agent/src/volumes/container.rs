//! The mounts of a container.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, VolumeMount as PodMount};

use super::plan::{Plan, Source, Volume};
use super::prepare::place;
use super::{VolumeError, atomic, sub_path};
use crate::spec::VolumeMount;

/// See [`super::mounts`].
pub(super) fn mounts(
    container: &Container,
    plan: &Plan,
    directory: &Path,
    environment: &BTreeMap<String, String>,
    recursive: bool,
) -> Result<Vec<VolumeMount>, VolumeError> {
    let mounts = container.volume_mounts.iter().flatten().enumerate();
    mounts
        .map(|(index, mount)| {
            let made = match plan.volume(&mount.name) {
                Some(volume) => of_mount(mount, volume, directory, environment, &container.name, index),
                None => Err("the Pod has no such volume".into()),
            };
            let made = made.and_then(|made| {
                let recursive_readonly = is_recursive(mount, made.readonly, recursive)?;
                Ok(VolumeMount { recursive_readonly, ..made })
            });
            made.map_err(|message| VolumeError { volume: mount.name.clone(), message })
        })
        .collect()
}

fn of_mount(
    mount: &PodMount,
    volume: &Volume,
    directory: &Path,
    environment: &BTreeMap<String, String>,
    container: &str,
    index: usize,
) -> Result<VolumeMount, String> {
    let sub_path = match (&mount.sub_path, &mount.sub_path_expr) {
        (_, Some(expression)) if !expression.is_empty() => expand(expression, environment)?,
        (Some(sub_path), _) => sub_path.clone(),
        _ => String::new(),
    };
    let parts = sub_path::parts(&sub_path)?;
    let readonly = volume.read_only || mount.read_only == Some(true);
    let mut made = VolumeMount {
        host_path: PathBuf::new(),
        container_path: match mount.mount_path.starts_with('/') {
            true => mount.mount_path.clone(),
            false => format!("/{}", mount.mount_path),
        },
        readonly,
        recursive_readonly: false,
        propagation: mount.mount_propagation.clone(),
        image: None,
        image_sub_path: String::new(),
    };
    match place(volume, directory) {
        None => {
            if let Source::Image { reference, .. } = &volume.source {
                made.image = Some(reference.clone());
            }
            made.image_sub_path = parts.join("/");
        }
        Some(place) if parts.is_empty() => made.host_path = place,
        // No container writes to it, so that its path says what it is; and there is no mount that slows down others.
        Some(place) if matches!(volume.source, Source::Files { .. }) => {
            made.host_path = of_files(&place, &parts)?;
        }
        Some(place) => {
            let found = sub_path::open(&place, &parts)?;
            made.host_path = sub_path::bind(&found, directory, &volume.name, container, index)
                .map_err(|error| error.to_string())?;
        }
    }
    Ok(made)
}

/// Whether what is mounted below is to be read-only as well.
fn is_recursive(mount: &PodMount, readonly: bool, possible: bool) -> Result<bool, String> {
    match mount.recursive_read_only.as_deref() {
        None | Some("Disabled") => Ok(false),
        Some("IfPossible") => Ok(readonly && possible),
        // At apply it was possible, or not known.
        Some(_) if !possible => {
            Err("recursiveReadOnly: the runtime does not report recursive read-only mounts; use IfPossible"
                .into())
        }
        Some(_) => Ok(true),
    }
}

/// A part of a volume of files, as they are now: such a mount does not change any more.
fn of_files(place: &Path, parts: &[&str]) -> Result<PathBuf, String> {
    let path = place.join(atomic::DATA).join(parts.join("/"));
    std::fs::canonicalize(&path)
        .map_err(|error| format!("subPath {}: it is not in the volume: {error}", parts.join("/")))
}

/// `$(NAME)` is a variable's value, `$$` a dollar. A variable that is not there is an error.
fn expand(text: &str, environment: &BTreeMap<String, String>) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = after.strip_prefix('(').and_then(|after| after.split_once(')')) {
            let value = environment.get(name);
            expanded.push_str(
                value.ok_or_else(|| format!("subPathExpr {text:?}: no variable {name} in the container"))?,
            );
            rest = after;
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_only_is_recursive_where_the_runtime_says_that_it_can_be() {
        let mount = |kind: &str| PodMount { recursive_read_only: Some(kind.into()), ..PodMount::default() };
        for (kind, readonly, possible, wanted) in [
            ("Disabled", true, true, Ok(false)),
            ("IfPossible", true, true, Ok(true)),
            ("IfPossible", true, false, Ok(false)),
            ("IfPossible", false, true, Ok(false)),
            ("Enabled", true, true, Ok(true)),
        ] {
            assert_eq!(
                is_recursive(&mount(kind), readonly, possible),
                wanted,
                "{kind} {readonly} {possible}"
            );
        }
        assert!(is_recursive(&mount("Enabled"), true, false).is_err());
    }

    #[test]
    fn variables_are_expanded_as_in_kubernetes() {
        let environment: BTreeMap<String, String> = [("POD".to_owned(), "web-1".to_owned())].into();
        let expand = |text| expand(text, &environment);
        assert_eq!(expand("logs/$(POD)/x"), Ok("logs/web-1/x".into()));
        assert_eq!(expand("$$(POD)$"), Ok("$(POD)$".into()));
        assert_eq!(expand("a$(POD"), Ok("a$(POD".into()));
        assert!(expand("$(NONE)").is_err_and(|error| error.contains("NONE")));
    }
}
