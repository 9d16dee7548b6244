//! Calls of the journal's storage from async code. They block, and some bring a runtime of their own, so they run
//! where neither matters. Absent: what is called.

use journal_store::StoreError;

/// Runs `call` on a thread for blocking calls, which inherits the priority of the one that asks.
pub(crate) async fn storage<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(call).await {
        Ok(result) => result,
        // It panicked, which the panic's own message explains, or the runtime is going down.
        Err(error) => Err(StoreError::OutOfService { cause: error.to_string() }),
    }
}
