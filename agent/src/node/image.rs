//! Images: what is there, and pulls.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use tonic::{Code, Status};

use crate::cri::api;
use crate::reconcile::EventType;
use crate::reconcile::pod::{Outcome, pulling};
use crate::spec;

/// Images that were asked about, by their ids: a start does not ask again.
#[derive(Default)]
pub struct Known(Mutex<BTreeMap<String, Arc<api::Image>>>);

impl Known {
    fn keep(&self, image: api::Image) -> Arc<api::Image> {
        let image = Arc::new(image);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(image.id.clone(), image.clone());
        image
    }

    fn get(&self, id: &str) -> Option<Arc<api::Image>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn forget(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

impl super::Node {
    /// The image with this id or name, if it is there.
    pub(super) async fn image(&self, name: &str, handler: &str) -> Result<Option<Arc<api::Image>>, Status> {
        let image =
            api::ImageSpec { image: name.into(), runtime_handler: handler.into(), ..Default::default() };
        let request = api::ImageStatusRequest { image: Some(image), verbose: false };
        let answer = self.runtime.images().image_status(request).await?.into_inner();
        Ok(answer.image.map(|image| self.known.keep(image)))
    }

    /// The image that a Pull found.
    pub(super) async fn image_by_id(
        &self,
        id: &str,
        handler: &str,
    ) -> Result<Option<Arc<api::Image>>, Status> {
        match self.known.get(id) {
            Some(image) => Ok(Some(image)),
            None => self.image(id, handler).await,
        }
    }

    /// After a container could not be created of it, it is asked about anew.
    pub(super) fn forget_image(&self, id: &str) {
        self.known.forget(id);
    }

    /// Sees that a container's image is there, by its pull policy.
    pub(super) async fn pull(&self, pod: &Pod, container: &str) -> Outcome {
        let Some(container) = spec::container_of(pod, container) else {
            return failed("InvalidImageName", format!("no container {container}"));
        };
        let name = container.image.as_deref().unwrap_or_default();
        self.ensure_image(pod, name, container.image_pull_policy.as_deref()).await
    }

    /// Sees that an image is there, by a pull policy.
    pub(super) async fn ensure_image(&self, pod: &Pod, name: &str, policy: Option<&str>) -> Outcome {
        let (handler, secrets) = self
            .store
            .read(|objects| (spec::runtime_handler(pod, objects), spec::pull_secrets(pod, name, objects)));
        // A class that is not there keeps the sandbox from being made, and is told of there.
        let handler = handler.unwrap_or_default();
        let policy = policy.unwrap_or("IfNotPresent");
        if policy != "Always" {
            match self.image(name, &handler).await {
                Ok(Some(image)) => return Outcome::Image { id: image.id.clone(), pulled: None },
                Ok(None) if policy == "Never" => {
                    let message =
                        format!("image {name} is not here, and imagePullPolicy Never forbids to pull it");
                    return failed("ErrImageNeverPull", message);
                }
                Ok(None) => {}
                Err(status) => return of_status("ImageInspectError", &status),
            }
        }
        let missing = self.store.read(|objects| spec::missing_pull_secrets(pod, objects).join(", "));
        if !missing.is_empty() {
            let message = format!(
                "Unable to retrieve some image pull secrets ({missing}); attempting to pull the image may not succeed."
            );
            self.notice(pod, (EventType::Warning, "FailedToRetrieveImagePullSecret", message));
        }
        self.pull_with(pod, name, &handler, secrets).await
    }

    /// Sees that the images are there that a container has as volumes; its mounts name them by their ids then.
    pub(super) async fn images_of_volumes(
        &self,
        pod: &Pod,
        mounts: &mut [spec::VolumeMount],
    ) -> Result<(), Outcome> {
        for mount in mounts {
            let Some(name) = &mount.image else { continue };
            let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
            let mut sources = volumes.filter_map(|volume| volume.image.as_ref());
            let source = sources.find(|source| source.reference.as_ref() == Some(name));
            let policy = source.and_then(|source| source.pull_policy.as_deref());
            match self.ensure_image(pod, name, policy).await {
                Outcome::Image { id, .. } => mount.image = Some(id),
                outcome => return Err(outcome),
            }
        }
        Ok(())
    }

    /// With each login until one is right; without any where there are none.
    async fn pull_with(
        &self,
        pod: &Pod,
        name: &str,
        handler: &str,
        secrets: Vec<api::AuthConfig>,
    ) -> Outcome {
        let logins = match secrets.is_empty() {
            true => vec![None],
            false => secrets.into_iter().map(Some).collect(),
        };
        let start = std::time::Instant::now();
        self.notice(pod, pulling(name));
        let mut last = None;
        for auth in logins {
            let image =
                api::ImageSpec { image: name.into(), runtime_handler: handler.into(), ..Default::default() };
            let sandbox_config = spec::sandbox(pod, 0, &self.settings).ok();
            let request = api::PullImageRequest { image: Some(image), auth, sandbox_config };
            match self.runtime.images().pull_image(request).await {
                Ok(answer) => {
                    let reference = answer.into_inner().image_ref;
                    return match self.image(&reference, handler).await {
                        Ok(Some(image)) => {
                            Outcome::Image { id: image.id.clone(), pulled: Some(start.elapsed()) }
                        }
                        Ok(None) => {
                            failed("ErrImagePull", format!("image {name} was pulled and is not there"))
                        }
                        Err(status) => of_status("ErrImagePull", &status),
                    };
                }
                Err(status) => last = Some(status),
            }
        }
        let status = last.unwrap_or_else(|| Status::internal("nothing was tried"));
        of_status("ErrImagePull", &status)
    }
}

fn failed(reason: &str, message: String) -> Outcome {
    Outcome::Failed { reason: reason.into(), message }
}

fn of_status(reason: &str, status: &Status) -> Outcome {
    let reason = match (status.code(), status.message()) {
        (Code::InvalidArgument, _) => "InvalidImageName",
        (_, message) if message.starts_with("RegistryUnavailable") => "RegistryUnavailable",
        (_, message) if message.starts_with("SignatureValidationFailed") => "SignatureValidationFailed",
        _ => reason,
    };
    failed(reason, status.message().to_owned())
}
