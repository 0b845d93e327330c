//! `start`: of a created container, or of one in the background that has ended.

use rcrun::id::ContainerId;
use rcrun::lifecycle;

use super::{Command, Context, background, output};

/// Flags of `start`.
#[derive(clap::Args)]
pub struct Start {
    /// Name of a created container, or of one in the background
    id: String,
}

impl Command for Start {
    const NAME: &'static str = "start";
    const ABOUT: &'static str =
        "Start the process of a created container, or a container in the background again";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        // What is created is runc's; what is in the background is never only created.
        let created = ContainerId::parse(&self.id).is_ok_and(|id| context.store().open(&id).is_ok());
        if !created && let Some(containers) = background::existing(context)? {
            match containers.find(&self.id) {
                Ok(record) => {
                    containers.start(&record)?;
                    output::print(&format!("{}\n", self.id))?;
                    return Ok(0);
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        lifecycle::start(&context.store(), &ContainerId::parse(&self.id)?)?;
        Ok(0)
    }
}
