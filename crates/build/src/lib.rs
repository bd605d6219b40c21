//! Dockerfile to image.
//!
//! The folders read like the pipeline they are:
//!
//! 1. [`dockerfile`] turns text into typed instructions, pure and total;
//! 2. `plan` finds the stages that the target needs and says what a cache key is made of, pure;
//! 3. [`ignore`] and [`context`] are the files a build may see;
//! 4. `solve` runs what the cache does not know;
//! 5. `gzip` and `export` make layers and the image out of the results, the same bytes every time.

pub mod context;
pub mod dockerfile;
mod gzip;
pub mod ignore;
mod plan;
