//! What depends on the machine: its name, and what its runtime can.

use k8s_openapi::api::core::v1::{PersistentVolume, PodSpec};
use k8s_openapi::api::node::v1::RuntimeClass;

use super::{Features, Ranges, Refusal};
use crate::objects::{Object, Objects, Typed, validate};

/// Puts a Pod on this node, and refuses what its runtime cannot do, in Pods and in templates of them.
pub(super) fn complete(objects: &Objects, ranges: &Ranges, object: &mut Object) -> Result<(), Refusal> {
    let features = ranges.features();
    if let Object::PersistentVolume(volume) = &*object {
        return is_here(volume, &ranges.node);
    }
    let Some((path, spec)) = validate::pod_spec(object) else { return Ok(()) };
    let refused = |status, field: &str, why: String| {
        Refusal::new(status, format!("{}: {path}.{field}: {why}", object.key()))
    };
    let status = if features.is_some() { 422 } else { 503 };
    can(spec, objects, features.as_ref()).map_err(|(field, why)| refused(status, &field, why))?;
    let node = &ranges.node;
    if let Some(wanted) = spec.node_name.as_ref().filter(|wanted| *wanted != node) {
        return Err(refused(422, "nodeName", format!("\"{wanted}\": the only node is {node}")));
    }
    if let Object::Pod(pod) = object
        && pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_none())
        && let Some(spec) = &mut std::sync::Arc::make_mut(pod).spec
    {
        spec.node_name = Some(node.clone());
    }
    Ok(())
}

/// A Pod that is there keeps its node.
pub(super) fn keep(live: &Object, wanted: &mut Object) {
    let (Object::Pod(live), Object::Pod(wanted)) = (live, wanted) else { return };
    if let (Some(live), Some(wanted)) = (&live.spec, &mut std::sync::Arc::make_mut(wanted).spec)
        && wanted.node_name.is_none()
    {
        wanted.node_name = live.node_name.clone();
    }
}

/// A volume of another node is none of this one's: its affinity may name this node, and says no more.
fn is_here(volume: &PersistentVolume, node: &str) -> Result<(), Refusal> {
    let path = "spec.nodeAffinity.required";
    let refused = |why: String| Err(Refusal::new(422, format!("{}: {path}: {why}", volume.key())));
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref());
    let Some(terms) = affinity.and_then(|affinity| affinity.required.as_ref()) else { return Ok(()) };
    for term in &terms.node_selector_terms {
        let fields = term.match_fields.as_ref().is_some_and(|fields| !fields.is_empty());
        for expression in term.match_expressions.iter().flatten() {
            if fields || expression.key != "kubernetes.io/hostname" || expression.operator != "In" {
                return refused(
                    "not supported by this agent but for kubernetes.io/hostname In [its node]".into(),
                );
            }
            let names = expression.values.as_deref().unwrap_or_default();
            if !names.iter().any(|name| name == node) {
                return refused(format!("{}: the only node is {node}", names.join(", ")));
            }
        }
    }
    Ok(())
}

fn can(spec: &PodSpec, objects: &Objects, features: Option<&Features>) -> Result<(), (String, String)> {
    // A class that is not there may be anything: its Pods do not start before it is.
    let class = spec.runtime_class_name.as_deref().filter(|name| !name.is_empty());
    let handler = match class.map(|name| objects.find::<RuntimeClass>("", name)) {
        None => "",
        Some(Some(class)) => class.handler.as_str(),
        Some(None) => return images(spec, features),
    };
    let of_handler = features.map(|features| features.of(handler)).unwrap_or_default();
    if spec.host_users == Some(false) && !of_handler.user_namespaces {
        return Err(("hostUsers".into(), why(features, handler, "user namespaces")));
    }
    for (name, at, container) in validate::containers(spec) {
        for (mount, volume) in container.volume_mounts.iter().flatten().enumerate() {
            if volume.recursive_read_only.as_deref() == Some("Enabled") && !of_handler.recursive_read_only {
                let field = format!("{name}[{at}].volumeMounts[{mount}].recursiveReadOnly");
                return Err((field, why(features, handler, "recursive read-only mounts")));
            }
        }
    }
    images(spec, features)
}

fn images(spec: &PodSpec, features: Option<&Features>) -> Result<(), (String, String)> {
    if features.is_some_and(|features| features.image_volumes) {
        return Ok(());
    }
    let mut volumes = spec.volumes.iter().flatten();
    match volumes.position(|volume| volume.image.is_some()) {
        Some(at) => Err((format!("volumes[{at}].image"), why(features, "", "image volumes"))),
        None => Ok(()),
    }
}

fn why(features: Option<&Features>, handler: &str, what: &str) -> String {
    match (features, handler) {
        (None, _) => {
            format!("whether the runtime has {what} is not known yet: try again when it answers")
        }
        (Some(_), "") => format!("the runtime does not report {what}"),
        (Some(_), handler) => format!("the runtime's handler {handler} does not report {what}"),
    }
}
