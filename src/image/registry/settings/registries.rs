//! All files of registries.conf as one: which come first, what later ones replace.
//! containers-registries.conf.d(5), "Configuration precedence".

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::conf::{self, File, Namespace, ShortNameMode};
use super::{RegistriesFiles, SettingsError, files};
use crate::image::Reference;

/// The name among credential helpers that stands for the authentication files.
pub const AUTH_FILES: &str = "containers-auth.json";

/// What all files say together.
#[derive(Debug, Default)]
pub struct Registries {
    /// `unqualified-search-registries`, and the file that says so.
    pub search: Option<(Vec<String>, Arc<Path>)>,
    /// `credential-helpers`, and the file that says so.
    pub helpers: Option<(Vec<String>, Arc<Path>)>,
    /// `short-name-mode`.
    pub mode: ShortNameMode,
    /// `[[registry]]`: one of each prefix.
    pub namespaces: Vec<Namespace>,
    /// `[aliases]`, each with its file.
    pub aliases: BTreeMap<String, (Reference, Arc<Path>)>,
    /// What was ignored, and where.
    pub notes: Vec<String>,
    /// The files that were read, in their order.
    pub read: Vec<PathBuf>,
}

impl Registries {
    /// Reads them.
    pub fn load(wanted: &RegistriesFiles) -> Result<Self, SettingsError> {
        let mut all = Self::default();
        match wanted {
            RegistriesFiles::Only(path) => {
                if !all.take(path)? {
                    let by = "CONTAINERS_REGISTRIES_CONF";
                    return Err(SettingsError::Missing { path: path.clone(), by });
                }
            }
            RegistriesFiles::Usual { system, user, short_names } => {
                let own = user.as_ref().map(|user| all.take(&user.join("registries.conf"))).transpose()?;
                let mut directories = Vec::from_iter(user);
                if own != Some(true) {
                    all.take(&system.join("registries.conf"))?;
                    directories.insert(0, system);
                }
                for directory in directories {
                    for path in files::list(&directory.join("registries.conf.d"), ".conf")? {
                        all.take(&path)?;
                    }
                }
                if let Some(path) = short_names {
                    all.take_short_names(path)?;
                }
            }
        }
        Ok(all)
    }

    /// What one file says, whose content is `text`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, SettingsError> {
        let mut all = Self::default();
        all.add(path, conf::parse(path, text)?);
        Ok(all)
    }

    /// Adds what the file says; false where there is none.
    fn take(&mut self, path: &Path) -> Result<bool, SettingsError> {
        let Some(text) = files::read_text(path)? else { return Ok(false) };
        let file = conf::parse(path, &text)?;
        self.add(path, file);
        Ok(true)
    }

    /// Adds the aliases of a file that programs write: nothing else of it counts.
    fn take_short_names(&mut self, path: &Path) -> Result<(), SettingsError> {
        let Some(text) = files::read_text(path)? else { return Ok(()) };
        let file = conf::parse(path, &text)?;
        self.add(path, File { aliases: file.aliases, ..File::default() });
        Ok(())
    }

    fn add(&mut self, path: &Path, file: File) {
        let path: Arc<Path> = path.into();
        self.read.push(path.to_path_buf());
        let from = |value| (value, path.clone());
        self.search = file.search.map(from).or(self.search.take());
        self.helpers = file.helpers.map(from).or(self.helpers.take());
        self.mode = file.mode.unwrap_or(self.mode);
        for namespace in file.namespaces {
            self.namespaces.retain(|other| other.prefix != namespace.prefix);
            self.namespaces.push(namespace);
        }
        for (name, target) in file.aliases {
            match target {
                Some(target) => drop(self.aliases.insert(name, (target, path.clone()))),
                None => drop(self.aliases.remove(&name)),
            }
        }
        self.notes.extend(file.notes);
    }

    /// The credential helpers in the order of asking, [`AUTH_FILES`] among them, and who says so.
    pub fn helpers(&self) -> (Vec<&str>, String) {
        match &self.helpers {
            Some((helpers, path)) if !helpers.is_empty() => (
                helpers.iter().map(String::as_str).collect(),
                format!("credential-helpers in {}", path.display()),
            ),
            _ => (vec![AUTH_FILES], String::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files below a directory of their own, and the options that name it.
    fn files(contents: &[(&str, &str)]) -> (tempfile::TempDir, RegistriesFiles) {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in contents {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let usual = RegistriesFiles::Usual {
            system: directory.path().join("system"),
            user: Some(directory.path().join("user")),
            short_names: Some(directory.path().join("cache/short-name-aliases.conf")),
        };
        (directory, usual)
    }

    const SYSTEM: &str = "unqualified-search-registries = [\"a.b\"]\ncredential-helpers = [\"x\"]\n\
        [[registry]]\nlocation = \"r.s\"\nblocked = true\n[aliases]\n\"one\" = \"a.b/1\"\n\"two\" = \"a.b/2\"";

    #[test]
    fn drop_ins_replace_what_was_said_before() {
        let (_directory, wanted) = files(&[
            ("system/registries.conf", SYSTEM),
            (
                "system/registries.conf.d/20.conf",
                "[[registry]]\nlocation = \"r.s\"\n[aliases]\n\"one\" = \"\"",
            ),
            (
                "system/registries.conf.d/10.conf",
                "short-name-mode = \"enforcing\"\n[aliases]\n\"one\" = \"x.y/1\"",
            ),
            ("system/registries.conf.d/30.ignored", "nonsense"),
            ("user/registries.conf.d/10.conf", "unqualified-search-registries = [\"c.d\"]"),
            ("cache/short-name-aliases.conf", "[aliases]\n\"two\" = \"c.d/2\""),
        ]);
        let all = Registries::load(&wanted).unwrap();
        assert_eq!(all.search.as_ref().unwrap().0, ["c.d"]);
        assert_eq!(all.mode, ShortNameMode::Enforcing);
        assert_eq!(all.helpers().0, ["x"]);
        assert_eq!(all.namespaces.iter().map(|one| one.blocked).collect::<Vec<_>>(), [false]);
        assert!(!all.aliases.contains_key("one"));
        assert_eq!(all.aliases["two"].0.to_string(), "c.d/2");
        assert_eq!(all.read.len(), 5);
    }

    #[test]
    fn a_users_file_replaces_the_systems_and_its_drop_ins() {
        let (_directory, wanted) = files(&[
            ("system/registries.conf", SYSTEM),
            ("system/registries.conf.d/10.conf", "nonsense"),
            ("user/registries.conf", "[[registry]]\nlocation = \"u.v\""),
        ]);
        let all = Registries::load(&wanted).unwrap();
        assert_eq!(all.namespaces.iter().map(|one| one.prefix.as_str()).collect::<Vec<_>>(), ["u.v"]);
        assert!(all.search.is_none() && all.helpers().0 == [AUTH_FILES]);
    }

    #[test]
    fn nothing_at_all_is_fine_but_a_named_file_must_be_there() {
        let (directory, wanted) = files(&[]);
        assert!(Registries::load(&wanted).unwrap().read.is_empty());
        let only = RegistriesFiles::Only(directory.path().join("r.conf"));
        let error = Registries::load(&only).unwrap_err().to_string();
        assert!(error.contains("CONTAINERS_REGISTRIES_CONF") && error.contains("does not exist"), "{error}");
        std::fs::write(directory.path().join("r.conf"), b"a = 1\n\xff").unwrap();
        let error = Registries::load(&only).unwrap_err().to_string();
        assert!(error.contains("line 2: not UTF-8"), "{error}");
    }
}
