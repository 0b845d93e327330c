//! The SELinux context of a container's processes: a CRIU that was built without SELinux leaves it out when it
//! dumps and when it restores, and says nothing. What runs in the context of rcrun then is not confined.

use super::CriuError;
use crate::spec::Spec;

/// What CRIU writes when it is given a context that it cannot keep, and it blames the kernel.
const CRIUS_WORDS: &str = "selinux not supported";
const KIND: &str = "selinux:";

/// `process.selinuxLabel`, if there is one.
pub fn of(spec: &Spec) -> Option<&str> {
    spec.process().as_ref()?.selinux_label().as_deref().filter(|label| !label.is_empty())
}

/// The same as CRIU takes it. For a dump it means nothing but that SELinux is needed.
pub fn to_criu(label: &str) -> String {
    format!("{KIND}{label}")
}

/// Puts what it means in the place of CRIU's words on the context that a dump was asked with. On an
/// `--lsm-profile` of a restore they stay.
pub(super) fn explained(error: CriuError) -> CriuError {
    match error {
        CriuError::Failed { operation, reasons, .. }
            if operation != "restore" && reasons.contains(CRIUS_WORDS) =>
        {
            CriuError::NoSelinux
        }
        error => error,
    }
}

/// Refuses a restored process that is in the context of rcrun and not in the one that `asked`, an
/// `--lsm-profile`, or the configuration names. In another one it may have been when it was dumped.
pub fn check(spec: &Spec, asked: Option<&str>, pid: i32) -> Result<(), CriuError> {
    let wanted = match asked {
        Some(asked) => asked.strip_prefix(KIND),
        None => of(spec),
    };
    let Some(wanted) = wanted else { return Ok(()) };
    let own = context("self")?;
    check_contexts(wanted, &own, &context(&pid.to_string())?)
}

fn check_contexts(wanted: &str, own: &str, restored: &str) -> Result<(), CriuError> {
    if restored == own && restored != wanted {
        let (wanted, restored) = (wanted.into(), restored.into());
        return Err(CriuError::Context { wanted, restored });
    }
    Ok(())
}

fn context(process: &str) -> Result<String, CriuError> {
    let path = std::path::PathBuf::from(format!("/proc/{process}/attr/current"));
    let text = std::fs::read_to_string(&path).map_err(|error| CriuError::Read { path, error })?;
    Ok(text.trim_end_matches(['\0', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(label: &str) -> Spec {
        let process = serde_json::json!({"cwd": "/", "selinuxLabel": label, "user": {"uid": 0, "gid": 0}});
        serde_json::from_value(serde_json::json!({"ociVersion": "1.0.0", "process": process})).unwrap()
    }

    #[test]
    fn a_context_is_needed_where_the_configuration_names_one() {
        assert_eq!(of(&spec("u:r:t")).map(to_criu).as_deref(), Some("selinux:u:r:t"));
        assert_eq!(of(&spec("")), None);
    }

    #[test]
    fn crius_words_are_explained_and_others_stay() {
        let failed = |operation: &'static str, reasons: &str| {
            let error = explained(CriuError::Failed { operation, errno: 0, reasons: reasons.into() });
            error.to_string()
        };
        let words = "selinux LSM specified but selinux not supported by kernel (criu's log: /x)";
        let error = failed("dump", words);
        assert!(error.contains("process.selinuxLabel") && error.contains("libselinux"), "{error}");
        assert!(failed("restore", words).contains(words));
        assert!(failed("dump", "tty: found").contains("tty: found"));
    }

    #[test]
    fn only_the_context_of_rcrun_itself_is_known_to_be_wrong() {
        let error = check_contexts("u:r:c", "u:r:rcrun", "u:r:rcrun").unwrap_err().to_string();
        assert!(error.contains("u:r:c") && error.contains("u:r:rcrun"), "{error}");
        check_contexts("u:r:c", "u:r:rcrun", "u:r:c").unwrap();
        check_contexts("u:r:c", "u:r:c", "u:r:c").unwrap();
        check_contexts("u:r:c", "u:r:rcrun", "u:r:later").unwrap();
    }
}
