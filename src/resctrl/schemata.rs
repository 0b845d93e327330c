//! Lines of a `schemata` file, such as `L3:0=7f0;1=1f` and `MB:0=20;1=70`: is what a group has
//! already what is asked for?
//!
//! The kernel pads, sorts and rounds what it was given, so that texts cannot be compared.

/// Does the text of a `schemata` file hold all that the lines of `wanted` ask for? Percentages are what
/// the kernel makes of them: the next multiple of `step`.
pub(super) fn holds(present: &str, wanted: &str, step: u64) -> bool {
    wanted.lines().filter(|line| !line.trim().is_empty()).all(|line| {
        let Some((resource, domains)) = parse(line) else { return false };
        let Some((_, there)) = present.lines().filter_map(parse).find(|(name, _)| *name == resource) else {
            return false;
        };
        domains.iter().all(|(id, value)| {
            let is = |wanted: u64| there.contains(&(*id, wanted));
            is(*value) || (resource == "MB" && value.checked_next_multiple_of(step.max(1)).is_some_and(is))
        })
    })
}

/// A resource's name, and its value in each domain; None for anything else.
fn parse(line: &str) -> Option<(&str, Vec<(u32, u64)>)> {
    let (resource, domains) = line.trim().split_once(':')?;
    let base = if matches!(resource, "MB" | "SMBA") { 10 } else { 16 };
    let domain = |text: &str| {
        let (id, value) = text.split_once('=')?;
        let (id, value) = (id.trim(), value.trim());
        let digits = if base == 16 { value.trim_start_matches("0x") } else { value };
        Some((id.parse().ok()?, u64::from_str_radix(digits, base).ok()?))
    };
    Some((resource.trim(), domains.split(';').map(domain).collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRESENT: &str = "    L3:0=7f0;1=01f\n    MB:0=  20;1= 100\n";

    #[test]
    fn padding_order_and_leading_zeros_do_not_count() {
        for wanted in
            ["L3:0=7f0;1=1f", "L3:1=0x1F;0=07f0", "L3:0=7f0", "MB:0=20;1=100", " MB: 1 = 100\n\nL3:1=1f"]
        {
            assert!(holds(PRESENT, wanted, 10), "{wanted:?}");
        }
    }

    #[test]
    fn bandwidth_is_rounded_up_to_the_next_step_and_caches_are_not() {
        assert!(holds(PRESENT, "MB:0=11;1=91", 10));
        assert!(!holds(PRESENT, "MB:0=21", 10));
        assert!(!holds(PRESENT, "MB:0=11", 0), "no step is a step of 1");
        assert!(!holds(PRESENT, "L3:1=1e", 10));
    }

    #[test]
    fn what_is_missing_or_cannot_be_read_is_not_held() {
        for wanted in
            ["L2:0=f", "L3:2=1f", "L3:0=7ff", "L3", "L3:0", "L3:0=x", "MB:0=24", "L3:0=7f0\nMB:0=90"]
        {
            assert!(!holds(PRESENT, wanted, 10), "{wanted:?}");
        }
        assert!(!holds("", "L3:0=1", 10));
    }
}
