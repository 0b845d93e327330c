use super::*;

fn read(text: &str) -> Result<File, String> {
    parse(Path::new("/r.conf"), text).map_err(|error| error.to_string())
}

#[test]
fn the_manuals_example_is_read_with_its_lines() {
    let text = "unqualified-search-registries = [\"example.com\"]\n\n[[registry]]\nprefix = \"example.com/foo\"\n\
        location = \"internal.example/bar/\"\n[[registry.mirror]]\nlocation = \"mirror-0.local/foo\"\n\
        [[registry.mirror]]\nlocation = \"mirror-1.local/foo\"\ninsecure = true\npull-from-mirror = \"digest-only\"\n\
        [[registry]]\nlocation = \"registry.com\"\n[aliases]\n\"a\" = \"registry.com/b\"\n\"gone\" = \"\"\n";
    let file = read(text).unwrap();
    assert_eq!(file.search.unwrap(), ["example.com"]);
    let [first, second] = &file.namespaces[..] else { panic!("two") };
    assert_eq!((first.location.as_str(), first.origin.line), ("internal.example/bar", 3));
    assert_eq!(first.mirrors.iter().map(|mirror| mirror.origin.line).collect::<Vec<_>>(), [6, 8]);
    assert_eq!((first.mirrors[1].insecure, first.mirrors[1].pulls), (true, Pulls::DigestOnly));
    assert_eq!((second.prefix.as_str(), second.origin.line), ("registry.com", 12));
    assert_eq!(file.aliases["a"].as_ref().unwrap().to_string(), "registry.com/b");
    assert_eq!(file.aliases["gone"], None);
    assert!(file.notes.is_empty());
}

#[test]
fn a_key_without_a_meaning_is_told() {
    let file =
        read("[[registry]]\nlocation = \"a.b\"\nmirorr = 1\n[[registry.mirror]]\nlocation = \"c.d\"\nx = 1")
            .unwrap();
    let notes = file.notes.join("\n");
    assert!(notes.contains("\"mirorr\" of [[registry]]") && notes.contains("\"x\" of [[registry.mirror]]"));
}

#[test]
fn what_is_wrong_is_told_with_file_and_line() {
    for (text, line, reason) in [
        ("a = ", 1, ""),
        ("\n\nunqualified-search-registries = 5", 3, "invalid type"),
        ("unqualified-search-registries = [\"https://a.b\"]", 1, "HOST[:PORT]"),
        ("unqualified-search-registries = [\"plain\"]", 1, "HOST[:PORT]"),
        ("unqualified-search-registries = [\"a.b/c\"]", 1, "HOST[:PORT]"),
        ("short-name-mode = \"maybe\"", 1, "maybe"),
        ("\n[[registry]]\nblocked = true", 2, "neither"),
        ("[[registry]]\nlocation = \"https://a.b\"", 1, "scheme"),
        ("[[registry]]\nprefix = \"a.*.b\"\nlocation = \"c.d\"", 1, "asterisk"),
        ("[[registry]]\nprefix = \"*.a.b/c\"", 1, "wildcard"),
        ("[[registry]]\nprefix = \"a.b\"", 1, "location"),
        ("[[registry]]\nlocation = \"a.b\"\n[[registry.mirror]]\ninsecure = true", 3, "location"),
        (
            "[[registry]]\nlocation = \"a.b\"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = \"c.d\"\npull-from-mirror = \"all\"",
            4,
            "pull-from-mirror",
        ),
        ("[[registry]]\nlocation = \"a.b\"\n[[registry]]\nlocation = \"a.b\"\nblocked = true", 3, "line 1"),
        ("[aliases]\n\"a.b/c\" = \"d.e/f\"", 2, "short name"),
        ("[aliases]\na = \"b\"", 2, "registry"),
        ("[aliases]\n\"a\" = \"b.c/d:1\"", 2, "tag"),
        ("[aliases]\n\"A\" = \"b.c/d\"", 2, "lower case"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(&format!("/r.conf\", line {line}: ")), "{text:?}: {error}");
        assert!(error.contains(reason) && !error.contains('\n'), "{text:?}: {error}");
    }
    let error = read("[registries.search]\nregistries = ['a.b']").unwrap_err();
    assert!(error.contains("first format"), "{error}");
}
