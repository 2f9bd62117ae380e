//! Links and servers as they are: moved, behind proxies, compressing, without ranges, too slow, changed on the way.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use ferrite_layout::{Slot, SlotState};
use ferrite_update_engine::http::{Access, Server, Slowness};
use ferrite_update_engine::source::{Repository, Retry, SourceError, Stream};

use crate::machine::{Machine, Site};
use crate::release::Release;
use crate::web::{Fault, Web};

fn prepare() -> (Machine, Web, u64, Site) {
    let mut site = Site::new();
    let size = site.publish(&Release::new(2));
    let web = Web::new(site.folder.path());
    let mut machine = Machine::new(&Release::new(1));
    machine.configure(&format!("SERVER=http://{}\nREBOOT_STRATEGY=off\n", web.address));
    machine.start();
    (machine, web, size, site)
}

#[test]
fn redirects_are_followed_with_the_place_that_is_asked_for_but_not_for_ever() {
    let (machine, web, size, site) = prepare();
    let mirror = Web::new(site.folder.path());
    web.set(Fault::Moved(mirror.address));
    mirror.set(Fault::BreaksAfter(size as usize / 3));
    let (good, text) = machine.update(&["update"]);
    assert!(good && text.contains("1.2 was installed"), "{text}");
    let mut end = 0;
    for asked in mirror.take_asked().into_iter().filter(|asked| asked.path.ends_with(".fup")) {
        assert_eq!(asked.from, end, "it goes on where the link broke");
        end = asked.from + asked.sent;
    }
    assert_eq!(end, size);
    // In a circle.
    web.set(Fault::Moved(web.address));
    let (good, text) = machine.update(&["check"]);
    assert!(!good && text.contains("redirect"), "{text}");
}

#[test]
fn a_server_that_compresses_or_says_that_nothing_changed_is_refused_by_name() {
    let (machine, web, _, _site) = prepare();
    for (fault, told) in [(Fault::Encoded, "compressed (gzip)"), (Fault::NotModified, "server answers 304")] {
        web.set(fault);
        let (good, text) = machine.update(&["update"]);
        assert!(!good && text.contains(told), "{text}");
        assert_eq!(machine.flags(), SlotState::fresh());
    }
}

#[test]
fn a_server_without_ranges_is_read_from_the_start_and_what_is_there_is_passed_over() {
    let (machine, web, size, _site) = prepare();
    web.set(Fault::BreaksAfter(size as usize / 2));
    // The link breaks once, and the server behind it knows no ranges from then on.
    web.set_after_payload(Fault::NoRanges);
    let (good, text) = machine.update(&["update"]);
    assert!(good && text.contains("1.2 was installed"), "{text}");
    assert!(machine.holds(Slot::B, &Release::new(2)));
    let asked: Vec<_> = web.take_asked().into_iter().filter(|asked| asked.path.ends_with(".fup")).collect();
    assert!(asked.len() == 2 && asked[1].sent == size, "{asked:?}");
}

#[test]
fn a_file_that_changes_on_the_way_is_refused_and_a_mirror_with_another_tag_is_not() {
    let (machine, web, size, site) = prepare();
    let file = site.folder.path().join("payloads/2.fup");
    let other = site.folder.path().join("payloads/2.fup.other");
    let bytes = fs::read(&file).expect("it is there");
    web.set(Fault::Changes(size as usize / 2));
    fs::write(&other, bytes.iter().map(|byte| !byte).collect::<Vec<u8>>()).expect("it can be written");
    let (good, text) = machine.update(&["update"]);
    assert!(!good && text.contains("are not the signed ones"), "{text}");
    assert_eq!(machine.flags(), SlotState::fresh(), "the other slot is not started");
    assert!(machine.holds(Slot::A, &Release::new(1)));
    // Another length than the signed one is noticed at once.
    fs::write(&other, [bytes.as_slice(), b"more"].concat()).expect("it can be written");
    web.take_asked();
    let (good, text) = machine.update(&["update"]);
    assert!(good || text.contains("its manifest says"), "{text}");
    assert!(machine.update(&["reset"]).0);
    fs::write(&other, &bytes).expect("it can be written");
    let (good, text) = machine.update(&["update"]);
    assert!(good && text.contains("1.2 was installed"), "{text}");
    assert!(machine.holds(Slot::B, &Release::new(2)));
}

#[test]
fn a_server_that_trickles_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it listens");
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut request = [0; 1024];
                // Whatever is asked for, a byte comes every 50 ms.
                let _asked = client.read(&mut request)?;
                client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")?;
                loop {
                    client.write_all(b"x")?;
                    std::thread::sleep(Duration::from_millis(50));
                }
                #[allow(unreachable_code)]
                Ok::<(), std::io::Error>(())
            });
        }
    });
    let slowness = Slowness { patience: Duration::from_secs(1), least: 10_000 };
    let access = Access { slowness, ..Access::default() };
    let mut server = Server::with(&format!("http://{address}"), &access).expect("a server");
    let mut source = server.payload("payloads/x.fup");
    let cancel = AtomicBool::new(false);
    let retry = Retry { attempts: 4, wait: Duration::from_millis(10) };
    let mut stream = Stream::new(source.as_mut(), retry, &cancel);
    let begin = Instant::now();
    let error = stream.fill(&mut [0; 5000], 5000).expect_err("it is too slow");
    assert!(matches!(error, SourceError::Slow(_)), "{error}");
    // 250 s at this speed.
    assert!(begin.elapsed() < Duration::from_secs(100), "{:?}", begin.elapsed());
}

#[test]
fn hosts_are_reached_without_the_proxy_where_that_is_said() {
    let (mut machine, web, _, _site) = prepare();
    // Nobody listens at this proxy.
    let conf = |more: &str| format!("SERVER=http://{}/\nREBOOT_STRATEGY=off\n{more}", web.address);
    machine.configure(&conf("PROXY=http://127.0.0.1:1\n"));
    assert!(!machine.update(&["check"]).0);
    machine.configure(&conf("PROXY=http://127.0.0.1:1\nNO_PROXY=localhost,127.0.0.1\n"));
    assert!(machine.update(&["check"]).0);
    machine.configure(&conf(""));
    machine.start_with(&[("http_proxy", "http://127.0.0.1:1")]);
    let (good, text) = machine.update(&["check"]);
    assert!(!good, "the environment's proxy is used: {text}");
    machine.start_with(&[("http_proxy", "http://127.0.0.1:1"), ("no_proxy", "127.0.0.1")]);
    assert!(machine.update(&["check"]).0);
}
