//! A daemon in a view of its own: started, waited for, and ended when what its containers left has been looked for.

use std::path::Path;

use crate::support::{self, Running};
use crate::view::View;

/// A daemon that runs as long as this value.
///
/// Dropping it checks that its containers left nothing, ends it and checks again.
pub struct Daemon {
    /// Where it runs.
    pub view: View,
    running: Option<Running>,
    pid_file: String,
}

impl Daemon {
    /// Starts `args`, with /run/bin in front of its PATH, and waits until `probe` succeeds. Where the machine lacks controllers that the client
    /// always asks for, rcrun is told to leave them out.
    pub fn start(mut view: View, args: &[&str], probe: &[&str]) -> Self {
        // Nothing is done by runc instead: ctr asks for it, whatever else it is told, with some of its options.
        view.run(&["mount", "--bind", "/bin/false", "/usr/sbin/runc"]).success();
        let name = Path::new(args[0]).file_name().expect("a name").to_string_lossy();
        let pid_file = format!("/run/{name}-under-test.pid");
        let script = r#"echo $$ >"$0" && export PATH="/run/bin:$PATH" && exec "$@""#;
        let mut command = view.command(&[&["sh", "-c", script, &pid_file], args].concat());
        if !view.controllers().split_whitespace().any(|name| name == "cpu") {
            command = command.env("RCRUN_MISSING_CONTROLLERS", "skip");
        }
        // It ends when it is told to.
        let mut running = command.limit(3600).spawn();
        support::wait_for(&format!("{probe:?}"), 60, || {
            let ended = running.child.try_wait().expect("wait");
            assert!(ended.is_none(), "{args:?}: {ended:?}: {}", running.stderr());
            view.run(probe).status.success().then_some(())
        });
        view.accept_present();
        Self { view, running: Some(running), pid_file }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        if std::thread::panicking() {
            // The view ends it.
            eprintln!("{}", running.stderr());
            return;
        }
        self.view.leaves_nothing();
        let pid = self.view.read(&self.pid_file);
        self.view.run(&["kill", pid.trim()]).success();
        let end = || running.child.try_wait().expect("wait");
        let status = support::wait_for("the daemon's end", 60, end);
        assert!(status.success(), "{status}: {}", running.stderr());
    }
}
