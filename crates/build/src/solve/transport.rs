//! Caches to and from elsewhere, at both ends of a build.

use std::sync::Arc;

use shipway_registry::{PushProgress, RegistryCredentials};

use super::builder::{Builder, platforms};
use crate::cache::{CacheExport, CacheExportError, CacheExported, CacheSteps, Exporter, Imports};
use crate::request::BuildRequest;

impl Builder {
    /// Writes down what a build went through, for later builds to import. Called when the image is where it shall be; what fails here
    /// touches neither it nor the cache that is there already.
    ///
    /// # Errors
    /// When a place does not take it, or a layer that was only imported so far cannot be had.
    pub async fn export_cache(
        &self,
        export: &CacheExport,
        steps: &CacheSteps,
        credentials: Option<&RegistryCredentials>,
        progress: &dyn PushProgress,
    ) -> Result<CacheExported, CacheExportError> {
        let exporter = Exporter {
            runtime: &self.runtime,
            store: &self.store,
            client: &self.client,
            steps,
        };
        exporter.export(export, credentials, progress).await
    }

    /// The caches that a build shall look into.
    pub(super) async fn imports(&self, request: &BuildRequest) -> Arc<Imports> {
        if request.no_cache || request.cache_from.is_empty() {
            return Arc::default();
        }
        let platforms = platforms(request);
        let imports = Imports::open(
            &request.cache_from,
            &self.client,
            &*request.credentials,
            &self.store,
            &platforms,
        );
        Arc::new(imports.await)
    }
}
