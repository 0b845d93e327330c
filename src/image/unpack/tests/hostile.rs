//! Archives that mean harm. Each test ends with nothing changed around the layer: [`Layer::unpack_with`] looks.

use super::writer::*;
use super::*;

/// What happens to the archive of these items.
fn refused(items: &[Item]) -> String {
    refused_bytes(&archive(items))
}

fn refused_bytes(bytes: &[u8]) -> String {
    Layer::new().unpack(bytes).expect_err("refused").to_string()
}

fn unpacked(items: &[Item]) -> Layer {
    let layer = Layer::new();
    layer.unpack(&archive(items)).unwrap_or_else(|error| panic!("{error}"));
    layer
}

#[test]
fn names_that_climb_out_are_refused() {
    for name in
        ["../outside/x", "a/../../outside/x", "a/b/../../../secret", "..", "/../secret", "./../secret"]
    {
        let error = refused(&[file(name, "x")]);
        assert!(error.contains("..") && error.contains("refused"), "{error}");
        assert!(refused(&[directory(name)]).contains(".."));
        assert!(refused(&[symlink(name, "x")]).contains(".."));
    }
}

#[test]
fn absolute_names_are_below_the_layer() {
    let layer =
        unpacked(&[file("/etc/passwd", "root"), file("//a//b", "x"), directory("/"), file("./././c", "y")]);
    assert_eq!(layer.read("etc/passwd"), "root");
    assert_eq!(layer.read("a/b") + &layer.read("c"), "xy");
}

#[test]
fn links_of_the_layer_lead_nowhere_outside() {
    for target in ["../outside", "/outside", "../../../../../../outside", "/../outside", "a/../../outside"] {
        let layer =
            unpacked(&[symlink("link", target), file("link/x", "inside"), file("link/y/z", "inside")]);
        assert_eq!(layer.stat("link").mode() & 0o170_000, 0o120_000);
        assert_eq!(layer.read("outside/x"), "inside", "{target}");
        assert_eq!(layer.read("outside/y/z"), "inside", "{target}");
    }
}

#[test]
fn a_link_does_not_lead_a_file_or_a_directory_elsewhere() {
    let layer = unpacked(&[
        symlink("file", "../secret"),
        file("file", "mine"),
        symlink("directory", "../outside"),
        directory("directory").mode(0o700),
        file("directory/x", "mine"),
    ]);
    assert_eq!(layer.read("file"), "mine");
    assert!(layer.stat("directory").is_dir());
    assert_eq!(layer.read("directory/x"), "mine");
}

#[test]
fn links_in_circles_end() {
    let error = refused(&[symlink("a", "b"), symlink("b", "a"), file("a/x", "")]);
    assert!(error.contains("links that lead nowhere"), "{error}");
    let chain: Vec<Item> = (0..50).map(|n| symlink(format!("l{n}"), format!("l{}", n + 1))).collect();
    assert!(refused(&[chain, vec![file("l0/x", "")]].concat()).contains("lead nowhere"));
    let error = refused(&[symlink("a", "a/a/a/a/a/a"), file("a/x", "")]);
    assert!(error.contains("lead nowhere"), "{error}");
}

#[test]
fn hard_links_reach_nothing_outside() {
    for target in ["../secret", "/../secret", "a/../../secret"] {
        let error = refused(&[hard_link("x", target)]);
        assert!(error.contains("hard link has .."), "{error}");
    }
    for target in ["/secret", "/etc/passwd", "missing", "a/missing", "", "/"] {
        let error = refused(&[directory("a"), hard_link("x", target)]);
        assert!(error.contains("hard link"), "{target}: {error}");
    }
    let error = refused(&[symlink("l", "../outside"), hard_link("x", "l/secret")]);
    assert!(error.contains("the layer has no"), "{error}");
    // To a link itself, not to what it points to.
    let layer = unpacked(&[symlink("l", "../secret"), hard_link("x", "l"), file("x", "mine")]);
    assert_eq!(layer.read("x"), "mine");
    assert!(refused(&[directory("d"), hard_link("x", "d")]).contains("directory"));
    assert!(refused(&[file(".wh.w", ""), hard_link("x", "w")]).contains("the layer has no"));
}

#[test]
fn whiteouts_reach_nothing_but_names() {
    for name in [".wh.", ".wh..", ".wh...", "a/.wh..."] {
        let error = refused(&[file(name, "")]);
        assert!(error.contains("whiteout of no name"), "{name}: {error}");
    }
    assert!(refused(&[file(".wh.a/b", "")]).contains("below a whiteout"));
    let layer = unpacked(&[symlink("l", "../outside"), file("l/.wh.secret", ""), file("l/.wh..wh..opq", "")]);
    assert!(layer.is_whiteout("outside/secret"));
    assert!(layer.is_opaque("outside"));
}

#[test]
fn attributes_of_overlayfs_and_the_host_are_not_the_archives_to_set() {
    let dropped = [
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "user.overlay.opaque",
        "trusted.md5sum",
        "security.selinux",
    ];
    let with = |item: Item| dropped.iter().fold(item, |item, name| item.xattr(name, "y"));
    let layer = unpacked(&[with(directory("d")), with(file("f", "x")), with(symlink("l", "f"))]);
    for (path, name) in ["d", "f", "l"].iter().flat_map(|path| dropped.iter().map(move |name| (path, name))) {
        assert_eq!(layer.xattr(path, name), None, "{path} {name}");
    }
}

#[test]
fn more_attributes_than_a_file_can_have_are_refused() {
    let many = (0..2000).fold(file("f", ""), |item, n| item.xattr(&format!("user.{n}"), ""));
    assert!(refused(&[many]).contains("1000 extended attributes"));
}

#[test]
fn sizes_without_end_are_stopped_before_they_are_believed() {
    let name = item("././@LongLink", b'L');
    let extended = item("pax", b'x');
    for item in [&name, &extended, &item("g", b'g'), &item("k", b'K')] {
        for size in [2 << 20, 1 << 40, i64::MAX as u64] {
            let error = refused(&[Item { size: Some(size), ..item.clone() }]);
            assert!(error.contains("RCRUN_IMAGE_MAX_HEADER_BYTES"), "{error}");
        }
    }
    let error = refused(&[Item { size: Some(1 << 40), ..file("f", "x") }]);
    assert!(error.contains("ends within entry \"f\""), "{error}");
    // Many small ones for one entry.
    let many: Vec<Item> = vec![Item { content: vec![b'a'; 60_000], ..name }; 20];
    assert!(refused(&many).contains("RCRUN_IMAGE_MAX_HEADER_BYTES"));
    let negative = Item { size: Some(u64::MAX), ..file("f", "x") };
    assert!(refused(&[negative]).contains("invalid"));
}

#[test]
fn too_many_files_are_refused_and_parents_count() {
    let limits = Limits { layer_files: 10, ..Limits::default() };
    let unpack = |items: &[Item]| {
        Layer::new().unpack_with(&archive(items), UnpackOptions { limits: limits.clone(), ..options() })
    };
    let files: Vec<Item> = (0..11).map(|n| file(format!("f{n}"), "")).collect();
    assert_eq!(unpack(&files[..10]).unwrap().files, 10);
    for items in [&files[..], &[file("a/b/c/d/e/f/g/h/i/j/k", "")]] {
        let error = unpack(items).unwrap_err().to_string();
        assert!(
            error.contains("more than 10 files") && error.contains("RCRUN_IMAGE_MAX_LAYER_FILES"),
            "{error}"
        );
    }
}

#[test]
fn an_unpacked_size_beyond_the_limit_is_refused() {
    let limits = Limits { layer_bytes: 10_000, ..Limits::default() };
    let bytes = archive(&[file("f", vec![0; 20_000])]);
    for blob in [zstd::encode_all(&bytes[..], 1).unwrap(), bytes] {
        let options = UnpackOptions { limits: limits.clone(), ..options() };
        let error = Layer::new().unpack_with(&blob, options).unwrap_err().to_string();
        assert!(error.contains("10000") && error.contains("RCRUN_IMAGE_MAX_LAYER_BYTES"), "{error}");
    }
}

#[test]
fn a_bomb_is_refused_by_its_ratio() {
    let bytes = archive(&[file("f", vec![0; 40 << 20])]);
    let error = refused_bytes(&zstd::encode_all(&bytes[..], 1).unwrap());
    assert!(error.contains("RCRUN_IMAGE_MAX_RATIO"), "{error}");
}

#[test]
fn sparse_maps_that_lie_are_refused() {
    let sparse = |size: &str, map: &str, content: &str| {
        file("f", content).pax("GNU.sparse.size", size).pax("GNU.sparse.map", map)
    };
    for (size, map) in
        [("10", "0,2,1,3"), ("10", "8,5"), ("10", "0,2"), ("10", "0,5,5"), ("18446744073709551615", "0,5")]
    {
        let error = refused(&[sparse(size, map, "12345")]);
        assert!(error.contains("map of a sparse file"), "{map}: {error}");
    }
    let endless =
        file("f", format!("{}\n", u64::MAX)).pax("GNU.sparse.major", "1").pax("GNU.sparse.minor", "0");
    let error = refused(&[endless.pax("GNU.sparse.realsize", "5")]);
    assert!(error.contains("map of a sparse file"), "{error}");
    let unknown = file("f", "").pax("GNU.sparse.major", "2").pax("GNU.sparse.minor", "0");
    assert!(refused(&[unknown]).contains("unknown format"));
}

#[test]
fn owners_that_do_not_exist_are_refused() {
    for (uid, gid) in [(u64::from(u32::MAX), 0), (0, 1 << 32), (1 << 40, 0)] {
        let error = refused(&[file("f", "").owner(uid, gid)]);
        assert!(error.contains("4294967294"), "{error}");
    }
    assert!(refused(&[file("f", "").pax("uid", "4294967295")]).contains("4294967294"));
    assert!(refused(&[file("f", "").pax("gid", "-1")]).contains("4294967294"));
}

#[test]
fn names_that_no_file_system_has_are_refused() {
    let long = "n".repeat(256);
    assert!(refused(&[file(&long, "")]).contains("255"));
    assert!(refused(&[file(format!("{long}/x"), "")]).contains("255"));
    assert!(refused(&[file("a/".repeat(2048) + "x", "")]).contains("4095"));
    assert!(refused(&[file("x", "").pax("path", "a\0b")]).contains("NUL"));
    assert!(refused(&[symlink("x", "").pax("linkpath", "a\0b")]).contains("NUL"));
    assert!(refused(&[symlink("x", "")]).contains("target"));
    assert!(refused(&[symlink("x", "t".repeat(4096))]).contains("target"));
    assert!(refused(&[file(".", "")]).contains("root directory"));
    assert!(refused(&[symlink(".", "x")]).contains("root directory"));
    // One line for people, whatever the name.
    let error = refused(&[file("../\n\u{1b}[2J", "")]);
    assert!(error.contains(r"\n\x1b[2J"), "{error}");
}

#[test]
fn a_path_that_links_make_longer_and_longer_is_refused() {
    let deep = "d/".repeat(100);
    let items = [file(format!("{deep}x"), ""), symlink(format!("{deep}back"), format!("/{deep}"))];
    let layer = unpacked(&[&items[..], &[file(format!("{deep}back/back/back/y"), "y")]].concat());
    assert_eq!(layer.read(&format!("{deep}y")), "y");
    let name = "n".repeat(200);
    let long = [&name[..]; 15].join("/");
    let items = [directory(&long), symlink("l", &long), directory(format!("l/{}", [&name[..]; 6].join("/")))];
    let error = refused(&items);
    assert!(error.contains("4095"), "{error}");
}

#[test]
fn devices_need_root() {
    for kind in [b'3', b'4'] {
        let options = UnpackOptions { rootless: true, ..UnpackOptions::default() };
        let error = Layer::new().unpack_with(&archive(&[device("dev/x", kind, 1, 3)]), options).unwrap_err();
        assert!(error.to_string().contains("needs root"), "{error}");
    }
    assert!(refused(&[device("x", b'4', 0, 1 << 20)]).contains(if is_root() { "number" } else { "root" }));
}

#[test]
fn archives_that_are_none_are_refused() {
    for bytes in [&b"<html><body>504 Gateway Time-out</body></html>"[..], &[b'x'; 512], &[b'x'; 2000]] {
        let error = refused_bytes(bytes);
        assert!(error.contains("no valid tar archive"), "{error}");
    }
    let good = archive(&[file("f", "x")]);
    let mut damaged = good.clone();
    damaged[0] ^= 1;
    assert!(refused_bytes(&damaged).contains("checksum"));
    let mut lone = good[..1024].to_vec();
    lone.extend([0; 512]);
    lone.extend_from_slice(&good[..1024]);
    assert!(refused_bytes(&lone).contains("lone block"));
    assert!(refused_bytes(&good[..700]).contains("ends within entry"));
    assert!(refused_bytes(&good[..300]).contains("middle of a block"));
    let extended = item("pax", b'x').bytes();
    assert!(
        refused_bytes(&Item { content: record(b"a", b"b"), ..item("pax", b'x') }.bytes())
            .contains("extended")
    );
    assert!(refused_bytes(&[extended, vec![0; 1024]].concat()).contains("extended"));
    for kind in [b'M', b'V', b'N', b'9', 0xff] {
        assert!(refused(&[item("f", kind)]).contains("kind"), "{kind}");
    }
}

#[test]
fn a_file_is_no_directory_for_others() {
    let error = refused(&[file("a", ""), file("a/b", "")]);
    assert!(error.contains("below something that is no directory"), "{error}");
    assert!(refused(&[item("p", b'6'), directory("p/d")]).contains("no directory"));
}
