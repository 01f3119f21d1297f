//! `skiff image`: modules in and out of a data directory's image store, with or without a running cluster.

use crate::args::{self, ImageCommand};
use crate::ui::Ui;
use crate::{cluster, paths};
use agent::images::{FileImages, Removed};
use anyhow::{Context as _, Result, bail};

/// Imports, lists or removes.
pub fn command(args: &args::Image) -> Result<()> {
    let ui = Ui::detect(false);
    let dir = paths::data_dir(&args.data)?;
    let store = cluster::open_images(&dir, FileImages::Allow)?;
    match &args.command {
        ImageCommand::Import { file, name } => {
            let image =
                store.import(file, name).with_context(|| format!("cannot import {} as {name}", file.display()))?;
            ui.line(format!(
                "imported {} as {} ({} bytes, {})",
                file.display(),
                image.reference,
                image.size_bytes,
                image.digest
            ));
        }
        ImageCommand::List => list(&store.list().context("cannot list the images")?),
        ImageCommand::Remove { name } => match store.remove(name).with_context(|| format!("cannot remove {name}"))? {
            Removed::Yes => ui.line(format!("removed {name}")),
            Removed::NotThere => bail!("there is no image {name}: `skiff image list` shows what there is"),
        },
    }
    Ok(())
}

fn list(images: &[agent::images::Image]) {
    let width = images.iter().map(|i| i.reference.len()).max().unwrap_or(0).max("IMAGE".len());
    let mut text = format!("{:<width$}  {:<19}  {:>10}\n", "IMAGE", "DIGEST", "SIZE");
    for image in images {
        let digest: String = image.digest.chars().take(19).collect();
        text.push_str(&format!(
            "{:<width$}  {digest:<19}  {:>7} kB\n",
            image.reference,
            image.size_bytes.div_ceil(1000)
        ));
    }
    Ui::data(&text);
}
