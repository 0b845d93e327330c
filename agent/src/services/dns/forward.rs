//! Names that are not of the cluster: the host's own servers are asked, and what they say is remembered as long as they allow.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hickory_server::net::runtime::TokioRuntimeProvider;
use hickory_server::net::{DnsError, NetError};
use hickory_server::proto::op::ResponseCode;
use hickory_server::proto::rr::{Name, RData, Record, RecordType};
use hickory_server::resolver::TokioResolver;
use hickory_server::resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};

use super::Answer;

/// Between two looks at resolv.conf.
const LOOK: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(2);
/// Names that are remembered.
const REMEMBERED: u64 = 1024;

/// Asks the servers in resolv.conf, which is read again when it has changed.
pub(super) struct Forward {
    resolv_conf: PathBuf,
    /// Never asked: it is our own.
    own: IpAddr,
    state: Mutex<Option<State>>,
}

struct State {
    looked: Instant,
    changed: Option<SystemTime>,
    /// None: there is no server.
    resolver: Option<TokioResolver>,
}

impl Forward {
    pub fn new(resolv_conf: PathBuf, own: IpAddr) -> Self {
        Self { resolv_conf, own, state: Mutex::new(None) }
    }

    /// Their answer.
    pub async fn ask(&self, name: &Name, of: RecordType) -> Answer {
        let Some(resolver) = self.resolver() else { return Answer::nothing(ResponseCode::ServFail) };
        let mut name = name.clone();
        name.set_fqdn(true);
        match resolver.lookup(name, of).await {
            Ok(found) => {
                Answer { records: found.answers().to_vec(), ..Answer::nothing(ResponseCode::NoError) }
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => Answer {
                soa: none
                    .soa
                    .map(|soa| Record::from_rdata(soa.name.clone(), soa.ttl, RData::SOA(soa.data.clone()))),
                ..Answer::nothing(none.response_code)
            },
            Err(NetError::Dns(DnsError::ResponseCode(code))) => Answer::nothing(code),
            Err(error) => {
                tracing::debug!("the host's name servers do not answer: {error}");
                Answer::nothing(ResponseCode::ServFail)
            }
        }
    }

    fn resolver(&self) -> Option<TokioResolver> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = state.as_mut().filter(|state| state.looked.elapsed() < LOOK) {
            return state.resolver.clone();
        }
        let changed = std::fs::metadata(&self.resolv_conf).and_then(|file| file.modified()).ok();
        match state.as_mut() {
            Some(state) if state.changed == changed => {
                state.looked = Instant::now();
                state.resolver.clone()
            }
            _ => {
                let resolver = self.build();
                *state = Some(State { looked: Instant::now(), changed, resolver: resolver.clone() });
                resolver
            }
        }
    }

    fn build(&self) -> Option<TokioResolver> {
        let text = std::fs::read_to_string(&self.resolv_conf).unwrap_or_default();
        let servers = servers(&text, self.own);
        if servers.is_empty() {
            return None;
        }
        let servers = servers.into_iter().map(NameServerConfig::udp_and_tcp).collect();
        let config = ResolverConfig::from_name_servers(servers);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        options.cache_size = REMEMBERED;
        options.timeout = TIMEOUT;
        options.attempts = 2;
        options.use_hosts_file = ResolveHosts::Never;
        options.preserve_intermediates = true;
        builder.build().inspect_err(|error| tracing::error!("cannot ask name servers: {error}")).ok()
    }
}

/// The servers of a resolv.conf, without `own`, which would ask itself for ever.
fn servers(text: &str, own: IpAddr) -> Vec<IpAddr> {
    let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let named = words.filter(|words| words.first() == Some(&"nameserver"));
    let mut servers = Vec::new();
    for server in named.filter_map(|words| words.get(1)?.parse::<IpAddr>().ok()) {
        if server != own && !servers.contains(&server) {
            servers.push(server);
        }
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_without_our_own() {
        let text = "# one\nsearch a b\nnameserver 10.96.0.10\nnameserver 127.0.0.53 # stub\n nameserver fd00::1\nnameserver x\nnameserver\n\
                    options edns0\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\n";
        let own = "10.96.0.10".parse().unwrap();
        let wanted: Vec<IpAddr> = vec!["127.0.0.53".parse().unwrap(), "fd00::1".parse().unwrap()];
        assert_eq!(servers(text, own), wanted);
    }
}
