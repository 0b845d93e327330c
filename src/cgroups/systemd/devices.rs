//! Device rules as systemd takes them: a policy and a list of what is allowed.
//!
//! systemd's program and rcrun's own hold together: an access needs the consent of both. So the list
//! may allow more than the rules (it knows no denials and no minor number of any major one), and never
//! less; rcrun's program sees to the rest. systemd.resource-control(5), DeviceAllow=.

use super::{Property, Value};
use crate::cgroups::devices::{ALL, BLOCK, CHARACTER, MKNOD, READ, Rule, WRITE};

/// `DevicePolicy` and `DeviceAllow` for rules, of which the last that covers an access decides.
pub(super) fn properties(rules: &[Rule]) -> Vec<Property> {
    let mut allowed: Vec<Rule> = Vec::new();
    let mut everything = false;
    for rule in rules.iter().flat_map(of_one_kind) {
        if rule.covers_everything() {
            (everything, allowed) = (rule.allow, Vec::new());
        } else if rule.allow {
            match allowed.iter_mut().find(|known| known.same_devices(&rule)) {
                Some(known) => known.access |= rule.access,
                None => allowed.push(rule),
            }
        } else {
            for known in allowed.iter_mut().filter(|known| rule.covers_devices_of(known)) {
                known.access &= !rule.access;
            }
            allowed.retain(|known| known.access != 0);
        }
    }
    let (policy, entries) = match everything {
        true => ("auto", Vec::new()),
        false => ("strict", allowed.iter().map(entry).collect()),
    };
    vec![
        Property::new("DevicePolicy", Value::Text(policy.into())),
        Property::new("DeviceAllow", Value::Array { of: "(ss)".into(), values: entries }),
    ]
}

/// systemd's entries are for one kind: a rule for both is two, unless it is about everything.
fn of_one_kind(rule: &Rule) -> Vec<Rule> {
    match rule.kind {
        None if !rule.covers_everything() => {
            [BLOCK, CHARACTER].map(|kind| Rule { kind: Some(kind), ..*rule }).to_vec()
        }
        _ => vec![*rule],
    }
}

fn entry(rule: &Rule) -> Value {
    let kind = if rule.kind == Some(BLOCK) { "block" } else { "char" };
    let path = match (rule.major, rule.minor) {
        (None, _) => format!("{kind}-*"),
        (Some(major), None) => format!("{kind}-{major}"),
        (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
    };
    let letters = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
    let access = letters.iter().filter(|(bit, _)| rule.access & ALL & bit != 0).map(|(_, letter)| letter);
    Value::Struct(vec![Value::Text(path), Value::Text(access.collect())])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroups::devices;

    fn of(json: &str) -> (String, Vec<String>) {
        let rules = devices::rules(&serde_json::from_str::<Vec<_>>(json).unwrap()).unwrap();
        let [policy, allow] = properties(&rules).try_into().unwrap();
        let text = |value: &Value| match value {
            Value::Text(text) => text.clone(),
            other => panic!("{other:?}"),
        };
        let Value::Array { values, .. } = &allow.value else { panic!("{allow:?}") };
        let entries = values.iter().map(|value| match value {
            Value::Struct(fields) => fields.iter().map(text).collect::<Vec<_>>().join(" "),
            other => panic!("{other:?}"),
        });
        (text(&policy.value), entries.collect())
    }

    const DENY: &str = r#"{"allow": false, "access": "rwm"}"#;

    #[test]
    fn what_every_container_may_use_is_on_the_list() {
        let (policy, list) = of(&format!("[{DENY}]"));
        assert_eq!(policy, "strict");
        assert_eq!(
            list,
            [
                "block-* m",
                "char-* m",
                "/dev/char/1:3 rwm",
                "/dev/char/1:5 rwm",
                "/dev/char/1:7 rwm",
                "/dev/char/1:8 rwm",
                "/dev/char/1:9 rwm",
                "/dev/char/5:0 rwm",
                "/dev/char/5:2 rwm",
                "char-136 rwm",
                "/dev/char/10:200 rwm",
            ]
        );
    }

    #[test]
    fn rules_in_their_order_are_a_list() {
        let rule = |allow: bool, rest: &str| format!(r#"{{"allow": {allow}, {rest}}}"#);
        let first = |rules: &[String]| {
            let list = of(&format!("[{DENY}, {}]", rules.join(","))).1;
            list.into_iter()
                .filter(|entry| entry.contains("8:") || entry.contains("r"))
                .take(1)
                .collect::<String>()
        };
        let disk = r#""type": "b", "major": 8, "minor": 0"#;
        assert_eq!(first(&[rule(true, &format!(r#"{disk}, "access": "r""#))]), "/dev/block/8:0 r");
        let twice = [
            rule(true, &format!(r#"{disk}, "access": "r""#)),
            rule(true, &format!(r#"{disk}, "access": "w""#)),
        ];
        assert_eq!(first(&twice), "/dev/block/8:0 rw");
        let less = [
            rule(true, &format!(r#"{disk}, "access": "rw""#)),
            rule(false, r#""type": "b", "major": 8, "access": "w""#),
        ];
        assert_eq!(first(&less), "/dev/block/8:0 r");
        let hole = [
            rule(true, r#""type": "b", "major": 8, "access": "r""#),
            rule(false, &format!(r#"{disk}, "access": "r""#)),
        ];
        assert_eq!(first(&hole), "block-8 r", "systemd has no denials: more is allowed");
        assert_eq!(first(&[rule(true, r#""type": "b", "minor": 1, "access": "r""#)]), "block-* r");
    }

    #[test]
    fn where_everything_is_allowed_systemd_has_no_say() {
        let all = r#"{"allow": true, "access": "rwm"}"#;
        let (policy, list) = of(&format!("[{DENY}, {all}]"));
        assert_eq!((policy.as_str(), list.len()), ("auto", 0));
        let some = r#"{"allow": false, "type": "b", "access": "w"}"#;
        assert_eq!(of(&format!("[{all}, {some}]")).0, "auto");
    }
}
