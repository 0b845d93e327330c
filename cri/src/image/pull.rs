//! PullImage: as `rcrun pull` does it, with the request's credentials.
//!
//! Several pulls of one image share the work: the store lets one of them fetch a layer and the others wait for it. A request
//! that is cancelled, or whose time is over, ends its pull: what was unpacked whole by then is there for the next one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rcrun::image::event::Listener;
use rcrun::image::policy::{Policy, PolicyFiles};
use rcrun::image::pull::{Between, PullError, PullOptions, pull as pull_one};
use rcrun::image::registry::settings::{Settings, SettingsOptions};
use rcrun::image::registry::{Credentials, Registry, Timeouts};
use rcrun::image::store::{self, Image, Store};
use rcrun::image::{Limits, Name, Reference};
use tokio::sync::{Semaphore, oneshot};
use tonic::Status;

use super::auth::Directed;
use super::{auth, error, remove};
use crate::api;
use crate::runtime::Runtime;

/// Layers on their way at once, as with other runtimes.
const JOBS: usize = 3;
/// Images on their way at once; further ones wait.
const PULLS: usize = 32;
static TURNS: Semaphore = Semaphore::const_new(PULLS);

/// PullImage.
pub async fn pull(
    runtime: &Arc<Runtime>,
    request: api::PullImageRequest,
) -> Result<api::PullImageResponse, Status> {
    let spec = request.image.unwrap_or_default();
    check_handler(runtime, &spec.runtime_handler)?;
    let name: Name = spec.image.parse().map_err(|failure| Status::invalid_argument(format!("{failure}")))?;
    let credentials = auth::credentials(request.auth.as_ref())?;
    let server = request.auth.map(|auth| auth.server_address).unwrap_or_default();
    let abort = Arc::new(Abort::default());
    // Dropped with this future, which is when nobody waits for the answer any more.
    let _guard = AbortOnDrop(Arc::clone(&abort));
    let runtime = Arc::clone(runtime);
    let image = apart(move || {
        let store = super::store(&runtime)?;
        let pulled = Pull { store: &store, credentials, server, abort: &abort }.name(&name);
        runtime.images.set_changed();
        remove::collect_overdue(&runtime.images, &store);
        pulled
    })
    .await?;
    Ok(api::PullImageResponse { image_ref: image.id.to_string() })
}

/// Does `work` in a thread of its own: a registry may take minutes, and the threads for what blocks are few.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    let turn = TURNS.acquire().await.map_err(|_| Status::unavailable("rcrun-cri is stopping"))?;
    let (tell, hear) = oneshot::channel();
    let work = move || {
        let done = work();
        drop(turn);
        // Nobody listens where the request was cancelled.
        let _ = tell.send(done);
    };
    let started = std::thread::Builder::new().name("pull".to_owned()).spawn(work);
    started.map_err(|failure| Status::resource_exhausted(format!("start a thread to pull in: {failure}")))?;
    hear.await.unwrap_or_else(|_| Err(Status::internal("the pull's thread ended early")))
}

fn check_handler(runtime: &Runtime, handler: &str) -> Result<(), Status> {
    match handler.is_empty() || runtime.config().runtimes.contains_key(handler) {
        true => Ok(()),
        false => Err(Status::invalid_argument(format!(
            "runtime handler {handler:?} is not configured: add [runtimes.{handler}] to rcrun-cri's configuration"
        ))),
    }
}

/// One request.
struct Pull<'a> {
    store: &'a Store,
    credentials: Option<Credentials>,
    server: String,
    abort: &'a Abort,
}

impl Pull<'_> {
    /// Of a short name's registries the first that has it.
    fn name(&self, name: &Name) -> Result<Image, Status> {
        let settings = Settings::load(&SettingsOptions::from_environment(None)).map_err(error::settings)?;
        let settings = Arc::new(settings);
        let policy = Policy::load(&PolicyFiles::from_environment(None)).map_err(error::policy)?;
        let mut failures = Vec::new();
        for reference in settings.candidates(name).map_err(error::settings)? {
            let reference = reference.or_latest();
            let started = Instant::now();
            match self.reference(&settings, &policy, &reference) {
                Ok(image) => {
                    let (id, seconds) = (&image.id, started.elapsed().as_secs_f32());
                    tracing::info!(image = %reference, %id, seconds, "pulled");
                    return Ok(image);
                }
                Err(Failed::Pull(failure)) => failures.push((reference, failure)),
                Err(Failed::Other(status)) => return Err(status),
            }
        }
        Err(error::pull(name, &failures))
    }

    fn reference(
        &self,
        settings: &Arc<Settings>,
        policy: &Policy,
        reference: &Reference,
    ) -> Result<Image, Failed> {
        let directed = Directed::new(Arc::clone(settings), reference, self.credentials.clone(), &self.server);
        let (timeouts, limits) = (
            Timeouts::from_environment().map_err(error::environment)?,
            Limits::from_environment().map_err(error::environment)?,
        );
        // Of this request alone: it is stopped with it.
        let registry = Registry::new(Arc::new(directed), timeouts, limits.clone());
        self.abort.stops(&registry)?;
        let options = PullOptions {
            platform: None,
            keep_blobs: store::keep_blobs().map_err(error::store)?,
            jobs: JOBS,
            rootless: rcrun::host::in_user_namespace(),
            limits,
        };
        let listener: Listener = Arc::new(|_| ());
        let between = Between { registry: &registry, store: self.store, policy, listener: &listener };
        pull_one(&between, reference, &options).map_err(Failed::Pull)
    }
}

/// Why one name was not pulled.
enum Failed {
    /// Another registry may have it.
    Pull(PullError),
    /// No other would help.
    Other(Status),
}

impl From<Status> for Failed {
    fn from(status: Status) -> Self {
        Self::Other(status)
    }
}

/// How a pull is ended.
#[derive(Default)]
struct Abort(Mutex<State>);

#[derive(Default)]
struct State {
    aborted: bool,
    registry: Option<Registry>,
}

impl Abort {
    /// From now on an abort ends what `registry` does; an error if there was one already.
    fn stops(&self, registry: &Registry) -> Result<(), Status> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.registry = Some(registry.clone());
        match state.aborted {
            true => Err(Status::cancelled("the pull was cancelled")),
            false => Ok(()),
        }
    }

    fn abort(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.aborted = true;
        if let Some(registry) = state.registry.take() {
            registry.stop();
        }
    }
}

struct AbortOnDrop(Arc<Abort>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
