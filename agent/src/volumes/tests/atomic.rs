//! A reader sees all of the old or all of the new.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use crate::volumes::atomic::{Written, write};
use crate::volumes::plan::{Content, File};

fn files(of: &BTreeMap<String, (String, u32)>) -> BTreeMap<String, File> {
    let file = |(text, mode): &(String, u32)| File { mode: *mode, content: Content::Text(text.clone()) };
    of.iter().map(|(path, of)| (path.clone(), file(of))).collect()
}

/// What a program finds that looks by names as shown: hidden names are the writer's own.
fn shown(directory: &Path) -> BTreeMap<String, (String, u32)> {
    let mut found = BTreeMap::new();
    let mut left = vec![String::new()];
    while let Some(at) = left.pop() {
        for entry in fs::read_dir(directory.join(&at)).expect("read") {
            let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
            if name.starts_with("..") {
                continue;
            }
            let path = if at.is_empty() { name } else { format!("{at}/{name}") };
            let whole = directory.join(&path);
            let real = fs::canonicalize(&whole).expect("no dangling link");
            if real.is_dir() {
                left.push(path);
            } else {
                found.insert(path, (fs::read_to_string(&real).expect("read"), super::mode(&real)));
            }
        }
    }
    found
}

fn any_files() -> impl Strategy<Value = BTreeMap<String, (String, u32)>> {
    let path = prop_oneof!["[a-c]", "[d-e]/[a-b]", "f/g/[a-b]"];
    let mode = prop_oneof![Just(0o644_u32), Just(0o400), Just(0o755)];
    proptest::collection::btree_map(path, ("[a-z]{0,3}", mode), 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_directory_is_what_was_written_last(versions in proptest::collection::vec(any_files(), 1..5), crash in any::<bool>()) {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path().join("v");
        let mut last: Option<&BTreeMap<String, (String, u32)>> = None;
        for version in &versions {
            let written = write(&place, &files(version), None).expect("written");
            let expected = if last == Some(version) { Written::Unchanged } else { Written::Changed };
            prop_assert_eq!(written, expected);
            prop_assert_eq!(&shown(&place), version);
            if crash {
                // What a write leaves that was cut off.
                fs::create_dir_all(place.join("..2001_01_01_00_00_00.0/x")).expect("left");
                let _ = std::os::unix::fs::symlink("..2001_01_01_00_00_00.0", place.join("..data_tmp"));
            }
            prop_assert_eq!(write(&place, &files(version), None).expect("written"), Written::Unchanged);
            let hidden = fs::read_dir(&place).expect("read").flatten()
                .filter(|entry| entry.file_name().to_string_lossy().starts_with("..")).count();
            prop_assert_eq!(hidden, 2);
            last = Some(version);
        }
    }
}

#[test]
fn what_was_changed_by_others_is_mended() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().join("v");
    let of: BTreeMap<String, (String, u32)> =
        [("a".into(), ("1".into(), 0o644)), ("b/c".into(), ("2".into(), 0o644))].into();
    write(&place, &files(&of), None).expect("written");
    let data = place.join("..data");
    let damages: [&dyn Fn(); 6] = [
        &|| fs::write(data.join("a"), "X").expect("write"),
        &|| fs::write(data.join("extra"), "").expect("write"),
        &|| fs::remove_file(data.join("b/c")).expect("remove"),
        &|| fs::remove_file(place.join("a")).expect("remove"),
        &|| {
            fs::remove_file(place.join("a"))
                .and_then(|()| fs::create_dir_all(place.join("a/b")))
                .expect("replace")
        },
        &|| fs::remove_file(&data).expect("remove"),
    ];
    for damage in damages {
        damage();
        assert_eq!(write(&place, &files(&of), None).expect("written"), Written::Changed);
        assert_eq!(shown(&place), of);
    }
}

/// Readers read all files of what `..data` leads to, again and again, while it is written.
#[test]
fn no_reader_sees_a_mixture() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().join("v");
    let version = |number: usize| -> BTreeMap<String, (String, u32)> {
        // The number of files changes too.
        (0..3 + number % 3).map(|file| (format!("f{file}"), (number.to_string(), 0o644))).collect()
    };
    write(&place, &files(&version(0)), None).expect("written");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = || {
            while !over.load(Ordering::Relaxed) {
                // One look-up of the link; a directory that goes meanwhile is no answer.
                let data = place.join(fs::read_link(place.join("..data")).expect("..data is always there"));
                let texts: Result<Vec<String>, _> = (0..5)
                    .map(|file| data.join(format!("f{file}")))
                    .filter_map(|path| match fs::read_to_string(path) {
                        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                        text => Some(text),
                    })
                    .collect();
                let Ok(texts) = texts else { continue };
                // All are there if the directory still is.
                let Some(first) = texts.first().filter(|_| data.exists()) else { continue };
                let number: usize = first.parse().expect("never empty, never half");
                assert!(texts.iter().all(|text| text == first), "{texts:?}");
                if fs::read_link(place.join("..data")).is_ok_and(|now| place.join(now) == data) {
                    assert_eq!(texts.len(), 3 + number % 3);
                }
            }
        };
        let readers = [scope.spawn(reader), scope.spawn(reader)];
        for number in 1..150 {
            write(&place, &files(&version(number)), None).expect("written");
        }
        over.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().expect("no mixture");
        }
    });
}

#[test]
fn a_write_that_fails_leaves_nothing_and_names_what_will_be_seen() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("v");
    let wanted = |paths: &[&str]| {
        files(&paths.iter().map(|path| ((*path).to_owned(), ("text".to_owned(), 0o644))).collect())
    };
    write(&path, &wanted(&["a"]), None).expect("written");
    let before = fs::read_dir(&path).expect("read").count();
    // A file where a directory is needed, as anything that the disk refuses.
    let error = write(&path, &wanted(&["a", "a/b"]), None).expect_err("refused").to_string();
    assert!(error.contains("/v/..data/a/b: "), "{error}");
    assert_eq!(fs::read_dir(&path).expect("read").count(), before);
    assert_eq!(shown(&path).keys().collect::<Vec<_>>(), ["a"]);
}
