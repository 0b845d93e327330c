//! Proof that the floor does all that it is compared with: its container looks like the runtime's from within.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, bail};

use crate::runtimes::{Floor, Runtime};

/// Everything that the default configuration sets and a shell can see; numbers of mounts are the kernel's.
const LOOK: &str = "#!/bin/sh
while read -r number parent device line; do echo \"$line\"; done </proc/self/mountinfo
cat /proc/mounts | grep -c .
grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|NSpid|NSsid)' /proc/self/status
grep 'open files' /proc/self/limits
cat /proc/sys/kernel/hostname /proc/self/cgroup
cd /dev; for file in * pts/*; do echo $file; done; ls -ld null zero full random urandom tty ptmx core fd stdin
umask; ulimit -n; id; echo $PATH $TERM
for file in kcore keys timer_list sysrq-trigger sys/kernel/hostname; do { echo x >/proc/$file; } 2>&1; done; ls /sys/firmware
ls /sys/class/net; echo /sys/class/net/*
ls -l /proc/self/fd | grep -c .
exit 0
";

/// Runs both with a script in the place of `true`; an error where they see different things.
pub fn check(runtime: &Runtime, floor: &Floor, bundles: &Path) -> anyhow::Result<()> {
    let program = floor.root.join("bin/true");
    fs::remove_file(&program)?;
    fs::write(&program, LOOK)?;
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let bundle = bundles.join("default");
    let mut command = Command::new(&runtime.path);
    command.arg("--root").arg(&runtime.root).args(["run", "--bundle"]).arg(bundle).arg("same");
    let theirs = seen(&mut command);
    let ours = seen(Command::new(&floor.path).arg(&floor.root).arg("same"));
    fs::remove_file(&program)?;
    fs::hard_link(floor.root.join("bin/busybox"), &program)?;
    let (theirs, ours) = (theirs?, ours?);
    let mut lines = theirs.lines().zip(ours.lines());
    if let Some((theirs, ours)) = lines.find(|(theirs, ours)| theirs != ours) {
        bail!("the floor is not what {} does: {ours:?} instead of {theirs:?}", runtime.name);
    }
    if theirs.lines().count() != ours.lines().count() {
        bail!("the floor is not what {} does: one of them sees more", runtime.name);
    }
    Ok(())
}

fn seen(command: &mut Command) -> anyhow::Result<String> {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().context("start it")?;
    if !status.success() || stdout.is_empty() {
        bail!("{command:?}: {status}: {}", String::from_utf8_lossy(&stderr).trim());
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}
