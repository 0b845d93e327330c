//! What Ingresses are told: their address, and what is wrong with them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::networking::v1::{
    Ingress, IngressLoadBalancerIngress, IngressLoadBalancerStatus, IngressStatus,
};

use super::table::Problem;
use crate::node::events;
use crate::objects::{Key, Typed};
use crate::reconcile::EventType;
use crate::store::{Durability, Store, StoreError, now};

/// Says the node's addresses in the statuses of Ingresses.
pub fn publish(store: &Store, ingresses: &[Key], addresses: &[IpAddr]) {
    let wanted = status(addresses);
    let is_said = |ingress: &Ingress| ingress.status.as_ref() == Some(&wanted);
    for key in ingresses {
        if store.read(|objects| objects.get(key).and_then(Ingress::of).is_none_or(is_said)) {
            continue;
        }
        let done = store.update(key, Durability::Written, |object| {
            let mut object = object.clone();
            Ingress::of_mut(&mut object)?.status = Some(wanted.clone());
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
    for Problem { ingress, reason, message } in problems.difference(told) {
        tracing::warn!("{ingress}: {message}");
        // It may be gone by now.
        if let Some(uid) = store.read(|objects| Some(objects.get(ingress)?.uid().to_owned())) {
            events::tell(store, ingress, &uid, EventType::Warning, reason, message, now());
        }
    }
    *told = problems;
}
