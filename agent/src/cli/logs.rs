//! `logs`.

use std::collections::VecDeque;

use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::sync::mpsc;

use super::client::{self, Error, Result, with_query};
use super::plain::{say, say_none};
use super::value::Look as _;
use super::wait::Span;
use super::{Scope, Session, pods, target};
use crate::objects::Kind;

/// `logs`.
#[derive(clap::Args, Debug)]
pub struct Logs {
    /// A Pod, or "deploy/NAME" and the like for one of its Pods; and a container
    #[arg(value_name = "POD|KIND/NAME", num_args = 0..=2)]
    what: Vec<String>,
    #[command(flatten)]
    scope: Scope,
    /// The container [default: the first]
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    /// Of all containers
    #[arg(long)]
    all_containers: bool,
    /// Of all Pods of a Deployment and the like
    #[arg(long)]
    all_pods: bool,
    /// Of Pods with these labels
    #[arg(short = 'l', long, value_name = "LABELS", default_value = "", hide_default_value = true)]
    selector: String,
    /// Go on until the container ends
    #[arg(short, long)]
    follow: bool,
    /// Of the container that ran before
    #[arg(short, long)]
    previous: bool,
    /// Only the last lines; -1: all [default: all, with -l 10]
    #[arg(long, value_name = "LINES", allow_hyphen_values = true)]
    tail: Option<i64>,
    /// Only of the last 5s, 2m, 3h
    #[arg(long, value_name = "DURATION", conflicts_with = "since_time")]
    since: Option<Span>,
    /// Only since a time: 2026-11-26T08:00:00Z
    #[arg(long, value_name = "TIME")]
    since_time: Option<String>,
    /// Each line with its time
    #[arg(long)]
    timestamps: bool,
    /// Only so many bytes
    #[arg(long, value_name = "BYTES")]
    limit_bytes: Option<u64>,
    /// Each line with its Pod and container
    #[arg(long)]
    prefix: bool,
    /// Logs that are followed at the same time
    #[arg(long, value_name = "NUMBER", default_value_t = 5)]
    max_log_requests: usize,
    /// An error of one log does not end the others
    #[arg(long)]
    ignore_errors: bool,
}

/// A container's log.
struct Source {
    path: String,
    prefix: String,
}

impl Logs {
    pub async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let sources = self.sources(session).await?;
        if !self.follow || sources.len() == 1 {
            for source in &sources {
                match copy(session, source).await {
                    Err(error @ Error::Server { .. }) if self.ignore_errors => say(error),
                    copied => copied?,
                }
            }
            return Ok(());
        }
        if sources.len() > self.max_log_requests {
            return Err(Error::usage(format!(
                "you are attempting to follow {} log streams, but maximum allowed concurrency is {}, \
                 use --max-log-requests to increase the limit",
                sources.len(),
                self.max_log_requests
            )));
        }
        follow_all(session, &sources).await
    }

    async fn sources(&self, session: &Session<'_>) -> Result<Vec<Source>> {
        let (pods, container) = self.pods(session).await?;
        let mut sources = Vec::new();
        for pod in &pods {
            let containers: Vec<&str> = match (&container, self.all_containers) {
                (Some(_), true) => {
                    return Err(Error::usage(
                        "--all-containers=true should not be specified with container name",
                    ));
                }
                (Some(container), false) => vec![container],
                (None, true) => pods::containers(pod),
                (None, false) => vec![default_container(pod)],
            };
            sources.extend(containers.into_iter().map(|container| self.source(pod, container)));
        }
        Ok(sources)
    }

    async fn pods(&self, session: &Session<'_>) -> Result<(Vec<Value>, Option<String>)> {
        let namespace = self.scope.name();
        if !self.selector.is_empty() {
            if !self.what.is_empty() {
                return Err(Error::usage("only a selector (-l) or a POD name is allowed"));
            }
            let pods = pods::by_labels(session, namespace, self.selector.clone()).await?;
            if pods.is_empty() {
                say_none("resources", Some(namespace));
            }
            return Ok((pods, self.container.clone()));
        }
        let (words, container) = match (self.what.as_slice(), &self.container) {
            ([], _) => {
                return Err(Error::usage("expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'"));
            }
            ([one], container) => (std::slice::from_ref(one), container.clone()),
            ([one, container, ..], None) => (std::slice::from_ref(one), Some(container.clone())),
            (_, Some(_)) => {
                return Err(Error::usage("only one of -c or an inline [CONTAINER] arg is allowed"));
            }
        };
        let target = target::one(words, Some(Kind::Pod))?;
        let mut pods = pods::of(session, &target, namespace).await?;
        if pods.len() > 1 && !self.all_pods {
            let name = pods.first().map(|pod| pod.text("/metadata/name").to_owned()).unwrap_or_default();
            say(format_args!("Found {} pods, using pod/{name}", pods.len()));
            pods.truncate(1);
        }
        Ok((pods, container))
    }

    fn source(&self, pod: &Value, container: &str) -> Source {
        let yes = |flag: bool| if flag { "1" } else { "" };
        let tail = match self.tail {
            None if !self.selector.is_empty() && !self.follow => "10".to_owned(),
            Some(tail) if tail >= 0 => tail.to_string(),
            _ => String::new(),
        };
        let since = self.since.as_ref().map(|since| since.seconds().to_string()).unwrap_or_default();
        let limit = self.limit_bytes.map(|limit| limit.to_string()).unwrap_or_default();
        let path = with_query(
            &format!("{}/log", client::object(&pods::key(pod))),
            [
                ("container", container),
                ("follow", yes(self.follow)),
                ("previous", yes(self.previous)),
                ("timestamps", yes(self.timestamps)),
                ("tailLines", &tail),
                ("sinceSeconds", &since),
                ("sinceTime", self.since_time.as_deref().unwrap_or_default()),
                ("limitBytes", &limit),
            ],
        );
        let prefix = match self.prefix {
            true => format!("[pod/{}/{container}] ", pod.text("/metadata/name")),
            false => String::new(),
        };
        Source { path, prefix }
    }
}

fn default_container(pod: &Value) -> &str {
    let named = pod.text("/metadata/annotations/kubectl.kubernetes.io~1default-container");
    let first = || pod.items("/spec/containers").first().map(|container| container.text("/name"));
    if named.is_empty() { first().unwrap_or_default() } else { named }
}

/// Puts a prefix before each line that a stream of bytes has.
struct Prefixer<'a> {
    prefix: &'a str,
    within: bool,
}

impl Prefixer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.within {
                out.extend_from_slice(self.prefix.as_bytes());
            }
            out.extend_from_slice(piece);
            self.within = piece.last() != Some(&b'\n');
        }
        out
    }
}

async fn copy(session: &mut Session<'_>, source: &Source) -> Result<()> {
    let mut body = session.client.open(Method::GET, &source.path, "").await?.into_body();
    let mut prefixer = Prefixer { prefix: &source.prefix, within: false };
    while let Some(bytes) = piece(&mut body).await? {
        session.out.write_all(&prefixer.put(&bytes))?;
        session.out.flush()?;
    }
    Ok(())
}

async fn piece(body: &mut Incoming) -> Result<Option<hyper::body::Bytes>> {
    while let Some(frame) = body.frame().await {
        if let Ok(bytes) = frame?.into_data() {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// Several at a time, by whole lines.
async fn follow_all(session: &mut Session<'_>, sources: &[Source]) -> Result<()> {
    let (sender, mut lines) = mpsc::channel::<Result<Vec<u8>>>(sources.len());
    for source in sources {
        let mut body = session.client.open(Method::GET, &source.path, "").await?.into_body();
        let (sender, prefix) = (sender.clone(), source.prefix.clone());
        tokio::spawn(async move {
            let mut rest: VecDeque<u8> = VecDeque::new();
            loop {
                let sent = match piece(&mut body).await {
                    Ok(Some(bytes)) => {
                        rest.extend(&bytes);
                        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { continue };
                        let whole: Vec<u8> = rest.drain(..=end).collect();
                        sender.send(Ok(Prefixer { prefix: &prefix, within: false }.put(&whole))).await
                    }
                    Ok(None) => {
                        let whole: Vec<u8> = rest.drain(..).collect();
                        let _ =
                            sender.send(Ok(Prefixer { prefix: &prefix, within: false }.put(&whole))).await;
                        return;
                    }
                    Err(error) => sender.send(Err(error)).await,
                };
                if sent.is_err() {
                    return;
                }
            }
        });
    }
    drop(sender);
    while let Some(line) = lines.recv().await {
        session.out.write_all(&line?)?;
        session.out.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_stand_at_the_beginning_of_lines() {
        let mut prefixer = Prefixer { prefix: "> ", within: false };
        assert_eq!(prefixer.put(b"a\nb"), b"> a\n> b");
        assert_eq!(prefixer.put(b"c\n\n"), b"c\n> \n");
    }
}
