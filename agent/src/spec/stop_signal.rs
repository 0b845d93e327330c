//! `lifecycle.stopSignal`.

use k8s_openapi::api::core::v1::Container;

use super::SpecError;
use crate::cri::api::Signal;

/// The signal that ends a container; the image's where none is said.
pub(super) fn stop_signal(container: &Container) -> Result<Signal, SpecError> {
    let Some(name) = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.as_deref())
    else {
        return Ok(Signal::RuntimeDefault);
    };
    // SIGRTMIN+3 has no name that an enum could have.
    let of_cri = format!("SIGNAL_{}", name.replace('+', "PLUS").replace('-', "MINUS"));
    Signal::from_str_name(&of_cri).filter(|signal| *signal != Signal::RuntimeDefault).ok_or_else(|| {
        SpecError::config(format!(
            "container {}: lifecycle.stopSignal: {name:?} is no signal: one as SIGTERM is needed",
            container.name
        ))
    })
}
