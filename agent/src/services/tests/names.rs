//! Names, as a Pod asks for them.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::time::Duration;

use hickory_server::proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_server::proto::rr::{Name, RData, Record, RecordType};
use serde_json::json;

use super::super::examples::{endpoints, object, service};
use super::world::{World, at, inside, until};
use crate::objects::Kind;

const DNS: &str = "10.96.0.10:53";

fn query(name: &str, of: RecordType) -> Message {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), of));
    message
}

fn over_udp(query: &Message) -> io::Result<Message> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(DNS)?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut buffer = [0; 4096];
    // As resolvers do: what is under way while rules change may be lost.
    for _ in 0..12 {
        socket.send(&query.to_vec().unwrap())?;
        match socket.recv(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            length => return Message::from_vec(&buffer[..length?]).map_err(io::Error::other),
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn over_tcp(query: &Message) -> io::Result<Message> {
    let mut stream = TcpStream::connect(DNS)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let bytes = query.to_vec().unwrap();
    stream.write_all(&(bytes.len() as u16).to_be_bytes())?;
    stream.write_all(&bytes)?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Message::from_vec(&answer).map_err(io::Error::other)
}

fn data(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

/// A name server of the machine's that knows www.example.com alone.
fn upstream() {
    let socket = UdpSocket::bind("127.0.0.2:53").unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let Ok(query) = Message::from_vec(&buffer[..length]) else { continue };
            let mut answer = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
            answer.metadata.recursion_available = true;
            let asked = query.queries[0].clone();
            match asked.name().to_ascii().eq_ignore_ascii_case("www.example.com.") {
                true if asked.query_type() == RecordType::A => {
                    let ip: IpAddr = "203.0.113.7".parse().unwrap();
                    answer.add_answer(Record::from_rdata(asked.name().clone(), 300, RData::from(ip)));
                }
                true => {}
                false => answer.metadata.response_code = ResponseCode::NXDomain,
            }
            answer.add_query(asked);
            let _ = socket.send_to(&answer.to_vec().unwrap(), client);
        }
    });
}

#[test]
fn names_are_asked_from_pods() {
    inside("services::tests::names::names_are_asked_from_pods", || {
        let Some(mut world) = World::new(false) else { return };
        let client = world.pod(2);
        upstream();
        writeln!(world.resolv_conf, "nameserver 10.96.0.10\nnameserver 127.0.0.2").unwrap();
        world.put(object(Kind::Namespace, json!({"metadata": {"name": "default"}})));
        let ask = |name: &str, of| at(&client, || over_udp(&query(name, of))).unwrap();
        until("cluster DNS answers", || {
            at(&client, || over_udp(&query("cluster.local.", RecordType::SOA))).ok()
        });

        let web = "web.default.svc.cluster.local.";
        let none = ask(web, RecordType::A);
        assert_eq!(none.metadata.response_code, ResponseCode::NXDomain);
        assert!(none.metadata.authoritative && none.metadata.recursion_available);
        assert_eq!(none.authorities[0].record_type(), RecordType::SOA);
        // It is there with the object.
        world.put(service("web", json!({"clusterIP": "10.96.0.1", "ports": [{"name": "http", "port": 80}]})));
        assert_eq!(data(&ask(web, RecordType::A)), ["10.96.0.1"]);
        let mixed = ask("WeB.default.svc.CLUSTER.local.", RecordType::A);
        assert_eq!(mixed.answers[0].name.to_ascii(), "WeB.default.svc.CLUSTER.local.");
        assert_eq!(data(&at(&client, || over_tcp(&query(web, RecordType::A))).unwrap()), ["10.96.0.1"]);
        assert_eq!(
            data(&at("", || over_udp(&query(web, RecordType::A))).unwrap()),
            ["10.96.0.1"],
            "the node itself"
        );
        let srv = ask(&format!("_http._tcp.{web}"), RecordType::SRV);
        assert_eq!((data(&srv), srv.additionals.len()), (vec![format!("0 100 80 {web}")], 1));

        // Others' names, and names that are others'.
        assert_eq!(data(&ask("www.example.com.", RecordType::A)), ["203.0.113.7"]);
        assert_eq!(data(&ask("www.example.com.", RecordType::AAAA)), [""; 0]);
        assert_eq!(ask("nowhere.example.com.", RecordType::A).metadata.response_code, ResponseCode::NXDomain);
        world.put(service("away", json!({"type": "ExternalName", "externalName": "www.example.com"})));
        let away = ask("away.default.svc.cluster.local.", RecordType::A);
        assert_eq!(data(&away), ["www.example.com.", "203.0.113.7"]);
        world.put(service(
            "loop",
            json!({"type": "ExternalName", "externalName": "loop.default.svc.cluster.local"}),
        ));
        let looped = ask("loop.default.svc.cluster.local.", RecordType::A);
        assert_eq!(looped.metadata.response_code, ResponseCode::ServFail);
    });
}

#[test]
fn long_answers_go_over_tcp() {
    inside("services::tests::names::long_answers_go_over_tcp", || {
        let Some(world) = World::new(false) else { return };
        let client = world.pod(2);
        let ips: Vec<IpAddr> = (1..=200).map(|last| format!("10.88.1.{last}").parse().unwrap()).collect();
        world.put(service("db", json!({"clusterIP": "None", "ports": [{"port": 80}]})));
        world.put(endpoints("db", &ips, json!([{"port": 80}])));
        let name = "db.default.svc.cluster.local.";
        until("cluster DNS answers", || {
            at(&client, || over_udp(&query("cluster.local.", RecordType::SOA))).ok()
        });
        let short = at(&client, || over_udp(&query(name, RecordType::A))).unwrap();
        assert!(short.metadata.truncation && short.to_vec().unwrap().len() <= 512);
        let mut asked = query(name, RecordType::A);
        asked.edns = Some({
            let mut edns = Edns::new();
            edns.set_max_payload(4096);
            edns
        });
        let longer = at(&client, || over_udp(&asked)).unwrap();
        assert!(longer.metadata.truncation && longer.answers.len() > short.answers.len());
        assert!(longer.edns.is_some());
        let whole = at(&client, || over_tcp(&asked)).unwrap();
        assert_eq!((whole.metadata.truncation, whole.answers.len()), (false, 200));
        // What is no query is answered or left, and nothing ends by it.
        at(&client, || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            for length in [0, 1, 11, 12, 13, 300] {
                socket.send_to(&vec![0xc0; length], DNS).unwrap();
            }
        });
        assert!(at(&client, || over_udp(&query(name, RecordType::A))).is_ok());
    });
}
