//! Programs `docker-credential-NAME`: docker's protocol of credential helpers,
//! <https://github.com/docker/docker-credential-helpers>. The registry, or JSON, goes to its stdin; JSON, or what
//! went wrong, comes from its stdout.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::super::{HelperProblem, SettingsError, SettingsOptions};
use super::usual_name;
use crate::image::reference::DOCKER_IO;
use crate::image::registry::{Credentials, Secret};

/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 1 << 20;
/// How docker calls its hub.
pub const DOCKERS_HUB: &str = "https://index.docker.io/v1/";
/// The user whose secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// One helper that somebody has named.
pub struct Helper<'a> {
    name: &'a str,
    named_by: &'a str,
    path: Option<&'a OsString>,
    patience: Duration,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default, rename = "ServerURL")]
    server_url: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

impl<'a> Helper<'a> {
    /// The one called `name`; `named_by` says where, for people.
    pub fn new(
        name: &'a str,
        named_by: &'a str,
        options: &'a SettingsOptions,
    ) -> Result<Self, SettingsError> {
        let helper =
            Self { name, named_by, path: options.helpers.as_ref(), patience: options.helper_patience };
        let harmless = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        match !name.is_empty() && name.bytes().all(harmless) {
            true => Ok(helper),
            false => Err(helper.failed(HelperProblem::Name)),
        }
    }

    /// Who it is, for people.
    pub fn description(&self) -> String {
        format!("credential helper docker-credential-{} ({})", self.name, self.named_by)
    }

    /// What it has for a registry.
    pub fn get(&self, registry: &str) -> Result<Option<Credentials>, SettingsError> {
        for server in names_of(registry) {
            let Some(output) = self.ask("get", server.as_bytes())? else { continue };
            let answer: Answer = serde_json::from_slice(&output).map_err(|_| {
                let expected = "expected JSON with Username and Secret";
                self.failed(HelperProblem::Answer(expected.to_owned()))
            })?;
            let Answer { username: user, secret, .. } = answer;
            let secret = match secret.is_empty() {
                true => continue,
                false if user == TOKEN_USER => Secret::IdentityToken(secret),
                false => Secret::Password { user, password: secret },
            };
            return Ok(Some(Credentials { secret, source: self.description() }));
        }
        Ok(None)
    }

    /// Gives it credentials to keep.
    pub fn store(&self, registry: &str, user: &str, password: &str) -> Result<(), SettingsError> {
        let server_url = names_of(registry)[0].to_owned();
        let question = Answer { server_url, username: user.to_owned(), secret: password.to_owned() };
        let question = serde_json::to_vec(&question)
            .map_err(|error| self.failed(HelperProblem::Answer(error.to_string())))?;
        self.ask("store", &question).map(drop)
    }

    /// Has it forget a registry; false where it knew nothing.
    pub fn erase(&self, registry: &str) -> Result<bool, SettingsError> {
        let mut known = false;
        for server in names_of(registry) {
            // Most helpers take the erasing of what they do not have for done.
            if self.ask("get", server.as_bytes())?.is_some() {
                self.ask("erase", server.as_bytes())?;
                known = true;
            }
        }
        Ok(known)
    }

    fn failed(&self, problem: HelperProblem) -> SettingsError {
        SettingsError::Helper { name: self.name.to_owned(), named_by: self.named_by.to_owned(), problem }
    }

    /// Its answer; None where it says that it has nothing.
    fn ask(&self, action: &str, question: &[u8]) -> Result<Option<Vec<u8>>, SettingsError> {
        let (status, output, errors) = self.run(action, question).map_err(|problem| self.failed(problem))?;
        if status.success() {
            return Ok(Some(output));
        }
        let said = first_line(&output).or_else(|| first_line(&errors)).unwrap_or_else(|| status.to_string());
        match said.contains("credentials not found") {
            true => Ok(None),
            false => Err(self.failed(HelperProblem::Failed(said))),
        }
    }

    fn run(&self, action: &str, question: &[u8]) -> Result<(ExitStatus, Vec<u8>, Vec<u8>), HelperProblem> {
        let mut command = Command::new(format!("docker-credential-{}", self.name));
        command.arg(action).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(path) = self.path {
            command.env("PATH", path);
        }
        let mut child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => HelperProblem::NotFound(self.name.to_owned()),
            _ => HelperProblem::Start(error),
        })?;
        let answer = self.converse(&mut child, question);
        if answer.is_err() {
            let _ = child.kill();
        }
        let status = child.wait();
        let (output, errors) = answer?;
        Ok((status.map_err(HelperProblem::Start)?, output, errors))
    }

    /// Writes the question, reads the answer and what it complains about, and sees it end.
    fn converse(&self, child: &mut Child, question: &[u8]) -> Result<(Vec<u8>, Vec<u8>), HelperProblem> {
        let end = Instant::now() + self.patience;
        let hangs = || HelperProblem::Hangs(self.patience.as_secs());
        let (output, errors) = (child.stdout.take().map(read_all), child.stderr.take().map(read_all));
        if let Some(mut stdin) = child.stdin.take() {
            let question = question.to_vec();
            // A pipe has room for more than any question, but its reader may be gone: then the answer says why.
            std::thread::spawn(move || drop(stdin.write_all(&question)));
        }
        let rest = || end.saturating_duration_since(Instant::now());
        let mut received = [output, errors].into_iter().map(|receiver| match receiver {
            None => Ok(Vec::new()),
            Some(receiver) => match receiver.recv_timeout(rest()) {
                Ok(bytes) if bytes.len() > LONGEST_ANSWER => Err(HelperProblem::TooMuch(LONGEST_ANSWER)),
                Ok(bytes) => Ok(bytes),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(hangs()),
            },
        });
        let answer = (received.next().unwrap_or(Ok(Vec::new()))?, received.next().unwrap_or(Ok(Vec::new()))?);
        while child.try_wait().map_err(HelperProblem::Start)?.is_none() {
            if rest().is_zero() {
                return Err(hangs());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(answer)
    }
}

/// What helpers call a registry, docker's way first.
fn names_of(registry: &str) -> Vec<&str> {
    match usual_name(registry) {
        DOCKER_IO => vec![DOCKERS_HUB, DOCKER_IO],
        other => vec![other],
    }
}

/// Reads to the end, or a byte more than may be. The thread ends with the pipe: a hanging helper is not waited for.
fn read_all(stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.take(LONGEST_ANSWER as u64 + 1).read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}

/// The first line that says anything, short enough for an error.
fn first_line(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().filter(|c| !c.is_control()).take(200).collect())
}
