//! After a start: what the last process left is found, finished or cleaned up.

use std::sync::Arc;

use crate::runtime::Runtime;
use crate::{container, image, sandbox};

pub use crate::sandbox::{Unfinished, finish};

/// Makes memory, disk and kernel agree before the first request is served. Pods first: whether a container's Pod is still
/// there decides nothing here, but its network does in there. What is left is for [`finish`], which goes on beside requests.
pub async fn recover(runtime: &Arc<Runtime>) -> anyhow::Result<Unfinished> {
    let unfinished = sandbox::recover(runtime).await?;
    container::recover(runtime).await?;
    image::collect_left(runtime);
    Ok(unfinished)
}
