//! `image` and `services`.

use super::{
    Context,
    keyword::{self, Place},
    read::given,
    variables::{self as yaml_variables, Level},
};
use crate::{
    pipeline::{Image, Service},
    yaml::{Mapping, Node, Value},
};

const PULL_POLICIES: &[(&str, &str)] = &[
    ("always", "always"),
    ("if-not-present", "if-not-present"),
    ("never", "never"),
];

pub(super) fn image(context: &mut Context<'_>, node: &Node) -> Option<Image> {
    match &node.value {
        Value::Mapping(mapping) => {
            keyword::check(context, Place::Image, mapping);
            named(context, mapping, node, "image")
        }
        _ => context.text(node, "image").map(|name| Image {
            name,
            ..Image::default()
        }),
    }
}

/// What images and services have in common.
fn named(context: &mut Context<'_>, mapping: &Mapping, node: &Node, what: &str) -> Option<Image> {
    let mut image = Image::default();
    match given(mapping, "name") {
        Some(name) => image.name = context.text(name, "name")?,
        None => {
            context
                .reports
                .error(node.span, format!("`{what}` needs a `name`"));
            return None;
        }
    }
    image.entrypoint = given(mapping, "entrypoint").and_then(|node| context.texts(node, "entrypoint"));
    if let Some(node) = given(mapping, "pull_policy") {
        image.pull_policy = pull_policy(context, node);
    }
    if let Some(node) = given(mapping, "docker")
        && let Some(docker) = context.mapping(node, "docker")
    {
        keyword::check(context, Place::Docker, docker);
        image.platform = given(docker, "platform").and_then(|node| context.text(node, "platform"));
        image.user = given(docker, "user").and_then(|node| context.text(node, "user"));
    }
    Some(image)
}

fn pull_policy(context: &mut Context<'_>, node: &Node) -> Vec<String> {
    let items = match &node.value {
        Value::Sequence(items) => items.to_vec(),
        _ => vec![node.clone()],
    };
    items
        .iter()
        .filter_map(|item| context.word(item, "pull_policy", PULL_POLICIES))
        .map(str::to_owned)
        .collect()
}

pub(super) fn services(context: &mut Context<'_>, node: &Node) -> Vec<Service> {
    let Some(items) = context.flat(node, "services") else {
        return Vec::new();
    };
    items
        .into_iter()
        .filter_map(|item| service(context, item))
        .collect()
}

fn service(context: &mut Context<'_>, node: &Node) -> Option<Service> {
    let Value::Mapping(mapping) = &node.value else {
        let name = context.text(node, "services")?;
        return Some(Service {
            image: Image {
                name,
                ..Image::default()
            },
            ..Service::default()
        });
    };
    keyword::check(context, Place::Service, mapping);
    let mut service = Service {
        image: named(context, mapping, node, "services")?,
        ..Service::default()
    };
    if let Some(alias) = given(mapping, "alias").and_then(|node| context.text(node, "alias")) {
        service.aliases = alias
            .split([' ', ','])
            .filter(|alias| !alias.is_empty())
            .map(str::to_owned)
            .collect();
    }
    service.command = given(mapping, "command").and_then(|node| context.texts(node, "command"));
    if let Some(node) = given(mapping, "variables") {
        service.variables = yaml_variables::read(context, node, Level::Job);
    }
    Some(service)
}
