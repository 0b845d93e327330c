//! Names of what is made: they look random and follow from what they are made for.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde::Serialize;

use crate::fnv::Fnv;

/// Kubernetes' letters for generated names: no vowels, so no words, and nothing that looks alike.
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// Of a name or label, in bytes.
const LONGEST: usize = 63;

/// A number of parts, each of which counts with its length.
fn number(parts: &[&[u8]]) -> u64 {
    let mut fnv = Fnv::default();
    for part in parts {
        fnv.extend((part.len() as u64).to_le_bytes());
        fnv.extend(part.iter().copied());
    }
    mix(fnv.finish())
}

/// Spreads what differs in few bits over all of them.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn letters(mut number: u64, count: usize) -> String {
    let letter = |_| {
        let letter = LETTERS[(number % 27) as usize];
        number /= 27;
        char::from(letter)
    };
    (0..count).map(letter).collect()
}

/// Ten letters that another template would not have; also another one for each number of collisions.
pub(super) fn template_hash(template: &PodTemplateSpec, collisions: i32) -> String {
    hash_of(template, collisions)
}

/// The same of anything.
pub(super) fn hash_of(value: &impl Serialize, collisions: i32) -> String {
    let mut fnv = Fnv::default();
    // Neither writing to memory nor these types fail.
    let _ = serde_json::to_writer(&mut fnv, value);
    if collisions > 0 {
        fnv.extend(collisions.to_le_bytes());
    }
    letters(mix(fnv.finish()), 10)
}

/// `BASE-` and five letters. `revision` is that of the object that the decision was made on.
pub(super) fn of_pod(base: &str, uid: &str, revision: &str, counter: u32) -> String {
    let number = number(&[uid.as_bytes(), revision.as_bytes(), &counter.to_le_bytes()]);
    joined(base, &letters(number, 5))
}

/// `BASE-SUFFIX`, of which the base is cut so that it stays a name.
pub(super) fn joined(base: &str, suffix: &str) -> String {
    let room = LONGEST.saturating_sub(suffix.len() + 1);
    let base = base.get(..room.min(base.len())).unwrap_or(base);
    format!("{}-{suffix}", base.trim_end_matches(['-', '.']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_from_what_they_are_made_for() {
        let name = of_pod("web", "uid", "7", 0);
        assert_eq!(name, of_pod("web", "uid", "7", 0));
        assert!(name.starts_with("web-") && name.len() == 9, "{name}");
        for other in
            [of_pod("web", "uid", "7", 1), of_pod("web", "uid", "8", 0), of_pod("web", "u", "id7", 0)]
        {
            assert_ne!(name, other);
        }
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(joined(&"a".repeat(80), "xyz").len(), 63);
        assert_eq!(joined(&format!("{}-b", "a".repeat(58)), "xyz"), format!("{}-xyz", "a".repeat(58)));
    }

    #[test]
    fn templates_have_hashes() {
        let template = PodTemplateSpec::default();
        assert_eq!(template_hash(&template, 0), template_hash(&template, 0));
        assert_ne!(template_hash(&template, 0), template_hash(&template, 1));
    }
}
