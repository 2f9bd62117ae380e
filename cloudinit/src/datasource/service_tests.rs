//! The recorded trees of the datasources, which lie beside the repository.

use std::path::PathBuf;

use super::*;

fn recorded(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/cloud-config/datasources").join(name);
    assert!(folder.exists(), "the recorded tree is missing: '{}'", folder.display());
    folder
}

#[test]
fn the_recorded_drive_is_read() {
    let documents = config_drive::read(&recorded("configdrive")).unwrap();
    let (meta, faults) = crate::meta::read(&documents.meta_data);
    assert_eq!(faults.0, []);
    assert_eq!(meta.instance_id.as_deref(), Some("83679162-1378-4288-a2d4-70e13ec132aa"));
    assert_eq!((meta.hostname.unwrap().as_str(), meta.public_keys.len()), ("cd-node", 1));
    assert_eq!(documents.vendor_data, b"#cloud-config\ntimezone: Europe/Rome\n");
    assert_eq!(documents.random_seed, b"seedseedseedseed");
    let file = documents.files.first().unwrap();
    assert_eq!((file.path.as_str(), file.content.as_slice()), ("/etc/injected", &b"injected file\n"[..]));
    assert!(!documents.network_config.is_empty() && documents.network_format == crate::network::Format::OpenStack);
    assert_eq!(documents.problems, [] as [&str; 0]);
}

#[test]
fn the_recorded_seed_is_read() {
    let documents = nocloud::folder(&recorded("nocloud")).unwrap();
    let (mut meta, mut faults) = crate::meta::read(&documents.meta_data);
    crate::meta::complete(&mut meta, &documents, &mut faults);
    assert_eq!((meta.instance_id.as_deref(), meta.hostname.unwrap().as_str()), (Some("iid-local01"), "cloudimg"));
    assert!(documents.user_data.starts_with(b"#cloud-config"));
}

#[test]
fn fw_cfg_without_our_files_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(fw_cfg(folder.path()).unwrap(), Documents::default());
    std::fs::create_dir(folder.path().join("user-data")).unwrap();
    std::fs::write(folder.path().join("user-data/raw"), "#cloud-config\n").unwrap();
    assert_eq!(fw_cfg(folder.path()).unwrap().user_data, b"#cloud-config\n");
}
