//! Names of Services and Pods, on the cluster DNS address, over UDP and TCP.
//!
//! A query is answered out of the store ([`names`], pure), so that a name is true with the change that made it; what is not of the
//! cluster's domain is asked of the host's own servers ([`forward`]).

mod forward;
mod names;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::proto::op::{Edns, Header, HeaderCounts, MessageType, Metadata, OpCode, ResponseCode};
use hickory_server::proto::rr::{Name, RData, Record, RecordType};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::net::{TcpListener, UdpSocket};

use self::forward::Forward;
use self::names::Reply;
use super::trouble::Trouble;
use super::{Settings, address};
use crate::store::Store;

pub use names::Zone;

const PORT: u16 = 53;
/// A client of TCP that says nothing for so long is gone.
const IDLE: Duration = Duration::from_secs(10);
/// Answers that wait for a client of TCP.
const WAITING: usize = 32;
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// An answer that fits into one packet on every path.
const LARGEST: u16 = 1232;
/// Names of names of names: more of them are a loop.
const ALIASES: usize = 8;

/// Answers until the process ends.
pub(super) async fn serve(store: Arc<Store>, settings: &Settings, address: IpAddr) -> anyhow::Result<()> {
    let zone = Arc::new(Zone::new(&settings.cluster_domain, &settings.range)?);
    let forward = Arc::new(Forward::new(settings.resolv_conf.clone(), address));
    let mut trouble = Trouble::new(store.clone(), "ClusterDNSFailed");
    let mut backoff = BACKOFF.0;
    loop {
        let names = Names { store: store.clone(), zone: zone.clone(), forward: forward.clone() };
        let failed = match listen(names, address).await {
            Ok(mut server) => {
                trouble.over();
                backoff = BACKOFF.0;
                let ended = server.block_until_done().await;
                ended.err().map_or_else(|| anyhow::anyhow!("it ended"), Into::into)
            }
            Err(error) => error,
        };
        trouble.tell(&failed.context(format!("cluster DNS does not answer on {address}")));
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF.1);
    }
}

async fn listen(names: Names, address: IpAddr) -> anyhow::Result<Server<Names>> {
    address::put(address).context("cannot put the address on lo")?;
    let at = SocketAddr::new(address, PORT);
    let socket = UdpSocket::bind(at).await.with_context(|| format!("cannot bind UDP {at}"))?;
    let listener = TcpListener::bind(at).await.with_context(|| format!("cannot bind TCP {at}"))?;
    let mut server = Server::new(names);
    server.register_socket(socket);
    server.register_listener(listener, IDLE, WAITING);
    Ok(server)
}

struct Names {
    store: Arc<Store>,
    zone: Arc<Zone>,
    forward: Arc<Forward>,
}

/// What is sent to a client.
#[derive(Debug)]
struct Answer {
    code: ResponseCode,
    /// It is of the cluster's domain.
    own: bool,
    records: Vec<Record>,
    additionals: Vec<Record>,
    /// Of the zone, where there are no records.
    soa: Option<Record>,
}

impl Answer {
    fn nothing(code: ResponseCode) -> Self {
        Self { code, own: false, records: Vec::new(), additionals: Vec::new(), soa: None }
    }
}

impl Names {
    async fn answer(&self, name: &Name, of: RecordType) -> Answer {
        let mut aliases = Vec::new();
        let mut asked = name.clone();
        for _ in 0..ALIASES {
            let reply = self.store.read(|objects| names::answer(objects, &self.zone, &asked, of));
            let mut answer = match reply {
                Reply::Here(answer) => answer,
                Reply::Elsewhere => self.forward.ask(&asked, of).await,
                Reply::Alias(record) => {
                    let target = match &record.data {
                        RData::CNAME(target) if of != RecordType::CNAME => Some(target.0.clone()),
                        _ => None,
                    };
                    aliases.push(record);
                    match target {
                        Some(target) => {
                            asked = target;
                            continue;
                        }
                        None => Answer { own: true, ..Answer::nothing(ResponseCode::NoError) },
                    }
                }
            };
            if !aliases.is_empty() {
                // The name itself is there, whatever is known of its target.
                answer.own = true;
                answer.records.splice(0..0, aliases);
            }
            return answer;
        }
        Answer::nothing(ResponseCode::ServFail)
    }
}

#[async_trait::async_trait]
impl RequestHandler for Names {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut client: R,
    ) -> ResponseInfo {
        let query = request.request_info().ok().map(|info| info.query.original().clone());
        let answer = match query {
            Some(query) if request.metadata.op_code == OpCode::Query => {
                self.answer(query.name(), query.query_type()).await
            }
            Some(_) => Answer::nothing(ResponseCode::NotImp),
            None => Answer::nothing(ResponseCode::FormErr),
        };
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = answer.code;
        metadata.authoritative = answer.own;
        metadata.recursion_available = true;
        let edns = request.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            edns.set_max_payload(asked.max_payload().clamp(512, LARGEST)).set_version(0);
            edns
        });
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = &edns {
            builder.edns(edns);
        }
        let response = builder.build(metadata, &answer.records, &[], &answer.soa, &answer.additionals);
        match client.send_response(response).await {
            Ok(sent) => sent,
            Err(error) => {
                tracing::debug!(client = %request.src(), "cannot answer a DNS query: {error}");
                let mut metadata = Metadata::new(request.metadata.id, MessageType::Response, OpCode::Query);
                metadata.response_code = ResponseCode::ServFail;
                Header { metadata, counts: HeaderCounts::default() }.into()
            }
        }
    }
}
