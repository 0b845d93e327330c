//! Compiled filters that are kept in the state directory: used again, and used only where nobody else can
//! have written them. A kept filter is told from a compiled one by a mark that the test makes in it.

use std::fs;
use std::hash::Hasher;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{Bundle, KEPT_FILTERS, USER, busybox, copy_program, require};

/// What [`profile`] makes of mkdir, and what a filter with the mark does.
const COMPILED: &str = "Operation not permitted";
const MARKED: &str = "Invalid cross-device link";
/// So many files are kept at most.
const MOST: usize = 16;

fn profile() -> Value {
    let rule = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EPERM});
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
}

fn filtered(bundle: Bundle) -> Bundle {
    bundle.writable().set("/linux/seccomp", profile()).args(["mkdir", "/tmp/new"])
}

fn directory(bundle: &Bundle) -> PathBuf {
    bundle.state_directory().join(KEPT_FILTERS)
}

fn kept(bundle: &Bundle) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory(bundle)).expect("kept filters");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

/// The only one.
#[track_caller]
fn only(bundle: &Bundle) -> PathBuf {
    let mut files = kept(bundle);
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

#[track_caller]
fn runs(bundle: &Bundle, filter: &str) {
    bundle.run().exits_with(1).explains(&["/tmp/new", filter]);
}

/// Where the checksum of a kept filter is: behind the key, which ends with the profile and its length.
fn end_of_key(file: &[u8]) -> usize {
    const LENGTH: usize = 16 + 4 + 7 * 8;
    let length = file[LENGTH..LENGTH + 8].try_into().map(u64::from_le_bytes).expect("a length");
    LENGTH + 8 + length as usize
}

/// The file's filter returns EXDEV where it has returned EPERM.
fn marked(mut file: Vec<u8>) -> Vec<u8> {
    let sum = end_of_key(&file);
    let body = sum + 8;
    let errno = |number: i32| [6, 0, 0, 0, number as u8, 0, 5, 0];
    let length = errno(0).len();
    let place = (body + 4..file.len()).step_by(length).find(|at| file[*at..][..length] == errno(libc::EPERM));
    let place = place.expect("an instruction that returns EPERM");
    file[place..][..length].copy_from_slice(&errno(libc::EXDEV));
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(&file[body..]);
    file[sum..body].copy_from_slice(&hasher.finish().to_le_bytes());
    file
}

/// Runs the container once and makes the mark in the filter that is kept.
fn mark(bundle: &Bundle) -> PathBuf {
    runs(bundle, COMPILED);
    let path = only(bundle);
    let file = marked(fs::read(&path).expect("a kept filter"));
    fs::write(&path, file).expect("mark");
    path
}

#[test]
fn the_filter_of_the_same_profile_is_compiled_once() {
    let bundle = filtered(busybox!());
    let path = mark(&bundle);
    assert_eq!(fs::metadata(&path).expect("stat").mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(directory(&bundle)).expect("stat").mode() & 0o7777, 0o700);
    let before = fs::metadata(&path).expect("stat").ino();
    runs(&bundle, MARKED);
    let bundle = bundle.args(["sleep", "100"]);
    bundle.create().success();
    bundle.start().success();
    bundle.exec(&["mkdir", "/tmp/new"]).exits_with(1).explains(&["/tmp/new", MARKED]);
    bundle.delete_forced().success();
    assert_eq!(fs::metadata(only(&bundle)).expect("stat").ino(), before);
}

#[test]
fn exec_and_create_keep_what_they_compile() {
    let bundle = filtered(busybox!()).args(["sleep", "100"]);
    bundle.create().success();
    fs::remove_file(only(&bundle)).expect("remove");
    bundle.start().success();
    bundle.exec(&["mkdir", "/tmp/new"]).exits_with(1).explains(&["/tmp/new", COMPILED]);
    only(&bundle);
    bundle.delete_forced().success();
}

#[test]
fn each_profile_has_its_own_filter() {
    let bundle = filtered(busybox!());
    mark(&bundle);
    let bundle = bundle.set("/linux/seccomp/syscalls/0/errnoRet", json!(libc::ENOSPC));
    runs(&bundle, "No space left on device");
    assert_eq!(kept(&bundle).len(), 2);
    runs(&bundle.set("/linux/seccomp", profile()), MARKED);
}

#[test]
fn a_filter_that_another_rcrun_compiled_is_not_used() {
    let bundle = filtered(busybox!());
    mark(&bundle);
    let other = bundle.file("other-rcrun");
    copy_program(&crate::support::binary(), &other, 0o755);
    let script = format!("shift; exec {} \"$@\"", other.display());
    let run = bundle.bundle_command("run", &[]);
    let outcome = bundle.invocation_in_shell(&script, &run).wait();
    outcome.exits_with(1).explains(&["/tmp/new", COMPILED]);
    assert_eq!(kept(&bundle).len(), 2);
    runs(&bundle, MARKED);
}

type Attack<'a> = &'a dyn Fn(&Path) -> std::io::Result<()>;

#[test]
fn a_file_that_others_can_have_written_is_not_used_and_replaced() {
    let bundle = filtered(busybox!());
    let path = mark(&bundle);
    let file = fs::read(&path).expect("a kept filter");
    let elsewhere = bundle.file("elsewhere");
    fs::write(&elsewhere, &file).expect("write");
    let mode = |mode| move |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    let attacks: [(&str, Attack<'_>); 4] = [
        ("writable for a group", &mode(0o660)),
        ("writable for all", &mode(0o606)),
        ("another owner", &|path| chown(path, Some(USER), Some(USER))),
        ("a link", &|path| fs::remove_file(path).and_then(|()| symlink(&elsewhere, path))),
    ];
    for (name, attack) in attacks {
        attack(&path).expect(name);
        runs(&bundle, COMPILED);
        let stat = fs::symlink_metadata(&path).expect("stat");
        assert!(stat.is_file() && stat.mode() & 0o7777 == 0o600 && stat.uid() == 0, "{name}: {stat:?}");
        fs::write(&path, &file).expect("write");
        runs(&bundle, MARKED);
    }
    assert_eq!(fs::read(&elsewhere).expect("elsewhere"), file);
}

#[test]
fn a_file_that_is_not_this_filters_or_not_whole_is_not_used() {
    let bundle = filtered(busybox!());
    let path = mark(&bundle);
    let file = fs::read(&path).expect("a kept filter");
    let key = end_of_key(&file);
    let flipped = |at: usize| {
        let mut file = file.clone();
        file[at] ^= 1;
        file
    };
    for (name, bytes) in [
        ("empty", Vec::new()),
        ("half", file[..file.len() / 2].to_vec()),
        ("an instruction short", file[..file.len() - 8].to_vec()),
        ("of another format", flipped(14)),
        ("of another machine", flipped(16)),
        ("of another binary", flipped(44)),
        ("of another profile", flipped(key - 10)),
        ("with another sum", flipped(key)),
        ("with an instruction changed", flipped(file.len() - 1)),
        ("without an end", [file.as_slice(), &[0; 1 << 20]].concat()),
    ] {
        fs::write(&path, bytes).expect(name);
        runs(&bundle, COMPILED);
        assert_eq!(marked(fs::read(&path).expect("a kept filter")), file, "{name}");
    }
}

#[test]
fn a_container_starts_where_nothing_can_be_kept() {
    let bundle = filtered(busybox!());
    fs::create_dir(bundle.state_directory()).expect("mkdir");
    fs::write(directory(&bundle), "in the way").expect("write");
    runs(&bundle, COMPILED);
    runs(&bundle, COMPILED);
    fs::remove_file(directory(&bundle)).expect("remove");
    fs::create_dir(directory(&bundle)).expect("mkdir");
    chown(directory(&bundle), Some(USER), Some(USER)).expect("chown");
    runs(&bundle, COMPILED);
    assert!(kept(&bundle).is_empty());
}

#[test]
fn few_filters_are_kept() {
    let mut bundle = filtered(busybox!());
    for errno in 1..=MOST + 3 {
        bundle = bundle.set("/linux/seccomp/syscalls/0/errnoRet", json!(errno));
        bundle.run().exits_with(1);
        assert_eq!(kept(&bundle).len(), errno.min(MOST));
    }
}

#[test]
fn what_is_kept_is_no_container() {
    let bundle = filtered(busybox!());
    runs(&bundle, COMPILED);
    bundle.rcrun(&["list", "-q"]).prints("");
    bundle.rcrun(&["delete", "--force", KEPT_FILTERS]).refused(&["container id", "'@'"]);
    only(&bundle);
}

#[test]
fn a_dry_run_says_the_same_and_keeps_nothing() {
    let bundle = filtered(busybox!());
    let dry_run = || bundle.run_with(&["--dry-run"]).success().stdout;
    let cold = dry_run();
    assert!(!bundle.state_directory().exists());
    runs(&bundle, COMPILED);
    assert_eq!(dry_run(), cold);
}

#[test]
fn a_bad_profile_is_refused_each_time() {
    let bundle = filtered(busybox!());
    runs(&bundle, COMPILED);
    let bundle = bundle.set("/linux/seccomp/syscalls/0/errnoRet", json!(1 << 16));
    for _ in 0..2 {
        bundle.run().refused(&["linux.seccomp.syscalls[0].errnoRet", "16 bits"]);
    }
    only(&bundle);
}

#[test]
fn an_unprivileged_user_has_filters_of_their_own() {
    let bundle = filtered(require!(busybox!().rootless()));
    let path = mark(&bundle);
    let stat = fs::metadata(&path).expect("stat");
    assert_eq!((stat.uid(), stat.mode() & 0o7777), (USER, 0o600));
    runs(&bundle, MARKED);
    chown(&path, Some(0), Some(0)).expect("chown");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
    runs(&bundle, COMPILED);
}

/// The agent is told by `start`, which asks for the filter too.
#[test]
fn a_kept_filter_has_its_listener() {
    let rule = json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"});
    let bundle = filtered(busybox!());
    let socket = bundle.file("agent");
    let agent = std::os::unix::net::UnixListener::bind(&socket).expect("bind");
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": socket, "listenerMetadata": "words", "syscalls": [rule]});
    let bundle = bundle.set("/linux/seccomp", profile).args(["true"]);
    let accepted = || {
        let (mut stream, _) = agent.accept().expect("the agent's connection");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stream, &mut text).expect("a state");
        assert!(text.contains("\"metadata\":\"words\""), "{text}");
    };
    for _ in 0..2 {
        bundle.run().success();
        accepted();
        only(&bundle);
    }
    bundle.create().success();
    bundle.start().success();
    accepted();
    bundle.wait_for_status("stopped");
    bundle.delete().success();
}
