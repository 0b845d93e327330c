//! What the runtime calls itself, and what it can.

use tonic::Status;

use crate::api::admission::{Features, HandlerFeatures};
use crate::cri::api;

/// Asks the runtime: its name, and what admission may take.
pub async fn ask(node: &super::Node) -> Result<(String, Features), Status> {
    let mut runtime = node.runtime.runtime();
    let version = runtime.version(api::VersionRequest::default()).await?.into_inner();
    let status = runtime.status(api::StatusRequest { verbose: false }).await?.into_inner();
    let handlers = status.runtime_handlers.into_iter().map(|handler| {
        let features = handler.features.unwrap_or_default();
        let features = HandlerFeatures {
            user_namespaces: features.user_namespaces,
            recursive_read_only: features.recursive_read_only_mounts,
        };
        (handler.name, features)
    });
    let features = Features {
        image_volumes: has_image_volumes(&version.runtime_name, &version.runtime_version),
        handlers: handlers.collect(),
    };
    Ok((version.runtime_name, features))
}

/// The CRI has no word for it: those that are known to have them, since.
fn has_image_volumes(name: &str, version: &str) -> bool {
    let since = match name {
        "containerd" => (2, 1),
        "cri-o" => (1, 31),
        _ => return false,
    };
    let mut numbers =
        version.trim_start_matches('v').split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= since
}

#[cfg(test)]
mod tests {
    use super::has_image_volumes;

    #[test]
    fn image_volumes_are_known_by_version() {
        for (name, version, has) in [
            ("containerd", "v2.4.2", true),
            ("containerd", "2.1.0", true),
            ("containerd", "v1.7.20", false),
            ("cri-o", "1.31.0", true),
            ("rcrun", "0.1.0", false),
            ("containerd", "", false),
        ] {
            assert_eq!(has_image_volumes(name, version), has, "{name} {version}");
        }
    }
}
