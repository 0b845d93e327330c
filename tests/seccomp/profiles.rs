//! podman's profile as a runtime gets it.

use serde_json::{Value, json};

/// podman's profile as it gives it to a runtime: for one architecture's names and these capabilities.
pub fn resolved(profile: &Value, capabilities: &[&str]) -> Value {
    let has =
        |list: &Value, word: &str| list.as_array().is_some_and(|list| list.iter().any(|item| item == word));
    let empty = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    let applies = |rule: &Value| {
        let (includes, excludes) = (&rule["includes"], &rule["excludes"]);
        let capable = |list: &Value| capabilities.iter().any(|capability| has(list, capability));
        (empty(&includes["arches"]) || has(&includes["arches"], "amd64"))
            && (empty(&includes["caps"]) || capable(&includes["caps"]))
            && !capable(&excludes["caps"])
    };
    let kept = |rule: &Value| {
        let mut kept = json!({"names": rule["names"], "action": rule["action"], "args": rule["args"]});
        if let Some(errno) = rule.get("errnoRet") {
            kept["errnoRet"] = errno.clone();
        }
        kept
    };
    let rules = profile["syscalls"].as_array().expect("rules");
    json!({
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules.iter().filter(|rule| applies(rule)).map(kept).collect::<Vec<_>>(),
    })
}
