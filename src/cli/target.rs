//! What the TARGET of `rcrun run` means: a bundle directory, the id of a container (runc's form), or an image.
//! Nothing here has an effect but the questions whether a config.json is there and whether the store has an image.

use std::path::{Path, PathBuf};

use rcrun::image::{Name, ReferenceError};

/// What is run.
#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    /// A bundle.
    Bundle {
        /// The directory that holds config.json.
        bundle: PathBuf,
        /// The container's name, None where one is to be made up.
        id: Option<String>,
    },
    /// An image.
    Image {
        /// As the user called it.
        name: String,
        /// The words after it.
        args: Vec<String>,
        /// The container's name, None where one is to be made up.
        id: Option<String>,
    },
}

/// Why the words do not make sense together.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TargetError {
    /// Nothing at all was given.
    #[error(
        "nothing to run given: rcrun run DIR/, rcrun run IMAGE, or rcrun run ID in a directory that holds config.json"
    )]
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
    /// A bundle and an image.
    #[error(
        "{target:?} can be read in two ways, as {reading} and as the image {image}: say {bundle} for the first, \
         {image} for the second"
    )]
    BundleOrImage {
        /// The word.
        target: String,
        /// What it is if it is no image.
        reading: String,
        /// How to say that.
        bundle: String,
        /// How to say the image.
        image: String,
    },
    /// A bundle's config.json says what is run.
    #[error("{word:?} is one too many: the bundle {bundle:?} says in its config.json what is run")]
    Command {
        /// The bundle.
        bundle: PathBuf,
        /// The first word after it.
        word: String,
    },
    /// No name of anything.
    #[error(
        "{target:?} is no bundle, since neither ./{target} nor this directory holds a config.json, and no image: {error}"
    )]
    Nothing {
        /// The word.
        target: String,
        /// Why it is no image.
        error: ReferenceError,
    },
}

/// What there is where `rcrun run` was called.
pub struct Surroundings<'a> {
    /// Does a directory hold a config.json?
    pub has_config: &'a dyn Fn(&Path) -> bool,
    /// Is there an image of this name in the store?
    pub has_image: &'a dyn Fn(&str) -> bool,
}

/// Tells the words apart.
pub fn resolve(
    words: Vec<String>,
    bundle: Option<PathBuf>,
    id: Option<String>,
    around: &Surroundings<'_>,
) -> Result<Target, TargetError> {
    let here = || PathBuf::from(".");
    let mut words = words.into_iter();
    let (target, args) = (words.next(), words.collect::<Vec<_>>());
    match (target, bundle, id) {
        (None, None, None) => Err(TargetError::Missing),
        (Some(target), Some(_), Some(_)) => Err(TargetError::TooMany(target)),
        (None, bundle, id) => of_bundle(bundle.unwrap_or_else(here), id, &args),
        (Some(id), Some(bundle), None) => of_bundle(bundle, Some(id), &args),
        (Some(target), None, id) if is_path(&target) => of_bundle(target.into(), id, &args),
        (Some(target), None, id) => of_word(target, args, id, around),
    }
}

fn of_bundle(bundle: PathBuf, id: Option<String>, args: &[String]) -> Result<Target, TargetError> {
    match args.first() {
        None => Ok(Target::Bundle { bundle, id }),
        Some(word) => Err(TargetError::Command { bundle, word: word.clone() }),
    }
}

/// No image begins or ends so.
pub fn is_path(target: &str) -> bool {
    matches!(target, "." | "..")
        || ["/", "./", "../"].iter().any(|start| target.starts_with(start))
        || target.ends_with('/')
}

fn of_word(
    target: String,
    args: Vec<String>,
    id: Option<String>,
    around: &Surroundings<'_>,
) -> Result<Target, TargetError> {
    let there = (around.has_config)(Path::new(&target));
    // With an id it cannot be one itself, and with a command it can only be an image.
    let here = id.is_none() && args.is_empty() && (around.has_config)(Path::new("."));
    let name = target.parse::<Name>();
    if there || here {
        let image = name.ok().filter(|_| (around.has_image)(&target));
        return match (image, there, here) {
            (Some(image), true, _) => {
                let (reading, bundle) = (format!("the bundle ./{target}"), format!("./{target}"));
                Err(TargetError::BundleOrImage { reading, bundle, image: full_name(&image), target })
            }
            (Some(image), ..) => {
                let (reading, bundle) =
                    ("the id of the bundle in this directory".into(), format!("--bundle . {target}"));
                Err(TargetError::BundleOrImage { reading, bundle, image: full_name(&image), target })
            }
            (None, true, true) => Err(TargetError::Ambiguous(target)),
            (None, true, false) => of_bundle(target.into(), id, &args),
            (None, false, _) => Ok(Target::Bundle { bundle: ".".into(), id: Some(target) }),
        };
    }
    match name {
        Ok(_) => Ok(Target::Image { name: target, args, id }),
        // An image's id is no name, and means nothing else.
        Err(_) if is_image_id(&target) => Ok(Target::Image { name: target, args, id }),
        Err(error) => Err(TargetError::Nothing { target, error }),
    }
}

fn full_name(image: &Name) -> String {
    image.in_registry("docker.io").or_latest().to_string()
}

fn is_image_id(word: &str) -> bool {
    let digits = word.strip_prefix("sha256:").unwrap_or(word);
    digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Given<'a> {
        words: &'a [&'a str],
        bundle: Option<&'a str>,
        id: Option<&'a str>,
        configs: &'a [&'a str],
        images: &'a [&'a str],
    }

    const NOTHING: Given<'static> = Given { words: &[], bundle: None, id: None, configs: &[], images: &[] };

    fn resolved(given: Given<'_>) -> Result<Target, TargetError> {
        let around = Surroundings {
            has_config: &|dir| given.configs.iter().any(|config| dir == Path::new(config)),
            has_image: &|name| given.images.contains(&name),
        };
        let words = given.words.iter().map(|&word| word.to_owned()).collect();
        resolve(words, given.bundle.map(PathBuf::from), given.id.map(str::to_owned), &around)
    }

    fn bundle(bundle: &str, id: Option<&str>) -> Result<Target, TargetError> {
        Ok(Target::Bundle { bundle: bundle.into(), id: id.map(str::to_owned) })
    }

    fn image(name: &str, args: &[&str], id: Option<&str>) -> Result<Target, TargetError> {
        let args = args.iter().map(|&word| word.to_owned()).collect();
        Ok(Target::Image { name: name.into(), args, id: id.map(str::to_owned) })
    }

    #[test]
    fn a_path_is_a_bundle_wherever_config_json_is() {
        for target in ["bundle/", "./bundle", "../b", "/srv/b", ".", "..", "a/b/"] {
            for configs in [&["."][..], &[]] {
                let given = Given { words: &[target], configs, images: &[target], ..NOTHING };
                assert_eq!(resolved(given), bundle(target, None));
            }
        }
    }

    #[test]
    fn a_word_is_an_id_beside_a_config_json() {
        assert_eq!(resolved(Given { words: &["web"], configs: &["."], ..NOTHING }), bundle(".", Some("web")));
    }

    #[test]
    fn a_word_is_a_bundle_where_only_it_holds_a_config_json() {
        for word in ["web", "dir/web"] {
            assert_eq!(resolved(Given { words: &[word], configs: &[word], ..NOTHING }), bundle(word, None));
        }
    }

    #[test]
    fn a_word_without_any_config_json_is_an_image_and_what_follows_its_command() {
        for name in ["web", "team/web:1", "127.0.0.1:5000/web", &"ab".repeat(32), "localhost/web"] {
            assert_eq!(resolved(Given { words: &[name], ..NOTHING }), image(name, &[], None));
        }
        let given = Given { words: &["web", "ls", "-l", "--id", "x"], ..NOTHING };
        assert_eq!(resolved(given), image("web", &["ls", "-l", "--id", "x"], None));
        let given = Given { words: &["web", "ls"], id: Some("c"), configs: &["."], ..NOTHING };
        assert_eq!(resolved(given), image("web", &["ls"], Some("c")));
    }

    #[test]
    fn in_a_bundles_directory_a_command_says_that_the_word_is_an_image() {
        assert_eq!(
            resolved(Given { words: &["web", "ls"], configs: &["."], ..NOTHING }),
            image("web", &["ls"], None)
        );
    }

    #[test]
    fn a_word_that_could_be_both_names_both_readings() {
        let error = resolved(Given { words: &["web"], configs: &[".", "web"], ..NOTHING }).unwrap_err();
        assert_eq!(error, TargetError::Ambiguous("web".into()));
        let text = error.to_string();
        assert!(text.contains("./web") && text.contains("--bundle . web"), "{text}");
        for (configs, fragments) in [
            (&["web"][..], ["as the bundle ./web", "say ./web for"]),
            (&["."], ["as the id of", "say --bundle . web for"]),
        ] {
            let given = Given { words: &["web"], configs, images: &["web"], ..NOTHING };
            let text = resolved(given).unwrap_err().to_string();
            assert!(fragments.iter().all(|fragment| text.contains(fragment)), "{text}");
            assert!(text.contains("docker.io/library/web:latest for the second"), "{text}");
        }
    }

    #[test]
    fn bundle_and_id_say_what_the_word_is() {
        let all = &[".", "web"][..];
        let given = |words, bundle, id, configs| resolved(Given { words, bundle, id, configs, images: &[] });
        assert_eq!(given(&["web"], Some("b"), None, all), bundle("b", Some("web")));
        assert_eq!(given(&["web"], None, Some("x"), all), bundle("web", Some("x")));
        assert_eq!(given(&["web"], None, Some("x"), &["."]), image("web", &[], Some("x")));
        assert_eq!(given(&[], Some("b"), Some("x"), &[]), bundle("b", Some("x")));
        assert_eq!(given(&[], Some("b"), None, &[]), bundle("b", None));
        assert_eq!(given(&[], None, Some("x"), &["."]), bundle(".", Some("x")));
    }

    #[test]
    fn too_much_and_too_little_are_refused() {
        assert_eq!(resolved(Given { configs: &["."], ..NOTHING }), Err(TargetError::Missing));
        let given = Given { words: &["w"], bundle: Some("b"), id: Some("x"), ..NOTHING };
        assert_eq!(resolved(given), Err(TargetError::TooMany("w".into())));
        let text = resolved(Given { words: &["b/", "ls"], ..NOTHING }).unwrap_err().to_string();
        assert!(text.contains("\"ls\" is one too many") && text.contains("config.json"), "{text}");
        let text = resolved(Given { words: &["Web"], ..NOTHING }).unwrap_err().to_string();
        assert!(
            text.contains("no bundle") && text.contains("./Web") && text.contains("lower case"),
            "{text}"
        );
    }
}
