//! Which scopes of a policy file are about an image, the most specific first.
//! containers-policy.json(5), "Supported transports and their scopes".

use std::path::Path;

use crate::image::Reference;

/// `docker`: the name with its digest, with its tag, without; each namespace above it; the registry; `*.DOMAIN` for
/// each domain that the registry's host is below.
pub fn of_image(reference: &Reference) -> Vec<String> {
    let name = reference.name();
    let digest = reference.digest().map(|digest| format!("{name}@{digest}"));
    let tag = reference.tag().map(|tag| format!("{name}:{tag}"));
    let mut scopes: Vec<String> = digest.into_iter().chain(tag).collect();
    let mut place = name.as_str();
    loop {
        scopes.push(place.to_owned());
        match place.rsplit_once('/') {
            Some((shorter, _)) => place = shorter,
            None => break,
        }
    }
    let mut domain = reference.registry();
    while let Some((_, above)) = domain.split_once('.') {
        scopes.push(format!("*.{above}"));
        domain = above;
    }
    scopes
}

/// `oci`, `oci-archive`: the path and each directory above it but `/`.
pub fn of_path(path: &Path) -> Vec<String> {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let above = path.ancestors().filter(|place| place.parent().is_some());
    above.map(|place| place.to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Digest;

    #[test]
    fn scopes_go_from_the_image_to_the_domain() {
        let digest = Digest::of(b"");
        let reference = format!("a.b.com:5000/team/app:1@{digest}").parse().unwrap();
        assert_eq!(
            of_image(&reference),
            [
                &format!("a.b.com:5000/team/app@{digest}"),
                "a.b.com:5000/team/app:1",
                "a.b.com:5000/team/app",
                "a.b.com:5000/team",
                "a.b.com:5000",
                "*.b.com:5000",
                "*.com:5000",
            ]
        );
        let hub = of_image(&"busybox:1".parse().unwrap());
        assert_eq!(
            hub,
            [
                "docker.io/library/busybox:1",
                "docker.io/library/busybox",
                "docker.io/library",
                "docker.io",
                "*.io"
            ]
        );
    }

    #[test]
    fn paths_go_up_but_not_to_the_root() {
        assert_eq!(
            of_path(Path::new("/nonexistent/a/b.tar")),
            ["/nonexistent/a/b.tar", "/nonexistent/a", "/nonexistent"]
        );
    }
}
