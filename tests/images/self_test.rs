//! The fixtures themselves, without rcrun.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;

use crate::fixtures::http::{Head, request};
use crate::fixtures::registry::push_blob;
use crate::fixtures::{
    Authority, Fault, ForwardProxy, Image, Layer, Node, Options, Packing, Proxy, Registry, TokenServer,
    artifact, index, noise, program, sha256,
};
use crate::support::require;

#[test]
fn a_registry_takes_images_of_every_kind() {
    let registry = require!(Registry::start());
    let layer =
        || Layer::new().directory("etc").file("etc/motd", noise(1, 200_000)).symlink("motd", "etc/motd");
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd, Packing::ZstdChunked] {
        registry.push("kinds", "oci", &Image::new().layer(layer(), packing).build());
        registry.push("kinds", "docker", &Image::new().layer(layer(), packing).docker().build());
    }
    let images = [Image::busybox().build(), Image::busybox().architecture("arm64", "v8").build()];
    let both = index(&[&images[0], &images[1]], false);
    registry.push("kinds", "index", &both);
    registry.push("kinds", "artifact", &artifact("application/x.test", &[("text/plain", b"hello")]));
    let response = request(registry.address(), "GET", "/v2/kinds/tags/list", &[], b"").unwrap();
    let text = String::from_utf8(response.body).unwrap();
    assert!(["artifact", "docker", "index", "oci"].iter().all(|tag| text.contains(tag)), "{text}");
    assert!(registry.blob_directory(&images[0].layers()[0]).join("data").exists());
}

#[test]
fn skopeo_and_umoci_take_the_images_too() {
    let registry = require!(Registry::start());
    let node = Node::new();
    let built = Image::busybox().layer(Layer::new().file("a", "b"), Packing::Zstd).build();
    registry.push("busybox", "1", &built);
    let layout = format!("oci:{}:1", node.file("layout").display());
    let source = format!("docker://{}", registry.name("busybox:1"));
    let mut skopeo = require!(program("skopeo"));
    skopeo.args(["--insecure-policy", "copy", "--src-tls-verify=false", &source, &layout]);
    node.invocation(skopeo).wait().success();
    built.write_layout(&node.file("mine"), "1");
    let blob = format!("blobs/{}", built.digest().replace(':', "/"));
    let read = |layout: &str| std::fs::read(node.file(layout).join(&blob)).unwrap();
    assert_eq!(read("layout"), read("mine"));
    let mut umoci = require!(program("umoci"));
    umoci.args(["stat", "--image"]).arg(format!("{}:1", node.file("mine").display()));
    let outcome = node.invocation(umoci).wait().success();
    assert!(outcome.stdout.contains("LAYER"), "{outcome}");
}

#[test]
fn faults_are_done_and_counted() {
    let registry = require!(Registry::start());
    let content = noise(2, 300_000);
    push_blob(registry.address(), "data", &sha256(&content), &content);
    let proxy = Proxy::before(registry.address());
    let target = format!("/v2/data/blobs/{}", sha256(&content));
    let get = |headers: &[(&str, &str)]| request(&proxy.address(), "GET", &target, headers, b"");
    assert_eq!(get(&[]).unwrap().body, content);
    let part = get(&[("Range", "bytes=100-199")]).unwrap();
    assert_eq!((part.head.status(), part.body.as_slice()), (206, &content[100..200]));
    assert_eq!((proxy.count("/blobs/"), proxy.sent("/blobs/")), (2, 300_100));

    proxy.times(1, "/blobs/", Fault::Cut(1000));
    assert_eq!(get(&[]).unwrap().body, content[..1000]);
    proxy.times(1, "/blobs/", Fault::Flip(7));
    let flipped = get(&[]).unwrap().body;
    assert!(flipped[7] == !content[7] && flipped[8..] == content[8..]);
    proxy.times(1, "/blobs/", Fault::NoRange);
    assert_eq!(get(&[("Range", "bytes=100-199")]).unwrap().head.status(), 200);
    proxy.times(1, "/blobs/", Fault::Slow(1 << 20));
    let start = std::time::Instant::now();
    assert_eq!(get(&[]).unwrap().body, content);
    assert!(start.elapsed().as_millis() > 200);
    proxy.times(1, "GET", Fault::Answer(429, vec![("Retry-After", "1".into())], b"later".to_vec()));
    assert_eq!(get(&[]).unwrap().head.header("retry-after"), Some("1"));
    proxy.times(1, "GET", Fault::Hang);
    assert!(get(&[]).is_err());
    proxy.times(1, "GET", Fault::Content("text/html", b"<html>".to_vec()));
    assert_eq!(get(&[]).unwrap().body, b"<html>");

    let other = Proxy::at("127.0.0.2", registry.address());
    proxy.times(1, "GET", Fault::Redirect(format!("http://{}", other.address())));
    let redirect = get(&[]).unwrap().head;
    assert_eq!(redirect.header("location").unwrap(), format!("http://{}{target}", other.address()));
    // A stalled connection does not keep the proxy from ending.
    proxy.times(1, "GET", Fault::Stall(10));
    let mut stalled = TcpStream::connect(proxy.address()).unwrap();
    write!(stalled, "GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address()).unwrap();
    let mut stalled = BufReader::new(stalled);
    Head::read(&mut stalled).unwrap().expect("an answer");
    let mut body = vec![0; 10];
    stalled.read_exact(&mut body).unwrap();
    drop(proxy);
    stalled.read_to_end(&mut body).unwrap();
    assert_eq!(body, content[..10]);
}

#[test]
fn a_registry_wants_what_it_is_told_to() {
    let authority = require!(Authority::new());
    let identity = authority.server(&["DNS:localhost", "IP:127.0.0.1"]);
    let secure =
        require!(Options::default().tls(identity).clients_of(&authority).basic().read_only().start());
    secure.push("a", "1", &Image::busybox().build());
    let skopeo = |arguments: &[&str]| {
        let mut skopeo = program("skopeo").expect("it was fetched");
        skopeo.args(["--insecure-policy", "inspect", "--raw"]).args(arguments);
        skopeo.arg(format!("docker://{}", secure.name("a:1")));
        skopeo
    };
    let node = Node::new();
    let mine = node.file("certs");
    std::fs::create_dir(&mine).unwrap();
    let directory = format!("--cert-dir={}", mine.display());
    let client = authority.client();
    node.invocation(skopeo(&["--creds=ada:open sesame", &directory])).wait().exits_with(1);
    std::fs::copy(authority.own().certificate, mine.join("ca.crt")).unwrap();
    node.invocation(skopeo(&["--creds=ada:open sesame", &directory])).wait().exits_with(1);
    std::fs::copy(client.certificate, mine.join("client.cert")).unwrap();
    std::fs::copy(client.key, mine.join("client.key")).unwrap();
    node.invocation(skopeo(&["--creds=ada:wrong", &directory])).wait().exits_with(1);
    node.invocation(skopeo(&["--creds=ada:open sesame", &directory])).wait().success();
}

#[test]
fn tokens_open_a_registry() {
    let server = require!(TokenServer::start(true));
    let registry = require!(Options::default().token(&server).start());
    registry.push("a", "1", &Image::busybox().build());
    let node = Node::new();
    let mut skopeo = require!(program("skopeo"));
    skopeo.args(["--insecure-policy", "inspect", "--raw", "--tls-verify=false"]);
    skopeo.arg(format!("docker://{}", registry.name("a:1")));
    node.invocation(skopeo).wait().success();
    let asked = server.asked();
    assert!(asked.iter().any(|asked| asked.scopes == ["repository:a:pull"]), "{asked:?}");
    let refused = request(registry.address(), "GET", "/v2/a/manifests/1", &[], b"").unwrap().head;
    assert!(refused.header("www-authenticate").unwrap().contains("scope=\"repository:a:pull\""));
}

#[test]
fn a_forward_proxy_leads_names_to_addresses() {
    let registry = require!(Registry::start());
    registry.push("a", "1", &Image::busybox().build());
    let proxy = ForwardProxy::start(&[("r.example:80", registry.address())]);
    let response = request(&proxy.address(), "GET", "http://r.example/v2/a/tags/list", &[], b"").unwrap();
    assert_eq!(response.head.status(), 200);
    assert_eq!(proxy.seen(), ["GET http://r.example/v2/a/tags/list"]);
}
