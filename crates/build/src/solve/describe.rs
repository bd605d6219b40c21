//! What a Dockerfile offers, without building it. Base images are asked for their variables; one that is not to be had leaves
//! them empty.

use super::builder::Builder;
use super::source::Source;
use crate::dockerfile::{Dockerfile, parse};
use crate::error::BuildError;
use crate::outline::{Outline, Target, outline, targets};
use crate::plan::{GlobalArguments, Names, Plan, Wanted};
use crate::request::BuildRequest;

/// A Dockerfile and what was asked of it.
#[derive(Debug, Clone)]
pub struct Described<T> {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The answer.
    pub answer: T,
}

impl Builder {
    /// The targets of a Dockerfile, in its order.
    ///
    /// # Errors
    /// When the context or the Dockerfile cannot be read or parsed.
    pub async fn targets(&self, request: BuildRequest) -> Result<Described<Vec<Target>>, BuildError> {
        let (source, file) = self.parsed(&self.fetched(request).await?).await?;
        Ok(Described {
            bytes: source.bytes,
            answer: targets(&file),
        })
    }

    /// What the target of a build takes; of several platforms, for the first.
    ///
    /// # Errors
    /// When the context or the Dockerfile cannot be read, or the Dockerfile cannot be built as written.
    pub async fn outline(&self, request: BuildRequest) -> Result<Described<Outline>, BuildError> {
        let request = self.fetched(request).await?;
        let (source, file) = self.parsed(&request).await?;
        let platform = super::builder::platforms(&request).swap_remove(0);
        let target = request.target.as_deref();
        let arguments = GlobalArguments::new(&file, &request.build_args, &platform, target)?;
        let names = Names {
            file: &file,
            arguments: &arguments,
            contexts: &request.contexts,
            platform: &platform,
        };
        let plan = Plan::new(names, &target.map_or(Wanted::Last, Wanted::Named))?;
        let found = self.bases(&plan, &request, &platform).await;
        Ok(Described {
            bytes: source.bytes,
            answer: outline(names, &plan, &found.bases)?,
        })
    }

    async fn parsed(&self, request: &BuildRequest) -> Result<(Source, Dockerfile), BuildError> {
        let reading = request.clone();
        let reading = tokio::task::spawn_blocking(move || Source::read(&reading));
        let source = reading.await.map_err(|_| BuildError::Interrupted)??;
        let file = parse(&source.bytes, &source.name)?;
        Ok((source, file))
    }
}
