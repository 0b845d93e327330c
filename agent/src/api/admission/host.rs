//! What depends on the machine: its name, and what its runtime can.

use k8s_openapi::api::core::v1::PodSpec;

use super::{Features, Ranges, Refusal};
use crate::objects::{Object, validate};

/// Puts a Pod on this node, and refuses what its runtime cannot do, in Pods and in templates of them.
pub(super) fn complete(ranges: &Ranges, object: &mut Object) -> Result<(), Refusal> {
    let Some((path, spec)) = validate::pod_spec(object) else { return Ok(()) };
    let features = ranges.features();
    let refused = |(field, why): (String, String)| {
        Refusal::new(422, format!("{}: {path}.{field}: {why}", object.key()))
    };
    let node = features.as_ref().map(|features| features.node.clone()).filter(|node| !node.is_empty());
    can(spec, features.as_ref()).map_err(refused)?;
    if let (Some(wanted), Some(node)) = (&spec.node_name, &node)
        && wanted != node
    {
        return Err(refused(("nodeName".into(), format!("\"{wanted}\": the only node is {node}"))));
    }
    if let (Object::Pod(pod), Some(node)) = (object, node)
        && pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_none())
        && let Some(spec) = &mut std::sync::Arc::make_mut(pod).spec
    {
        spec.node_name = Some(node);
    }
    Ok(())
}

fn can(spec: &PodSpec, features: Option<&Features>) -> Result<(), (String, String)> {
    let has = |feature: fn(&Features) -> bool| features.is_some_and(feature);
    let why = |what: &str| match features {
        Some(_) => format!("the runtime does not report {what}"),
        None => format!("whether the runtime has {what} is not known yet: try again when it answers"),
    };
    if spec.host_users == Some(false) && !has(|features| features.user_namespaces) {
        return Err(("hostUsers".into(), why("user namespaces")));
    }
    for (at, volume) in spec.volumes.iter().flatten().enumerate() {
        if volume.image.is_some() && !has(|features| features.image_volumes) {
            return Err((format!("volumes[{at}].image"), why("image volumes")));
        }
    }
    for (name, at, container) in validate::containers(spec) {
        for (mount, volume) in container.volume_mounts.iter().flatten().enumerate() {
            if volume.recursive_read_only.as_deref() == Some("Enabled")
                && !has(|features| features.recursive_read_only)
            {
                let field = format!("{name}[{at}].volumeMounts[{mount}].recursiveReadOnly");
                return Err((field, why("recursive read-only mounts")));
            }
        }
    }
    Ok(())
}
