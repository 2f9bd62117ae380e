//! A server that steers in Omaha's words: what it points at is believed by its own signatures alone, and it hears what
//! became of it.

use std::fs;
use std::sync::{Arc, Mutex};

use ferrite_layout::{Slot, SlotFlags, SlotState};
use ferrite_update_engine::omaha::machine_name;
use roxmltree::Document;

use crate::machine::{Machine, Site};
use crate::posts::Posts;
use crate::release::Release;
use crate::web::Web;

const APP: &str = "org.example.ferrite";

/// The server, and what it says to whoever asks for an update.
struct Steering {
    posts: Posts,
    says: Arc<Mutex<String>>,
}

impl Steering {
    fn new() -> Steering {
        let says = Arc::new(Mutex::new(String::new()));
        let saying = says.clone();
        let posts = Posts::new(move |post| {
            let asks = post.body.contains("<updatecheck");
            let update = if asks { saying.lock().expect("nobody panicked").clone() } else { String::new() };
            let app = format!("<app appid=\"{APP}\" status=\"ok\"><event status=\"ok\"/>{update}</app>");
            ("200 OK", format!("<?xml version=\"1.0\"?>\n<response protocol=\"3.0\" server=\"x\">{app}</response>"))
        });
        Steering { posts, says }
    }

    fn say(&self, update: &str) {
        *self.says.lock().expect("nobody panicked") = update.to_string();
    }

    /// Points at a payload on a web server.
    fn point_at(&self, web: &Web, name: &str) {
        let url = format!("<urls><url codebase=\"http://{}/payloads/\"/></urls>", web.address);
        let package =
            format!("<packages><package name=\"{name}\" hash=\"x\" size=\"1\" required=\"true\"/></packages>");
        let action = "<actions><action event=\"postinstall\" sha256=\"x\" DisablePayloadBackoff=\"true\"/></actions>";
        let manifest = format!("<manifest version=\"9.9\">{package}{action}</manifest>");
        self.say(&format!("<updatecheck status=\"ok\">{url}{manifest}</updatecheck>"));
    }

    /// The events that it heard: kind, result, the version that ran, and the one before.
    fn events(&self) -> Vec<String> {
        let mut events = Vec::new();
        for post in self.posts.asked() {
            let document = Document::parse(&post.body).expect("it is XML");
            let app = document.descendants().find(|node| node.has_tag_name("app")).expect("there is one");
            assert_eq!(app.attribute("appid"), Some(APP));
            assert_eq!(app.attribute("track"), Some("beta"));
            assert_eq!(app.attribute("machineid"), Some(&*machine_name("0123456789abcdef0123456789abcdef")));
            for event in document.descendants().filter(|node| node.has_tag_name("event")) {
                let value = |name: &str| event.attribute(name).unwrap_or_default().to_string();
                let version = app.attribute("version").unwrap_or_default();
                let before = value("previousversion");
                events.push(format!("{}/{} of {version} {before}", value("eventtype"), value("eventresult")));
            }
        }
        events.into_iter().map(|event| event.trim().to_string()).collect()
    }
}

fn prepare(releases: &[u64]) -> (Steering, Web, Machine, Site) {
    let mut site = Site::new();
    for serial in releases {
        site.publish(&Release::new(*serial));
    }
    let (steering, web) = (Steering::new(), Web::new(site.folder.path()));
    let machine = Machine::new(&Release::new(1));
    let omaha = format!("SERVER=http://{}/v1/update/\nPROTOCOL=omaha\nOMAHA_APP={APP}\n", steering.posts.address);
    machine.configure(&format!("GROUP=beta\nREBOOT_STRATEGY=off\n{omaha}"));
    (steering, web, machine, site)
}

#[test]
fn a_fleet_is_steered_and_the_server_hears_of_each_step() {
    let (steering, web, mut machine, _site) = prepare(&[2, 3]);
    steering.say("<updatecheck status=\"noupdate\"/>");
    machine.start();
    assert!(machine.update(&["update"]).1.contains("up to date"));
    steering.say("<updatecheck status=\"error-maxUpdatesPerPeriodLimitReached\"/>");
    assert!(machine.update(&["update"]).1.contains("the server says error-maxUpdatesPerPeriodLimitReached: later"));
    assert!(steering.posts.lines().iter().all(|line| line == "POST /v1/update/"));
    steering.point_at(&web, "2.fup");
    let (good, text) = machine.update(&["update"]);
    assert!(good && text.contains("1.2 was installed"), "{text}");
    assert!(machine.holds(Slot::B, &Release::new(2)));
    assert_eq!(steering.events(), ["13/1 of 1.1", "14/1 of 1.1", "3/1 of 1.1"]);
    machine.stop();
    machine.change_flags(Slot::A, |flags| flags.with(Slot::B, SlotFlags::Trying(2)));
    machine.boot(Slot::B, &Release::new(2));
    machine.start();
    machine.change_flags(Slot::B, |flags| flags.mark_good(Slot::B));
    let proved = machine.wait_for("the good start to be told", || steering.events().get(3).cloned());
    assert!(proved.starts_with("3/2 of 1.2"), "{proved}");
    // The next one does not start well.
    steering.point_at(&web, "3.fup");
    assert!(machine.update(&["update"]).1.contains("1.3 was installed"));
    machine.stop();
    machine.change_flags(Slot::B, |flags| flags.demote(Slot::A));
    machine.start();
    machine.wait_for("the failure to be told", || steering.events().contains(&"3/0 of 1.2".into()).then_some(()));
    assert!(machine.update(&["update"]).1.contains("it is blocked"), "whatever the server says");
}

#[test]
fn what_the_server_points_at_is_believed_by_its_signatures_alone() {
    let (steering, web, mut machine, site) = prepare(&[1, 2]);
    machine.start();
    // The one that runs, whatever version the answer gives it.
    steering.point_at(&web, "1.fup");
    assert!(machine.update(&["update"]).1.contains("up to date"));
    let good = fs::read(site.folder.path().join("payloads/2.fup")).expect("it is there");
    let mut changed = good.clone();
    changed[40] ^= 1;
    for (name, bytes, told) in [
        ("changed.fup", &changed[..], "valid signatures of release keys"),
        ("page.fup", b"<html>a page of some other kind</html>", "this is no payload of Ferrite"),
    ] {
        fs::write(site.folder.path().join("payloads").join(name), bytes).expect("it can be written");
        steering.point_at(&web, name);
        let (good, text) = machine.update(&["update"]);
        assert!(!good && text.contains(told), "{text}");
    }
    steering.point_at(&web, "absent.fup");
    let (good, text) = machine.update(&["update"]);
    assert!(!good && text.contains("is not there"), "{text}");
    for says in ["", "<updatecheck status=\"ok\"/>", "<updatecheck", "<updatecheck status=\"ok\"><urls/></updatecheck>"]
    {
        steering.say(says);
        let (good, text) = machine.update(&["update"]);
        assert!(!good && text.contains("the answer is no Omaha response"), "{text}");
    }
    assert_eq!(machine.flags(), SlotState::fresh());
    assert!(steering.events().is_empty(), "nothing was begun");
}
