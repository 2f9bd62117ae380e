//! Every datasource of the network against a real service, on machines made of namespaces.

#[path = "support/lab.rs"]
mod lab;

use std::path::Path;
use std::process::Output;

use ferrite_qemu::metadata::{Behaviour, Cloud, Ec2};
use lab::{Lab, Place, lines, wait_for_requests};
use serde_json::{Value, json};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGSnPSrFHGXYWzCiVgW2Wd0bTMHQkyXIUHSqdRwpmCEY alice@laptop";
const AMAZON: [(&str, &str); 2] =
    [("sys_vendor", "Amazon EC2"), ("product_uuid", "ec2d8f4a-3b1c-4f0a-9d53-6f1e0b6a7c11")];
const DROPLET: [(&str, &str); 1] = [("sys_vendor", "DigitalOcean")];
const WIRE: &str = "version: 2\nethernets: {eth0: {addresses: [192.0.2.7/24]}}\n";
const DOCUMENT: &str = "#cloud-config\nwrite_files:\n  - {path: /etc/from-cloud, content: $private_ipv4}\n";

fn instance() -> Ec2 {
    let mut instance = Ec2::new(Some(DOCUMENT.into()));
    instance.meta_data["public-keys"] = json!({ "a=b": KEY });
    instance.meta_data["local-hostname"] = json!("ip-172-16-0-15");
    instance
}

/// The answers that were recorded of the real services.
fn recorded(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/cloud-config/datasources").join(name);
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("'{}': {error}", path.display()));
    serde_json::from_slice(&text).unwrap()
}

fn recorded_instance() -> Cloud {
    let (meta_data, identity) = (recorded("ec2-meta-data.json"), recorded("ec2-identity-document.json"));
    Cloud::Ec2(Ec2 { meta_data, user_data: None, identity })
}

fn assert_code(output: &Output, code: i32) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn amazon_is_asked_few_questions_and_each_with_a_token() {
    let lab = Lab::new(Place::Ipv4, "", &AMAZON);
    let service = lab.service(Cloud::Ec2(instance()));
    assert_code(&lab.run(&["run", "--stage", "late"]), 0);
    let requests = service.requests();
    assert!(lines(&requests).len() <= 10, "{:?}", lines(&requests));
    assert_eq!(lines(&requests)[0], "PUT /latest/api/token");
    for request in requests.iter().filter(|request| request.method != "PUT") {
        let token = request.header("x-aws-ec2-metadata-token");
        assert!(token.is_some_and(|token| token.starts_with("token-")), "{}", request.path);
    }
    assert_eq!(lab.text("etc/from-cloud"), "172.16.0.15");
    assert_eq!(lab.text("etc/hostname"), "ip-172-16-0-15\n");
    assert!(lab.keys().contains(KEY), "{}", lab.keys());
    let status = lab.text("run/ferrite/cloudinit/status");
    assert!(status.starts_with("state=ok\ndatasource=ec2\ninstance-id=i-0123456789abcdef0\n"), "{status}");
    assert!(status.contains("rejected=digitalocean: the firmware is not DigitalOcean's\n"), "{status}");
}

#[test]
fn the_recorded_instance_is_read_and_a_network_of_ipv6_will_do() {
    let lab = Lab::new(Place::Ipv6, "", &AMAZON);
    let service = lab.service(recorded_instance());
    assert_code(&lab.run(&["run", "--stage", "late"]), 0);
    assert!(lines(&service.requests()).len() <= 10, "{:?}", lines(&service.requests()));
    assert_eq!(lab.text("etc/hostname"), "ip-10-0-1-25\n");
    assert_eq!(lab.keys().lines().filter(|line| line.starts_with("ssh-ed25519 ")).count(), 2, "{}", lab.keys());
}

#[test]
fn every_card_of_an_instance_has_its_place_its_addresses_and_its_table() {
    let lab = Lab::new(Place::Ipv4, "", &AMAZON);
    // The kernel found the second card first.
    lab.wire("eth0", "02:9e:29:7b:c3:99");
    lab.wire("eth1", "02:9e:29:7b:c3:45");
    let service = lab.service(recorded_instance());
    assert_code(&lab.run(&["run", "--stage", "late"]), 0);
    assert!(lines(&service.requests()).len() <= 18, "{:?}", lines(&service.requests()));
    let files = ["ec2-0", "ec2-1"].map(|name| lab.text(&format!("run/systemd/network/10-cloudinit-{name}.network")));
    let has = |file: &str, lines: &[&str]| lines.iter().all(|line| file.lines().any(|known| known == *line));
    let [first, second] = &files;
    assert!(has(first, &["PermanentMACAddress=02:9e:29:7b:c3:45", "DHCP=yes", "RouteMetric=100"]), "{first}");
    assert!(has(first, &["Address=10.0.1.26/24"]) && !first.contains("RoutingPolicyRule"), "{first}");
    assert!(has(second, &["PermanentMACAddress=02:9e:29:7b:c3:99", "DHCP=ipv4", "RouteMetric=200"]), "{second}");
    assert!(has(second, &["From=10.0.2.30", "Table=101", "Gateway=10.0.2.1"]), "{second}");
}

#[test]
fn at_the_next_boot_the_network_of_a_silent_service_is_the_one_it_told() {
    let lab = Lab::new(Place::Link, "", &DROPLET);
    let service = lab.service(Cloud::DigitalOcean(recorded("do-v1.json")));
    assert_code(&lab.run(&["run", "--stage", "early"]), 0);
    let told = lab.network_files();
    assert!(told.contains("Address=104.131.20.105/18\n"), "{told}");
    std::fs::remove_dir_all(lab.path("run")).unwrap();
    std::fs::create_dir(lab.path("run")).unwrap();
    service.behave(Behaviour::Status(403));
    assert_code(&lab.run(&["run", "--stage", "early"]), 0);
    assert!(lab.text("run/ferrite/cloudinit/status").starts_with("state=waiting\ndatasource=digitalocean\n"));
    assert_eq!(lab.network_files(), told);
}

#[test]
fn a_droplet_is_what_its_service_says_at_each_boot() {
    let lab = Lab::new(Place::Link, "", &DROPLET);
    let mut droplet = recorded("do-v1.json");
    droplet["user_data"] = json!("");
    let service = lab.service(Cloud::DigitalOcean(droplet.clone()));
    assert_code(&lab.run(&["run", "--stage", "early"]), 0);
    droplet["hostname"] = json!("renamed");
    droplet["interfaces"]["public"][0]["ipv4"]["ip_address"] = json!("104.131.20.9");
    service.know(Cloud::DigitalOcean(droplet));
    assert_code(&lab.run(&["run", "--stage", "early"]), 0);
    assert_eq!(lab.text("etc/hostname"), "renamed\n");
    let network = lab.network_files();
    assert!(network.contains("Address=104.131.20.9/18\n") && !network.contains("104.131.20.105"), "{network}");
}

#[test]
fn a_machine_whose_disk_was_taken_out_keeps_its_keys_its_name_and_its_addresses() {
    let lab = Lab::new(Place::Ipv4, "", &[]);
    let seed = "var/lib/ferrite/cloudinit/seed";
    let document = format!("#cloud-config\nhostname: kept\nssh_authorized_keys: [\"{KEY}\"]\n");
    lab.write(&format!("{seed}/user-data"), &document);
    lab.write(&format!("{seed}/network-config"), WIRE);
    assert_code(&lab.run(&["run", "--stage", "early"]), 0);
    let told = lab.network_files();
    assert!(lab.keys().contains(KEY) && told.contains("Address=192.0.2.7/24\n"), "{told}");
    // A document that breaks later costs no key that was good before.
    lab.write(&format!("{seed}/user-data"), "#cloud-config\nhostname: [\n");
    assert_code(&lab.run(&["run", "--stage", "early"]), 1);
    assert!(lab.keys().contains(KEY), "{}", lab.keys());
    std::fs::remove_dir_all(lab.path(seed)).unwrap();
    std::fs::remove_dir_all(lab.path("run")).unwrap();
    std::fs::create_dir(lab.path("run")).unwrap();
    assert_code(&lab.run(&["run", "--stage", "early"]), 0);
    assert!(lab.text("run/ferrite/cloudinit/status").starts_with("state=ok\ndatasource=none\n"));
    assert!(lab.keys().contains(KEY), "{}", lab.keys());
    assert_eq!((lab.network_files(), lab.text("etc/hostname").as_str()), (told, "kept\n"));
}

#[test]
fn a_user_data_of_amazon_may_be_packed() {
    use std::io::Write;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(DOCUMENT.as_bytes()).unwrap();
    let packed = packer.finish().unwrap();
    let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &packed).into_bytes();
    for user_data in [packed, text] {
        let lab = Lab::new(Place::Ipv4, "", &AMAZON);
        let instance = Ec2 { user_data: Some(user_data), ..instance() };
        let _service = lab.service(Cloud::Ec2(instance));
        assert_code(&lab.run(&["run", "--stage", "late"]), 0);
        assert_eq!(lab.text("etc/from-cloud"), "172.16.0.15");
    }
}

#[test]
fn a_token_that_is_refused_is_asked_for_once_and_nobody_goes_without() {
    let lab = Lab::new(Place::Ipv4, "", &AMAZON);
    let service = lab.service(Cloud::Ec2(instance()));
    service.behave(Behaviour::Status(403));
    assert_code(&lab.run(&["run", "--stage", "late"]), 2);
    assert_eq!(lines(&service.requests()), ["PUT /latest/api/token"]);
    let status = lab.text("run/ferrite/cloudinit/status");
    assert!(status.starts_with("state=degraded\ndatasource=ec2\n") && status.contains("status 403"), "{status}");
    assert!(
        lab.text("dev/console").contains("DEGRADED: the datasource gives no user-data yet"),
        "{}",
        lab.text("dev/console")
    );
    assert_eq!(lab.text("systemctl.log"), "--no-block start ferrite-cloudinit-retry.service\n");
}

#[test]
fn a_service_that_is_not_well_is_asked_again_in_the_boot() {
    let lab = Lab::new(Place::Ipv4, "", &AMAZON);
    let service = lab.service(Cloud::Ec2(instance()));
    service.behave(Behaviour::Status(503));
    let program = lab.start(&["run", "--stage", "late"]);
    wait_for_requests(&service, 2);
    service.behave(Behaviour::Well);
    assert_code(&program.wait_with_output().unwrap(), 0);
    assert!(lab.keys().contains(KEY));
}

#[test]
fn a_token_that_expires_is_replaced_once() {
    let lab = Lab::new(Place::Ipv4, "", &AMAZON);
    let service = lab.service(Cloud::Ec2(instance()));
    service.expire_token_after(3);
    assert_code(&lab.run(&["run", "--stage", "late"]), 0);
    let puts = service.requests().iter().filter(|request| request.method == "PUT").count();
    let refused = service.requests().iter().filter(|request| request.status == 401).count();
    assert!(puts >= 2 && refused >= 1, "{:?}", service.requests());
    assert!(lab.keys().contains(KEY));
}

#[test]
fn before_the_network_nobody_is_asked_and_the_late_unit_is_called() {
    let lab = Lab::new(Place::Ipv4, "", &AMAZON);
    let service = lab.service(Cloud::Ec2(instance()));
    assert_code(&lab.run(&["run", "--stage", "early"]), 0);
    assert_eq!(lines(&service.requests()), [] as [&str; 0]);
    assert!(lab.text("run/ferrite/cloudinit/status").starts_with("state=waiting\ndatasource=ec2\n"));
    assert_eq!(lab.text("systemctl.log"), "--no-block start ferrite-cloudinit-network.service\n");
    assert!(!lab.path("etc/hostname").exists());
}

#[test]
fn in_the_background_a_service_is_asked_until_it_answers() {
    let lab = Lab::new(Place::Ipv4, "", &AMAZON);
    let service = lab.service(Cloud::Ec2(instance()));
    service.behave(Behaviour::Status(403));
    let program = lab.start(&["run", "--stage", "background"]);
    wait_for_requests(&service, 1);
    service.behave(Behaviour::Well);
    assert_code(&program.wait_with_output().unwrap(), 0);
    assert!(lab.text("run/ferrite/cloudinit/status").starts_with("state=ok\n"));
    let asked = lab.text("systemctl.log");
    assert!(asked.starts_with("reset-failed ") && asked.contains(" ferrite-cloudinit-network.service "), "{asked}");
    assert!(asked.ends_with("--no-block try-restart ferrite-banner.service\n"), "{asked}");
}

#[test]
fn a_machine_that_was_configured_keeps_its_keys_when_the_service_is_away() {
    let lab = Lab::new(Place::Ipv4, "", &AMAZON);
    let service = lab.service(Cloud::Ec2(instance()));
    assert_code(&lab.run(&["run", "--stage", "late"]), 0);
    service.behave(Behaviour::Status(403));
    assert_code(&lab.run(&["run", "--stage", "late"]), 2);
    assert!(lab.keys().contains(KEY));
    assert_eq!(lab.text("etc/hostname"), "ip-172-16-0-15\n");
}

#[test]
fn a_droplet_asks_once_on_the_link_and_leaves_it_without_an_address() {
    let lab = Lab::new(Place::Link, "", &DROPLET);
    let mut droplet = recorded("do-v1.json");
    droplet["user_data"] = json!("#cloud-config\nwrite_files:\n  - {path: /etc/from-cloud, content: $public_ipv4}\n");
    let service = lab.service(Cloud::DigitalOcean(droplet));
    assert_code(&lab.run(&["run", "--stage", "early"]), 0);
    assert_eq!(lines(&service.requests()), ["GET /metadata/v1.json"]);
    assert_eq!(lab.text("etc/from-cloud"), "104.131.20.105");
    assert_eq!(lab.text("etc/hostname"), "sample-droplet\n");
    assert_eq!(lab.keys().lines().filter(|line| line.starts_with("ssh-ed25519 ")).count(), 2);
    assert!(lab.shown(&["-4", "addr", "show", "eth0"]).is_empty(), "{}", lab.shown(&["addr"]));
    let network = lab.network_files();
    assert!(network.contains("Address=104.131.20.105/18\n") && network.contains("Gateway=104.131.0.1\n"), "{network}");
    assert!(network.contains("=04:01:2a:0f:2a:01\n") && !network.contains("DHCP=yes"), "{network}");
    let status = lab.text("run/ferrite/cloudinit/status");
    assert!(status.starts_with("state=ok\ndatasource=digitalocean\ninstance-id=2756294\n"), "{status}");
}

#[test]
fn a_droplet_whose_service_is_away_waits_for_the_network() {
    let lab = Lab::new(Place::Link, "", &DROPLET);
    assert_code(&lab.run(&["run", "--stage", "early"]), 0);
    assert!(lab.text("run/ferrite/cloudinit/status").starts_with("state=waiting\ndatasource=digitalocean\n"));
    assert!(lab.shown(&["-4", "addr", "show", "eth0"]).is_empty(), "{}", lab.shown(&["addr"]));
}

#[test]
fn the_serial_number_names_a_web_server() {
    let seed = tempfile::tempdir().unwrap();
    std::fs::create_dir(seed.path().join("C7")).unwrap();
    let firmware = [
        ("product_serial", "ds=nocloud;s=http://169.254.169.254/__dmi.chassis-serial-number__/;h=by-serial"),
        ("chassis_serial", "C7\n"),
    ];
    let lab = Lab::new(Place::Ipv4, "", &firmware);
    let service = lab.service(Cloud::Files(seed.path().into()));
    std::fs::write(seed.path().join("C7/meta-data"), "local-hostname: other\n").unwrap();
    assert_code(&lab.run(&["run", "--stage", "late"]), 2);
    assert!(lab.text("run/ferrite/cloudinit/status").contains("/C7/user-data' is not there"));
    std::fs::write(seed.path().join("C7/user-data"), DOCUMENT).unwrap();
    assert_code(&lab.run(&["run", "--stage", "late"]), 0);
    assert_eq!(lab.text("etc/hostname"), "by-serial\n");
    let status = lab.text("run/ferrite/cloudinit/status");
    assert!(status.contains("datasource=nocloud http://169.254.169.254/C7/\ninstance-id=nocloud\n"), "{status}");
    assert!(lines(&service.requests()).contains(&"GET /C7/network-config".to_string()));
}

#[test]
fn the_kernel_command_line_names_a_document_and_keys() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x"), "#cloud-config\nhostname: by-url\n").unwrap();
    let words = format!("quiet cloud-config-url=http://169.254.169.254/x sshkey=\"{KEY}\"");
    let lab = Lab::new(Place::Ipv4, &words, &[]);
    let _service = lab.service(Cloud::Files(folder.path().into()));
    assert_code(&lab.run(&["run", "--stage", "late"]), 0);
    assert_eq!(lab.text("etc/hostname"), "by-url\n");
    assert!(lab.keys().contains(KEY));
}

#[test]
fn a_local_document_that_includes_another_waits_for_the_network() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x"), "#cloud-config\nhostname: included\n").unwrap();
    let lab = Lab::new(Place::Ipv4, "", &[]);
    let service = lab.service(Cloud::Files(folder.path().into()));
    let seed = "var/lib/ferrite/cloudinit/seed";
    lab.write(&format!("{seed}/user-data"), "#include\nhttp://169.254.169.254/x\n");
    lab.write(&format!("{seed}/network-config"), WIRE);
    assert_code(&lab.run(&["run", "--stage", "early"]), 0);
    assert!(lab.text("run/ferrite/cloudinit/status").starts_with("state=waiting\ndatasource=local /var/lib/ferrite"));
    assert_eq!(service.requests().len(), 0);
    // Without its network nobody would ever reach the other document.
    assert!(lab.network_files().contains("Address=192.0.2.7/24\n"), "{}", lab.network_files());
    assert!(!lab.path("etc/hostname").exists());
    assert_code(&lab.run(&["run", "--stage", "late"]), 0);
    assert_eq!(lab.text("etc/hostname"), "included\n");
}

#[test]
fn the_meta_data_of_a_seed_says_whether_and_when_it_applies() {
    let seed = "var/lib/ferrite/cloudinit/seed";
    let new = |mode: &str| {
        let lab = Lab::new(Place::Ipv4, "", &AMAZON);
        lab.write(&format!("{seed}/user-data"), "#cloud-config\nhostname: of-the-seed\n");
        lab.write(&format!("{seed}/meta-data"), &format!("{{\"dsmode\": \"{mode}\"}}"));
        lab.write(&format!("{seed}/network-config"), WIRE);
        let service = lab.service(Cloud::Ec2(instance()));
        (lab, service)
    };
    let (local, _service) = new("local");
    assert_code(&local.run(&["run", "--stage", "early"]), 0);
    assert_eq!(local.text("etc/hostname"), "of-the-seed\n");

    let (net, _service) = new("net");
    assert_code(&net.run(&["run", "--stage", "early"]), 0);
    assert!(net.network_files().contains("Address=192.0.2.7/24\n") && !net.path("etc/hostname").exists());
    assert_code(&net.run(&["run", "--stage", "late"]), 0);
    assert_eq!(net.text("etc/hostname"), "of-the-seed\n");

    let (pass, _service) = new("pass");
    assert_code(&pass.run(&["run", "--stage", "early"]), 0);
    assert!(pass.text("run/ferrite/cloudinit/status").starts_with("state=waiting\ndatasource=ec2\n"));
    assert_code(&pass.run(&["run", "--stage", "late"]), 0);
    assert_eq!(pass.text("etc/hostname"), "ip-172-16-0-15\n");
    assert!(pass.network_files().contains("Address=192.0.2.7/24\n"), "{}", pass.network_files());

    let (disabled, _service) = new("disabled");
    assert_code(&disabled.run(&["run", "--stage", "late"]), 0);
    assert_eq!(disabled.text("etc/hostname"), "ip-172-16-0-15\n");
    let status = disabled.text("run/ferrite/cloudinit/status");
    assert!(status.contains("says 'dsmode: disabled'\n") && disabled.network_files().is_empty(), "{status}");
}

#[test]
fn a_document_of_the_secure_web_is_fetched_where_the_server_sends_us() {
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("new"), "#cloud-config\nhostname: by-https\n").unwrap();
    let lab = Lab::new(Place::Ipv4, "cloud-config-url=https://169.254.169.254/old", &[]);
    let mut server = lab.secure_web(files.path());
    let trusted = lab.run(&["run", "--stage", "late"]);
    lab.write("etc/ssl/certs/ca-certificates.crt", "");
    let lone = lab.run(&["run", "--stage", "late"]);
    server.kill().unwrap();
    server.wait().unwrap();
    assert_code(&trusted, 0);
    assert_eq!(lab.text("etc/hostname"), "by-https\n");
    assert_code(&lone, 2);
    let said = String::from_utf8_lossy(&lone.stderr);
    assert!(said.contains("https needs certificate authorities, and there are none in"), "{said}");
}

#[test]
fn what_was_decided_is_shown_as_text_and_json() {
    let lab = Lab::new(Place::Ipv4, "", &DROPLET);
    let output = lab.run(&["datasource"]);
    assert_code(&output, 0);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.starts_with("digitalocean\n") && text.contains("  not ec2: the firmware is not Amazon's"), "{text}");
    let value: Value = serde_json::from_slice(&lab.run(&["datasource", "--json"]).stdout).unwrap();
    assert_eq!(value["datasource"], "digitalocean");
    let none = Lab::new(Place::Ipv4, "ferrite.datasource=none", &DROPLET);
    assert_code(&none.run(&["datasource"]), 1);
    assert_code(&none.run(&["run", "--stage", "early"]), 0);
    assert!(none.text("run/ferrite/cloudinit/status").starts_with("state=ok\ndatasource=none\n"));
}
