//! Namespaces with a name.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;

use rcrun::namespaces::Kind;
use rcrun::network::{NetworkNamespace, make_all, unpin};

use crate::host::{Host, require};

#[test]
fn a_namespace_is_made_found_entered_and_removed() {
    let host = require!(Host::new());
    let directory = host.path("netns");
    let made = NetworkNamespace::make(&directory, "one").unwrap();
    let listener = made.enter(|| TcpListener::bind("127.0.0.1:0")).unwrap().expect("lo is up");
    let address = listener.local_addr().unwrap();
    made.enter(|| TcpStream::connect(address)).unwrap().unwrap();
    assert!(TcpStream::connect(address).is_err(), "it is another one than the host's");
    let found = NetworkNamespace::open(&directory.join("one")).unwrap().expect("found");
    found.enter(|| TcpStream::connect(address)).unwrap().unwrap();
    for _ in 0..2 {
        NetworkNamespace::remove(&directory.join("one")).unwrap();
    }
    assert!(NetworkNamespace::open(&directory.join("one")).unwrap().is_none());
    assert!(host.names("netns").is_empty());
}

#[test]
fn a_name_left_of_before_a_reboot_is_none_and_is_used_again() {
    let host = require!(Host::new());
    let directory = host.path("netns");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("one"), "").unwrap();
    assert!(NetworkNamespace::open(&directory.join("one")).unwrap().is_none());
    host.namespace("one");
    let again = NetworkNamespace::make(&directory, "one").unwrap_err().to_string();
    assert!(again.contains("one") && again.contains("File exists"), "{again}");
    std::fs::write(host.path("two"), "").unwrap();
    NetworkNamespace::remove(&host.path("two")).unwrap();
    assert!(!host.path("two").exists());
}

#[test]
fn a_name_is_seen_in_mount_namespaces_that_were_there_before() {
    let host = require!(Host::new());
    host.namespace("one");
    let path = host.path("netns").join("two");
    let (ready, wait) = std::sync::mpsc::channel();
    let (go, made) = std::sync::mpsc::channel();
    let other = std::thread::spawn({
        let path = path.clone();
        move || {
            rcrun::sys::process::unshare(rustix::thread::UnshareFlags::NEWNS).unwrap();
            ready.send(()).unwrap();
            made.recv().unwrap();
            NetworkNamespace::open(&path).unwrap().is_some()
        }
    });
    wait.recv().unwrap();
    host.namespace("two");
    go.send(()).unwrap();
    assert!(other.join().unwrap());
}

#[test]
fn eight_threads_name_namespaces_at_once() {
    let host = require!(Host::new());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let host = &host;
            scope.spawn(move || (0..8).for_each(|n| drop(host.namespace(&format!("{thread}-{n}")))));
        }
    });
    let all = host.names("netns");
    assert_eq!(all.len(), 64);
    for name in all {
        assert!(NetworkNamespace::open(&host.path("netns").join(&name)).unwrap().is_some(), "{name}");
    }
}

#[test]
fn several_kinds_are_made_in_one_step_and_named() {
    let host = require!(Host::new());
    let (ipc, uts) = (host.path("ipc"), host.path("uts"));
    let work = || {
        rustix::system::sethostname(b"inside").unwrap();
        std::fs::write("/proc/sys/kernel/msgmax", "4096").unwrap();
        std::fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "80").unwrap();
        Ok(())
    };
    let pins = [(Kind::Ipc, ipc.as_path()), (Kind::Uts, uts.as_path())];
    let network = NetworkNamespace::make_with(&host.path("netns"), "one", &pins, work).unwrap();
    let start = || std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    assert_eq!(network.enter(start).unwrap().trim(), "80");
    assert_ne!(start().trim(), "80");
    let own = |kind: &str| std::fs::metadata(format!("/proc/thread-self/ns/{kind}")).unwrap().ino();
    assert_ne!(std::fs::metadata(&ipc).unwrap().ino(), own("ipc"));
    let inside = std::fs::File::open(&uts).unwrap();
    let name = std::thread::scope(|scope| {
        let look = || {
            let uts = rustix::thread::LinkNameSpaceType::HostNameAndNISDomainName;
            rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&inside), Some(uts)).unwrap();
            rustix::system::uname().nodename().to_owned()
        };
        scope.spawn(look).join().unwrap()
    });
    assert_eq!(name.to_bytes(), b"inside");
    unpin(&ipc).unwrap();
    unpin(&uts).unwrap();
    assert!(!ipc.exists() && !uts.exists());
}

#[test]
fn a_failure_leaves_no_name() {
    let host = require!(Host::new());
    let (ipc, uts) = (host.path("ipc"), host.path("no/such/directory/uts"));
    let error = make_all(&[(Kind::Ipc, &ipc), (Kind::Uts, &uts)], || Ok(())).unwrap_err().to_string();
    assert!(error.contains("no/such/directory/uts"), "{error}");
    assert!(!ipc.exists());
}
