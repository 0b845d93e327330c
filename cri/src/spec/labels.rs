//! AppArmor's profile and SELinux's contexts.

use std::path::Path;

use super::{Invalid, Request, seccomp};
use crate::api::security_profile::ProfileType;
use crate::api::{SeLinuxOption, SecurityProfile};

const APPARMOR: &str = "linux.security_context.apparmor";
const SELINUX: &str = "linux.security_context.selinux_options";
/// One `NAME (MODE)` a line, of the profiles that are loaded.
const LOADED: &str = "/sys/kernel/security/apparmor/profiles";

/// Of a container.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Labels {
    pub apparmor: Option<String>,
    /// SELinux's, of its processes.
    pub process: Option<String>,
    /// SELinux's, of its file systems.
    pub mount: Option<String>,
}

pub(super) fn labels(request: &Request<'_>) -> Result<Labels, Invalid> {
    let mut labels = Labels { apparmor: apparmor(request)?, ..Labels::default() };
    if request.host.selinux && !request.security().privileged {
        (labels.process, labels.mount) = selinux(request)?;
    }
    Ok(labels)
}

fn apparmor(request: &Request<'_>) -> Result<Option<String>, Invalid> {
    let security = request.security();
    #[allow(deprecated)] // Older kubelets say it so.
    let wish = match (&security.apparmor, security.apparmor_profile.as_str()) {
        (Some(profile), _) => profile.clone(),
        (None, "") => return Ok(None),
        (None, text) => profile("linux.security_context.apparmor_profile", text)?,
    };
    let name = match seccomp::checked(&wish, APPARMOR)? {
        // There is no profile of rcrun's own: what confines rcrun-cri, if anything does, confines the container.
        ProfileType::RuntimeDefault => return Ok(None),
        ProfileType::Unconfined => return Ok(request.host.apparmor.then(|| "unconfined".to_owned())),
        ProfileType::Localhost => {
            wish.localhost_ref.strip_prefix("localhost/").unwrap_or(&wish.localhost_ref)
        }
    };
    let refuse = |reason: String| Err(Invalid::new(format!("{APPARMOR}.localhost_ref"), reason));
    if name.is_empty() || name.contains(['\0', '\n']) {
        return refuse(format!("{name:?} is no profile's name"));
    }
    if !request.host.apparmor {
        return refuse(format!(
            "profile {name:?}: this host does not have AppArmor on: remove it, or boot with AppArmor"
        ));
    }
    // Privileged means without confinement.
    if security.privileged {
        return Ok(None);
    }
    match request.host_files.read(Path::new(LOADED)) {
        Ok(text) if !is_loaded(&String::from_utf8_lossy(&text), name) => {
            refuse(format!("profile {name:?} is not loaded on this node: load it with apparmor_parser(8)"))
        }
        // Where the list cannot be read the kernel answers at the start.
        _ => Ok(Some(name.to_owned())),
    }
}

fn is_loaded(list: &str, name: &str) -> bool {
    list.lines().any(|line| line.rsplit_once(" (").is_some_and(|(known, _)| known == name))
}

/// `runtime/default`, `unconfined`, `localhost/NAME`.
pub(super) fn profile(field: &str, text: &str) -> Result<SecurityProfile, Invalid> {
    let of = |kind: ProfileType, name: &str| SecurityProfile {
        profile_type: kind.into(),
        localhost_ref: name.to_owned(),
    };
    match (text, text.strip_prefix("localhost/")) {
        ("runtime/default" | "docker/default", _) => Ok(of(ProfileType::RuntimeDefault, "")),
        ("unconfined", _) => Ok(of(ProfileType::Unconfined, "")),
        (_, Some(name)) => Ok(of(ProfileType::Localhost, name)),
        _ => Err(Invalid::new(
            field,
            format!("{text:?} is none of runtime/default, unconfined and localhost/NAME"),
        )),
    }
}

/// The contexts of processes and of files, where the container or its Pod asks for one.
fn selinux(request: &Request<'_>) -> Result<(Option<String>, Option<String>), Invalid> {
    let pods = request.pod.config.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
    let pods = pods.and_then(|security| security.selinux_options.as_ref());
    let Some(options) = request.security().selinux_options.as_ref().or(pods) else { return Ok((None, None)) };
    let SeLinuxOption { user, role, r#type: kind, level } = options;
    if [user, role, kind, level].iter().all(|part| part.is_empty()) {
        return Ok((None, None));
    }
    let is_word =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    for (name, part) in [("user", user), ("role", role), ("type", kind)] {
        if !is_word(part) {
            return Err(Invalid::new(
                format!("{SELINUX}.{name}"),
                format!("{part:?} is no {name} of SELinux"),
            ));
        }
    }
    if !is_level(level) {
        let reason = format!("{level:?} is no level such as s0:c4,c5");
        return Err(Invalid::new(format!("{SELINUX}.level"), reason));
    }
    let or = |part: &str, default: &str| if part.is_empty() { default.to_owned() } else { part.to_owned() };
    let (user, level) = (or(user, "system_u"), or(level, "s0"));
    let process = format!("{user}:{}:{}:{level}", or(role, "system_r"), or(kind, "container_t"));
    Ok((Some(process), Some(format!("{user}:object_r:container_file_t:{level}"))))
}

/// `s0`, `s0-s3`, `s0:c1,c2`, `s0:c0.c1023`, and a range of two such; or nothing.
fn is_level(text: &str) -> bool {
    let number = |text: &str, letter: char| {
        text.strip_prefix(letter)
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let one = |text: &str| {
        let (sensitivity, categories) = text.split_once(':').unwrap_or((text, ""));
        let category = |text: &str| text.splitn(2, '.').all(|part| number(part, 'c'));
        number(sensitivity, 's') && (!text.contains(':') || categories.split(',').all(category))
    };
    text.is_empty() || text.splitn(2, '-').all(one)
}
