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

#[cfg(test)]
mod tests {
    use super::super::tests::Wish;
    use super::*;

    fn wish(kind: ProfileType, name: &str, apparmor: bool) -> Wish {
        Wish::with(|wish| {
            wish.security().apparmor =
                Some(SecurityProfile { profile_type: kind.into(), localhost_ref: name.into() });
            wish.host.apparmor = apparmor;
        })
    }

    fn apparmor_of(wish: &Wish) -> Option<String> {
        wish.json()["process"].get("apparmorProfile").map(|name| name.as_str().unwrap().to_owned())
    }

    #[test]
    fn a_profile_of_apparmor_needs_apparmor() {
        assert_eq!(apparmor_of(&wish(ProfileType::RuntimeDefault, "", false)), None);
        assert_eq!(apparmor_of(&wish(ProfileType::Unconfined, "", false)), None);
        assert_eq!(apparmor_of(&wish(ProfileType::Unconfined, "", true)).as_deref(), Some("unconfined"));
        assert_eq!(
            wish(ProfileType::Localhost, "mine", false).error(),
            "linux.security_context.apparmor.localhost_ref: profile \"mine\": this host does not have AppArmor on: \
             remove it, or boot with AppArmor"
        );
        // Who says nothing, and an older kubelet.
        assert_eq!(apparmor_of(&Wish::with(|wish| wish.host.apparmor = true)), None);
        #[allow(deprecated)]
        let old = Wish::with(|wish| wish.security().apparmor_profile = "localhost/mine".into());
        assert!(old.error().contains("profile \"mine\": this host does not have AppArmor on"));
    }

    #[test]
    fn a_profile_of_apparmor_is_loaded() {
        let mut mine = wish(ProfileType::Localhost, "localhost/mine", true);
        assert_eq!(apparmor_of(&mine).as_deref(), Some("mine"));
        mine.host_files.files = vec![(LOADED, "other (enforce)\nmine (complain)\n")];
        assert_eq!(apparmor_of(&mine).as_deref(), Some("mine"));
        mine.host_files.files = vec![(LOADED, "mine2 (enforce)\n")];
        assert_eq!(
            mine.error(),
            "linux.security_context.apparmor.localhost_ref: profile \"mine\" is not loaded on this node: load it with \
             apparmor_parser(8)"
        );
        mine.privileged();
        assert_eq!(apparmor_of(&mine), None);
    }

    fn selinux(user: &str, kind: &str, level: &str) -> Wish {
        Wish::with(|wish| {
            wish.host.selinux = true;
            wish.security().selinux_options = Some(SeLinuxOption {
                user: user.into(),
                role: String::new(),
                r#type: kind.into(),
                level: level.into(),
            });
        })
    }

    #[test]
    fn contexts_of_selinux_are_filled_up() {
        let labels = |wish: &Wish| {
            let config = wish.json();
            (config["process"].get("selinuxLabel").cloned(), config["linux"].get("mountLabel").cloned())
        };
        let mut wish = selinux("", "", "s0:c4,c5");
        let process = Some("system_u:system_r:container_t:s0:c4,c5".into());
        assert_eq!(labels(&wish), (process, Some("system_u:object_r:container_file_t:s0:c4,c5".into())));
        wish.host.selinux = false;
        assert_eq!(labels(&wish), (None, None));
        wish.host.selinux = true;
        wish.privileged();
        assert_eq!(labels(&wish), (None, None));
        // The Pod's.
        let mut pods = Wish::with(|wish| wish.host.selinux = true);
        assert_eq!(labels(&pods), (None, None));
        pods.pods_security().selinux_options = selinux("u", "t", "").security().selinux_options.clone();
        assert_eq!(labels(&pods).0, Some("u:system_r:t:s0".into()));
    }

    #[test]
    fn contexts_that_are_none_are_named() {
        assert_eq!(
            selinux("", "", "s0,c4,c5").error(),
            "linux.security_context.selinux_options.level: \"s0,c4,c5\" is no level such as s0:c4,c5"
        );
        assert_eq!(
            selinux("a:b", "", "").error(),
            "linux.security_context.selinux_options.user: \"a:b\" is no user of SELinux"
        );
        for level in ["s0", "s0-s3", "s0:c1", "s0:c0.c1023", "s0-s15:c0.c1023", ""] {
            assert!(is_level(level), "{level}");
        }
        for level in ["c1", "s", "s0:", "s0:c", "s0:c1,", "s0:1", "s0:c1:c2"] {
            assert!(!is_level(level), "{level}");
        }
    }
}
