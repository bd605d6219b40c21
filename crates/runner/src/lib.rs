//! One job, start to end: sources, images, services, engine, scripts, trace, artifacts.
