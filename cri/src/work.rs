//! Where the work of a request is done.

use tonic::Status;

/// Does work that must not be cut in the middle: a request's own future ends with its client.
pub async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Status>> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|error| Err(Status::internal(format!("the request's task: {error}"))))
}

/// Does what blocks (files, netlink, registries) beside the threads that answer requests, and to its end.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Status::internal(format!("the request's thread: {error}"))))
}
