//! What the entries of ordinary layers become.

use std::os::unix::fs::FileTypeExt;

use super::writer::*;
use super::*;

fn unpacked(items: &[Item]) -> Layer {
    let layer = Layer::new();
    layer.unpack(&archive(items)).unwrap_or_else(|error| panic!("{error}"));
    layer
}

#[test]
fn whiteouts_hide_what_lower_layers_have_and_not_what_this_one_has() {
    let whiteout = |name| file(name, "").mode(0);
    for swapped in [false, true] {
        let mut items = vec![
            file("file", "x"),
            whiteout(".wh.file"),
            directory("d"),
            whiteout(".wh.d"),
            file("d/x", "x"),
        ];
        if swapped {
            items.reverse();
        }
        items.push(whiteout("a/.wh.gone"));
        let layer = unpacked(&items);
        assert!(layer.is_whiteout("a/gone"));
        assert_eq!(layer.read("file"), "x", "{swapped}");
        assert!(layer.is_opaque("d"), "{swapped}");
        assert_eq!(layer.read("d/x"), "x");
        assert!(!layer.has(".wh.file") && !layer.has("a/.wh.gone"));
    }
}

#[test]
fn an_opaque_directory_keeps_what_the_layer_has_in_it() {
    let mark = file("d/.wh..wh..opq", "");
    for items in [
        vec![mark.clone(), file("d/x", "x")],
        vec![file("d/x", "x"), mark.clone(), directory("d").mode(0o700)],
    ] {
        let layer = unpacked(&items);
        assert!(layer.is_opaque("d") && !layer.is_opaque("."));
        assert_eq!(layer.read("d/x"), "x");
    }
    let layer = Layer::new();
    assert!(layer.unpack(&archive(&[file(".wh..wh..opq", "")])).unwrap().opaque_root);
    let options = UnpackOptions { rootless: true, ..UnpackOptions::default() };
    let layer = Layer::new();
    if keeps_user_attributes(&layer.root()) {
        layer.unpack_with(&archive(&[mark]), options).unwrap();
        assert_eq!(layer.xattr("d", "user.overlay.opaque"), Some(b"y".to_vec()));
        assert_eq!(layer.xattr("d", "trusted.overlay.opaque"), None);
    }
}

#[test]
fn a_device_of_number_zero_is_a_whiteout() {
    let layer = unpacked(&[device("gone", b'3', 0, 0), file("there", "x"), device("there", b'3', 0, 0)]);
    assert!(layer.is_whiteout("gone"));
    assert_eq!(layer.read("there"), "x");
}

#[test]
fn what_aufs_left_is_skipped() {
    let layer = unpacked(&[
        directory(".wh..wh.plnk"),
        file(".wh..wh.plnk/1", "xyz"),
        file(".wh..wh.aufs", ""),
        file("f", "f"),
    ]);
    assert!(!layer.has(".wh..wh.plnk") && !layer.has(".wh..wh.aufs"));
    assert_eq!(layer.read("f"), "f");
}

#[test]
fn a_later_entry_replaces_an_earlier_one() {
    let layer = unpacked(&[
        file("file", "old").mode(0o600),
        file("file", "new"),
        file("to directory", ""),
        directory("to directory"),
        file("to directory/x", "x"),
        directory("from directory/a/b/c"),
        file("from directory/a/b/c/x", ""),
        symlink("from directory", "file"),
        hard_link("kept", "file"),
        file("file", "newest"),
        directory("again").mode(0o700),
        file("again/x", "x"),
        directory("again").mode(0o711),
        hard_link("kept", "kept"),
    ]);
    assert_eq!((layer.read("file"), layer.read("kept")), ("newest".into(), "new".into()));
    assert_eq!(layer.read("to directory/x"), "x");
    assert!(layer.stat("from directory").file_type().is_symlink());
    assert_eq!(layer.read("from directory"), "newest");
    assert_eq!(layer.stat("again").mode() & 0o7777, 0o711);
    assert_eq!(layer.read("again/x"), "x");
}

#[test]
fn hard_links_are_names_of_one_file() {
    let layer = unpacked(&[
        file("a/b/file", "x"),
        hard_link("link", "/a/b/file"),
        hard_link("a/b/beside", "./a/b/file"),
        symlink("s", "a"),
        hard_link("c/through", "s/b/file"),
        symlink("a/symbolic", "b"),
        hard_link("a/b/symbolic", "a/symbolic"),
    ]);
    let inode = layer.stat("a/b/file").ino();
    for path in ["link", "a/b/beside", "c/through"] {
        assert_eq!(layer.stat(path).ino(), inode, "{path}");
    }
    assert_eq!(layer.stat("a/b/symbolic").ino(), layer.stat("a/symbolic").ino());
}

#[test]
fn directories_have_their_own_times_in_whatever_order() {
    let at = |item: Item, mtime| Item { mtime, ..item };
    let layer = unpacked(&[
        at(directory("a"), 1),
        at(directory("a/b"), 2),
        file("a/b/x", ""),
        at(directory("c"), 3),
        file("a/y", ""),
        file("implied/x", ""),
        file("a/b/z", ""),
        at(directory("."), 4),
        file("w", ""),
    ]);
    for (path, mtime) in [("a", 1), ("a/b", 2), ("c", 3), (".", 4), ("implied", 0)] {
        assert_eq!(layer.stat(path).mtime(), mtime, "{path}");
    }
    assert_eq!(layer.stat("implied").mode() & 0o7777, 0o755);
}

#[test]
fn times_may_be_early_late_and_fine() {
    let at = |name: &str, mtime: &str| file(name, "").pax("mtime", mtime);
    let layer = unpacked(&[
        at("fine", "1000000000.123456789"),
        at("early", "-1.5"),
        at("late", "99999999999"),
        Item { mtime: -7, ..file("header", "") },
        Item { mtime: i64::MAX, ..directory("directory") },
        symlink("link", "x").pax("mtime", "5.5"),
    ]);
    assert_eq!((layer.stat("fine").mtime(), layer.stat("fine").mtime_nsec()), (1_000_000_000, 123_456_789));
    assert_eq!((layer.stat("early").mtime(), layer.stat("early").mtime_nsec()), (-2, 500_000_000));
    assert_eq!(layer.stat("header").mtime(), -7);
    assert_eq!((layer.stat("link").mtime(), layer.stat("link").mtime_nsec()), (5, 500_000_000));
}

#[test]
fn owners_modes_and_capabilities_are_kept() {
    if needs_root("owners_modes_and_capabilities_are_kept") {
        return;
    }
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let layer = unpacked(&[
        file("suid", "x").mode(0o4755).owner(1000, 1000),
        file("sgid", "x").mode(0o2755).owner(0, 4_294_967_294),
        file("root", "x").mode(0o4711).owner(0, 0),
        file("ping", "x").mode(0o755).owner(7, 7).xattr("security.capability", capability),
        file("secret", "x").mode(0),
        file("open", "x").mode(0o777),
        directory("shared").mode(0o3777).owner(5, 6),
        file("shared/inherits nothing", "x").owner(0, 0),
        directory("shared/nor a directory").owner(0, 0),
        directory("mail").mode(0o2775).owner(0, 8),
        file("mail/again", "x").owner(0, 0),
        symlink("link", "x").owner(9, 10),
        hard_link("again", "suid"),
    ]);
    for (path, mode, uid, gid) in [
        ("suid", 0o4755, 1000, 1000),
        ("sgid", 0o2755, 0, 4_294_967_294),
        ("root", 0o4711, 0, 0),
        ("ping", 0o755, 7, 7),
        ("secret", 0, 0, 0),
        ("open", 0o777, 0, 0),
        ("shared", 0o3777, 5, 6),
        ("shared/inherits nothing", 0o644, 0, 0),
        ("shared/nor a directory", 0o755, 0, 0),
        ("mail", 0o2775, 0, 8),
        ("mail/again", 0o644, 0, 0),
        ("link", 0o777, 9, 10),
    ] {
        let stat = layer.stat(path);
        assert_eq!((stat.mode() & 0o7777, stat.uid(), stat.gid()), (mode, uid, gid), "{path}");
    }
    assert_eq!(layer.xattr("ping", "security.capability").unwrap(), capability);
}

#[test]
fn devices_and_fifos_are_made() {
    if needs_root("devices_and_fifos_are_made") {
        return;
    }
    let layer = unpacked(&[
        device("dev/null", b'3', 1, 3).mode(0o666),
        device("dev/big", b'4', 259, 70_000).mode(0o2660).owner(0, 6),
        item("run/pipe", b'6').mode(0o622),
    ]);
    assert!(layer.stat("dev/null").file_type().is_char_device() && layer.stat("dev/null").rdev() == 0x103);
    assert_eq!(layer.stat("dev/null").mode() & 0o7777, 0o666);
    let big = layer.stat("dev/big");
    assert!(big.file_type().is_block_device() && big.rdev() == rustix::fs::makedev(259, 70_000));
    assert_eq!((big.mode() & 0o7777, big.gid()), (0o2660, 6));
    assert!(layer.stat("run/pipe").file_type().is_fifo());
}

#[test]
fn attributes_of_users_are_kept() {
    let layer = Layer::new();
    if !keeps_user_attributes(&layer.root()) {
        return;
    }
    let bytes = archive(&[file("f", "x").xattr("user.a", b"1\n\0\xff"), directory("d").xattr("user.b", "")]);
    assert_eq!(layer.unpack(&bytes).unwrap().ignored_xattrs, 0);
    assert_eq!(layer.xattr("f", "user.a"), Some(b"1\n\0\xff".to_vec()));
    assert_eq!(layer.xattr("d", "user.b"), Some(vec![]));
    let layer = Layer::new();
    assert_eq!(layer.unpack(&archive(&[symlink("l", "x").xattr("user.a", "1")])).unwrap().ignored_xattrs, 1);
}

#[test]
fn access_control_lists_do_not_change_what_is_made_below() {
    // Version 2: owner rwx, group 7 rwx, group r-x, mask rwx, others none.
    let entry = |tag: u16, bits: u16, id: u32| {
        [&tag.to_le_bytes()[..], &bits.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let none = u32::MAX;
    let acl = [
        vec![2, 0, 0, 0],
        entry(1, 7, none),
        entry(4, 5, none),
        entry(8, 7, 7),
        entry(16, 7, none),
        entry(32, 0, none),
    ]
    .concat();
    let layer = unpacked(&[
        directory("d").xattr("system.posix_acl_default", &acl),
        file("d/f", "x").mode(0o644),
        file("other", ""),
        directory("d/e"),
        file("d/g", "x").mode(0o666),
    ]);
    for (path, mode) in [("d/f", 0o644), ("d/e", 0o755), ("d/g", 0o666)] {
        assert_eq!(layer.stat(path).mode() & 0o7777, mode, "{path}");
        assert_eq!(layer.xattr(path, "system.posix_acl_access"), None, "{path}");
    }
}

#[test]
fn names_are_any_bytes() {
    use std::os::unix::ffi::OsStrExt;
    let every: Vec<u8> = (1..=255).filter(|&byte| byte != b'/').collect();
    let (name, deep) = (&every[..200], [&every[200..], b"/", &every[..100]].concat());
    let layer = unpacked(&[file(name, "x"), file(&deep, "y"), symlink("l", &every), file("\\x \n", "z")]);
    assert_eq!(fs::read(layer.root().join(std::ffi::OsStr::from_bytes(name))).unwrap(), b"x");
    assert_eq!(fs::read(layer.root().join(std::ffi::OsStr::from_bytes(&deep))).unwrap(), b"y");
    assert_eq!(fs::read_link(layer.at("l")).unwrap().as_os_str().as_bytes(), every);
}

#[test]
fn deep_trees_take_few_descriptors() {
    let path = "d/".repeat(1500);
    let layer = Layer::new();
    let bytes = archive(&[
        file(format!("{path}f"), "x"),
        file("top", "x"),
        file(format!("{path}g"), "y"),
        file("d/d/d/x", ""),
    ]);
    let made = layer.unpack(&bytes).unwrap();
    assert_eq!(made.files, 1504);
    assert_eq!(layer.read("top"), "x");
}

#[test]
fn headers_have_a_prefix_or_long_names() {
    let long = format!("{}/{}", "p".repeat(120), "n".repeat(90));
    let mut block: [u8; 512] = file("n".repeat(90), "").bytes()[..512].try_into().unwrap();
    block[345..345 + 120].fill(b'p');
    seal(&mut block);
    let layer = Layer::new();
    layer.unpack(&[&block[..], &[0; 1024]].concat()).unwrap();
    assert!(layer.has(&long));
    let gnu = |kind: u8, name: &str| Item {
        content: [name.as_bytes(), b"\0"].concat(),
        ..item("././@LongLink", kind)
    };
    let layer = unpacked(&[
        gnu(b'L', &long),
        gnu(b'K', &"t".repeat(300)),
        Item { link: b"t".to_vec(), ..symlink("cut", "") },
    ]);
    assert_eq!(fs::read_link(layer.at(&long)).unwrap().as_os_str().len(), 300);
}

#[test]
fn old_kinds_of_files_are_files_and_directories() {
    let layer = unpacked(&[
        item("old/", 0).mode(0o755),
        Item { content: b"x".to_vec(), ..item("old/file", 0) },
        Item { content: b"y".to_vec(), ..item("contiguous", b'7') },
        item("new/", b'0').mode(0o755),
    ]);
    assert!(layer.stat("old").is_dir() && layer.stat("new").is_dir());
    assert_eq!(layer.read("old/file") + &layer.read("contiguous"), "xy");
}

#[test]
fn global_headers_and_sizes_of_links_mean_nothing() {
    let global = Item { content: record(b"path", b"elsewhere"), ..item("pax_global_header", b'g') };
    let layer = unpacked(&[
        global,
        file("f", "x"),
        Item { size: Some(100), ..symlink("l", "f") },
        Item { size: Some(7), ..hard_link("h", "f") },
        file("g", "y"),
    ]);
    assert_eq!(layer.read("f") + &layer.read("l") + &layer.read("h") + &layer.read("g"), "xxxy");
}

#[test]
fn sparse_files_have_holes() {
    let size = 10 << 20;
    let map = format!("4096,4,{},4", size - 4);
    let old = file("0.1", "headtail").pax("GNU.sparse.size", size.to_string()).pax("GNU.sparse.map", &map);
    let pairs = [
        ("size", size.to_string()),
        ("numblocks", "2".into()),
        ("offset", "4096".into()),
        ("numbytes", "4".into()),
        ("offset", (size - 4).to_string()),
        ("numbytes", "4".into()),
    ];
    let older = pairs
        .iter()
        .fold(file("0.0", "headtail"), |item, (key, value)| item.pax(&format!("GNU.sparse.{key}"), value));
    let mut content = format!("2\n4096\n4\n{}\n4\n", size - 4).into_bytes();
    content.resize(512, 0);
    content.extend_from_slice(b"headtail");
    let new = [
        ("major", "1".to_owned()),
        ("minor", "0".into()),
        ("name", "1.0".into()),
        ("realsize", size.to_string()),
    ];
    let new = new.iter().fold(file("GNUSparseFile.0/x", content), |item, (key, value)| {
        item.pax(&format!("GNU.sparse.{key}"), value)
    });
    let mut tool: [u8; 512] = file("old", "headtail").bytes()[..512].try_into().unwrap();
    tool[156] = b'S';
    tool[257..265].copy_from_slice(b"ustar  \0");
    for (at, number) in [(386, 4096), (398, 4), (410, size - 4), (422, 4), (483, size)] {
        tool[at..at + 12].copy_from_slice(format!("{number:011o}\0").as_bytes());
    }
    seal(&mut tool);
    let tail = [&tool[..], &file("", "headtail").bytes()[512..]].concat();
    let layer = Layer::new();
    layer.unpack(&[&archive(&[old, older, new])[..], &[]].concat()).unwrap();
    let other = Layer::new();
    other.unpack(&[tail, vec![0; 1024]].concat()).unwrap();
    let mut expected = vec![0; size];
    expected[4096..4100].copy_from_slice(b"head");
    expected[size - 4..].copy_from_slice(b"tail");
    for (layer, path) in [(&layer, "0.1"), (&layer, "0.0"), (&layer, "1.0"), (&other, "old")] {
        assert_eq!(fs::read(layer.at(path)).unwrap(), expected, "{path}");
        assert!(layer.stat(path).blocks() * 512 < 1 << 20, "{path}");
    }
}

#[test]
fn an_archive_may_end_early_or_late() {
    let bytes = archive(&[file("f", "x")]);
    for blob in [&bytes[..1024], &bytes[..1536], &bytes, &[&bytes[..], &[0; 10_000], b"anything"].concat()] {
        let layer = Layer::new();
        let unpacked = layer.unpack(blob).unwrap();
        assert_eq!(layer.read("f"), "x");
        assert_eq!((unpacked.diff_id, unpacked.bytes), (Digest::of(blob), blob.len() as u64));
    }
    assert_eq!(Layer::new().unpack(b"").unwrap().files, 0);
}

#[test]
fn what_changes_afterwards_is_found() {
    let layer = unpacked(&[
        file("content", "aaaa"),
        file("size", "aaaa"),
        file("mode", "x"),
        file("gone", "x"),
        file("a", "x"),
        hard_link("b", "a"),
        symlink("link", "x"),
        directory("d"),
        file("d/.wh.w", ""),
        file("type", ""),
    ]);
    let touch = |path: &str| {
        let file = File::options().write(true).open(layer.at(path)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000)).unwrap();
    };
    fs::write(layer.at("content"), "aaab").unwrap();
    touch("content");
    fs::write(layer.at("size"), "aaa").unwrap();
    fs::set_permissions(layer.at("mode"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::remove_file(layer.at("gone")).unwrap();
    fs::copy(layer.at("a"), layer.at("c")).unwrap();
    fs::rename(layer.at("c"), layer.at("b")).unwrap();
    touch("b");
    fs::remove_file(layer.at("link")).unwrap();
    std::os::unix::fs::symlink("y", layer.at("link")).unwrap();
    fs::remove_file(layer.at("d/w")).unwrap();
    fs::remove_file(layer.at("type")).unwrap();
    fs::create_dir(layer.at("type")).unwrap();
    fs::write(layer.at("type/extra"), "").unwrap();
    let differences = layer.differences().join("\n");
    for expected in [
        r#""content" has another content"#,
        r#""size" has another time, size"#,
        r#""mode" has another mode"#,
        r#""gone" is missing"#,
        "has another hard link",
        r#""link" has another time, target"#,
        r#""d/w" is missing"#,
        r#""type" has another type"#,
        r#""type/extra" was not in the layer"#,
    ] {
        assert!(differences.contains(expected), "{expected}\n{differences}");
    }
}

#[test]
fn a_list_that_is_none_is_refused() {
    let layer = unpacked(&[file("f", "x")]);
    let diff = File::open(layer.root()).unwrap();
    let good = layer.list();
    for list in ["", "x\n", "rcrun-digests 2 blake3\n", &good[..good.len() - 1], &format!("{good}h a b\n")] {
        let error = verify_layer(diff.as_fd(), list.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("list of digests is invalid"), "{list}: {error}");
    }
}
