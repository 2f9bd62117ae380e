//! However badly a metadata service behaves, the program ends in time and in little memory, says what is wrong, and
//! takes the documents when the service is well again. Every behaviour with every datasource of the network.

#[expect(dead_code, reason = "half of it is for tests/datasource.rs")]
#[path = "support/lab.rs"]
mod lab;

use std::time::{Duration, Instant};

use ferrite_qemu::MetadataService;
use ferrite_qemu::metadata::{Behaviour, Cloud, Ec2};
use lab::{Lab, Place};
use serde_json::json;

const DOCUMENT: &str = "#cloud-config\nwrite_files:\n  - {path: /etc/from-cloud, content: it came}\n";
/// The program waits for some 30 s at most; the rest is for a busy host.
const DEADLINE: Duration = Duration::from_secs(150);
const MAX_MEMORY_KIB: i64 = 48 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Ec2,
    DigitalOcean,
    NoCloudHttp,
    Url,
}

const SOURCES: [Source; 4] = [Source::Ec2, Source::DigitalOcean, Source::NoCloudHttp, Source::Url];

/// How the service behaves, and a word of what is said about it. `None`: there is nobody at its address.
const BEHAVIOURS: [(Option<Behaviour>, &str); 16] = [
    (None, "asking 'http://"),
    (Some(Behaviour::Mute), "timeout"),
    (Some(Behaviour::Closes), "asking 'http://"),
    (Some(Behaviour::Slow(Duration::from_secs(30))), "timeout"),
    (Some(Behaviour::Drips(Duration::from_secs(1))), "timeout"),
    (Some(Behaviour::DripsBody(Duration::from_secs(1))), "timeout"),
    (Some(Behaviour::Status(403)), "status 403"),
    (Some(Behaviour::Status(404)), "is not there"),
    (Some(Behaviour::Status(500)), "status 500"),
    (Some(Behaviour::Garbage), "asking 'http://"),
    (Some(Behaviour::GarbageBody), ""),
    (Some(Behaviour::EndlessHeaders), "asking 'http://"),
    (Some(Behaviour::Endless), "more than the limit of 1048576 bytes"),
    (Some(Behaviour::Breaks), "asking 'http://"),
    (Some(Behaviour::Redirects), "a redirection, which is not followed"),
    (Some(Behaviour::ForgetsTokens), "status 401"),
];

/// A machine of the datasource, and its service with the document.
struct Case {
    lab: Lab,
    cloud: Cloud,
    _folder: tempfile::TempDir,
}

impl Case {
    fn new(source: Source) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = |names: &[&str]| {
            names.iter().for_each(|name| std::fs::write(folder.path().join(name), DOCUMENT).unwrap());
            Cloud::Files(folder.path().into())
        };
        let (lab, cloud) = match source {
            Source::Ec2 => {
                let firmware = [("sys_vendor", "Amazon EC2"), ("product_uuid", "ec2d8f4a-3b1c-4f0a-9d53-6f1e0b6a7c11")];
                (Lab::new(Place::Ipv4, "", &firmware), Cloud::Ec2(Ec2::new(Some(DOCUMENT.into()))))
            }
            Source::DigitalOcean => {
                let droplet = json!({ "droplet_id": 1, "hostname": "droplet", "user_data": DOCUMENT });
                (Lab::new(Place::Link, "", &[("sys_vendor", "DigitalOcean")]), Cloud::DigitalOcean(droplet))
            }
            Source::NoCloudHttp => {
                let cloud = files(&["user-data", "meta-data"]);
                std::fs::write(folder.path().join("meta-data"), "instance-id: web-1\n").unwrap();
                let firmware = [("product_serial", "ds=nocloud;s=http://169.254.169.254/")];
                (Lab::new(Place::Ipv4, "", &firmware), cloud)
            }
            Source::Url => (Lab::new(Place::Ipv4, "cloud-config-url=http://169.254.169.254/x", &[]), files(&["x"])),
        };
        Self { lab, cloud, _folder: folder }
    }

    fn service(&self) -> MetadataService {
        self.lab.service(self.cloud.clone())
    }
}

fn row(source: Source, behaviour: Option<Behaviour>, word: &str) {
    let case = Case::new(source);
    let mut service = behaviour.map(|behaviour| {
        let service = case.service();
        service.behave(behaviour);
        service
    });
    let started = Instant::now();
    let output = case.lab.run(&["run"]);
    let took = started.elapsed();
    let name = format!("{source:?} {behaviour:?}");
    let status = case.lab.text("run/ferrite/cloudinit/status");
    let said = format!("{name} after {took:?}: {status}{}", String::from_utf8_lossy(&output.stderr));
    assert!(took < DEADLINE, "{said}");
    if (source, behaviour) == (Source::Url, Some(Behaviour::GarbageBody)) {
        // What is there is the user-data, whatever it is.
        assert!(status.starts_with("state=failed\n") && status.contains("UTF-8"), "{said}");
    } else {
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(status.starts_with("state=degraded\ndatasource="), "{said}");
        assert!(status.contains("summary=the datasource gives no user-data yet"), "{said}");
        let fault = status.lines().find(|line| line.starts_with("fault=")).unwrap_or_default();
        assert!(fault.contains(word) && !fault.bytes().any(|byte| byte.is_ascii_control()), "{said}");
        assert!(case.lab.text("systemctl.log").contains("--no-block start ferrite-cloudinit-retry"), "{said}");
    }
    assert!(case.lab.text("home/core/.ssh").is_empty() && case.lab.path("home/core").is_dir(), "{said}");
    let service = service.get_or_insert_with(|| case.service());
    service.behave(Behaviour::Well);
    let output = case.lab.run(&["run", "--stage", "late"]);
    let said = format!("{name}, well again: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((output.status.code(), case.lab.text("etc/from-cloud").as_str()), (Some(0), "it came"), "{said}");
}

#[test]
fn no_behaviour_holds_the_boot_and_none_outlives_the_service() {
    let rows = SOURCES.into_iter().flat_map(|source| BEHAVIOURS.map(|(behaviour, word)| (source, behaviour, word)));
    let threads: Vec<_> =
        rows.map(|(source, behaviour, word)| std::thread::spawn(move || row(source, behaviour, word))).collect();
    let failed = threads.into_iter().map(|thread| thread.join().is_err()).filter(|failed| *failed).count();
    assert_eq!(failed, 0, "rows failed, see above");
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN).unwrap();
    assert!(usage.max_rss() < MAX_MEMORY_KIB, "{} KiB", usage.max_rss());
}

#[test]
fn a_service_that_needs_longer_than_a_boot_waits_is_heard_in_the_background() {
    let case = Case::new(Source::DigitalOcean);
    let service = case.service();
    service.behave(Behaviour::Slow(Duration::from_secs(3)));
    let output = case.lab.run(&["run", "--stage", "background"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(case.lab.text("etc/from-cloud"), "it came");
    assert!(service.requests().len() >= 2, "the first waits were too short");
    assert!(case.lab.text("dev/console").contains("the datasource has answered"), "{}", case.lab.text("dev/console"));
}
