//! Paths to endpoints: names with slashes, versions, and what is not served.

use proptest::prelude::*;

use super::*;

fn endpoint(method: &str, path: &str) -> Endpoint {
    route(&method.parse().unwrap(), path)
        .map(|(_, endpoint)| endpoint)
        .unwrap_or_else(|error| panic!("{error}"))
}

fn image(image: &str, verb: ImageVerb) -> Endpoint {
    Endpoint::Image {
        image: image.to_owned(),
        verb,
    }
}

#[test]
fn image_names_may_contain_slashes_ports_and_verbs() {
    assert_eq!(
        endpoint("GET", "/v1.41/images/json"),
        Endpoint::Images(ImagesEndpoint::List)
    );
    assert_eq!(
        endpoint("GET", "/images/alpine/json"),
        image("alpine", ImageVerb::Inspect)
    );
    assert_eq!(
        endpoint("POST", "/v1.47/images/localhost:5000/a/b/push"),
        image("localhost:5000/a/b", ImageVerb::Push)
    );
    assert_eq!(
        endpoint("GET", "/images/get/json"),
        image("get", ImageVerb::Inspect)
    );
    assert_eq!(
        endpoint("GET", "/images/a%2Fb@sha256:00/get"),
        image("a/b@sha256:00", ImageVerb::Save)
    );
    assert_eq!(
        endpoint("GET", "/images/a+b%20c/json"),
        image("a+b c", ImageVerb::Inspect),
        "only in a query does a plus stand for a space"
    );
    assert_eq!(
        endpoint("DELETE", "/images/a/json"),
        image("a/json", ImageVerb::Remove)
    );
    assert_eq!(
        endpoint("GET", "/distribution/r.example/a/b:1/json"),
        Endpoint::Distribution {
            image: "r.example/a/b:1".to_owned()
        }
    );
}

#[test]
fn the_version_is_taken_from_the_path_or_is_the_newest() {
    let version = |path| route(&Method::GET, path).unwrap().0;
    assert_eq!(version("/v1.30/info").to_string(), "1.30");
    assert_eq!(version("/info"), ApiVersion::NEWEST);
    assert!(matches!(
        route(&Method::GET, "/v1.99/info"),
        Err(RouteError::Version(_))
    ));
}

#[test]
fn containers_and_execs() {
    let of = |verb| Endpoint::Container {
        container: "web".to_owned(),
        verb,
    };
    assert_eq!(
        endpoint("POST", "/v1.41/containers/web/attach"),
        of(ContainerVerb::Attach)
    );
    assert_eq!(
        endpoint("HEAD", "/containers/web/archive"),
        of(ContainerVerb::ArchiveStat)
    );
    assert_eq!(endpoint("DELETE", "/containers/web"), of(ContainerVerb::Remove));
    assert_eq!(
        endpoint("POST", "/exec/ab/start"),
        Endpoint::Exec {
            exec: "ab".to_owned(),
            verb: ExecVerb::Start
        }
    );
    assert_eq!(
        endpoint("POST", "/networks/n/connect"),
        Endpoint::Network {
            network: "n".to_owned(),
            verb: NetworkVerb::Connect
        }
    );
}

#[test]
fn what_is_not_served_says_so_in_three_ways() {
    let grpc = route(&Method::POST, "/grpc").unwrap_err().to_string();
    assert!(
        grpc.contains("POST /grpc") && grpc.contains("DOCKER_BUILDKIT=0"),
        "{grpc}"
    );
    assert!(matches!(
        route(&Method::DELETE, "/info"),
        Err(RouteError::Method { .. })
    ));
    assert!(matches!(
        route(&Method::GET, "/"),
        Err(RouteError::Unknown { .. })
    ));
    assert!(matches!(
        route(&Method::GET, &"/a".repeat(5000)),
        Err(RouteError::Unknown { .. })
    ));
}

proptest! {
    #[test]
    fn any_path_has_an_answer(path in "(/(v1\\.[0-9]{1,3}|images|containers|json|%[0-9a-z]{0,2}|\\PC{0,8})){0,6}/?") {
        for method in [Method::GET, Method::POST, Method::DELETE, Method::PATCH] {
            let _ = route(&method, &path);
        }
    }

    #[test]
    fn an_image_s_name_comes_out_as_it_went_in(name in "[a-z0-9]{1,8}(:[0-9]{1,5})?(/[a-z0-9._-]{1,12}){0,4}") {
        let path = format!("/v1.41/images/{name}/json");
        // "json" after "images" alone is the list.
        prop_assert_eq!(endpoint("GET", &path), image(&name, ImageVerb::Inspect));
    }
}

/// What is found is the same with and without a version, and what is said of what is not stays short.
#[test]
fn foreign_paths() {
    let seeds = [
        "/v1.41/containers/abc/json",
        "/v1.47/images/registry.example:5000/a/b/c:tag/push",
        "/exec/0123/start",
        "/networks/ci/disconnect",
        "/volumes/prune",
        "/distribution/a/b/json",
        "/v1.24/images/a%2Fb/json",
        "//_ping/",
    ];
    shipway_testkit::Foreign::near(seeds).check_text(|path| {
        for method in ["GET", "POST", "DELETE", "PUT", "HEAD"] {
            let method: Method = method.parse().unwrap();
            match route(&method, path) {
                Ok((_, endpoint)) => {
                    let versioned = path.split('/').find(|segment| !segment.is_empty());
                    if versioned.is_some_and(|first| ApiVersion::from_segment(first).is_none())
                        && path.len() + 6 <= LONGEST_PATH
                    {
                        let again = route(&method, &format!("/v1.41/{path}"));
                        assert_eq!(again.unwrap().1, endpoint);
                    }
                }
                Err(error) => assert!(error.to_string().len() < 4096),
            }
        }
    });
}
