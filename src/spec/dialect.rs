//! Where the specification says more than the types that its JSON is read into.
//!
//! Looked at only after the types have refused a text: what is rewritten costs the others nothing.

use serde_json::Value;

/// The text again in the types' dialect, or None if there is nothing in it to rewrite.
pub(super) fn translated(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut document: Value = serde_json::from_slice(bytes).ok()?;
    // config.json has the process object below `process`; process.json is one.
    let changed = process(&mut document) | document.get_mut("process").is_some_and(process);
    changed.then(|| serde_json::to_vec(&document).ok()).flatten()
}

fn process(process: &mut Value) -> bool {
    let mut changed = false;
    // The types spell this flag with an underscore too many.
    let flags = process.pointer_mut("/scheduler/flags").and_then(Value::as_array_mut);
    for flag in flags.into_iter().flatten().filter(|flag| *flag == "SCHED_FLAG_DL_OVERRUN") {
        *flag = "SCHED_FLAG_D_L_OVERRUN".into();
        changed = true;
    }
    // An empty list of CPUs is as good as none.
    if let Some(affinity) = process.get_mut("execCPUAffinity").and_then(Value::as_object_mut) {
        let before = affinity.len();
        affinity.retain(|_, cpus| cpus != "");
        changed |= affinity.len() != before;
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::super::{parse, parse_process};
    use serde_json::json;

    #[test]
    fn every_scheduler_flag_is_known() {
        for flag in [
            "SCHED_RESET_ON_FORK",
            "SCHED_FLAG_RECLAIM",
            "SCHED_FLAG_DL_OVERRUN",
            "SCHED_FLAG_KEEP_POLICY",
            "SCHED_FLAG_KEEP_PARAMS",
            "SCHED_FLAG_UTIL_CLAMP_MIN",
            "SCHED_FLAG_UTIL_CLAMP_MAX",
        ] {
            let mut config = serde_json::to_value(super::super::default_spec()).unwrap();
            config["process"]["scheduler"] = json!({"policy": "SCHED_OTHER", "flags": [flag]});
            let spec = parse(config.to_string().as_bytes()).unwrap();
            let scheduler = spec.process().as_ref().unwrap().scheduler().as_ref().unwrap();
            assert_eq!(scheduler.flags().as_ref().unwrap().len(), 1);
            parse_process(config["process"].to_string().as_bytes()).unwrap();
        }
    }

    #[test]
    fn an_empty_list_of_cpus_is_none() {
        let process = json!({"cwd": "/", "args": ["x"], "user": {"uid": 0, "gid": 0},
            "execCPUAffinity": {"initial": "0", "final": ""}});
        let process = parse_process(process.to_string().as_bytes()).unwrap();
        let cpus = process.exec_cpu_affinity().as_ref().unwrap();
        assert_eq!((cpus.initial().as_deref(), cpus.cpu_affinity_final().as_deref()), (Some("0"), None));
    }

    #[test]
    fn what_is_wrong_stays_wrong() {
        let mut config = serde_json::to_value(super::super::default_spec()).unwrap();
        config["process"]["scheduler"] = json!({"policy": "SCHED_X", "flags": ["SCHED_FLAG_DL_OVERRUN"]});
        let error = parse(config.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("config.json: process.scheduler.policy"), "{error}");
    }
}
