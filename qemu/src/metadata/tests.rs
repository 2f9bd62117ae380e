//! The services over real connections.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use super::*;

fn ask(service: &MetadataService, request: &str) -> String {
    let mut stream = TcpStream::connect(service.address()).expect("a connection");
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn start(cloud: Cloud) -> MetadataService {
    MetadataService::start(cloud, (Ipv4Addr::LOCALHOST, 0).into()).expect("a service")
}

#[test]
fn amazons_says_nothing_without_a_token_and_an_old_token_is_none() {
    let service = start(Cloud::Ec2(Ec2::new(Some(b"#cloud-config\n".to_vec()))));
    assert!(ask(&service, "GET /latest/user-data HTTP/1.1\n\n").starts_with("HTTP/1.1 401"));
    assert!(ask(&service, "PUT /latest/api/token HTTP/1.1\n\n").starts_with("HTTP/1.1 400"));
    let answer = ask(&service, "PUT /latest/api/token HTTP/1.1\nX-aws-ec2-metadata-token-ttl-seconds: 60\n\n");
    let token = answer.rsplit("\r\n").next().expect("a body").to_string();
    let question = format!("GET /latest/user-data HTTP/1.1\nX-aws-ec2-metadata-token: {token}\n\n");
    assert!(ask(&service, &question).ends_with("\r\n\r\n#cloud-config\n"));
    service.expire_token_after(4);
    assert!(ask(&service, &question).starts_with("HTTP/1.1 401"));
    let statuses: Vec<u16> = service.requests().iter().map(|request| request.status).collect();
    assert_eq!(statuses, [401, 400, 200, 200, 401]);
}

#[test]
fn a_folder_is_read_and_nothing_above_it_is_given_away() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("user-data"), "#!/bin/sh\n").expect("a file");
    let service = start(Cloud::read(CloudKind::NoCloudHttp, folder.path()).expect("a cloud"));
    assert!(ask(&service, "GET /user-data HTTP/1.1\n\n").ends_with("#!/bin/sh\n"));
    assert!(ask(&service, "GET /../user-data HTTP/1.1\n\n").starts_with("HTTP/1.1 404"));
    let droplet = start(Cloud::read(CloudKind::DigitalOcean, folder.path()).expect("a cloud"));
    assert!(ask(&droplet, "GET /metadata/v1.json HTTP/1.1\n\n").contains("\"user_data\":\"#!/bin/sh\\n\""));
    droplet.behave(Behaviour::Status(503));
    assert!(ask(&droplet, "GET /metadata/v1.json HTTP/1.1\n\n").starts_with("HTTP/1.1 503"));
}
