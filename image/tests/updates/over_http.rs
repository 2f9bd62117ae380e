//! Updates over real web servers, over links that break, and of documents that were replayed or left to expire.

use std::fs;

use ferrite_layout::Slot;
use ferrite_payload::channel::{ChannelError, Payload};
use ferrite_update_engine::check::CheckError;
use ferrite_update_engine::http::Server;
use ferrite_update_engine::install::{InstallError, Outcome};
use ferrite_update_engine::source::{Directory, Repository};

use crate::channel::Client;
use crate::link::{Link, WebServer};
use crate::workshop::Workshop;

const DONE: Outcome = Outcome::Installed { slot: Slot::B, serial: 2 };

/// A build host that published release 2, whole and as a delta from 1.
fn published() -> Workshop {
    let workshop = Workshop::new();
    let (full, delta) = (workshop.pack(2, None), workshop.pack(2, Some(1)));
    let said = workshop.ferrite(&["publish", "site", &full, &delta]);
    assert!(said.contains("channel stable, document 1, holds for 7 days"), "{said}");
    workshop
}

/// A machine takes release 2 whole over this link.
fn install_over(link: &Link, workshop: &Workshop) -> Payload {
    let client = Client::new(workshop);
    let mut site = Server::new(&format!("http://{}", link.address));
    let news = client.check(&mut site).expect("it is signed");
    let full = client.offer(&news).full;
    assert_eq!(client.install(&mut site, &news, &full).expect("it is installed"), DONE);
    client.assert_installed(workshop, 2);
    full
}

#[test]
fn a_machine_takes_the_delta_and_the_full_payload_from_ferrite_serve() {
    let workshop = published();
    let server = WebServer::ferrite(&workshop.path("site"));
    for delta in [true, false] {
        let client = Client::new(&workshop);
        let mut site = Server::new(&format!("http://{}/", server.address));
        let news = client.check(&mut site).expect("it is signed");
        let offer = client.offer(&news);
        let small = offer.delta.clone().expect("there is one from release 1");
        assert!(small.size_bytes * 4 < offer.full.size_bytes, "{offer:?}");
        let payload = if delta { small } else { offer.full };
        assert_eq!(client.install(&mut site, &news, &payload).expect("it is installed"), DONE);
        client.assert_installed(&workshop, 2);
        let again = client.install(&mut site, &news, &payload).expect("it is there");
        assert_eq!(again, Outcome::Staged(Slot::B));
    }
}

#[test]
fn over_a_link_that_breaks_every_50_kib_nothing_is_fetched_twice() {
    let workshop = published();
    let server = WebServer::ferrite(&workshop.path("site"));
    let link = Link::new(server.address, 50 << 10, usize::MAX);
    let full = install_over(&link, &workshop);
    let asked = link.asked.lock().expect("nobody panicked").clone();
    assert!(asked.len() as u64 >= full.size_bytes / (50 << 10), "{asked:?}");
    // Each request begins behind all that came before it: headers take a little of the 50 KiB.
    for pair in asked.windows(2) {
        let [before, next] = pair else { continue };
        let came = next.checked_sub(*before).expect("it does not go back");
        assert!((49 << 10..=50 << 10).contains(&came), "{came} bytes came, the link passes 50 KiB with headers");
    }
}

#[test]
fn a_foreign_server_without_ranges_does() {
    let workshop = published();
    let server = WebServer::python(&workshop.path("site"));
    let link = Link::new(server.address, 200 << 10, 2);
    install_over(&link, &workshop);
    assert_eq!(link.asked.lock().expect("nobody panicked").len(), 3);
}

#[test]
fn replayed_expired_and_missing_documents_are_refused() {
    let workshop = published();
    let channel = workshop.path("site/channel/stable.json");
    let old = fs::read(&channel).expect("it is there");
    let full = workshop.pack(3, None);
    workshop.ferrite(&["publish", "site", &full]);
    let mut client = Client::new(&workshop);
    let mut site = Directory(workshop.path("site"));
    let news = client.check(&mut site).expect("it is signed");
    assert_eq!((news.channel.number, client.offer(&news).serial), (2, 3));
    client.seen = news.channel.number;
    fs::write(&channel, old).expect("it can be written");
    let error = client.check(&mut site).expect_err("an old document");
    assert!(matches!(error, CheckError::Channel(ChannelError::Older { found: 1, seen: 2 })), "{error}");
    client.seen = 0;
    client.now += 8 * 24 * 3600;
    let error = client.check(&mut site).expect_err("an expired document");
    assert!(matches!(error, CheckError::Channel(ChannelError::Expired(_))), "{error}");
    fs::remove_file(&channel).expect("it was there");
    assert!(matches!(client.check(&mut site), Err(CheckError::NoChannel(_))));
}

#[test]
fn a_payload_in_the_place_of_another_and_a_withdrawn_release_are_not_installed() {
    let workshop = published();
    let client = Client::new(&workshop);
    let mut site = Directory(workshop.path("site"));
    let news = client.check(&mut site).expect("it is signed");
    let full = client.offer(&news).full;
    let other = workshop.pack(3, None);
    fs::copy(workshop.path(&other), workshop.path("site").join(&full.path)).expect("it can be copied");
    let error = client.install(&mut site, &news, &full).expect_err("release 3 in the place of 2");
    assert!(matches!(error, InstallError::Source(_)) && error.to_string().contains("was announced"), "{error:?}");
    let said = workshop.ferrite(&["publish", "site", "--withdraw", "2"]);
    assert!(said.contains("withdrawn"), "{said}");
    let news = client.check(&mut site).expect("it is signed");
    assert!(news.channel.releases.iter().all(|release| release.withdrawn));
    assert!(site.small("absent", 10).expect("the directory is there").is_none());
}
