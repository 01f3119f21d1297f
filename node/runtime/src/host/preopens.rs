//! `wasi:filesystem/preopens`: a guest's mounts, those among them that are made only when it looks.

use wasmtime::component::{HasData, Resource};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemCtxView};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::{WasiCtx, WasiView as _};

use crate::blueprint::open_mounts;
use crate::state::ComponentState;

/// Marker for the linker.
pub(crate) struct Preopens;

impl HasData for Preopens {
    type Data<'a> = View<'a>;
}

pub(crate) struct View<'a>(&'a mut ComponentState);

pub(crate) fn view(state: &mut ComponentState) -> View<'_> {
    View(state)
}

impl preopens::Host for View<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        if let Some(mounts) = self.0.unseen.take() {
            let mut builder = WasiCtx::builder();
            // As text: the end of the guest is told by the root of an error alone.
            open_mounts(&mut builder, &mounts, |_| true).map_err(|error| wasmtime::Error::msg(error.to_string()))?;
            std::mem::swap(self.0.wasi.filesystem(), builder.build().filesystem());
        }
        let view = self.0.ctx();
        let mut files = WasiFilesystemCtxView { ctx: view.ctx.filesystem(), table: view.table };
        preopens::Host::get_directories(&mut files)
    }
}
