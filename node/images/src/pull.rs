//! Pulling an image.

use crate::error::ImageError;
use crate::keyring::Keyring;
use crate::record::Image;
use crate::reference::Reference;
use crate::store::ImageStore;

impl ImageStore {
    /// Fetches the image of this name, whether or not one is here; callers that want the same share one pull.
    ///
    /// # Errors
    /// Any [`ImageError`]; its `reason()` is what a waiting container shows.
    pub async fn pull(&self, name: &str, keyring: &Keyring) -> Result<Image, ImageError> {
        let reference = Reference::parse(name)?;
        let _ = keyring;
        Err(ImageError::Registry { reference: reference.to_string(), why: "not yet".to_owned() })
    }
}
