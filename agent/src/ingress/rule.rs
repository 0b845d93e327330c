//! What single rules of an Ingress mean: whose it is, its paths, its TLS.

use std::cmp::{Ordering, Reverse};

use k8s_openapi::api::networking::v1::{Ingress, IngressSpec, IngressTLS};

/// The class of Ingresses that are served here; those without a class are, too.
pub const CLASS: &str = "rcrun";

/// How classes were said before there was `spec.ingressClassName`.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// "false": requests without TLS are served as they are. Known from ingress-nginx.
const REDIRECT_ANNOTATION: &str = "nginx.ingress.kubernetes.io/ssl-redirect";

/// Whether an Ingress is served here.
pub fn is_ours(ingress: &Ingress) -> bool {
    let class = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
    class.or_else(|| annotation(ingress, CLASS_ANNOTATION)).is_none_or(|class| class == CLASS)
        && ingress.metadata.deletion_timestamp.is_none()
}

fn annotation<'a>(ingress: &'a Ingress, name: &str) -> Option<&'a str> {
    ingress.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

/// Which paths a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Of a prefix: without a slash at its end.
    path: String,
    exact: bool,
}

impl Pattern {
    /// By a path's type: `Exact`, or `Prefix`, as which `ImplementationSpecific` counts.
    pub fn new(path: &str, path_type: &str) -> Self {
        match path_type {
            "Exact" => Self { path: path.to_owned(), exact: true },
            _ => Self { path: path.trim_end_matches('/').to_owned(), exact: false },
        }
    }

    /// Of all paths.
    pub fn all() -> Self {
        Self { path: String::new(), exact: false }
    }

    /// Prefixes match whole elements: `/a` matches `/a/b`, and not `/ab`.
    pub fn matches(&self, path: &str) -> bool {
        match path.strip_prefix(&self.path) {
            Some(rest) if self.exact => rest.is_empty(),
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }

    /// Which is asked first: the longer; of equal ones the exact.
    pub fn before(&self, other: &Self) -> Ordering {
        let order = |pattern: &Self| (Reverse(pattern.path.len()), Reverse(pattern.exact));
        order(self).cmp(&order(other)).then_with(|| self.path.cmp(&other.path))
    }
}

/// What happens to requests that came without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// They are served.
    No,
    /// They are told to come again over HTTPS.
    ToHttps,
}

/// By default, where an Ingress has TLS for a host.
pub fn redirect(ingress: &Ingress, host: &str) -> Redirect {
    let Some(spec) = &ingress.spec else { return Redirect::No };
    let mut entries = spec.tls.iter().flatten();
    let has_tls = entries.any(|tls| tls_hosts(tls, spec).iter().any(|of_tls| covers(of_tls, host)));
    match has_tls && annotation(ingress, REDIRECT_ANNOTATION) != Some("false") {
        true => Redirect::ToHttps,
        false => Redirect::No,
    }
}

/// The hosts of an entry of `spec.tls`: its own, or else those of all rules; "" is any host.
pub fn tls_hosts(tls: &IngressTLS, spec: &IngressSpec) -> Vec<String> {
    let own = tls.hosts.as_deref().unwrap_or_default();
    if !own.is_empty() {
        return own.iter().map(|host| host.to_ascii_lowercase()).collect();
    }
    let rules = spec.rules.as_deref().unwrap_or_default();
    let mut hosts: Vec<_> =
        rules.iter().map(|rule| rule.host.as_deref().unwrap_or_default().to_ascii_lowercase()).collect();
    if hosts.is_empty() {
        hosts.push(String::new());
    }
    hosts
}

/// Whether a name of TLS stands for a host: itself, or `*.example.com` for `www.example.com`.
fn covers(name: &str, host: &str) -> bool {
    name == host
        || name.strip_prefix('*').is_some_and(|parent| {
            !parent.is_empty()
                && host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == &parent[1..])
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_match_by_elements() {
        // The table of Kubernetes' documentation.
        for (kind, pattern, path, matches) in [
            ("Prefix", "/", "/any/path", true),
            ("Exact", "/foo", "/foo", true),
            ("Exact", "/foo", "/bar", false),
            ("Exact", "/foo", "/foo/", false),
            ("Exact", "/foo/", "/foo", false),
            ("Prefix", "/foo", "/foo", true),
            ("Prefix", "/foo", "/foo/", true),
            ("Prefix", "/foo/", "/foo", true),
            ("Prefix", "/foo/", "/foo/", true),
            ("Prefix", "/aaa/bb", "/aaa/bbb", false),
            ("Prefix", "/aaa/bbb", "/aaa/bbb", true),
            ("Prefix", "/aaa/bbb/", "/aaa/bbb", true),
            ("Prefix", "/aaa/bbb", "/aaa/bbb/", true),
            ("Prefix", "/aaa/bbb", "/aaa/bbb/ccc", true),
            ("Prefix", "/aaa/bbb", "/aaa/bbbxyz", false),
            ("Prefix", "/foo", "/Foo", false),
            ("ImplementationSpecific", "/foo", "/foo/bar", true),
        ] {
            assert_eq!(Pattern::new(pattern, kind).matches(path), matches, "{kind} {pattern} {path}");
        }
    }

    #[test]
    fn wildcards_stand_for_one_label() {
        assert!(covers("*.example.com", "www.example.com"));
        assert!(covers("*.example.com", "*.example.com"));
        assert!(!covers("*.example.com", "a.www.example.com"));
        assert!(!covers("*.example.com", "example.com"));
        assert!(!covers("", "example.com"));
    }
}
