//! A command: one instance, from its entry point to its exit.

use std::sync::Arc;

use wasmtime::{InstancePre, Store};
use wasmtime_wasi::p2::bindings::CommandPre;

use crate::Exit;
use crate::container::{EndOnDrop, Shared};
use crate::state::{ComponentState, CoreState, settle_fuel};

/// Runs a command and tells how it ended.
pub(crate) async fn supervise(shared: Arc<Shared>, guest: impl Future<Output = Result<(), Exit>>) {
    let end = EndOnDrop(shared.clone());
    let exit = shared.run(guest).await.err().unwrap_or_else(|| Exit::code(0));
    shared.end(exit);
    drop(end);
}

/// A preview-1 core module: `_start`.
pub(crate) async fn core(mut store: Store<CoreState>, pre: InstancePre<CoreState>) -> Result<(), Exit> {
    let result = async {
        let instance = pre.instantiate_async(&mut store).await?;
        let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
        start.call_async(&mut store, ()).await
    }
    .await;
    settle_fuel(&store);
    result.map_err(|error| Exit::from_error(&error))
}

/// A component: `wasi:cli/run`, whose error carries no code of its own.
pub(crate) async fn component(mut store: Store<ComponentState>, pre: CommandPre<ComponentState>) -> Result<(), Exit> {
    let result = async {
        let command = pre.instantiate_async(&mut store).await?;
        command.wasi_cli_run().call_run(&mut store).await
    }
    .await;
    settle_fuel(&store);
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(())) => Err(Exit::code(1)),
        Err(error) => Err(Exit::from_error(&error)),
    }
}
