//! Keys that are kept apart, changed and lost.

use std::fs;

use ferrite_update_engine::check::CheckError;
use ferrite_update_engine::source::Directory;

use crate::channel::Client;
use crate::workshop::Workshop;

fn release_keys(workshop: &Workshop, folder: &str) -> Vec<String> {
    let shown = workshop.ferrite(&["keys", "show", folder]);
    let line = |line: &str| Some(line.split_whitespace().nth(4).filter(|_| line.starts_with("release"))?.to_string());
    shown.lines().filter_map(line).collect()
}

#[test]
fn machines_follow_a_rotation_and_do_not_believe_the_old_keys_any_more() {
    let workshop = Workshop::new();
    let client = Client::new(&workshop);
    let old = release_keys(&workshop, "keys");
    assert_eq!(old.len(), 3);
    let signed_by_old = workshop.pack(2, None);
    for key in &old {
        workshop.ferrite(&["keys", "rotate", "keys", "--replace", key]);
    }
    let new = release_keys(&workshop, "keys");
    assert!(new.len() == 3 && new.iter().all(|key| !old.contains(key)), "{new:?}");
    let error = workshop.ferrite_fails(&["publish", "site", &signed_by_old]);
    assert!(error.contains("0 valid signatures of release keys, 2 are needed (3 by unknown keys"), "{error}");
    let signed_by_new = workshop.pack(2, None);
    workshop.ferrite(&["publish", "site", &signed_by_new]);
    let mut site = Directory(workshop.path("site"));
    let news = client.check(&mut site).expect("it walks from set 1 to set 4");
    assert_eq!((news.keys.number(), news.new_sets.len()), (4, 3));
    client.install(&mut site, &news, &client.offer(&news).full).expect("it is installed");
    client.assert_installed(&workshop, 2);
    // A set that is damaged or left out on the server ends the walk with its number.
    let set = workshop.path("site/root.3.json");
    let text = fs::read_to_string(&set).expect("it is there");
    fs::write(&set, text.replace("ferrite", "ferrito")).expect("it can be written");
    assert!(matches!(client.check(&mut site), Err(CheckError::KeySet { number: 3, .. })));
}

#[test]
fn a_payload_is_signed_in_two_places() {
    let workshop = Workshop::new();
    let keys = release_keys(&workshop, "keys");
    let copy = |folder: &str, secrets: &[&String]| {
        fs::create_dir(workshop.path(folder)).expect("a folder");
        fs::copy(workshop.path("keys/root.1.json"), workshop.path(folder).join("root.1.json")).expect("it is there");
        for key in secrets {
            let name = format!("release-{key}.key");
            fs::copy(workshop.path("keys").join(&name), workshop.path(folder).join(&name)).expect("it is there");
        }
    };
    copy("here", &[&keys[0]]);
    copy("there", &[&keys[2]]);
    let pack = ["payload", "pack", "out-2", "--out", "2.fup", "--serial", "2", "--keys", "here", "--level", "3"];
    let said = workshop.ferrite(&pack);
    assert!(said.contains("signed by 1 of 2 keys"), "{said}");
    let error = workshop.ferrite_fails(&["payload", "show", "2.fup"]);
    assert!(error.contains("1 valid signatures of release keys, 2 are needed"), "{error}");
    workshop.ferrite(&["payload", "sign", "2.fup", "--keys", "there"]);
    let shown = workshop.ferrite(&["payload", "show", "2.fup"]);
    assert!(shown.contains("version, serial  1.2, 2"), "{shown}");
    let error = workshop.ferrite_fails(&["publish", "site", "2.fup", "--keys", "there"]);
    assert!(error.contains("1 channel keys have to sign and 'there' holds the secret half of 0"), "{error}");
    workshop.ferrite(&["publish", "site", "2.fup"]);
}

#[test]
fn wrong_orders_are_refused_with_the_way_out() {
    let workshop = Workshop::new();
    for (arguments, wanted) in [
        (&["keys", "new", "keys"][..], "'keys' is not empty"),
        (&["keys", "rotate", "keys"], "nothing would change"),
        (&["keys", "rotate", "keys", "--replace", "zz"], "'zz' is the beginning of 0 keys' names"),
        (&["keys", "rotate", "keys", "--add", "owner"], "there is no role 'owner'"),
        (&["keys", "rotate", "keys", "--threshold", "release=9"], "role release has 3 different keys and needs 9"),
        (&["keys", "new", "k", "--root", "3/2"], "'3/2' is not like 2/3"),
        (&["publish", "site", "--withdraw", "7"], "has no release with serial 7"),
        (
            &["payload", "pack", "absent", "--out", "x", "--serial", "1"],
            "is this a folder that `ferrite build` filled?",
        ),
        (&["payload", "pack", "out-2", "--out", "x", "--serial", "3"], "the image was built with serial 2, not 3"),
        (&["payload", "show", "out-1/build.json"], "this is no payload of Ferrite"),
        (&["serve", "absent"], "'absent' is no directory"),
    ] {
        let error = workshop.ferrite_fails(arguments);
        assert!(error.contains(wanted), "{arguments:?}: {error}");
    }
    // Nothing of this left keys behind.
    let keys = fs::read_dir(workshop.path("keys")).expect("it is there").count();
    assert_eq!(keys, 3 + 3 + 1 + 1);
    use std::os::unix::fs::PermissionsExt;
    for entry in fs::read_dir(workshop.path("keys")).expect("it is there").flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "key") {
            assert_eq!(entry.metadata().expect("it is there").permissions().mode() & 0o777, 0o600);
        }
    }
}
