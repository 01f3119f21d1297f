//! Pulling an image: name → manifest → module → store.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use tokio::time::timeout;

use crate::blob::Staged;
use crate::error::ImageError;
use crate::keyring::{Credentials, Keyring};
use crate::manifest::{ContainerConfig, Descriptor, Manifest, Packing, Plan};
use crate::record::{Image, ImageConfig, Record};
use crate::reference::{Reference, RegistryReference};
use crate::registry::Repository;
use crate::rootfs::{UnpackError, Unpacker, find};
use crate::store::{ImageStore, Inner, check_wasm, image_id};

/// The largest image configuration.
const MAX_CONFIG: u64 = 1 << 20;
/// An index may lead to another index, no deeper.
const MAX_INDEXES: usize = 2;

impl ImageStore {
    /// Fetches the image of this name, whether or not one is here; callers that want the same share one pull, which
    /// goes on when they leave. Credentials of the keyring are tried in order; without any for the registry the pull
    /// is anonymous. For `file://` the file is read again.
    ///
    /// # Errors
    /// Any [`ImageError`]; its `reason()` is what a waiting container shows.
    pub async fn pull(&self, name: &str, keyring: &Keyring) -> Result<Image, ImageError> {
        let reference = Reference::parse(name)?;
        let inner = Arc::clone(&self.inner);
        let key = (reference.to_string(), keyring.clone());
        let keyring = keyring.clone();
        let pull = async move {
            let limit = inner.config.pull_timeout;
            let pulled = timeout(limit, inner.fetch(&reference, &keyring)).await;
            pulled.unwrap_or_else(|_| Err(ImageError::TimedOut { reference: reference.to_string(), limit }))
        };
        self.inner.flights.join(key, pull).await
    }
}

impl Inner {
    async fn fetch(self: &Arc<Self>, reference: &Reference, keyring: &Keyring) -> Result<Image, ImageError> {
        let _permit = self.pulls.acquire().await.map_err(|_closed| ImageError::Aborted)?;
        match reference {
            Reference::File(path) => {
                self.check_file_allowed(&reference.to_string())?;
                let (path, reference) = (path.clone(), reference.clone());
                self.blocking(move |inner| inner.import_file(&path, &reference).map(|(image, _)| image)).await
            }
            Reference::Registry(named) => {
                let mut tries: Vec<Option<Credentials>> = keyring.lookup(named).into_iter().map(Some).collect();
                if tries.is_empty() {
                    tries.push(None);
                }
                let mut refused = ImageError::Aborted;
                for credentials in tries {
                    match self.fetch_as(named, credentials).await {
                        Err(error @ ImageError::Unauthorized { .. }) => refused = error,
                        done => return done,
                    }
                }
                Err(refused)
            }
        }
    }

    async fn fetch_as(
        self: &Arc<Self>,
        named: &RegistryReference,
        credentials: Option<Credentials>,
    ) -> Result<Image, ImageError> {
        let repository = Repository::new(&self.config, named, credentials)?;
        let pull = Pull { store: self, named, name: named.to_string(), repository };
        let (mut bytes, digest) = pull.repository.manifest(None).await?;
        for _ in 0..=MAX_INDEXES {
            match pull.plan(&bytes)? {
                Plan::Follow(next) => (bytes, _) = pull.repository.manifest(Some(&next.digest)).await?,
                Plan::Module(layer) => return pull.module(&layer, &digest).await,
                Plan::Container { config, layers } => return pull.container(&config, layers, &digest).await,
            }
        }
        Err(pull.not_wasm("its index leads to nothing but indexes".to_owned()))
    }

    /// Runs what waits for the disk where waiting harms nobody.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, ImageError> + Send + 'static,
    ) -> Result<T, ImageError> {
        let inner = Arc::clone(self);
        let span = tracing::Span::current();
        let done = tokio::task::spawn_blocking(move || span.in_scope(|| work(&inner))).await;
        done.unwrap_or(Err(ImageError::Aborted))
    }
}

/// One pull from a registry.
struct Pull<'a> {
    store: &'a Arc<Inner>,
    named: &'a RegistryReference,
    name: String,
    repository: Repository<'a>,
}

impl Pull<'_> {
    fn plan(&self, manifest: &[u8]) -> Result<Plan, ImageError> {
        let manifest: Manifest = serde_json::from_slice(manifest).map_err(|error| ImageError::Registry {
            reference: self.name.clone(),
            why: format!("bad manifest: {error}"),
        })?;
        manifest.plan().map_err(|why| self.not_wasm(why))
    }

    fn not_wasm(&self, why: String) -> ImageError {
        ImageError::NotWasm { reference: self.name.clone(), why }
    }

    fn record(&self, manifest_digest: &str, module: &Staged) -> Record {
        Record {
            reference: self.name.clone(),
            id: image_id(&Reference::Registry(self.named.clone()), manifest_digest),
            module_digest: module.digest(),
            module_bytes: module.bytes(),
            config: ImageConfig::default(),
            rootfs: None,
            rootfs_bytes: 0,
            source: None,
        }
    }

    /// A Wasm artifact: the layer is the module.
    async fn module(&self, layer: &Descriptor, manifest_digest: &str) -> Result<Image, ImageError> {
        let limit = self.store.config.max_module_bytes;
        let module = self.repository.blob(self.store, layer, "the module", limit).await?;
        check_wasm(&self.name, &module)?;
        let record = self.record(manifest_digest, &module);
        self.store.blocking(move |store| store.commit(module, None, record)).await
    }

    /// A container image: its layers become a folder, and its entrypoint is the module.
    async fn container(
        &self,
        config: &Descriptor,
        layers: Vec<(Descriptor, Packing)>,
        manifest_digest: &str,
    ) -> Result<Image, ImageError> {
        let (program, config) = self.container_config(config).await?;
        let mut archives = Vec::new();
        for (layer, packing) in layers {
            let limit = self.store.config.max_rootfs_bytes;
            archives.push((self.repository.blob(self.store, &layer, "a layer", limit).await?, packing));
        }
        let (name, id) = (self.name.clone(), image_id(&Reference::Registry(self.named.clone()), manifest_digest));
        let folder_name = crate::blob::hex_of(manifest_digest).to_owned();
        let unpack = move |store: &Inner| {
            let folder = store.scratch.folder()?;
            let bytes = unpack(store, &name, folder.path(), archives)?;
            let module = stage_program(store, &name, folder.path(), &program, &config.working_dir)?;
            let record = Record {
                reference: name,
                id,
                module_digest: module.digest(),
                module_bytes: module.bytes(),
                config,
                rootfs: Some(folder_name),
                rootfs_bytes: bytes,
                source: None,
            };
            store.commit(module, Some(folder.path()), record)
        };
        self.store.blocking(unpack).await
    }

    async fn container_config(&self, config: &Descriptor) -> Result<(String, ImageConfig), ImageError> {
        let staged = self.repository.blob(self.store, config, "the configuration", MAX_CONFIG).await?;
        let mut json = Vec::new();
        staged.reader()?.read_to_end(&mut json).map_err(ImageError::store("reading", &self.store.config.dir))?;
        let config: ContainerConfig = serde_json::from_slice(&json)
            .map_err(|error| self.not_wasm(format!("its configuration cannot be read: {error}")))?;
        config.program().map_err(|why| self.not_wasm(why))
    }
}

/// Unpacks all layers; returns the bytes of their files.
fn unpack(store: &Inner, name: &str, folder: &Path, archives: Vec<(Staged, Packing)>) -> Result<u64, ImageError> {
    let mut unpacker = Unpacker::new(folder, store.config.max_rootfs_bytes, store.config.max_rootfs_entries);
    for (archive, packing) in archives {
        unpacker.layer(archive.reader()?, packing).map_err(|error| match error {
            UnpackError::TooLarge(limit) => {
                ImageError::TooLarge { reference: name.to_owned(), what: "its file system", limit }
            }
            UnpackError::Write { path, source } => ImageError::store("unpacking", path)(source),
            other => ImageError::InvalidLayer { reference: name.to_owned(), why: other.to_string() },
        })?;
    }
    Ok(unpacker.bytes())
}

/// The image's program, copied to where modules are kept.
fn stage_program(
    store: &Inner,
    name: &str,
    root: &Path,
    program: &str,
    working_dir: &str,
) -> Result<Staged, ImageError> {
    let not_wasm = |why| ImageError::NotWasm { reference: name.to_owned(), why };
    let path = find(root, &Path::new(working_dir).join(program))
        .map_err(|error| not_wasm(format!("its entrypoint {program:?} is not in it: {error}")))?;
    if !path.is_file() {
        return Err(not_wasm(format!("its entrypoint {program:?} is not a file")));
    }
    let mut file = File::open(&path).map_err(ImageError::read(&path))?;
    let mut staged = Staged::new(&store.scratch, store.config.max_module_bytes)?;
    let mut buffer = vec![0; 128 << 10];
    loop {
        let count = file.read(&mut buffer).map_err(ImageError::read(&path))?;
        if count == 0 {
            break;
        }
        staged.write(&buffer[..count]).map_err(|error| store.stage_error(name, "the module", error))?;
    }
    check_wasm(name, &staged)?;
    Ok(staged)
}
