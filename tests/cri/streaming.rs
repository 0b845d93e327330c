//! The streaming server, as Kubernetes' own client code finds it.
//!
//! `streamer/` is a Go program on client-go; it is built here, and without Go these tests are skipped. The server is rcrun-cri's;
//! in the place of containers are processes of this machine ([`Host`]), so that what is tested are the protocols.

#[path = "streaming/client.rs"]
mod client;
#[path = "streaming/host.rs"]
mod host;
#[path = "streaming/streamer.rs"]
mod streamer;

use std::net::Ipv4Addr;

use client::{Client, skip_without_go};
use host::Host;
use rcrun_cri::api::{AttachRequest, ExecRequest, PortForwardRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// All that a command can be asked for with.
const PROTOCOLS: [&str; 7] = [
    "spdy",
    "spdy:v3.channel.k8s.io",
    "spdy:v2.channel.k8s.io",
    "spdy:channel.k8s.io",
    "websocket",
    "websocket:v4.channel.k8s.io",
    "websocket:channel.k8s.io",
];

fn exec(script: &str) -> ExecRequest {
    let cmd = ["sh", "-c", script].map(String::from).to_vec();
    ExecRequest { cmd, stdout: true, stderr: true, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn output_and_errors_come_apart_and_whole() {
    let client = skip_without_go!(Client);
    let host = Host::serve().await;
    for protocol in PROTOCOLS {
        let url = host.exec(exec("head -c 3000000 /dev/zero | tr '\\0' x; echo wrong >&2"));
        let outcome = client.command(protocol, &[], &url).output(b"").await;
        assert_eq!((outcome.code, outcome.stderr.as_str()), (0, "wrong\n"), "{protocol}");
        assert_eq!(outcome.stdout.len(), 3_000_000, "{protocol}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_status_is_the_commands() {
    let client = skip_without_go!(Client);
    let host = Host::serve().await;
    for protocol in ["spdy", "websocket", "websocket:v4.channel.k8s.io"] {
        let outcome = client.command(protocol, &[], &host.exec(exec("echo out; exit 3"))).output(b"").await;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (3, "out\n"), "{protocol}: {}", outcome.stderr);
    }
    // Older protocols have text for it.
    let outcome = client.command("spdy:v2.channel.k8s.io", &[], &host.exec(exec("exit 3"))).output(b"").await;
    assert_eq!(outcome.code, 125);
    assert!(outcome.stderr.contains("command terminated with exit code 3"), "{}", outcome.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_is_an_error_with_its_name() {
    let client = skip_without_go!(Client);
    let host = Host::serve().await;
    for protocol in ["spdy", "websocket"] {
        let request =
            ExecRequest { cmd: vec!["/no/such/program".into()], stdout: true, ..Default::default() };
        let outcome = client.command(protocol, &["-no-stderr"], &host.exec(request)).output(b"").await;
        assert_eq!(outcome.code, 125);
        assert!(outcome.stderr.contains("/no/such/program"), "{}", outcome.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_input_reaches_the_process() {
    let client = skip_without_go!(Client);
    let host = Host::serve().await;
    let input = vec![b'a'; 2_000_000];
    // WebSocket says so since version 5.
    for protocol in ["spdy", "spdy:v3.channel.k8s.io", "websocket"] {
        let request = ExecRequest { stdin: true, ..exec("wc -c; echo done") };
        let outcome = client.command(protocol, &["-stdin"], &host.exec(request)).output(&input).await;
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (0, "2000000\ndone\n"),
            "{protocol}: {}",
            outcome.stderr
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn input_that_nobody_reads_does_not_keep_the_end_back() {
    let client = skip_without_go!(Client);
    let host = Host::serve().await;
    let input = vec![b'a'; 4_000_000];
    for protocol in ["spdy", "websocket"] {
        let request = ExecRequest { stdin: true, ..exec("head -c 1; exit 4") };
        let outcome = client.command(protocol, &["-stdin"], &host.exec(request)).output(&input).await;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (4, "a"), "{protocol}: {}", outcome.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_has_the_last_of_ten_thousand_sizes() {
    let client = skip_without_go!(Client);
    let host = Host::serve().await;
    for protocol in ["spdy", "websocket"] {
        let request = ExecRequest {
            cmd: vec![
                "sh".into(),
                "-c".into(),
                "until stty size | grep -q '24 10000'; do :; done; echo it is; exit 5".into(),
            ],
            stdin: true,
            stdout: true,
            tty: true,
            ..Default::default()
        };
        let arguments = ["-stdin", "-tty", "-resizes", "10000"];
        let outcome = client.command(protocol, &arguments, &host.exec(request)).output(b"").await;
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (5, "it is\r\n"),
            "{protocol}: {}",
            outcome.stderr
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_has_its_size_from_the_beginning() {
    let client = skip_without_go!(Client);
    let host = Host::serve().await;
    for protocol in ["spdy", "websocket"] {
        let mut seen = Vec::new();
        for _ in 0..5 {
            let cmd = vec!["stty".into(), "size".into()];
            let request = ExecRequest { cmd, stdout: true, tty: true, ..Default::default() };
            let outcome =
                client.command(protocol, &["-tty", "-columns", "7"], &host.exec(request)).output(b"").await;
            seen.push(outcome.stdout + &outcome.stderr);
        }
        // A program's start waits half a second for the size: a client on a busy machine may be late with it once.
        let right = seen.iter().filter(|size| *size == "24 7\r\n").count();
        assert!(right >= 4, "{protocol}: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_comes_back() {
    let client = skip_without_go!(Client);
    let host = Host::serve().await;
    for protocol in ["spdy", "websocket"] {
        let request = ExecRequest {
            cmd: vec!["sh".into(), "-c".into(), "read line; echo \"<$line>\"".into()],
            stdin: true,
            stdout: true,
            tty: true,
            ..Default::default()
        };
        let outcome =
            client.command(protocol, &["-stdin", "-tty"], &host.exec(request)).output(b"hello\n").await;
        assert_eq!(outcome.stdout, "hello\r\n<hello>\r\n", "{protocol}: {}", outcome.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_leaves_others_behind_ends() {
    let client = skip_without_go!(Client);
    let host = Host::serve().await;
    let outcome = client.command("spdy", &[], &host.exec(exec("sleep 60 & echo $!"))).output(b"").await;
    assert_eq!(outcome.code, 0);
    let pid = rustix::process::Pid::from_raw(outcome.stdout.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn attach_ends_with_the_container() {
    let client = skip_without_go!(Client);
    let host = Host::serve().await;
    for protocol in PROTOCOLS {
        let request = AttachRequest {
            container_id: "read line; echo \"<$line>\"; echo wrong >&2".into(),
            stdin: true,
            stdout: true,
            stderr: true,
            ..Default::default()
        };
        let outcome = client.command(protocol, &["-stdin"], &host.attach(request)).output(b"hello\n").await;
        let expected = (0, "<hello>\n", "wrong\n");
        assert_eq!((outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()), expected, "{protocol}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_detaches_with_the_end_of_its_input() {
    let client = skip_without_go!(Client);
    let host = Host::serve().await;
    for protocol in ["spdy", "websocket"] {
        let request = AttachRequest {
            container_id: "cat".into(),
            stdin: true,
            stdout: true,
            tty: true,
            ..Default::default()
        };
        let outcome =
            client.command(protocol, &["-stdin", "-tty"], &host.attach(request)).output(b"x\n").await;
        assert_eq!(outcome.code, 0, "{protocol}: {}", outcome.stderr);
        host::until(|| host.commands() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_leaves_nothing() {
    let client = skip_without_go!(Client);
    let host = Host::serve().await;
    for protocol in ["spdy", "websocket"] {
        let request = ExecRequest { stdin: true, ..exec("echo $$; cat; exec sleep 1000") };
        let mut running = client.command(protocol, &["-stdin"], &host.exec(request)).start();
        let pid = running.line().await;
        running.kill().await;
        // Its input has ended, so that it sleeps; nothing but the shim would wait for it.
        let comm = format!("/proc/{pid}/comm");
        host::until(|| std::fs::read_to_string(&comm).is_ok_and(|comm| comm == "sleep\n")).await;
        host::until(|| host.commands() == 0).await;
        let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_is_missed_though_nobody_reads_what_it_sent() {
    let client = skip_without_go!(Client);
    let host = Host::serve().await;
    let work = ["spdy", "websocket"].map(|protocol| {
        let request = ExecRequest { stdin: true, ..exec("echo $$; exec sleep 1000") };
        client.command(protocol, &["-stdin"], &host.exec(request)).start()
    });
    let mut pids = Vec::new();
    for mut running in work {
        pids.push(running.line().await);
        // More than all queues and sockets take.
        running.flood().await;
        running.kill().await;
    }
    host::until(|| host.commands() == 0).await;
    for pid in pids {
        let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_makes_the_process_wait() {
    let client = skip_without_go!(Client);
    let host = Host::serve().await;
    let mut running = client.command("spdy", &[], &host.exec(exec("echo $$; cat /dev/zero"))).start();
    let pid = running.line().await;
    // Blocked in writing to its pipe: pipe_write, seen as a sleep that lasts.
    let stat = format!("/proc/{pid}/task/{pid}/children");
    let child =
        host::value(|| std::fs::read_to_string(&stat).ok().filter(|pids| !pids.trim().is_empty())).await;
    let io = format!("/proc/{}/io", child.trim());
    let written = || {
        let io = std::fs::read_to_string(&io).unwrap();
        io.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse::<u64>().unwrap()
    };
    let mut last = 0;
    host::until_slowly(|| {
        let now = written();
        let rests = now == last && now > 0;
        last = now;
        rests
    })
    .await;
    // Sockets of both ends, queues, pipes: some MiB, where a second of this program's is some GB.
    assert!(last < 64 << 20, "{last} bytes");
    running.kill().await;
    host::until(|| host.commands() == 0).await;
}

/// A server that answers as `serve` does, and its port.
async fn listen<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket));
        }
    });
    port
}

/// Sends back what it got, once it has all.
async fn echo(mut socket: TcpStream) {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).await.unwrap();
    socket.write_all(&bytes).await.unwrap();
}

/// Ends after one line.
async fn greet(mut socket: TcpStream) {
    let mut byte = [0];
    while socket.read_exact(&mut byte).await.is_ok() && byte != *b"\n" {}
    socket.write_all(b"hello\n").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_are_forwarded_with_half_closes_and_many_at_a_time() {
    let client = skip_without_go!(Client);
    let host = Host::serve().await;
    let (echo, greet) = (listen(echo).await.to_string(), listen(greet).await.to_string());
    for protocol in ["spdy", "websocket"] {
        let input = vec![b'x'; 300_000];
        let arguments = ["-half-close", "-connections", "20"];
        let outcome =
            client.forward(protocol, &arguments, &host.port_forward(), &[&echo]).output(&input).await;
        assert_eq!(outcome.code, 0, "{protocol}: {}", outcome.stderr);
        assert_eq!(outcome.stdout.len(), 20 * 300_001, "{protocol}");
        let outcome = client.forward(protocol, &[], &host.port_forward(), &[&greet]).output(b"hi\n").await;
        assert_eq!(outcome.stdout, "hello\n\n", "{protocol}: {}", outcome.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_refuses_leaves_the_others_alone() {
    let client = skip_without_go!(Client);
    let host = Host::serve().await;
    let greet = listen(greet).await.to_string();
    // Bound as long as this test runs, and nobody listens.
    let bound = TcpSocket::new_v4().unwrap();
    bound.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let closed = bound.local_addr().unwrap().port().to_string();
    for protocol in ["spdy", "websocket"] {
        let ports = [closed.as_str(), greet.as_str()];
        let outcome = client.forward(protocol, &[], &host.port_forward(), &ports).output(b"hi\n").await;
        let (refused, served) = outcome.stdout.split_once('\n').unwrap();
        assert!(refused.starts_with("error: ") && refused.contains("refused"), "{protocol}: {refused}");
        assert_eq!(served, "hello\n\n", "{protocol}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_forward_the_ports_that_the_request_names() {
    let host = Host::serve().await;
    let port = listen(greet).await;
    let request = PortForwardRequest { port: vec![i32::from(port)], ..Default::default() };
    let mut socket = host.websocket(&host.url_of(request), "v4.channel.k8s.io").await;
    let number = port.to_le_bytes();
    assert_eq!(socket.read().await, [&[0], &number[..]].concat());
    assert_eq!(socket.read().await, [&[1], &number[..]].concat());
    socket.write(b"\0hi\n").await;
    assert_eq!(socket.read().await, b"\0hello\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_is_good_once_and_only_for_what_it_was_given_out() {
    let host = Host::serve().await;
    let url = host.exec(exec("true"));
    let token = url.rsplit('/').next().unwrap();
    for path in
        [format!("/attach/{token}"), format!("/exec/{token}"), "/exec/".into(), "/".into(), "/exec".into()]
    {
        assert!(host.http("GET", &path, "").await.starts_with("HTTP/1.1 404 "), "{path}");
    }
    let url = host.exec(exec("true"));
    let path = url.split_once("//").unwrap().1.split_once('/').unwrap().1;
    assert!(host.http("DELETE", &format!("/{path}"), "").await.starts_with("HTTP/1.1 405 "));
    let answer = host.http("POST", &format!("/{path}"), "Content-Length: 0\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("upgrade"), "{answer}");
    assert!(host.http("GET", &format!("/{path}"), "").await.starts_with("HTTP/1.1 404 "));
}
