//! CNI's network configuration: which file counts, and what it says. CNI specification 1.1, section 1.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::CniError;

/// Versions of the specification that are spoken here, oldest first.
const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// A network: plugins that are called one after another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfList {
    /// The network's name.
    pub name: String,
    /// The version that is spoken with its plugins.
    pub version: String,
    /// Each plugin's own configuration; its `type` is the program's name.
    pub plugins: Vec<Map<String, Value>>,
    /// CHECK is not to be called.
    pub disable_check: bool,
    /// GC is not to be called.
    pub disable_gc: bool,
    /// Where it was read.
    pub file: PathBuf,
}

impl ConfList {
    /// The first configuration of `directory` by name (`*.conflist`, `*.conf`, `*.json`); None where there is none. A broken one
    /// is an error: the next would be another network than the administrator's.
    pub fn load(directory: &Path) -> Result<Option<Self>, CniError> {
        let failed = |reason: std::io::Error| CniError::Configuration {
            file: directory.to_owned(),
            reason: reason.to_string(),
        };
        let entries = match fs::read_dir(directory) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            entries => entries.map_err(failed)?,
        };
        let mut first: Option<PathBuf> = None;
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let known =
                path.extension().is_some_and(|end| end == "conflist" || end == "conf" || end == "json");
            if known && path.is_file() && first.as_ref().is_none_or(|first| path < *first) {
                first = Some(path);
            }
        }
        let Some(file) = first else { return Ok(None) };
        let text = match fs::read(&file) {
            // It was taken away at this moment.
            Err(error) if error.kind() == ErrorKind::NotFound => return Self::load(directory),
            text => text
                .map_err(|error| CniError::Configuration { file: file.clone(), reason: error.to_string() })?,
        };
        let is_list = file.extension().is_some_and(|end| end == "conflist");
        Self::parse(&file, &text, is_list)
            .map(Some)
            .map_err(|reason| CniError::Configuration { file: file.clone(), reason })
    }

    fn parse(file: &Path, text: &[u8], is_list: bool) -> Result<Self, String> {
        let Value::Object(mut object) = serde_json::from_slice(text).map_err(|error| error.to_string())?
        else {
            return Err("not a JSON object".into());
        };
        let name = object.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        if !is_name(&name) {
            return Err(format!(
                "name {name:?}: a network's name begins with a letter or digit, then these and _ . - follow"
            ));
        }
        let version = version(&object)?;
        let flag = |key| match object.get(key) {
            Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
            value => value.and_then(Value::as_bool).unwrap_or_default(),
        };
        let (disable_check, disable_gc) = (flag("disableCheck"), flag("disableGC"));
        let plugins = if is_list {
            match object.remove("plugins") {
                Some(Value::Array(plugins)) => plugins,
                _ => return Err("plugins: a list of objects is missing".into()),
            }
        } else {
            vec![Value::Object(object)]
        };
        let plugins = plugins.into_iter().enumerate().map(|(index, plugin)| checked(index, plugin));
        let plugins = plugins.collect::<Result<Vec<_>, _>>()?;
        if plugins.is_empty() {
            return Err("plugins: the list is empty".into());
        }
        Ok(Self { name, version, plugins, disable_check, disable_gc, file: file.to_owned() })
    }

    /// Is the version that is spoken at least this one of [`VERSIONS`]?
    pub fn speaks(&self, version: &str) -> bool {
        let place = |wanted: &str| VERSIONS.iter().position(|known| *known == wanted);
        place(&self.version) >= place(version)
    }
}

/// The name of a plugin's program.
pub fn kind(plugin: &Map<String, Value>) -> &str {
    plugin.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn checked(index: usize, plugin: Value) -> Result<Map<String, Value>, String> {
    let Value::Object(plugin) = plugin else { return Err(format!("plugins[{index}] is no object")) };
    let program = kind(&plugin);
    if program.is_empty() || program.contains(['/', '\0']) || matches!(program, "." | "..") {
        return Err(format!("plugins[{index}].type {program:?} is no program's name"));
    }
    Ok(plugin)
}

/// The newest version that the file and this program have in common: `cniVersion`, or one of `cniVersions`.
fn version(object: &Map<String, Value>) -> Result<String, String> {
    let list = object.get("cniVersions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let offered: Vec<&str> =
        object.get("cniVersion").into_iter().chain(list).filter_map(Value::as_str).collect();
    let known = VERSIONS.iter().rev().find(|known| offered.contains(known));
    known.map(|known| (*known).to_owned()).ok_or_else(|| {
        let offered = if offered.is_empty() { "missing".into() } else { offered.join(", ") };
        format!("cniVersion {offered}: versions 0.3.0 to 1.1.0 are supported")
    })
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    fn list(name: &str) -> String {
        format!(
            r#"{{"cniVersion":"1.0.0","name":"{name}","plugins":[{{"type":"bridge"}},{{"type":"portmap"}}]}}"#
        )
    }

    #[test]
    fn the_first_file_by_name_counts() {
        let files = directory(&[
            ("20-b.conflist", &list("b")),
            ("10-a.conflist", &list("a")),
            ("00-notes.txt", "no configuration"),
        ]);
        let found = ConfList::load(files.path()).unwrap().unwrap();
        assert_eq!((found.name.as_str(), found.plugins.len()), ("a", 2));
        assert_eq!(found.file, files.path().join("10-a.conflist"));
    }

    #[test]
    fn without_a_directory_or_a_file_there_is_no_network() {
        assert_eq!(ConfList::load(Path::new("/no/such/directory")).unwrap(), None);
        assert_eq!(ConfList::load(directory(&[]).path()).unwrap(), None);
    }

    #[test]
    fn a_file_of_one_plugin_is_a_list_of_one() {
        for name in ["10-a.conf", "10-a.json"] {
            let files =
                directory(&[(name, r#"{"cniVersion":"0.3.1","name":"a","type":"bridge","mtu":1400}"#)]);
            let found = ConfList::load(files.path()).unwrap().unwrap();
            assert_eq!((found.plugins.len(), kind(&found.plugins[0])), (1, "bridge"));
        }
    }

    #[test]
    fn a_broken_first_file_is_an_error_that_names_it() {
        let files = directory(&[("10-a.conflist", "{"), ("20-b.conflist", &list("b"))]);
        let error = ConfList::load(files.path()).unwrap_err().to_string();
        assert!(error.contains("10-a.conflist"), "{error}");
    }

    #[test]
    fn the_newest_common_version_is_spoken() {
        let spoken = |text: &str| match ConfList::parse(Path::new("f"), text.as_bytes(), false) {
            Ok(list) => list.version,
            Err(error) => error,
        };
        assert_eq!(spoken(r#"{"cniVersion":"0.4.0","name":"a","type":"b"}"#), "0.4.0");
        let several =
            r#"{"cniVersion":"0.3.1","cniVersions":["1.0.0","9.9.9","1.1.0"],"name":"a","type":"b"}"#;
        assert_eq!(spoken(several), "1.1.0");
        let missing = spoken(r#"{"name":"a","type":"b"}"#);
        assert_eq!(missing, "cniVersion missing: versions 0.3.0 to 1.1.0 are supported");
        let old = spoken(r#"{"cniVersion":"0.2.0","name":"a","type":"b"}"#);
        assert_eq!(old, "cniVersion 0.2.0: versions 0.3.0 to 1.1.0 are supported");
    }

    #[test]
    fn what_versions_have_is_known() {
        let list = |version: &str| ConfList {
            name: "a".into(),
            version: version.into(),
            plugins: Vec::new(),
            disable_check: false,
            disable_gc: false,
            file: PathBuf::new(),
        };
        assert!(list("1.1.0").speaks("0.4.0") && list("0.4.0").speaks("0.4.0"));
        assert!(!list("0.3.1").speaks("0.4.0") && !list("1.0.0").speaks("1.1.0"));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for (text, said) in [
            (r#"{"cniVersion":"1.0.0","name":"a/b","plugins":[]}"#, "name \"a/b\""),
            (r#"{"cniVersion":"1.0.0","name":"a"}"#, "plugins: a list"),
            (r#"{"cniVersion":"1.0.0","name":"a","plugins":[]}"#, "plugins: the list is empty"),
            (r#"{"cniVersion":"1.0.0","name":"a","plugins":[{}]}"#, "plugins[0].type"),
            (r#"{"cniVersion":"1.0.0","name":"a","plugins":[{"type":"../sh"}]}"#, "plugins[0].type"),
            ("[]", "not a JSON object"),
        ] {
            let error = ConfList::parse(Path::new("f"), text.as_bytes(), true).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn flags_may_be_words() {
        let text = r#"{"cniVersion":"1.1.0","name":"a","disableCheck":"true","disableGC":true,"plugins":[{"type":"b"}]}"#;
        let list = ConfList::parse(Path::new("f"), text.as_bytes(), true).unwrap();
        assert!(list.disable_check && list.disable_gc);
    }
}
