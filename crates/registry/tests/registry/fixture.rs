//! Registries on port 0 in directories of their own, and images made on the spot.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rand::{Rng, SeedableRng, rngs::StdRng};
use shipway_access::{Access, Secret};
use shipway_oci::{
    Descriptor, Digest, ImageManifest, Manifest, Reference, RegistryName, RepositoryName, media_type,
};
use shipway_registry::{
    Authority, BlobProgress, Client, ClientOptions, PullProgress, PushProgress, RegistryCredentials, Server,
    ServerOptions, Timeouts,
};
use shipway_store::{ManifestWrite, Scope, Store};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// A store in a directory that goes when it is dropped.
pub(crate) struct Place {
    pub(crate) store: Store,
    _directory: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        Self {
            store: Store::open(&directory.path().join("store")).unwrap(),
            _directory: directory,
        }
    }
}

/// A registry, maybe on a socket.
pub(crate) struct Registry {
    pub(crate) authority: Authority,
    pub(crate) server: Server,
    place: Place,
}

impl Registry {
    pub(crate) fn new() -> Self {
        let place = Place::new();
        let access = Access::new(place.store.clone()).unwrap();
        Self::over(Authority::new(place.store.clone(), access), place)
    }

    pub(crate) fn open_to_all() -> Self {
        let Self { authority, place, .. } = Self::new();
        Self::over(authority.with_anonymous_pull(), place)
    }

    fn over(authority: Authority, place: Place) -> Self {
        let server = Server::new(authority.clone(), ServerOptions::default());
        Self {
            authority,
            server,
            place,
        }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.place.store
    }

    /// Serves on a port of its own until the test ends; gives its address.
    pub(crate) async fn listen(&self, tls: Option<Arc<rustls::ServerConfig>>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = self.server.clone();
        tokio::spawn(async move { server.serve(listener, tls, std::future::pending::<()>()).await });
        address
    }

    pub(crate) async fn name(&self) -> RegistryName {
        self.listen(None).await.to_string().parse().unwrap()
    }

    /// The login of a job of a project.
    pub(crate) fn job(&self, project: &str) -> RegistryCredentials {
        let project: RepositoryName = project.parse().unwrap();
        let secret = self
            .authority
            .access()
            .issue_job_token(&project, 7, Duration::from_secs(600))
            .unwrap();
        RegistryCredentials::new("gitlab-ci-token", secret)
    }

    /// An image of random bytes that a job pushed, and whose blobs are in a place of their own.
    pub(crate) async fn pushed(
        &self,
        layers: &[usize],
        to: &Reference,
        job: &RegistryCredentials,
    ) -> (Place, Image) {
        let from = Place::new();
        let image = Image::random(&from.store, 9, layers, false);
        client()
            .push(&from.store, &image.digest, to, Some(job), &())
            .await
            .unwrap();
        (from, image)
    }

    /// One request with a job's password, without a socket.
    pub(crate) async fn ask(&self, job: &RegistryCredentials, request: Ask) -> Answer {
        self.ask_with(&basic(job), request).await
    }

    pub(crate) async fn ask_with(&self, authorization: &str, request: Ask) -> Answer {
        let mut http = Request::builder().method(request.method).uri(&request.path);
        http = http.header("host", "registry.test:5000");
        if !authorization.is_empty() {
            http = http.header("authorization", authorization);
        }
        for (name, value) in request.headers {
            http = http.header(name, value);
        }
        let response = self
            .server
            .handle(http.body(Full::new(request.body)).unwrap())
            .await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        }
    }

    /// Uploads a blob in one request.
    pub(crate) async fn put_blob(&self, job: &RegistryCredentials, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::sha256(bytes);
        let ask = Ask::post(format!("/v2/{repository}/blobs/uploads/?digest={digest}")).body(bytes.to_vec());
        assert_eq!(self.ask(job, ask).await.status, 201);
        digest
    }

    /// Uploads what an image with these layers needs and gives its manifest's bytes.
    pub(crate) async fn put_image_blobs(
        &self,
        job: &RegistryCredentials,
        repository: &str,
        layers: &[&[u8]],
    ) -> Vec<u8> {
        self.put_blob(job, repository, b"{}").await;
        let config = Descriptor::of(media_type::OCI_CONFIG, b"{}");
        let mut descriptors = Vec::new();
        for layer in layers {
            self.put_blob(job, repository, layer).await;
            descriptors.push(Descriptor::of(media_type::OCI_LAYER_TAR, layer));
        }
        Manifest::Image(ImageManifest::new(config, descriptors))
            .to_json()
            .unwrap()
    }
}

pub(crate) fn basic(credentials: &RegistryCredentials) -> String {
    use base64::Engine;
    let pair = format!("{}:{}", credentials.username, credentials.password.expose());
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

/// A request.
#[derive(Clone)]
pub(crate) struct Ask {
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Ask {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn head(path: impl Into<String>) -> Self {
        Self::new(Method::HEAD, path)
    }

    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    pub(crate) fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    pub(crate) fn patch(path: impl Into<String>) -> Self {
        Self::new(Method::PATCH, path)
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn manifest(self, media_type: &str, bytes: &[u8]) -> Self {
        self.header("content-type", media_type).body(bytes.to_vec())
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The code of the error that it holds.
    pub(crate) fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap().to_owned()
    }
}

/// Settings under which a test that is refused does not wait.
pub(crate) fn impatient() -> ClientOptions {
    ClientOptions {
        timeouts: Timeouts {
            pause: Duration::from_millis(1),
            ..Timeouts::default()
        },
        certificate_directories: Vec::new(),
        ..ClientOptions::default()
    }
}

pub(crate) fn client() -> Client {
    Client::new(impatient()).unwrap()
}

pub(crate) fn reference(registry: &RegistryName, rest: &str) -> Reference {
    Reference::parse(&format!("{registry}/{rest}")).unwrap()
}

/// An image of random bytes.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) digest: Digest,
    pub(crate) manifest: ImageManifest,
    pub(crate) blobs: BTreeMap<Digest, Vec<u8>>,
}

impl Image {
    /// Made in a store, unnamed but held by the user's scope.
    pub(crate) fn random(store: &Store, seed: u64, sizes: &[usize], docker: bool) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut blobs = BTreeMap::new();
        let (config_type, layer_type, manifest_type) = match docker {
            true => (
                media_type::DOCKER_CONFIG,
                media_type::DOCKER_LAYER_GZIP,
                media_type::DOCKER_MANIFEST,
            ),
            false => (
                media_type::OCI_CONFIG,
                media_type::OCI_LAYER_ZSTD,
                media_type::OCI_MANIFEST,
            ),
        };
        let mut put = |bytes: Vec<u8>, kind: &str| {
            let info = store.put_blob(&bytes).unwrap();
            blobs.insert(info.digest.clone(), bytes);
            Descriptor::new(kind, info.digest, info.size)
        };
        let config = serde_json::json!({ "architecture": "amd64", "os": "linux", "seed": seed });
        let config = put(serde_json::to_vec(&config).unwrap(), config_type);
        let layers = sizes
            .iter()
            .map(|size| {
                let mut bytes = vec![0; *size];
                random.fill(&mut bytes[..]);
                put(bytes, layer_type)
            })
            .collect();
        let mut manifest = ImageManifest::new(config, layers);
        manifest.media_type = Some(manifest_type.to_owned());
        let bytes = Manifest::Image(manifest.clone()).to_json().unwrap();
        let digest = hold(store, bytes, manifest_type);
        Self {
            digest,
            manifest,
            blobs,
        }
    }

    /// All bytes are in a store.
    pub(crate) fn assert_in(&self, store: &Store) {
        for (digest, bytes) in &self.blobs {
            let found = store.read_blob(digest, 1 << 30).unwrap();
            assert!(found == *bytes, "{digest} differs");
        }
    }
}

/// Holds a manifest in the user's scope.
pub(crate) fn hold(store: &Store, bytes: Vec<u8>, media_type: &str) -> Digest {
    let mut write = ManifestWrite::new(Some(media_type), bytes).unwrap();
    write.references = write.references.sparse();
    store.put_unnamed_image(&Scope::user(), &write).unwrap();
    write.digest
}

/// Writes down how blobs moved.
#[derive(Default)]
pub(crate) struct Journal {
    entries: Mutex<Vec<(Digest, BlobProgress)>>,
}

impl Journal {
    fn note(&self, blob: &Descriptor, progress: BlobProgress) {
        self.entries.lock().unwrap().push((blob.digest.clone(), progress));
    }

    pub(crate) fn count(&self, wanted: BlobProgress) -> usize {
        self.entries
            .lock()
            .unwrap()
            .iter()
            .filter(|(_, progress)| *progress == wanted)
            .count()
    }
}

impl PullProgress for Journal {
    fn blob(&self, blob: &Descriptor, progress: BlobProgress) {
        self.note(blob, progress);
    }
}

impl PushProgress for Journal {
    fn blob(&self, blob: &Descriptor, progress: BlobProgress) {
        self.note(blob, progress);
    }
}

/// A server that answers as a test wants; gives its address.
pub(crate) async fn serve_as(
    answer: impl Fn(Request<Bytes>) -> Response<Full<Bytes>> + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = Arc::clone(&answer);
            let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                let answer = Arc::clone(&answer);
                async move {
                    let (head, body) = request.into_parts();
                    let body = body
                        .collect()
                        .await
                        .map(|body| body.to_bytes())
                        .unwrap_or_default();
                    Ok::<_, std::convert::Infallible>(answer(Request::from_parts(head, body)))
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    address
}

pub(crate) fn respond(
    status: u16,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(StatusCode::from_u16(status).unwrap());
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Full::new(body.into())).unwrap()
}

pub(crate) fn secret(text: &str) -> Secret {
    Secret::from(text.to_owned())
}
