//! Work that may wait, in a daemon whose runtime has one thread.
//! Never ends what it has begun; a panic in it is one of whoever waits.

/// Runs what may wait apart from the thread that listens for signals.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    }
}
