//! podman's profile as a runtime gets it, and the calls that tell two filters apart.

use serde_json::{Value, json};

/// Arguments for a call that find each side of every comparison that the profile makes on it.
pub fn arguments_for(profile: &Value, _arch: &str, number: u32) -> Vec<[u64; 6]> {
    let mut all = vec![[0; 6], [u64::MAX; 6]];
    let rules = profile["syscalls"].as_array().expect("rules");
    let mut satisfying = Vec::new();
    for rule in rules.iter().filter(|rule| rule["args"].as_array().is_some_and(|list| !list.is_empty())) {
        // Only where this number can be one of the rule's calls is the whole product worth its time.
        if !super::libseccomp::concerns(rule, number) {
            continue;
        }
        let arguments = rule["args"].as_array().expect("arguments");
        let mut meets = [0; 6];
        for argument in arguments {
            let index = argument["index"].as_u64().expect("index") as usize;
            meets[index] = target(argument);
        }
        satisfying.push(meets);
        for argument in arguments {
            let index = argument["index"].as_u64().expect("index") as usize;
            for value in near(argument) {
                let mut arguments = meets;
                arguments[index] = value;
                all.push(arguments);
            }
        }
    }
    // For socketcall(2) and ipc(2) the first argument says which call it is.
    if matches!(number, 102 | 117) {
        let of_rules: Vec<[u64; 6]> = all.clone();
        for which in 0..26 {
            for arguments in &of_rules {
                let mut arguments = *arguments;
                arguments[0] = which;
                all.push(arguments);
            }
        }
    }
    all.extend(satisfying);
    all
}

/// A value for which a comparison holds, if there is one.
fn target(argument: &Value) -> u64 {
    let value = argument["value"].as_u64().expect("value");
    match argument["op"].as_str().expect("op") {
        "SCMP_CMP_NE" | "SCMP_CMP_LT" => value.wrapping_sub(1),
        "SCMP_CMP_GT" => value.wrapping_add(1),
        "SCMP_CMP_MASKED_EQ" => argument["valueTwo"].as_u64().unwrap_or(0) & value,
        _ => value,
    }
}

/// Values around a comparison: one less, one more, bits flipped, each word alone.
fn near(argument: &Value) -> Vec<u64> {
    let mut bases = vec![argument["value"].as_u64().expect("value"), target(argument)];
    if argument["op"] == "SCMP_CMP_MASKED_EQ" {
        bases.push(argument["valueTwo"].as_u64().unwrap_or(0));
    }
    let mut values = vec![0, u64::MAX];
    for base in bases {
        values.extend([base, base.wrapping_sub(1), base.wrapping_add(1)]);
        values.extend([
            base & 0xffff_ffff,
            base & !0xffff_ffff,
            base ^ (1 << 32),
            base ^ (1 << 63),
            base ^ (1 << 31),
        ]);
        values.extend([base.wrapping_add(1 << 32), base.wrapping_sub(1 << 32), base.rotate_left(32)]);
        let mask = argument["value"].as_u64().expect("value");
        values.extend((0..64).filter(|bit| mask & (1 << bit) != 0).map(|bit| base ^ (1 << bit)));
    }
    values
}

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
