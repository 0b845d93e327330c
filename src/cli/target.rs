//! What the TARGET of `rcrun run` means: a bundle directory (rcrun's form) or a container id
//! (runc's form). Nothing here has an effect but the question whether a config.json is there.

use std::path::{Path, PathBuf};

/// The bundle and the id, None where one is to be made up.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// The directory that holds config.json.
    pub bundle: PathBuf,
    /// The container's name.
    pub id: Option<String>,
}

/// Why TARGET, `--bundle` and `--id` do not make sense together.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TargetError {
    /// Nothing at all was given.
    #[error("no bundle given: rcrun run DIR, or rcrun run ID in a directory that holds config.json")]
    Missing,
    /// Three names for two things.
    #[error("{0:?} is one too many: --bundle names the bundle and --id the container already")]
    TooMany(String),
    /// A bundle both here and there.
    #[error(
        "{0:?} can be read in two ways, as the bundle ./{0} and as the id of the bundle in this directory: \
         say ./{0} for the first, --bundle . {0} for the second"
    )]
    Ambiguous(String),
}

/// Tells `target` apart; `has_config` says whether a directory holds a config.json.
pub fn resolve(
    target: Option<String>,
    bundle: Option<PathBuf>,
    id: Option<String>,
    has_config: impl Fn(&Path) -> bool,
) -> Result<Target, TargetError> {
    let here = || PathBuf::from(".");
    match (target, bundle, id) {
        (None, None, None) => Err(TargetError::Missing),
        (Some(target), Some(_), Some(_)) => Err(TargetError::TooMany(target)),
        (None, bundle, id) => Ok(Target { bundle: bundle.unwrap_or_else(here), id }),
        (Some(id), Some(bundle), None) => Ok(Target { bundle, id: Some(id) }),
        (Some(bundle), None, id @ Some(_)) => Ok(Target { bundle: bundle.into(), id }),
        (Some(target), None, None) => {
            if target.contains('/') || target == "." || target == ".." {
                return Ok(Target { bundle: target.into(), id: None });
            }
            match (has_config(Path::new(".")), has_config(Path::new(&target))) {
                (true, true) => Err(TargetError::Ambiguous(target)),
                (false, true) => Ok(Target { bundle: target.into(), id: None }),
                (_, false) => Ok(Target { bundle: here(), id: Some(target) }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `resolve` in a directory where `configs` are the directories with a config.json.
    fn given(words: [Option<&str>; 3], configs: &[&str]) -> Result<(String, Option<String>), TargetError> {
        let [target, bundle, id] = words.map(|word| word.map(str::to_owned));
        let found = |dir: &Path| configs.iter().any(|config| dir == Path::new(config));
        let target = resolve(target, bundle.map(PathBuf::from), id, found)?;
        Ok((target.bundle.to_str().unwrap().to_owned(), target.id))
    }

    fn is(bundle: &str, id: Option<&str>) -> Result<(String, Option<String>), TargetError> {
        Ok((bundle.to_owned(), id.map(str::to_owned)))
    }

    #[test]
    fn a_path_is_a_bundle_wherever_config_json_is() {
        for target in ["bundle/", "./bundle", "/srv/b", ".", ".."] {
            assert_eq!(given([Some(target), None, None], &["."]), is(target, None));
            assert_eq!(given([Some(target), None, None], &[]), is(target, None));
        }
    }

    #[test]
    fn a_word_is_an_id_beside_a_config_json() {
        assert_eq!(given([Some("web"), None, None], &["."]), is(".", Some("web")));
    }

    #[test]
    fn a_word_is_a_bundle_where_only_it_holds_a_config_json() {
        assert_eq!(given([Some("web"), None, None], &["web"]), is("web", None));
    }

    #[test]
    fn a_word_without_any_config_json_is_an_id_as_runc_has_it() {
        assert_eq!(given([Some("web"), None, None], &[]), is(".", Some("web")));
    }

    #[test]
    fn a_word_that_could_be_both_names_both_readings() {
        let error = given([Some("web"), None, None], &[".", "web"]).unwrap_err();
        assert_eq!(error, TargetError::Ambiguous("web".into()));
        let text = error.to_string();
        assert!(text.contains("./web") && text.contains("--bundle . web"), "{text}");
    }

    #[test]
    fn bundle_and_id_say_what_the_word_is() {
        assert_eq!(given([Some("web"), Some("b"), None], &[".", "web"]), is("b", Some("web")));
        assert_eq!(given([Some("web"), None, Some("x")], &["."]), is("web", Some("x")));
        assert_eq!(given([None, Some("b"), Some("x")], &[]), is("b", Some("x")));
        assert_eq!(given([None, Some("b"), None], &[]), is("b", None));
        assert_eq!(given([None, None, Some("x")], &["."]), is(".", Some("x")));
    }

    #[test]
    fn too_much_and_too_little_are_refused() {
        assert_eq!(given([None, None, None], &["."]), Err(TargetError::Missing));
        let error = given([Some("w"), Some("b"), Some("x")], &[]);
        assert_eq!(error, Err(TargetError::TooMany("w".into())));
    }
}
