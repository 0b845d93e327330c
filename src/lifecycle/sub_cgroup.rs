//! `exec --cgroup`: which cgroup a further process is born in.

use super::Error;
use super::container::Container;
use crate::cgroups::{Cgroup, Hierarchy};

/// A cgroup below the container's, as `--cgroup` names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubCgroup {
    /// Relative to the container's cgroup.
    pub path: String,
    /// The controllers that it must have; none are asked for with a path alone.
    pub controllers: Vec<String>,
}

impl SubCgroup {
    /// The words of `--cgroup`: one PATH, or any number of `CONTROLLER[,CONTROLLER...]:PATH`. With
    /// cgroup v2 a process is in one cgroup, so all of them must name the same.
    pub fn parse(words: &[String]) -> Result<Option<Self>, Error> {
        let refuse = |reason: String| Err(Error::Option { option: "--cgroup", reason });
        let mut parsed: Option<Self> = None;
        for word in words {
            let (controllers, path) = match word.split_once(':') {
                Some((controllers, path)) => (controllers.split(',').map(String::from).collect(), path),
                None => (Vec::new(), word.as_str()),
            };
            if controllers.iter().any(String::is_empty) {
                return refuse(format!("{word:?} has an empty name of a controller before the colon"));
            }
            if controllers.is_empty() && words.len() > 1 {
                return refuse(format!(
                    "{word:?} names no controller: give one PATH, or CONTROLLER:PATH each"
                ));
            }
            let all = parsed.get_or_insert_with(|| Self { path: path.into(), controllers: Vec::new() });
            if all.path.trim_matches('/') != path.trim_matches('/') {
                let first = &all.path;
                return refuse(format!(
                    "{path:?} for one controller and {first:?} for another: with cgroup v2 a process is in \
                     one cgroup for all controllers"
                ));
            }
            for controller in controllers {
                if all.controllers.contains(&controller) {
                    return refuse(format!("controller {controller:?} is named twice"));
                }
                all.controllers.push(controller);
            }
        }
        Ok(parsed)
    }

    /// Opens it below the container's cgroup.
    pub(super) fn open(&self, container: &Container) -> Result<Cgroup, Error> {
        let own = container.needed_cgroup()?;
        let path = own.path().join(self.path.trim_start_matches('/').as_ref())?;
        let cgroup = Cgroup::open(&Hierarchy::find()?, &path)?;
        if !self.controllers.is_empty() {
            let enabled = cgroup.controllers()?;
            if let Some(missing) = self.controllers.iter().find(|name| !enabled.contains(name)) {
                let reason = format!(
                    "cgroup {path} has no controller {missing:?} (it has {enabled}): enable it in \
                     cgroup.subtree_control of its parent, or give the path alone"
                );
                return Err(Error::Option { option: "--cgroup", reason });
            }
        }
        Ok(cgroup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Option<(String, Vec<String>)>, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let parsed = SubCgroup::parse(&words).map_err(|error| error.to_string())?;
        Ok(parsed.map(|cgroup| (cgroup.path, cgroup.controllers)))
    }

    #[test]
    fn a_path_stands_alone_or_behind_its_controllers() {
        let is = |path: &str, names: &[&str]| {
            Ok(Some((path.to_owned(), names.iter().map(|name| (*name).to_owned()).collect())))
        };
        assert_eq!(parsed(&[]), Ok(None));
        assert_eq!(parsed(&["a/b"]), is("a/b", &[]));
        assert_eq!(parsed(&["cpu:/a"]), is("/a", &["cpu"]));
        assert_eq!(parsed(&["cpu,memory:a", "pids:/a/"]), is("a", &["cpu", "memory", "pids"]));
    }

    #[test]
    fn what_cgroup_v2_cannot_have_is_refused() {
        for (words, part) in [
            (&["cpu:a", "memory:b"][..], "one cgroup"),
            (&["cpu:a", "cpu:a"], "twice"),
            (&["cpu,:a"], "empty name"),
            (&[":a"], "empty name"),
            (&["a", "cpu:a"], "names no controller"),
            (&["cpu:a", "a"], "names no controller"),
        ] {
            let error = parsed(words).unwrap_err();
            assert!(error.starts_with("--cgroup: ") && error.contains(part), "{words:?}: {error}");
        }
    }
}
