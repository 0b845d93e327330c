//! registries.conf, authentication files and signature policies of any content: an answer, or one line without the secret.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use rcrun::image::policy::{Policy, Transport};
use rcrun::image::registry::settings::Settings;
use rcrun::image::registry::settings::auth::AuthFile;
use rcrun::image::{Name, Reference};

const NAMES: [&str; 5] = ["busybox", "team/app:1", "a.b/c/d", "x.a.b:5000/c:1", "docker.io/library/busybox"];

fn one_line(error: impl ToString) {
    let text = error.to_string();
    assert!(!text.contains(char::is_control), "{text:?}");
}

fn registries(path: &Path, text: &str) {
    let settings = match Settings::parse(path, text) {
        Ok(settings) => settings,
        Err(error) => return one_line(error),
    };
    for name in NAMES {
        let name: Name = name.parse().expect("a name");
        let references = match settings.candidates(&name) {
            Ok(references) => references,
            Err(error) => return one_line(error),
        };
        assert!(!references.is_empty());
        for reference in references {
            match settings.endpoints(&reference) {
                Ok(endpoints) => assert!(endpoints.last().is_some_and(|last| !last.mirror)),
                Err(error) => one_line(error),
            }
            if let Ok(home) = settings.home(&reference) {
                assert_eq!(home.reference, reference);
            }
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = str::from_utf8(bytes) {
        registries(Path::new("/r.conf"), text);
    }
    for path in ["/auth.json", "/.dockercfg"] {
        match AuthFile::parse(Path::new(path), bytes) {
            Ok(file) => {
                for (registry, repository) in [("a.b", "c/d"), ("docker.io", "library/busybox"), ("a.b", "")]
                {
                    let _ = file.find(registry, repository).map_err(one_line);
                }
            }
            Err(error) => one_line(error),
        }
    }
    match Policy::parse(Path::new("/p.json"), bytes) {
        Ok(policy) => {
            for name in NAMES {
                let reference: Reference = name.parse().expect("a name");
                let _ = policy.check_name(&reference).map_err(one_line);
                let _ = policy.explain(&reference);
            }
            let _ = policy
                .check_archive(Transport::OciArchive, Some(Path::new("/nonexistent/a")))
                .map_err(one_line);
        }
        Err(error) => one_line(error),
    }
});
