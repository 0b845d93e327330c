//! What Ingresses are told: their address, and what is wrong with them.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::api::networking::v1::{
    Ingress, IngressLoadBalancerIngress, IngressLoadBalancerStatus, IngressStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::table::Problem;
use crate::objects::{Key, Kind, Object, Typed};
use crate::store::{Durability, Store, StoreError, now};

/// Says the node's addresses in the statuses of Ingresses.
pub fn publish(store: &Store, ingresses: &[Key], addresses: &[IpAddr]) {
    for key in ingresses {
        let done = store.update(key, Durability::Written, |object| {
            let mut object = object.clone();
            Ingress::of_mut(&mut object)?.status = Some(status(addresses));
            Some(object)
        });
        match done {
            // It may be gone by now.
            Ok(_) | Err(StoreError::NotFound(_)) => {}
            Err(error) => tracing::warn!("ingress: cannot say the address of {key}: {error}"),
        }
    }
}

fn status(addresses: &[IpAddr]) -> IngressStatus {
    let ingress = |ip: &IpAddr| IngressLoadBalancerIngress { ip: Some(ip.to_string()), ..Default::default() };
    let ingress = (!addresses.is_empty()).then(|| addresses.iter().map(ingress).collect());
    IngressStatus { load_balancer: Some(IngressLoadBalancerStatus { ingress }) }
}

/// Events for problems that were not there before.
pub fn tell(store: &Store, told: &mut BTreeSet<Problem>, problems: BTreeSet<Problem>) {
    for problem in problems.difference(told) {
        tracing::warn!("{}: {}", problem.ingress, problem.message);
        if let Err(error) = event(store, problem) {
            tracing::warn!("ingress: cannot make an event: {error}");
        }
    }
    *told = problems;
}

/// Equal ones are counted.
fn event(store: &Store, problem: &Problem) -> Result<(), StoreError> {
    let Some((uid, revision)) = store.read(|objects| {
        let metadata = objects.get(&problem.ingress)?.metadata();
        Some((metadata.uid.clone(), metadata.resource_version.clone()))
    }) else {
        return Ok(());
    };
    let time = Some(Time(now()));
    let mut hasher = DefaultHasher::new();
    (problem, &uid).hash(&mut hasher);
    let key = Key::new(
        Kind::Event,
        &problem.ingress.namespace,
        format!("{}.{:016x}", problem.ingress.name, hasher.finish()),
    );
    let counted = store.update(&key, Durability::Written, |object| {
        let mut object = object.clone();
        let event = Event::of_mut(&mut object)?;
        event.count = Some(event.count.unwrap_or(1).saturating_add(1));
        event.last_timestamp = time.clone();
        Some(object)
    });
    if !matches!(counted, Err(StoreError::NotFound(_))) {
        return counted.map(drop);
    }
    let mut event = Event {
        involved_object: ObjectReference {
            api_version: Some(Kind::Ingress.api_version().into()),
            kind: Some(Kind::Ingress.name().into()),
            namespace: Some(problem.ingress.namespace.clone()),
            name: Some(problem.ingress.name.clone()),
            uid,
            resource_version: revision,
            ..Default::default()
        },
        type_: Some("Warning".into()),
        reason: Some(problem.reason.into()),
        message: Some(problem.message.clone()),
        source: Some(EventSource { component: Some("ingress".into()), host: None }),
        first_timestamp: time.clone(),
        last_timestamp: time,
        count: Some(1),
        ..Default::default()
    };
    event.metadata.namespace = Some(key.namespace);
    event.metadata.name = Some(key.name);
    let object: Object = event.wrap();
    store.create(object, Durability::Written).map(drop)
}
