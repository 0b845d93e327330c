//! The gRPC server: requests to functions, errors to codes.

mod features;
mod image;
mod listen;
pub mod notify;
mod runtime;
mod serve;
pub mod status;
mod told;

use std::pin::Pin;

use tokio_stream::Stream;
use tonic::Status;

pub use image::ImageCalls;
pub use listen::listen;
pub use runtime::RuntimeCalls;
pub use serve::serve;

/// What an RPC streams.
pub type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// One request, done by one function, and told of in the log.
macro_rules! answer {
    ($method:literal, $self:ident, $request:ident, $call:path) => {{
        let request = $request.into_inner();
        let told = $crate::server::told::Told::begin($method, &$self.0, &request);
        told.end($call(&$self.0, request).await)
    }};
}
use answer;

/// An RPC that is not served yet; docs/cri.md lists them.
fn not_served(name: &str) -> Status {
    Status::unimplemented(format!("{name} is not served by this version of rcrun-cri"))
}
