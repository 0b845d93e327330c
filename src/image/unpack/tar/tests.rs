use super::*;
use crate::image::unpack::tests::writer::{archive, file, symlink};

#[test]
fn entries_come_with_their_content_or_without() {
    let bytes = archive(&[file("a", "first"), file("b", vec![7; 1000]), symlink("c", "a")]);
    let mut archive = Archive::new(Stream::of(&bytes), &Limits::default());
    let entry = archive.next_entry().unwrap().unwrap();
    assert_eq!((&entry.path[..], entry.kind, entry.size), (&b"a"[..], Kind::File, 5));
    assert_eq!(archive.content().unwrap(), b"first");
    archive.consume(2);
    assert_eq!(archive.content().unwrap(), b"rst");
    // The rest, and all of the next one's, is skipped.
    assert_eq!(archive.next_entry().unwrap().unwrap().path, b"b");
    let entry = archive.next_entry().unwrap().unwrap();
    assert_eq!((&entry.link[..], entry.kind), (&b"a"[..], Kind::SymbolicLink));
    assert!(archive.content().unwrap().is_empty());
    assert_eq!(archive.next_entry().unwrap(), None);
    assert_eq!(archive.next_entry().unwrap(), None);
}

#[test]
fn a_size_of_an_extended_header_counts() {
    // 8 GiB and more do not fit into the header's digits.
    let bytes = [file("a", "").pax("size", "9000000000").bytes(), vec![1; 2048]].concat();
    let mut archive = Archive::new(Stream::of(&bytes), &Limits::default());
    assert_eq!(archive.next_entry().unwrap().unwrap().size, 9_000_000_000);
    assert_eq!(archive.content().unwrap().len(), 2048);
    archive.consume(2048);
    assert!(archive.content().unwrap_err().to_string().contains("ends within entry \"a\""));
}
