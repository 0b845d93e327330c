//! Containers in the background, each test on a machine of its own as far as networks and mounts go.

use std::fs;
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::UnshareFlags;

use super::fixtures::{Image, Layer, Node, Packing, node_with};
use super::support::{self, Outcome, require, wait_for};

/// Does `work` where networks and mounts are this test's alone: in a thread, and so is all that it starts.
fn apart(work: impl FnOnce() + Send) {
    let entered = || {
        if let Err(error) = rcrun::sys::process::unshare(UnshareFlags::NEWNS | UnshareFlags::NEWNET) {
            return support::skip(&format!("unshare: {error}"));
        }
        let sh = |script: &str| std::process::Command::new("sh").args(["-c", script]).status().expect("sh");
        // What filters bridges keeps ::1 from being led anywhere: docs/network.md. It is this network's own.
        let script = "mount --make-rprivate / && mount -t tmpfs tmpfs /run && ip link set lo up || exit
            if cd /proc/sys/net/bridge 2>/dev/null; then echo 0 >bridge-nf-call-ip6tables; fi";
        assert!(sh(script).success());
        work();
    };
    let name = std::thread::current().name().unwrap_or("test").to_owned();
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(name).spawn_scoped(scope, entered).expect("a thread");
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn node() -> Result<Node, String> {
    let shim = support::binary().with_file_name("rcrun-shim");
    if !shim.exists() {
        return Err(format!("no {}: cargo build -p rcrun-shim", shim.display()));
    }
    support::program("ip")?;
    node_with(
        Image::busybox().layer(Layer::new().directory("data").file("data/of-image", "x"), Packing::Gzip),
    )
}

fn rcrun(node: &Node, words: &[&str]) -> Outcome {
    node.rcrun(words).wait()
}

/// `run -d OPTIONS app sh -c SCRIPT`; the id.
#[track_caller]
fn begin(node: &Node, options: &[&str], script: &str) -> String {
    let all = [&["run", "-d"], options, &["app", "sh", "-c", script]].concat();
    let id = rcrun(node, &all).success().stdout.trim().to_owned();
    assert_eq!(id.len(), 64);
    id
}

/// `ps -a` of one container.
#[track_caller]
fn listed(node: &Node, name: &str) -> serde_json::Value {
    let text = rcrun(node, &["ps", "-a", "--format", "json"]).success().stdout;
    let mut rows = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    rows.find(|row| row["Names"] == name).unwrap_or_else(|| panic!("no {name}: {text}"))
}

fn status(node: &Node, name: &str) -> String {
    listed(node, name)["Status"].as_str().expect("a text").to_owned()
}

/// Asserts that no container, lease or name is left.
#[track_caller]
fn all_is_gone(node: &Node) {
    assert_eq!(node.stored("containers"), [""; 0]);
    assert_eq!(node.stored("leases/rcrun1/owners"), [""; 0]);
    let names = fs::read_dir("/run/netns").into_iter().flatten().count();
    assert_eq!(names, 0, "names of network namespaces");
    let links =
        String::from_utf8(std::process::Command::new("ip").arg("link").output().unwrap().stdout).unwrap();
    assert!(!links.contains("rcv"), "{links}");
    assert_eq!(shims(node), 0, "directories of shims");
}

/// How many directories of shims there are.
fn shims(node: &Node) -> usize {
    fs::read_dir(node.state().with_file_name("state-shims")).into_iter().flatten().count()
}

#[test]
fn a_container_in_the_background_lives_as_dockers_does() {
    apart(|| {
        let node = require!(node());
        let script = "trap 'exit 5' TERM; echo out; echo err >&2; while :; do sleep 0.1; done";
        let id = begin(&node, &["--name", "web"], script);
        wait_for("its lines", 10, || rcrun(&node, &["logs", "web"]).stdout.contains("out").then_some(()));
        let row = listed(&node, "web");
        assert_eq!((row["ID"].as_str(), row["Image"].as_str()), (Some(&id[..12]), Some("app")));
        assert!(status(&node, "web").starts_with("Up "), "{row}");
        let logs = wait_for("both", 10, || {
            Some(rcrun(&node, &["logs", "web"])).filter(|logs| logs.stderr.contains("err"))
        });
        assert_eq!((logs.stdout.as_str(), logs.stderr.as_str()), ("out\n", "err\n"));
        rcrun(&node, &["exec", "web", "echo", "hi"]).prints("hi");
        rcrun(&node, &["exec", &id[..6], "sh", "-c", "exit 7"]).exits_with(7);
        rcrun(&node, &["exec", "web", "nope"]).exits_with(127);
        rcrun(&node, &["exec", "-u", "nobody", "web", "id"])
            .exits_with(126)
            .explains(&["no user \"nobody\""]);
        rcrun(&node, &["exec", "-u", "7:8", "-w", "/data", "web", "sh", "-c", "id -u; id -g; pwd"])
            .prints("7\n8\n/data");
        node.rcrun(&["exec", "-i", "web", "cat"]).stdin("fed").wait().prints("fed");
        rcrun(&node, &["exec", "web", "cat"]).prints("");
        rcrun(&node, &["exec", "web", "sh", "-c", "echo kept >/data/file"]).success();
        rcrun(&node, &["rm", "web"]).refused(&["web is running", "rcrun stop web"]);
        rcrun(&node, &["stop", "web"]).prints("web");
        assert!(status(&node, "web").starts_with("Exited (5) "), "{}", status(&node, "web"));
        rcrun(&node, &["ps", "-q"]).prints("");
        // What it held on the machine is given back, and what it wrote is there when it starts again.
        assert_eq!(fs::read_dir("/run/netns").unwrap().count(), 0);
        rcrun(&node, &["start", "web"]).prints("web");
        rcrun(&node, &["exec", "web", "cat", "/data/file"]).prints("kept");
        rcrun(&node, &["restart", "-t", "1", "web"]).prints("web");
        rcrun(&node, &["rm", "-f", "web"]).prints("web");
        rcrun(&node, &["logs", "web"]).refused(&["no container in the background is called \"web\""]);
        all_is_gone(&node);
    });
}

#[test]
fn ports_of_the_machine_lead_into_containers_which_reach_each_other() {
    apart(|| {
        let node = require!(node());
        let serve = "mkdir /www; echo page >/www/index.html; exec httpd -f -p 80 -h /www";
        begin(&node, &["--name", "web", "-p", "8080:80", "-p", "127.0.0.1:8081:80"], serve);
        for address in ["127.0.0.1:8080", "[::1]:8080", "127.0.0.1:8081"] {
            wait_for(address, 10, || (get(address)?.ends_with("page\n")).then_some(()));
        }
        let ports = listed(&node, "web")["Ports"].as_str().unwrap().to_owned();
        assert_eq!(ports, "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, 127.0.0.1:8081->80/tcp");
        let hosts = rcrun(&node, &["exec", "web", "cat", "/etc/hosts"]).success().stdout;
        let address = hosts.lines().find(|line| line.starts_with("10.89.")).unwrap();
        let address = address.split_whitespace().next().unwrap().to_owned();
        let fetch = format!("wget -q -O - http://{address}/");
        let fetched = rcrun(&node, &["run", "--rm", "--network", "bridge", "app", "sh", "-c", &fetch]);
        fetched.prints("page");
        let taken = rcrun(&node, &["run", "-d", "-p", "8080:1", "app", "true"]);
        taken.exits_with(125).explains(&["host port 8080/tcp is taken"]);
        rcrun(&node, &["rm", "-f", "web"]).success();
        assert_eq!(get("127.0.0.1:8080"), None);
        // In the foreground, too.
        let serve = "echo page | nc -l -p 7";
        let mut running = node.rcrun(&["run", "--rm", "-p", "8082:7", "app", "sh", "-c", serve]).spawn();
        wait_for("the port", 10, || (get("127.0.0.1:8082")? == "page\n").then_some(()));
        wait_for("its end", 10, || running.child.try_wait().unwrap());
        all_is_gone(&node);
    });
}

/// What a server sends after a request; None where nobody is there.
fn get(address: &str) -> Option<String> {
    let address: SocketAddr = address.parse().ok()?;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(10)).ok()?;
    // Some servers answer once: who gives up has lost the answer.
    stream.set_read_timeout(Some(support::seconds(support::LONG))).ok()?;
    std::io::Write::write_all(&mut stream, b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let is_local = matches!(address.ip(), IpAddr::V4(_) | IpAddr::V6(_));
    (is_local && !text.is_empty()).then_some(text)
}

#[test]
fn logs_follow_and_choose() {
    apart(|| {
        let node = require!(node());
        let script = "for i in 1 2 3 4; do echo line $i; sleep 0.1; done; printf unfinished; exit 3";
        begin(&node, &["--name", "a"], script);
        rcrun(&node, &["logs", "-f", "a"]).success().prints("line 1\nline 2\nline 3\nline 4\nunfinished");
        assert!(status(&node, "a").starts_with("Exited (3) "));
        let logs = |words: &[&str]| rcrun(&node, &[&["logs"], words, &["a"]].concat()).success().stdout;
        assert!(logs(&["--tail", "2"]).starts_with("line 4\nunfinished"));
        assert_eq!(logs(&["-n", "0"]), "");
        let stamped = logs(&["-t", "--tail", "all"]);
        let first = stamped.lines().next().unwrap();
        assert!(first.starts_with("20") && first.ends_with("Z line 1"), "{first}");
        assert_eq!(logs(&["--since", "2100-01-01"]), "");
        assert_eq!(logs(&["--until", "2000-01-01"]), "");
        assert!(logs(&["--since", "10m"]).starts_with("line 1\n"));
        rcrun(&node, &["rm", "a"]).success();
        all_is_gone(&node);
    });
}

#[test]
fn what_is_to_go_with_its_process_goes() {
    apart(|| {
        let node = require!(node());
        begin(&node, &["--rm", "--name", "short"], "true");
        // Its shim goes after what the container had.
        let is_gone = || node.stored("containers").is_empty() && shims(&node) == 0;
        wait_for("its end", 10, || is_gone().then_some(()));
        begin(&node, &["--rm", "--name", "long"], "sleep 1000");
        rcrun(&node, &["stop", "-t", "0", "long"]).prints("long");
        rcrun(&node, &["ps", "-aq"]).prints("");
        all_is_gone(&node);
    });
}

#[test]
fn what_cannot_run_leaves_nothing_and_has_dockers_status() {
    apart(|| {
        let node = require!(node());
        let refused = |words: &[&str], status: i32, fragments: &[&str]| {
            rcrun(&node, words).exits_with(status).explains(fragments);
        };
        refused(&["run", "-d", "app", "nope"], 127, &["\"nope\"", "not found in $PATH"]);
        refused(&["run", "-d", "app", "/data"], 126, &["/data"]);
        refused(&["run", "-d", "--restart", "always", "app"], 125, &["--restart always", "no daemon"]);
        refused(&["run", "-d", "--network", "none", "-p", "80:80", "app"], 125, &["--publish"]);
        refused(&["run", "-d", "-p", "x", "app"], 125, &["port \"x\""]);
        refused(&["run", "-d", "--pid-file", "/p", "app"], 125, &["--pid-file", "foreground"]);
        refused(&["stop", "nope"], 1, &["no container in the background is called \"nope\""]);
        all_is_gone(&node);
        begin(&node, &["--name", "a"], "sleep 1000");
        refused(&["run", "-d", "--name", "a", "app", "true"], 125, &["\"a\" is taken", "rcrun rm a"]);
        // One of two does not keep the other from going.
        let removed = rcrun(&node, &["rm", "-f", "nope", "a"]);
        assert_eq!((removed.code(), removed.stdout.as_str()), (1, "a\n"));
        all_is_gone(&node);
    });
}

#[test]
fn a_killed_shim_and_a_reboot_are_survived() {
    apart(|| {
        let node = require!(node());
        let id = begin(&node, &["--name", "a", "-p", "8080:80"], "echo kept >/data/file; sleep 1000");
        let pid = |id: &str| {
            let state = rcrun(&node, &["state", id]).success().json();
            state["pid"].as_i64().unwrap() as i32
        };
        let shim = |pid: i32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            let parent = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().to_owned();
            Pid::from_raw(parent.parse().unwrap()).unwrap()
        };
        // One that is dying still takes connections.
        let kill_shim = |init: i32| {
            let shim = shim(init);
            kill_process(shim, Signal::KILL).unwrap();
            let pid = shim.as_raw_nonzero().get();
            wait_for("the shim's end", 10, || (!support::process_exists(pid)).then_some(()));
        };
        let init = pid(&id);
        let read = || rcrun(&node, &["exec", "a", "cat", "/data/file"]).stdout;
        wait_for("the file", 10, || (read() == "kept\n").then_some(()));
        kill_shim(init);
        assert!(status(&node, "a").starts_with("Up "), "{}", status(&node, "a"));
        rcrun(&node, &["exec", "a", "cat", "/data/file"]).prints("kept");
        rcrun(&node, &["stop", "-t", "0", "a"]).success();
        assert!(status(&node, "a").starts_with("Exited ("), "{}", status(&node, "a"));
        // A reboot takes processes, the state, and the names of namespaces; the store stays.
        rcrun(&node, &["start", "a"]).success();
        let init = pid(&id);
        kill_shim(init);
        kill_process(Pid::from_raw(init).unwrap(), Signal::KILL).unwrap();
        wait_for("the end", 10, || (!fs::exists(format!("/proc/{init}")).unwrap()).then_some(()));
        rcrun(&node, &["delete", "-f", &id]).success();
        let shims = node.state().with_file_name("state-shims");
        fs::remove_dir_all(shims).unwrap();
        for name in fs::read_dir("/run/netns").unwrap().flatten() {
            std::process::Command::new("umount").arg("-l").arg(name.path()).status().unwrap();
            fs::remove_file(name.path()).unwrap();
        }
        assert!(status(&node, "a").starts_with("Exited (255) "), "{}", status(&node, "a"));
        rcrun(&node, &["start", "a"]).success();
        rcrun(&node, &["exec", "a", "cat", "/data/file"]).prints("kept");
        rcrun(&node, &["rm", "-f", "a"]).success();
        all_is_gone(&node);
    });
}

#[test]
fn a_volume_with_a_name_begins_with_what_the_image_has_and_stays() {
    apart(|| {
        let node = require!(node());
        let run = |volume: &str, script: &str| {
            rcrun(&node, &["run", "--rm", "-v", volume, "app", "sh", "-c", script])
        };
        run("stuff:/data", "ls /data; echo y >/data/mine").prints("of-image");
        run("stuff:/elsewhere", "cat /elsewhere/mine; ls /elsewhere | wc -l").prints("y\n2");
        run("stuff:/data:ro", "touch /data/x").exits_with(1);
        run("bare:/data:nocopy", "ls /data").prints("");
        run("../stuff:/data", "true").success();
        run("x/y:/data", "true").exits_with(125).explains(&["\"x/y\": a volume's name"]);
        rcrun(&node, &["volume", "ls"]).prints("bare\nstuff");
        begin(&node, &["--name", "a", "-v", "stuff:/s"], "sleep 1000");
        let refused = rcrun(&node, &["volume", "rm", "stuff", "bare"]);
        assert_eq!((refused.code(), refused.stdout.as_str()), (1, "bare\n"));
        assert!(refused.stderr.contains("volume stuff is used by container "), "{refused}");
        rcrun(&node, &["rm", "-f", "a"]).success();
        rcrun(&node, &["volume", "rm", "stuff"]).prints("stuff");
        rcrun(&node, &["volume", "ls"]).prints("");
        all_is_gone(&node);
    });
}
