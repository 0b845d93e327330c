//! One connection to a message bus: authentication, calls and their answers, signals. Everything has a
//! deadline; a bus that says nothing, or nonsense, is an error.
//!
//! rustbus writes and reads the messages; its own connection would wait for ever for a bus that hangs up
//! while authenticating, and would authenticate as the uid that a user namespace shows.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustbus::message_builder::{MarshalledMessage, MessageBuilder, MessageType};
use rustbus::wire::errors::UnmarshalError;
use rustbus::wire::{marshal, unmarshal};

use super::Manager;

/// How long the other side may take for one answer, and systemd for one job.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest message that D-Bus allows.
const LONGEST: usize = 128 << 20;

/// What a call came to.
#[derive(Debug)]
pub(super) enum CallError {
    /// The other side's error, by its name.
    Refused { name: String, text: String },
    /// The connection's own.
    Broken(String),
}

pub(super) struct Connection {
    stream: UnixStream,
    serial: u32,
    received: Vec<u8>,
    signals: VecDeque<MarshalledMessage>,
    /// What the bus calls us: `:1.7`.
    name: String,
}

impl Connection {
    /// Connects to the manager's bus and says hello.
    pub fn open(manager: Manager) -> Result<Self, String> {
        let mut last = String::new();
        for socket in manager.sockets(&|name| std::env::var_os(name))? {
            let name = || socket.as_pathname().map_or("the bus".into(), |path| path.display().to_string());
            match UnixStream::connect_addr(&socket).and_then(Self::greet) {
                Ok(connection) => return Ok(connection),
                Err(error) => last = format!("{}: {error}", name()),
            }
        }
        Err(last)
    }

    fn greet(stream: UnixStream) -> io::Result<Self> {
        let mut connection =
            Self { stream, serial: 0, received: Vec::new(), signals: VecDeque::new(), name: String::new() };
        connection.authenticate()?;
        let mut hello = rustbus::standard_messages::hello();
        let answer = connection.call(&mut hello).map_err(|error| match error {
            CallError::Refused { text, .. } | CallError::Broken(text) => io::Error::other(text),
        })?;
        connection.name = answer.body.parser().get().map_err(broken_message)?;
        Ok(connection)
    }

    /// Our uid as the bus sees it.
    pub fn own_uid(&mut self) -> Result<u32, CallError> {
        let mut call = MessageBuilder::new()
            .call("GetConnectionUnixUser")
            .with_interface("org.freedesktop.DBus")
            .on("/org/freedesktop/DBus")
            .at("org.freedesktop.DBus")
            .build();
        let broken = |error: String| CallError::Broken(error);
        call.body.push_param(self.name.as_str()).map_err(|error| broken(format!("{error:?}")))?;
        let answer = self.call(&mut call)?;
        answer.body.parser().get().map_err(|error| broken(broken_message(error).to_string()))
    }

    /// EXTERNAL without a name: the bus knows from the socket who we are, also where we do not (in a
    /// user namespace the number is another one).
    fn authenticate(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        self.write(b"\0AUTH EXTERNAL\r\n")?;
        let mut line = self.read_line(deadline)?;
        if line == "DATA" {
            self.write(b"DATA\r\n")?;
            line = self.read_line(deadline)?;
        }
        if !line.starts_with("OK ") {
            return Err(io::Error::other(format!("the bus does not let us in: {line:?}")));
        }
        self.write(b"BEGIN\r\n")
    }

    fn read_line(&mut self, deadline: Instant) -> io::Result<String> {
        const LONGEST_LINE: usize = 4096;
        loop {
            if let Some(end) = self.received.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.received.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.received.len() > LONGEST_LINE {
                return Err(io::Error::other("the bus does not speak D-Bus"));
            }
            self.read_more(deadline)?;
        }
    }

    /// Sends a method call and waits for its answer; signals that come meanwhile are kept.
    pub fn call(&mut self, call: &mut MarshalledMessage) -> Result<MarshalledMessage, CallError> {
        let broken = |error: io::Error| CallError::Broken(error.to_string());
        let deadline = Instant::now() + PATIENCE;
        self.serial += 1;
        let mut bytes = Vec::new();
        marshal::marshal(call, self.serial, &mut bytes)
            .map_err(|error| CallError::Broken(format!("{error:?}")))?;
        bytes.extend_from_slice(call.get_buf());
        self.write(&bytes).map_err(broken)?;
        loop {
            let message = self.next_message(deadline).map_err(broken)?;
            let ours = message.dynheader.response_serial == Some(self.serial);
            match message.typ {
                MessageType::Reply if ours => return Ok(message),
                MessageType::Error if ours => {
                    let name = message.dynheader.error_name.clone().unwrap_or_default();
                    let text = message.body.parser().get::<String>().unwrap_or_default();
                    return Err(CallError::Refused { name, text });
                }
                MessageType::Signal => self.signals.push_back(message),
                _ => {}
            }
        }
    }

    /// The next signal for which `wanted` gives something.
    pub fn signal<T>(&mut self, wanted: impl Fn(&MarshalledMessage) -> Option<T>) -> Result<T, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let message = match self.signals.pop_front() {
                Some(signal) => signal,
                None => self.next_message(deadline).map_err(|error| error.to_string())?,
            };
            if let (MessageType::Signal, Some(found)) = (message.typ, wanted(&message)) {
                return Ok(found);
            }
        }
    }

    fn next_message(&mut self, deadline: Instant) -> io::Result<MarshalledMessage> {
        // The fixed part and the length of the header's fields.
        const START: usize = unmarshal::HEADER_LEN + 4;
        self.read_until(START, deadline)?;
        let (fixed, header) = unmarshal::unmarshal_header(&self.received, 0).map_err(broken_message)?;
        let length: [u8; 4] = self.received[fixed..START].try_into().unwrap_or_default();
        let fields = match header.byteorder {
            rustbus::ByteOrder::LittleEndian => u32::from_le_bytes(length),
            rustbus::ByteOrder::BigEndian => u32::from_be_bytes(length),
        };
        let total = (START + fields as usize).next_multiple_of(8) + header.body_len as usize;
        if total > LONGEST {
            return Err(io::Error::new(ErrorKind::InvalidData, "a message is longer than D-Bus allows"));
        }
        self.read_until(total, deadline)?;
        let rest = self.received.split_off(total);
        let message = std::mem::replace(&mut self.received, rest);
        let (used, fields) =
            unmarshal::unmarshal_dynamic_header(&header, &message, fixed).map_err(broken_message)?;
        let (_, message) = unmarshal::unmarshal_next_message(&header, fields, &message, fixed + used)
            .map_err(broken_message)?;
        Ok(message)
    }

    fn read_until(&mut self, length: usize, deadline: Instant) -> io::Result<()> {
        while self.received.len() < length {
            self.read_more(deadline)?;
        }
        Ok(())
    }

    fn read_more(&mut self, deadline: Instant) -> io::Result<()> {
        let late =
            || io::Error::new(ErrorKind::TimedOut, format!("no answer within {} s", PATIENCE.as_secs()));
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late());
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut buffer = [0_u8; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(io::Error::new(ErrorKind::UnexpectedEof, "the bus has hung up")),
            Ok(length) => {
                self.received.extend_from_slice(&buffer[..length]);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(late()),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.set_write_timeout(Some(PATIENCE))?;
        self.stream.write_all(bytes)
    }
}

fn broken_message(error: UnmarshalError) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("a message is broken: {error}"))
}
