//! `ps` without an ID: docker's list of containers, of those in the background.

use rcrun::background::{Record, Status};
use rcrun::monitor::Exit;
use rcrun::network::{PortMapping, Protocol};
use serde::Serialize;

use super::output::{self, Format};
use super::{Context, background, human, table};

/// Digits of an id, and characters of a command, that docker shows.
const SHORT: usize = 12;
const COMMAND: usize = 20;

/// Flags that are for the list.
#[derive(clap::Args)]
pub struct Flags {
    /// Containers that have ended, too
    #[arg(short, long)]
    all: bool,
    /// Print ids alone
    #[arg(short, long)]
    quiet: bool,
    /// The container that was made last, whatever has become of it
    #[arg(short, long)]
    latest: bool,
    /// Print ids and commands in full
    #[arg(long)]
    no_trunc: bool,
}

/// A container as docker's list has it, `--format json` included.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    command: String,
    created_at: String,
    #[serde(rename = "ID")]
    id: String,
    image: String,
    names: String,
    ports: String,
    running_for: String,
    state: &'static str,
    status: String,
}

/// Prints the list.
pub fn run(flags: &Flags, format: Format, context: &Context) -> anyhow::Result<u8> {
    let mut all = match background::existing(context)? {
        Some(containers) => containers.all()?,
        None => Vec::new(),
    };
    if flags.latest {
        all.truncate(1);
    } else if !flags.all {
        all.retain(|(_, status)| status.is_running());
    }
    let rows: Vec<Row> = all.iter().map(|(record, status)| row(record, status, flags.no_trunc)).collect();
    let text = match format {
        _ if flags.quiet => rows.iter().map(|row| format!("{}\n", row.id)).collect(),
        Format::Table => text(&rows),
        Format::Json => rows.iter().map(output::json_line).collect::<Result<String, _>>()?,
    };
    output::print(&text)?;
    Ok(0)
}

fn row(record: &Record, status: &Status, whole: bool) -> Row {
    let command = record.command.join(" ");
    let command = if whole { command } else { human::cut(&command, COMMAND) };
    let ports = record.network.as_ref().filter(|_| status.is_running()).map(|network| ports(&network.ports));
    Row {
        command: format!("{command:?}"),
        created_at: record.created.clone(),
        id: if whole { record.id.clone() } else { record.id.chars().take(SHORT).collect() },
        image: record.image.clone(),
        names: record.name.clone(),
        ports: ports.unwrap_or_default(),
        running_for: human::since(Some(&record.created)),
        state: match status {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Exited(_) => "exited",
        },
        status: words(record, status),
    }
}

/// `Up 5 minutes`, `Exited (0) 3 minutes ago`.
fn words(record: &Record, status: &Status) -> String {
    let up = || record.started.map_or_else(|| "Up".to_owned(), |at| format!("Up {}", human::age(at)));
    match status {
        Status::Created => "Created".to_owned(),
        Status::Running => up(),
        Status::Paused => format!("{} (Paused)", up()),
        Status::Exited(Exit { code, finished, .. }) => {
            // 255: nobody saw it, as after a reboot.
            format!("Exited ({}) {} ago", code.unwrap_or(255), human::age(*finished))
        }
    }
}

/// `0.0.0.0:8080->80/tcp`, as docker writes it.
fn ports(ports: &[PortMapping]) -> String {
    let protocol = |protocol| match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    };
    let one = |port: &PortMapping| {
        let led = format!("{}->{}/{}", port.host, port.container, protocol(port.protocol));
        match port.address {
            None => format!("0.0.0.0:{led}, [::]:{led}"),
            Some(address @ std::net::IpAddr::V6(_)) => format!("[{address}]:{led}"),
            Some(address) => format!("{address}:{led}"),
        }
    };
    ports.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn text(rows: &[Row]) -> String {
    let head = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"].map(String::from);
    let cells = |row: &Row| {
        [&row.id, &row.image, &row.command, &row.running_for, &row.status, &row.ports, &row.names]
            .map(String::clone)
    };
    table::align(&[head].into_iter().chain(rows.iter().map(cells)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_written_as_docker_does() {
        let port = |address: Option<&str>| PortMapping {
            address: address.map(|address| address.parse().unwrap()),
            host: 8080,
            container: 80,
            protocol: Protocol::Tcp,
        };
        assert_eq!(ports(&[port(None)]), "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp");
        let two = ports(&[port(Some("127.0.0.1")), port(Some("::1"))]);
        assert_eq!(two, "127.0.0.1:8080->80/tcp, [::1]:8080->80/tcp");
    }
}
