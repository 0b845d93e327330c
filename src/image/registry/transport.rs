//! One HTTP exchange: which connection, over which proxy, with which TLS; and ureq's errors in our words.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ureq::http::{Method, Request, Response};
use ureq::tls::TlsConfig;
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Body, SendBody};

use super::error::Failure;
use super::proxy::{Proxies, ProxyError};
use super::resolver::{Names, Unknown};
use super::timeouts::Timeouts;
use super::tls::{self, SystemRoots};
use super::types::{Certificates, Directory};

/// Connections kept open to one host: as many as layers are pulled at once, and some.
const IDLE_PER_HOST: usize = 8;
/// Bytes of a connection's buffer in each direction.
const BUFFER: usize = 128 << 10;

/// All connections of this process to registries, token servers and where they lead.
pub(super) struct Transport {
    pub(super) timeouts: Timeouts,
    directory: Arc<dyn Directory>,
    pub(super) proxies: Result<Proxies, ProxyError>,
    roots: SystemRoots,
    names: Names,
    agents: Mutex<HashMap<Key, Agent>>,
    stopped: AtomicBool,
    rest: (Mutex<()>, Condvar),
}

/// Whose TLS settings count for an exchange.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Party {
    /// The registry, as in names: its certs.d counts.
    pub(super) registry: String,
    /// Without verification.
    pub(super) insecure: bool,
    /// Is it the registry itself, or another host that it leads to? Only itself sees the client certificate.
    pub(super) itself: bool,
}

/// What tells connections apart that must not be mixed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    party: Party,
    tls: bool,
    proxy: Option<ureq::Proxy>,
}

/// What is sent with a request.
pub(super) enum Sent<'a> {
    /// Nothing, as with GET.
    Nothing,
    /// These bytes, perhaps none of them.
    Bytes(&'a [u8]),
    /// As many bytes of a reader, which is asked for them once.
    Stream(&'a mut dyn Read, u64),
}

impl Transport {
    pub(super) fn new(
        directory: Arc<dyn Directory>,
        timeouts: Timeouts,
        proxies: Result<Proxies, ProxyError>,
    ) -> Self {
        Self {
            timeouts,
            directory,
            proxies,
            roots: SystemRoots::default(),
            names: Names::default(),
            agents: Mutex::default(),
            stopped: AtomicBool::new(false),
            rest: Default::default(),
        }
    }

    /// Sends one request and waits for the head of the answer, whatever its status. No redirect is followed.
    pub(super) fn exchange(
        &self,
        party: &Party,
        request: Request<()>,
        sent: Sent<'_>,
    ) -> Result<Response<Body>, Failure> {
        let uri = request.uri().clone();
        let agent = self.agent(party, &uri)?;
        // The registry stores all of it before it answers.
        let stores = matches!(*request.method(), Method::PUT | Method::PATCH);
        let patience = match stores {
            true => (self.timeouts.finish, "FINISH"),
            false => (self.timeouts.silence, "SILENCE"),
        };
        let answer = match sent {
            Sent::Nothing => agent.run(request),
            Sent::Bytes(bytes) if !stores => agent.run(request.map(|()| bytes)),
            Sent::Bytes(bytes) => {
                let request = agent.configure_request(request.map(|()| bytes));
                agent.run(request.timeout_per_read(Some(patience.0)).build())
            }
            Sent::Stream(reader, size) => {
                let mut payload = Payload { reader, left: size };
                let request = agent.configure_request(request.map(|()| SendBody::from_reader(&mut payload)));
                agent.run(request.timeout_per_read(Some(patience.0)).build())
            }
        };
        answer.map_err(|error| {
            let proxy = self.proxies.as_ref().ok().and_then(|all| all.of(&uri));
            self.explain(error, proxy, patience)
        })
    }

    /// Waits, unless everything is stopped.
    pub(super) fn pause(&self, time: Duration) -> Result<(), Failure> {
        let guard = self.rest.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stopped = |_: &mut ()| !self.stopped.load(Ordering::Relaxed);
        let _ = self.rest.1.wait_timeout_while(guard, time, stopped);
        self.running()
    }

    /// Ends all exchanges that are under way, in every thread, and all to come.
    pub(super) fn stop(&self) {
        {
            let _guard = self.rest.0.lock().unwrap_or_else(PoisonError::into_inner);
            self.stopped.store(true, Ordering::Relaxed);
        }
        self.rest.1.notify_all();
        self.agents().values().for_each(|agent| agent.clone().shutdown());
    }

    fn running(&self) -> Result<(), Failure> {
        match self.stopped.load(Ordering::Relaxed) {
            true => Err(Failure::Stopped),
            false => Ok(()),
        }
    }

    fn agents(&self) -> MutexGuard<'_, HashMap<Key, Agent>> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn agent(&self, party: &Party, uri: &ureq::http::Uri) -> Result<Agent, Failure> {
        let proxies = self.proxies.as_ref().map_err(|error| Failure::Proxies(error.to_string()))?;
        let proxy = proxies.of(uri).cloned();
        let tls = uri.scheme_str() == Some("https")
            || proxy.as_ref().is_some_and(|proxy| proxy.protocol() == ureq::ProxyProtocol::Https);
        let key = Key { party: party.clone(), tls, proxy };
        let mut agents = self.agents();
        // Under the lock: an agent that is made later would outlive the stop.
        self.running()?;
        if let Some(agent) = agents.get(&key) {
            return Ok(agent.clone());
        }
        let agent = self.new_agent(&key)?;
        agents.insert(key, agent.clone());
        Ok(agent)
    }

    fn new_agent(&self, key: &Key) -> Result<Agent, Failure> {
        let config = Agent::config_builder()
            .tls_config(self.tls(key)?)
            .proxy(key.proxy.clone())
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("rcrun/", env!("CARGO_PKG_VERSION")))
            // What is stored is what is wanted, and a digest is of that.
            .accept_encoding("identity")
            .timeout_connect(Some(self.timeouts.connect))
            .timeout_per_read(Some(self.timeouts.silence))
            .timeout_per_write(Some(self.timeouts.silence))
            // Of its head, which may come a byte at a time.
            .timeout_recv_response(Some(self.timeouts.finish))
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            .max_idle_connections(4 * IDLE_PER_HOST)
            .max_idle_connections_per_host(IDLE_PER_HOST)
            .build();
        Ok(Agent::with_parts(config, DefaultConnector::default(), self.names.clone()))
    }

    fn tls(&self, key: &Key) -> Result<TlsConfig, Failure> {
        if !key.tls {
            return Ok(tls::unused());
        }
        let known = self.directory.certificates(&key.party.registry).map_err(Failure::Settings)?;
        let client = known.client.filter(|_| key.party.itself);
        let own = Certificates { roots: known.roots, client };
        match key.party.insecure {
            true => tls::unverified(&own),
            false => tls::verified(&self.roots, &own),
        }
    }

    /// What a body's reader says.
    pub(super) fn explain_read(&self, error: io::Error) -> Failure {
        self.explain(error.into(), None, (self.timeouts.silence, "SILENCE"))
    }

    fn explain(
        &self,
        error: ureq::Error,
        proxy: Option<&ureq::Proxy>,
        patience: (Duration, &'static str),
    ) -> Failure {
        if self.running().is_err() {
            return Failure::Stopped;
        }
        match error {
            ureq::Error::Io(error) => explain_io(&error),
            ureq::Error::Rustls(error) => tls::explain(&error),
            ureq::Error::Tls(why) => Failure::Tls(why.to_owned()),
            ureq::Error::Timeout(ureq::Timeout::Connect) => {
                Failure::Silence { after: self.timeouts.connect, variable: "CONNECT" }
            }
            ureq::Error::Timeout(ureq::Timeout::RecvResponse) => {
                Failure::Silence { after: self.timeouts.finish, variable: "FINISH" }
            }
            ureq::Error::Timeout(_) => Failure::Silence { after: patience.0, variable: patience.1 },
            ureq::Error::ConnectProxyFailed(why) => {
                let name = proxy.map(|proxy| format!("{}:{}", proxy.host(), proxy.port()));
                Failure::Proxy { proxy: name.unwrap_or_default(), why }
            }
            ureq::Error::Other(other) => match other.downcast::<Unknown>() {
                Ok(unknown) => Failure::Resolve { host: unknown.host, why: unknown.why },
                Err(other) => Failure::Protocol(other.to_string()),
            },
            error => Failure::Protocol(error.to_string()),
        }
    }
}

/// The kernel's errors, and what readers and rustls wrap into them.
fn explain_io(error: &io::Error) -> Failure {
    if let Some(wrapped) = error.get_ref() {
        if let Some(error) = wrapped.downcast_ref::<rustls::Error>() {
            return tls::explain(error);
        }
        if let Some(Unreadable(why)) = wrapped.downcast_ref() {
            return Failure::Payload(why.clone());
        }
    }
    match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => Failure::Cut(match error.raw_os_error() {
            Some(_) => error.to_string(),
            None => "it was closed in the middle".to_owned(),
        }),
        _ => Failure::Connect(error.to_string()),
    }
}

/// What is pushed cannot be read, or is not as long as said. ureq would ask a reader that has ended for ever.
#[derive(Debug)]
struct Unreadable(String);

impl std::error::Error for Unreadable {}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

struct Payload<'a> {
    reader: &'a mut dyn Read,
    left: u64,
}

impl Read for Payload<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = loop {
            match self.reader.read(&mut buffer[..most]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(0) => Err(io::Error::other(Unreadable(format!("it ends {} bytes too early", self.left)))),
            Ok(read) => {
                self.left -= read as u64;
                Ok(read)
            }
            Err(error) => Err(io::Error::other(Unreadable(error.to_string()))),
        }
    }
}
