//! The bundle's hooks, ready to execute: config.md, "POSIX-platform Hooks".

use std::ffi::CString;

use oci_spec::runtime::{Hook, Spec};

use super::c_path;
use super::step::HookStep;

/// The six lists, by the moment that they run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// prestart, then createRuntime: in the runtime's namespaces, before the root is entered.
    pub runtime: Vec<HookStep>,
    /// In the container's namespaces, before the root is entered.
    pub create_container: Vec<HookStep>,
    /// In the container, by `start`, before the program.
    pub start_container: Vec<HookStep>,
    /// In the runtime's namespaces, after the program was started.
    pub poststart: Vec<HookStep>,
    /// In the runtime's namespaces, after the container was deleted.
    pub poststop: Vec<HookStep>,
}

/// Reads the hooks of a configuration.
pub fn hooks(spec: &Spec) -> Hooks {
    let Some(hooks) = spec.hooks() else { return Hooks::default() };
    #[allow(deprecated)]
    let mut runtime = stage("prestart", hooks.prestart());
    runtime.extend(stage("createRuntime", hooks.create_runtime()));
    Hooks {
        runtime,
        create_container: stage("createContainer", hooks.create_container()),
        start_container: stage("startContainer", hooks.start_container()),
        poststart: stage("poststart", hooks.poststart()),
        poststop: stage("poststop", hooks.poststop()),
    }
}

fn stage(stage: &'static str, list: &Option<Vec<Hook>>) -> Vec<HookStep> {
    let strings = |list: &Option<Vec<String>>| -> Vec<CString> {
        list.iter().flatten().map(|s| CString::new(s.as_str()).unwrap_or_default()).collect()
    };
    let step = |(index, hook): (usize, &Hook)| {
        let path = c_path(hook.path());
        let args = match strings(hook.args()) {
            args if args.is_empty() => vec![path.clone()],
            args => args,
        };
        let timeout = hook.timeout().and_then(|seconds| u32::try_from(seconds).ok());
        HookStep { stage, index, path, args, env: strings(hook.env()), timeout }
    };
    list.iter().flatten().enumerate().map(step).collect()
}
