//! What a service answers to a request. Pure but for the files of a folder.

use std::path::{Component, Path};

use serde_json::Value;

use super::{Cloud, Ec2, Request};

const VERSIONS: [&str; 5] = ["latest", "2021-03-23", "2018-09-24", "2016-09-02", "2009-04-04"];

/// A status and a body.
pub(crate) type Answer = (u16, Vec<u8>);

/// Answers. `token`: the only one that is taken now.
pub(crate) fn answer(cloud: &Cloud, request: &Request, token: &str) -> Answer {
    match cloud {
        Cloud::Ec2(instance) => ec2(instance, request, token),
        Cloud::DigitalOcean(droplet) => digital_ocean(droplet, request),
        Cloud::Files(folder) => file(folder, request),
    }
}

fn ec2(instance: &Ec2, request: &Request, token: &str) -> Answer {
    let parts: Vec<&str> = request.path.split('/').filter(|part| !part.is_empty()).collect();
    if request.method == "PUT" {
        let is_lifetime = |text: &str| text.parse().is_ok_and(|seconds: u32| (1..=21_600).contains(&seconds));
        let has_lifetime = request.header("x-aws-ec2-metadata-token-ttl-seconds").is_some_and(is_lifetime);
        return match parts.as_slice() {
            ["latest", "api", "token"] if has_lifetime => (200, token.into()),
            ["latest", "api", "token"] => (400, Vec::new()),
            _ => (405, Vec::new()),
        };
    }
    if request.header("x-aws-ec2-metadata-token") != Some(token) {
        return (401, Vec::new());
    }
    match parts.as_slice() {
        [version, ..] if !VERSIONS.contains(version) => (404, Vec::new()),
        [_, "user-data"] => instance.user_data.clone().map_or((404, Vec::new()), |bytes| (200, bytes)),
        [_, "dynamic", "instance-identity", "document"] => (200, instance.identity.to_string().into_bytes()),
        [_, "meta-data", "public-keys", rest @ ..] => keys(&instance.meta_data["public-keys"], rest),
        [_, "meta-data", rest @ ..] => {
            let found = rest.iter().try_fold(&instance.meta_data, |tree, part| tree.get(part));
            match found {
                Some(Value::Object(map)) => (200, map.keys().cloned().collect::<Vec<_>>().join("\n").into_bytes()),
                Some(Value::String(text)) => (200, text.clone().into_bytes()),
                Some(other) => (200, other.to_string().into_bytes()),
                None => (404, Vec::new()),
            }
        }
        _ => (404, Vec::new()),
    }
}

/// The list of keys, or one of them by its number.
fn keys(keys: &Value, rest: &[&str]) -> Answer {
    let keys: Vec<(&String, &Value)> = keys.as_object().into_iter().flatten().collect();
    match rest {
        [] if keys.is_empty() => (404, Vec::new()),
        [] => {
            let lines = keys.iter().enumerate().map(|(number, (name, _))| format!("{number}={name}"));
            (200, lines.collect::<Vec<_>>().join("\n").into_bytes())
        }
        [number, "openssh-key"] => {
            let found =
                number.parse().ok().and_then(|number: usize| keys.get(number)).and_then(|(_, key)| key.as_str());
            found.map_or((404, Vec::new()), |key| (200, key.as_bytes().to_vec()))
        }
        _ => (404, Vec::new()),
    }
}

fn digital_ocean(droplet: &Value, request: &Request) -> Answer {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/metadata/v1.json") => (200, droplet.to_string().into_bytes()),
        ("GET", "/metadata/v1/user-data") => match droplet.get("user_data").and_then(Value::as_str) {
            Some(text) => (200, text.as_bytes().to_vec()),
            None => (404, Vec::new()),
        },
        _ => (404, Vec::new()),
    }
}

fn file(folder: &Path, request: &Request) -> Answer {
    let path = Path::new(request.path.trim_start_matches('/'));
    if request.method != "GET" || path.components().any(|part| !matches!(part, Component::Normal(_))) {
        return (404, Vec::new());
    }
    std::fs::read(folder.join(path)).map_or((404, Vec::new()), |bytes| (200, bytes))
}
