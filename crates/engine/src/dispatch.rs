//! From a request to its handler and back, with the headers that every answer carries.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, SERVER};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;

use crate::engine::Inner;
use crate::failure::Failure;
use crate::hijack::Hijack;
use crate::intake;
use crate::query::Query;
use crate::reply::{self, Reply};
use crate::route::{
    CollectionVerb, ContainerVerb, ContainersEndpoint, Endpoint, ExecVerb, ImageVerb, ImagesEndpoint,
    NetworkVerb, RouteError, VolumeVerb, route,
};
use crate::system;
use crate::version::ApiVersion;

const API_VERSION: HeaderName = HeaderName::from_static("api-version");
const OS_TYPE: HeaderName = HeaderName::from_static("ostype");
const EXPERIMENTAL: HeaderName = HeaderName::from_static("docker-experimental");

/// A request whose endpoint is known.
pub(crate) struct Call {
    pub(crate) version: ApiVersion,
    pub(crate) query: Query,
    pub(crate) request: Request<Incoming>,
}

pub(crate) async fn answer(engine: Arc<Inner>, request: Request<Incoming>) -> Reply {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let outcome = match route(&method, &path) {
        Ok((version, endpoint)) => {
            let query = Query::parse(request.uri().query().unwrap_or_default());
            // The query may hold build arguments: secrets, sometimes. It is not logged.
            tracing::debug!(%method, path, "request");
            let call = Call {
                version,
                query,
                request,
            };
            if must_end(&endpoint) {
                let task = tokio::spawn(async move { dispatch(&engine, endpoint, call).await });
                task.await
                    .unwrap_or_else(|_| Err(Failure::internal("the request ended early: this is a bug")))
            } else {
                Box::pin(dispatch(&engine, endpoint, call)).await
            }
        }
        Err(error) => {
            intake::drain(request.into_body()).await;
            Err(match error {
                RouteError::Version(_) => Failure::bad_request(error.to_string()),
                RouteError::Unknown { .. } => Failure::not_found(error.to_string()),
                RouteError::Method { .. } => Failure::method_not_allowed(error.to_string()),
            })
        }
    };
    let mut reply = outcome.unwrap_or_else(|failure| {
        tracing::debug!(%method, path, status = failure.status().as_u16(), message = failure.message(), "refused");
        reply::failure(&failure)
    });
    let newest = HeaderValue::from_str(&ApiVersion::NEWEST.to_string());
    let headers = reply.headers_mut();
    headers.insert(API_VERSION, newest.unwrap_or(HeaderValue::from_static("1.47")));
    headers.insert(OS_TYPE, HeaderValue::from_static("linux"));
    headers.insert(EXPERIMENTAL, HeaderValue::from_static("false"));
    headers.insert(SERVER, HeaderValue::from_static(system::SERVER_HEADER));
    if reply.status() == StatusCode::NO_CONTENT || reply.status() == StatusCode::NOT_MODIFIED {
        reply.headers_mut().remove(CONTENT_LENGTH);
    }
    reply
}

/// Whether a request is carried out though its client goes away in the middle: half of it would leave what nobody knows of, as a
/// container without a name or a process that is said not to run.
fn must_end(endpoint: &Endpoint) -> bool {
    matches!(
        endpoint,
        Endpoint::Containers(ContainersEndpoint::Create | ContainersEndpoint::Prune)
            | Endpoint::Container {
                verb: ContainerVerb::Start | ContainerVerb::Restart | ContainerVerb::Remove,
                ..
            }
            | Endpoint::Exec {
                verb: ExecVerb::Start,
                ..
            }
    )
}

async fn dispatch(engine: &Arc<Inner>, endpoint: Endpoint, call: Call) -> Result<Reply, Failure> {
    if !matches!(endpoint, Endpoint::Ping | Endpoint::Version) {
        engine.revive().await?;
    }
    match endpoint {
        Endpoint::Ping => Ok(system::ping(call.request.method() == Method::HEAD)),
        Endpoint::Version => Ok(reply::json(StatusCode::OK, &system::version())),
        Endpoint::Info => engine.info().await,
        Endpoint::Auth => engine.log_in(call).await,
        Endpoint::Events => engine.events.listen(&call.query),
        Endpoint::DiskUsage => engine.disk_usage().await,
        Endpoint::Build => engine.build(call).await,
        Endpoint::BuildCancel => Ok(reply::empty(StatusCode::OK)),
        Endpoint::Session => session(call).await,
        Endpoint::BuildPrune => system::prune_build_cache(&call.query),
        Endpoint::Commit => Err(Failure::not_implemented(
            "docker commit is not possible here: write the steps into a Dockerfile and build it",
        )),
        Endpoint::Distribution { image } => engine.distribution(&image, &call).await,
        Endpoint::Images(ImagesEndpoint::List) => engine.list_images(&call).await,
        Endpoint::Images(ImagesEndpoint::Create) => engine.create_image(call).await,
        Endpoint::Images(ImagesEndpoint::Load) => engine.load_images(call).await,
        Endpoint::Images(ImagesEndpoint::Save) => {
            engine
                .save_images(call.query.all("names").map(str::to_owned).collect())
                .await
        }
        Endpoint::Images(ImagesEndpoint::Search) => Err(Failure::not_implemented(
            "docker search is not possible here: pull an image by its name, or look for it on its registry's own pages",
        )),
        Endpoint::Images(ImagesEndpoint::Prune) => engine.prune_images(&call).await,
        Endpoint::Image { image, verb } => match verb {
            ImageVerb::Inspect => engine.inspect_image(&image, call.version).await,
            ImageVerb::History => engine.image_history(&image).await,
            ImageVerb::Push => engine.push_image(&image, call).await,
            ImageVerb::Tag => engine.tag_image(&image, &call.query).await,
            ImageVerb::Save => engine.save_images(vec![image]).await,
            ImageVerb::Remove => engine.remove_image(&image, &call.query).await,
        },
        Endpoint::Containers(ContainersEndpoint::List) => {
            let query = call.query;
            engine
                .describe(move |engine| engine.list_containers(&query))
                .await
        }
        Endpoint::Containers(ContainersEndpoint::Create) => engine.create_container(call).await,
        Endpoint::Containers(ContainersEndpoint::Prune) => engine.prune_containers(&call.query).await,
        Endpoint::Container { container, verb } => on_container(engine, &container, verb, call).await,
        Endpoint::Exec { exec, verb } => match verb {
            ExecVerb::Start => engine.start_exec(&exec, call).await,
            ExecVerb::Resize => engine.resize_exec(&exec, &call.query).await,
            ExecVerb::Inspect => engine.inspect_exec(&exec),
        },
        Endpoint::Networks(CollectionVerb::List) => engine.list_networks(&call.query),
        Endpoint::Networks(CollectionVerb::Create) => engine.create_network(call).await,
        Endpoint::Networks(CollectionVerb::Prune) => engine.prune_networks(&call.query),
        Endpoint::Network { network, verb } => match verb {
            NetworkVerb::Inspect => engine.inspect_network(&network),
            NetworkVerb::Connect => engine.connect_network(&network, call).await,
            NetworkVerb::Disconnect => engine.disconnect_network(&network, call).await,
            NetworkVerb::Remove => engine.remove_network(&network),
        },
        Endpoint::Volumes(CollectionVerb::List) => engine.list_volumes(&call.query),
        Endpoint::Volumes(CollectionVerb::Create) => engine.create_volume(call).await,
        Endpoint::Volumes(CollectionVerb::Prune) => engine.prune_volumes(&call.query).await,
        Endpoint::Volume { volume, verb } => match verb {
            VolumeVerb::Inspect => engine.inspect_volume(&volume),
            VolumeVerb::Remove => engine.remove_volume(&volume, &call.query).await,
        },
    }
}

/// A BuildKit session is taken only so that the refusal of the build that follows it is read: clients do not show the
/// words of a session that is refused.
async fn session(mut call: Call) -> Result<Reply, Failure> {
    match Hijack::take(&mut call.request) {
        Some(hijack) => Ok(hijack.hold()),
        None => {
            intake::drain(call.request.into_body()).await;
            Err(Failure::bad_request("a session needs an upgrade to h2c"))
        }
    }
}

async fn on_container(
    engine: &Arc<Inner>,
    container: &str,
    verb: ContainerVerb,
    call: Call,
) -> Result<Reply, Failure> {
    let absent = |what: &str| {
        Err(Failure::not_implemented(format!(
            "docker {what} is not possible here"
        )))
    };
    match verb {
        ContainerVerb::ArchivePut => engine.put_archive(container, call).await,
        verb => {
            let record = engine.containers.find(container)?;
            match verb {
                ContainerVerb::Inspect => {
                    engine
                        .describe(move |engine| engine.inspect_container(&record))
                        .await
                }
                ContainerVerb::Logs => engine.logs(&record, &call).await,
                ContainerVerb::Attach => engine.attach(&record, call).await,
                ContainerVerb::Wait => engine.wait(&record, &call.query),
                ContainerVerb::Start => engine.start_container(&record).await,
                ContainerVerb::Stop => engine.stop_container(&record, &call.query).await,
                ContainerVerb::Restart => engine.restart_container(&record, &call.query).await,
                ContainerVerb::Kill => engine.kill_container(&record, &call.query).await,
                ContainerVerb::Resize => engine.resize_container(&record, &call.query).await,
                ContainerVerb::Rename => engine.rename_container(&record, &call.query),
                ContainerVerb::Update => Ok(system::ignored_update()),
                ContainerVerb::CreateExec => engine.create_exec(&record, call).await,
                ContainerVerb::Remove => engine.remove_container(&record, &call.query).await,
                ContainerVerb::Export => engine.export_container(&record).await,
                ContainerVerb::ArchiveStat => engine.stat_archive(&record, &call.query).await,
                ContainerVerb::ArchiveGet => engine.get_archive(&record, &call.query).await,
                ContainerVerb::Top => engine.top(&record, &call.query).await,
                ContainerVerb::Changes => absent("diff"),
                ContainerVerb::Stats => absent("stats"),
                ContainerVerb::Pause => absent("pause"),
                ContainerVerb::Unpause => absent("unpause"),
                ContainerVerb::ArchivePut => absent("cp"),
            }
        }
    }
}
