//! `ps`: containers in the background; with an ID the host's ps(1), restricted to the container's processes.

use std::process::{Command as Program, Stdio};

use anyhow::{Context as _, bail};
use rcrun::id::ContainerId;
use rcrun::lifecycle;

use super::output::{self, Format};
use super::{Command, Context, background, ps_containers};

/// Flags of `ps`; all stand before the ID.
#[derive(clap::Args)]
#[command(override_usage = "rcrun ps [-aq]\n       rcrun ps [OPTIONS] ID [PS OPTIONS]...")]
pub struct Ps {
    /// Name of a container, then options of ps(1) [default: -ef]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_names = ["ID", "PS OPTIONS"])]
    words: Vec<String>,
    /// A table, or JSON: a line for each container; of processes the ids
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    #[command(flatten)]
    containers: ps_containers::Flags,
}

impl Command for Ps {
    const NAME: &'static str = "ps";
    const ABOUT: &'static str = "List containers in the background, or the processes of a container";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        let Some(word) = self.words.first() else {
            return ps_containers::run(&self.containers, self.format, context);
        };
        let id = background::id_of(context, word)?;
        let id = ContainerId::parse(id.as_ref().unwrap_or(word))?;
        let pids = lifecycle::processes(&context.store(), &id)?;
        let text = match self.format {
            Format::Json => output::json_line(&pids)?,
            Format::Table => {
                let default = ["-ef".to_owned()];
                let options = if self.words.len() > 1 { &self.words[1..] } else { &default };
                rows_of(&host_ps(options)?, &pids)?
            }
        };
        output::print(&text)?;
        Ok(0)
    }
}

/// What the host's ps(1) prints with `options`.
fn host_ps(options: &[String]) -> anyhow::Result<String> {
    let output =
        Program::new("ps").args(options).stdin(Stdio::null()).output().context("execute the host's ps")?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("ps {}: {}: {}", options.join(" "), output.status, words.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The header and those rows of `table` whose PID column names one of `pids`.
fn rows_of(table: &str, pids: &[i32]) -> anyhow::Result<String> {
    let mut lines = table.lines();
    let header = lines.next().unwrap_or_default();
    let Some(column) = header.split_whitespace().position(|title| title == "PID") else {
        bail!("the output of ps has no PID column: choose ps options that print one");
    };
    let mut text = format!("{header}\n");
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let cell = line.split_whitespace().nth(column).unwrap_or_default();
        let pid: i32 = cell.parse().with_context(|| format!("the PID column of ps holds {cell:?}"))?;
        if pids.contains(&pid) {
            text.push_str(line);
            text.push('\n');
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::rows_of;

    const TABLE: &str =
        "UID   PID  PPID CMD\nroot    1     0 init\nroot   12     1 sh -c 1\nroot  112     1 top\n";

    #[test]
    fn only_rows_of_the_containers_processes_are_printed() {
        assert_eq!(rows_of(TABLE, &[12, 99]).unwrap(), "UID   PID  PPID CMD\nroot   12     1 sh -c 1\n");
    }

    #[test]
    fn a_table_without_pids_is_refused() {
        assert!(rows_of("USER CMD\nroot init\n", &[1]).unwrap_err().to_string().contains("PID column"));
    }
}
