//! Capabilities, `--security-opt` and seccomp profiles in docker's words.

use std::path::Path;

use serde_json::{Value, json};

use super::options::{Seccomp, Security};

/// Docker's default capabilities.
const DEFAULT: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// The capabilities of a container, sorted. Those of `permitted`, a bit mask, are there to be given: of the default
/// ones and of ALL the others are left out, one that is asked for by name is not.
pub fn capabilities(add: &[String], drop: &[String], permitted: u64) -> Result<Vec<String>, String> {
    let (add_all, add) = names("--cap-add", add)?;
    let (drop_all, drop) = names("--cap-drop", drop)?;
    let is_permitted = |name: &&str| {
        name.parse::<caps::Capability>().is_ok_and(|capability| permitted & capability.bitmask() != 0)
    };
    let all: Vec<String> = caps::all().iter().map(ToString::to_string).collect();
    let mut set: Vec<String> = match (add_all, drop_all) {
        (true, _) => all.iter().map(String::as_str).filter(is_permitted).map(str::to_owned).collect(),
        (false, true) => Vec::new(),
        (false, false) => DEFAULT.into_iter().filter(is_permitted).map(str::to_owned).collect(),
    };
    set.retain(|name| !drop.contains(name));
    set.extend(add);
    set.sort();
    set.dedup();
    Ok(set)
}

/// Is ALL among them, and which are the others, in full.
fn names(option: &str, words: &[String]) -> Result<(bool, Vec<String>), String> {
    let mut all = false;
    let mut names = Vec::new();
    for word in words {
        let upper = word.to_ascii_uppercase();
        if upper == "ALL" || upper == "CAP_ALL" {
            all = true;
            continue;
        }
        let name = format!("CAP_{}", upper.strip_prefix("CAP_").unwrap_or(&upper));
        name.parse::<caps::Capability>().map_err(|_| format!("{option}: unknown capability {word:?}"))?;
        names.push(name);
    }
    Ok((all, names))
}

/// Reads the values of `--security-opt`; profiles are read with `read`.
pub fn options(
    values: &[String],
    read: &dyn Fn(&Path) -> std::io::Result<Vec<u8>>,
) -> Result<Security, String> {
    let mut security = Security::default();
    let mut label = Label::default();
    for value in values {
        let separator = |c: char| c == '=' || c == ':';
        let (name, rest) = value.split_once(separator).unwrap_or((value, ""));
        match (name, rest) {
            ("no-new-privileges", "" | "true") => security.no_new_privileges = true,
            ("no-new-privileges", "false") => security.no_new_privileges = false,
            ("seccomp", "unconfined") => security.seccomp = Seccomp::Unconfined,
            ("seccomp", "builtin" | "default") => security.seccomp = Seccomp::Default,
            ("seccomp", file) if !file.is_empty() => {
                security.seccomp = Seccomp::Profile(profile(Path::new(file), read)?);
            }
            // No profile is loaded by rcrun, so that none is what unconfined has, too.
            ("apparmor", "unconfined") => security.apparmor = None,
            ("apparmor", profile) if !profile.is_empty() => security.apparmor = Some(profile.to_owned()),
            ("label", "disable") => label.disabled = true,
            ("label", part) => label.set(value, part)?,
            ("systempaths", "unconfined") => security.system_paths_unconfined = true,
            _ => {
                return Err(format!(
                    "--security-opt {value:?}: expected no-new-privileges, seccomp=unconfined or =FILE, \
                     apparmor=PROFILE, label=disable or =type:TYPE, or systempaths=unconfined"
                ));
            }
        }
    }
    security.selinux = label.context();
    Ok(security)
}

/// The parts of an SELinux context.
#[derive(Default)]
struct Label {
    disabled: bool,
    parts: [Option<String>; 4],
}

impl Label {
    const NAMES: [&'static str; 4] = ["user", "role", "type", "level"];
    const DEFAULTS: [&'static str; 4] = ["system_u", "system_r", "container_t", "s0"];

    fn set(&mut self, option: &str, part: &str) -> Result<(), String> {
        let (name, value) = part.split_once(':').unwrap_or((part, ""));
        match Self::NAMES.iter().position(|known| *known == name) {
            Some(place) if !value.is_empty() => self.parts[place] = Some(value.to_owned()),
            _ => {
                return Err(format!(
                    "--security-opt {option:?}: expected label=disable, or label=user:, role:, type: or level:"
                ));
            }
        }
        Ok(())
    }

    /// None unless one was asked for.
    fn context(self) -> Option<String> {
        let given = !self.disabled && self.parts.iter().any(Option::is_some);
        let parts = self.parts.into_iter().zip(Self::DEFAULTS);
        let parts: Vec<String> = parts.map(|(part, default)| part.unwrap_or(default.to_owned())).collect();
        given.then(|| parts.join(":"))
    }
}

fn profile(path: &Path, read: &dyn Fn(&Path) -> std::io::Result<Vec<u8>>) -> Result<Value, String> {
    let failed = |reason: String| format!("--security-opt seccomp={}: {reason}", path.display());
    let bytes = read(path).map_err(|error| failed(error.to_string()))?;
    let profile: Value = serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
    match profile.get("defaultAction").is_some_and(Value::is_string) {
        true => Ok(profile),
        false => Err(failed("no seccomp profile: defaultAction is missing".into())),
    }
}

/// A profile as docker and podman have it, with conditions, as a runtime takes it: for this machine's architecture
/// and a container with `capabilities`.
pub fn resolved(profile: &Value, capabilities: &[String]) -> Value {
    let (go, native) = match std::env::consts::ARCH {
        "aarch64" => ("arm64", "SCMP_ARCH_AARCH64"),
        _ => ("amd64", "SCMP_ARCH_X86_64"),
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let has = |value: &Value, word: &str| list(value).iter().any(|item| item == word);
    let capable = |value: &Value| capabilities.iter().any(|name| has(value, name));
    let applies = |rule: &Value| {
        let (includes, excludes) = (&rule["includes"], &rule["excludes"]);
        (list(&includes["arches"]).is_empty() || has(&includes["arches"], go))
            && (list(&includes["caps"]).is_empty() || capable(&includes["caps"]))
            && !has(&excludes["arches"], go)
            && !capable(&excludes["caps"])
    };
    let rules: Vec<Value> =
        list(&profile["syscalls"]).iter().filter(|rule| applies(rule)).map(plain).collect();
    let mut resolved = json!({"defaultAction": profile["defaultAction"], "syscalls": rules});
    for field in ["defaultErrnoRet", "flags", "listenerPath", "listenerMetadata"] {
        if let Some(value) = profile.get(field).filter(|value| !value.is_null()) {
            resolved[field] = value.clone();
        }
    }
    let of_map = list(&profile["archMap"]).into_iter().find(|entry| entry["architecture"] == native);
    resolved["architectures"] = match of_map {
        Some(entry) => std::iter::once(json!(native)).chain(list(&entry["subArchitectures"])).collect(),
        None => profile.get("architectures").cloned().unwrap_or_else(|| json!([native])),
    };
    resolved
}

/// A rule without its conditions; `name` is an older way to say `names`.
fn plain(rule: &Value) -> Value {
    let names = match (&rule["names"], &rule["name"]) {
        (Value::Array(names), _) => Value::Array(names.clone()),
        (_, name) => json!([name]),
    };
    let args = if rule["args"].is_array() { rule["args"].clone() } else { json!([]) };
    let mut plain = json!({"names": names, "action": rule["action"], "args": args});
    if let Some(errno) = rule.get("errnoRet").filter(|errno| !errno.is_null()) {
        plain["errnoRet"] = errno.clone();
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(add: &[&str], drop: &[&str]) -> Result<Vec<String>, String> {
        let own = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        capabilities(&own(add), &own(drop), u64::MAX)
    }

    #[test]
    fn capabilities_are_dockers_with_changes() {
        assert_eq!(caps(&[], &[]).unwrap(), DEFAULT);
        assert_eq!(caps(&["net_admin"], &["ALL"]).unwrap(), ["CAP_NET_ADMIN"]);
        let most = caps(&["ALL"], &["CAP_SYS_ADMIN"]).unwrap();
        assert!(most.len() > 30 && !most.contains(&"CAP_SYS_ADMIN".into()));
        assert_eq!(caps(&["CHOWN"], &["chown"]).unwrap().len(), 14);
        assert!(caps(&["WORLD"], &[]).unwrap_err().contains("\"WORLD\""));
        let few = capabilities(&[], &[], caps::Capability::CAP_CHOWN.bitmask()).unwrap();
        assert_eq!(few, ["CAP_CHOWN"]);
    }

    #[test]
    fn security_options_are_dockers() {
        let read = |path: &Path| match path.to_str() {
            Some("p.json") => Ok(br#"{"defaultAction": "SCMP_ACT_ALLOW"}"#.to_vec()),
            Some("bad.json") => Ok(b"{}".to_vec()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        };
        let parse = |values: &[&str]| {
            options(&values.iter().map(|&value| value.to_owned()).collect::<Vec<_>>(), &read)
        };
        let security = parse(&["no-new-privileges", "seccomp=unconfined", "apparmor=mine"]).unwrap();
        assert!(security.no_new_privileges && matches!(security.seccomp, Seccomp::Unconfined));
        assert_eq!(security.apparmor.as_deref(), Some("mine"));
        let security = parse(&["label=type:my_t", "label=level:s0:c1"]).unwrap();
        assert_eq!(security.selinux.as_deref(), Some("system_u:system_r:my_t:s0:c1"));
        assert_eq!(parse(&["label=disable"]).unwrap().selinux, None);
        assert!(matches!(parse(&["seccomp=p.json"]).unwrap().seccomp, Seccomp::Profile(_)));
        for (value, fragment) in [
            ("seccomp=missing.json", "missing.json"),
            ("seccomp=bad.json", "defaultAction"),
            ("label=colour:red", "label="),
            ("writable", "expected"),
            ("seccomp", "expected"),
        ] {
            let error = parse(&[value]).unwrap_err();
            assert!(error.contains(fragment), "{value}: {error}");
        }
    }

    #[test]
    fn conditions_of_a_profile_are_decided() {
        let rule = |name: &str, conditions: Value| {
            let mut rule = json!({"names": [name], "action": "SCMP_ACT_ALLOW"});
            for (key, value) in conditions.as_object().unwrap() {
                rule[key] = value.clone();
            }
            rule
        };
        let profile = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            rule("read", json!({})),
            rule("mount", json!({"includes": {"caps": ["CAP_SYS_ADMIN"]}})),
            rule("clone", json!({"excludes": {"caps": ["CAP_SYS_ADMIN"]}})),
            rule("s390_runtime_instr", json!({"includes": {"arches": ["s390"]}})),
        ]});
        let names = |capabilities: &[String]| {
            let resolved = resolved(&profile, capabilities);
            let rules = resolved["syscalls"].as_array().unwrap().clone();
            rules.iter().map(|rule| rule["names"][0].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), ["read", "clone"]);
        assert_eq!(names(&["CAP_SYS_ADMIN".into()]), ["read", "mount"]);
    }
}
