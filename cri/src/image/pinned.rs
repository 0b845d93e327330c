//! Images that the kubelet is asked not to collect: `pinned_images` of the configuration.
//!
//! As CRI-O has them: a whole name, a beginning (`registry.k8s.io/pause*`), or something within (`*pause*`). Here a `*` stands
//! for anything wherever it is, and a whole name also matches as people write it (`busybox` is
//! `docker.io/library/busybox:latest`).

use rcrun::image::Reference;

use super::find::Names;

/// What is pinned.
#[derive(Clone, Debug, Default)]
pub struct Pinned(Vec<Pattern>);

#[derive(Clone, Debug)]
struct Pattern {
    text: String,
    /// As a whole name, where it is one.
    name: Option<String>,
}

impl Pinned {
    /// Reads the configuration's list; what is empty pins nothing.
    pub fn new(patterns: &[String]) -> Self {
        let texts = patterns.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
        Self(texts.map(Pattern::new).collect())
    }

    /// Is an image of this id and of these names pinned?
    pub(super) fn has(&self, id: &str, names: &Names) -> bool {
        let mut all = names.tags.iter().chain(&names.digests);
        self.0.iter().any(|pattern| pattern.text == id)
            || all.any(|name| self.0.iter().any(|pattern| pattern.matches(name)))
    }
}

impl Pattern {
    fn new(text: &str) -> Self {
        let name = text.parse::<Reference>().ok().map(|name| name.or_latest().to_string());
        Self { text: text.to_owned(), name }
    }

    fn matches(&self, name: &str) -> bool {
        let familiar = || name.parse::<Reference>().is_ok_and(|name| is_like(&self.text, &name.familiar()));
        self.name.as_deref() == Some(name) || is_like(&self.text, name) || familiar()
    }
}

/// Does `text` match `pattern`, in which `*` is anything? Its parts are looked for from left to right, each as early as possible.
fn is_like(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(before) = last.replace(part) {
            let Some(at) = rest.find(before) else { return false };
            rest = &rest[at + before.len()..];
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beginnings_and_keywords_pin() {
        for (pattern, pinned) in [
            ("registry.k8s.io/pause:3.10", true),
            ("registry.k8s.io/pause", false),
            ("registry.k8s.io/pause*", true),
            ("*pause*", true),
            ("*:3.10", true),
            ("*k8s*pause*10", true),
            ("*pause*k8s*", false),
            ("*", true),
            ("pause", false),
            ("", false),
            ("sha256:1", true),
        ] {
            let names = Names { tags: vec!["registry.k8s.io/pause:3.10".to_owned()], digests: Vec::new() };
            assert_eq!(Pinned::new(&[pattern.to_owned()]).has("sha256:1", &names), pinned, "{pattern}");
        }
    }

    #[test]
    fn a_short_name_is_dockers() {
        let names = Names { tags: vec!["docker.io/library/busybox:latest".to_owned()], digests: Vec::new() };
        for pattern in ["busybox", "busybox:latest", "docker.io/library/busybox", "busy*", "library/busybox"]
        {
            assert!(Pinned::new(&[pattern.to_owned()]).has("x", &names), "{pattern}");
        }
        assert!(!Pinned::new(&["busybox:1".to_owned()]).has("x", &names));
    }
}
