//! Programs that rcrun-cri starts.

use rcrun::monitor::Program;
use rustix::fs::{Access, access};

use crate::config::Config;

use super::Fact;

pub fn facts(config: &Config) -> Vec<Fact> {
    let shim = match Program::find() {
        Ok(_) => Fact::ok("rcrun-shim", ""),
        Err(error) => Fact::fatal("rcrun-shim", error.to_string()),
    };
    let handlers = config.runtimes.iter().filter_map(|(name, profile)| {
        let program = profile.program.as_ref()?;
        Some(match access(program, Access::EXEC_OK) {
            Ok(()) => Fact::ok(format!("runtime handler {name}"), program.display().to_string()),
            Err(errno) => Fact::limited(
                format!("runtime handler {name}"),
                format!("{}: {errno}: Pods of this handler cannot start", program.display()),
            ),
        })
    });
    std::iter::once(shim).chain(handlers).collect()
}
