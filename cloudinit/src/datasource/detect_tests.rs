//! Tables: what is seen, and the datasource that follows.

use ferrite_probe::Kind;

use super::*;
use crate::datasource::volume::Medium;

fn volume(device: &str, label: Label) -> Volume {
    Volume { device: device.into(), medium: Medium::Block(Kind::Vfat), label }
}

fn with_dmi(field: &'static str, value: &str) -> Seen {
    let mut seen = Seen::default();
    seen.dmi.fields.insert(field, value.into());
    seen
}

fn names(seen: &Seen) -> Vec<String> {
    choose(seen).sources.iter().map(ToString::to_string).collect()
}

#[test]
fn the_first_of_the_order_is_taken_and_the_others_have_their_reasons() {
    let mut seen = with_dmi("product_uuid", "ec2d8f4a-0001-0002-0003-000000000000");
    assert_eq!(names(&seen), ["ec2"]);
    seen.volumes.push(volume("/dev/vdb", Label::Config2));
    assert_eq!(names(&seen), ["configdrive /dev/vdb"]);
    seen.volumes.push(volume("/dev/vdc", Label::Cidata));
    assert_eq!(names(&seen), ["nocloud /dev/vdc"]);
    seen.has_fw_cfg = true;
    assert_eq!(names(&seen), ["fw_cfg opt/org.ferrite"]);
    seen.oem = Some(volume("/dev/vda8", Label::Oem));
    assert_eq!(names(&seen), ["oem /dev/vda8"]);
    seen.local = Some("/oem".into());
    assert_eq!(names(&seen), ["local /oem"]);
    seen.command_line = CommandLine::parse("cloud-config-url=http://192.0.2.1/x");
    assert_eq!(names(&seen), ["url http://192.0.2.1/x"]);
    let rejected = choose(&seen).rejected;
    assert!(rejected.contains(&("ec2", "'ec2' is there, 'url http://192.0.2.1/x' is used".into())), "{rejected:?}");
    assert!(rejected.contains(&("digitalocean", "the firmware is not DigitalOcean's".into())), "{rejected:?}");
}

#[test]
fn a_machine_with_nothing_has_no_datasource_and_nobody_is_asked() {
    let choice = choose(&Seen::default());
    assert!(choice.sources.is_empty());
    assert_eq!(choice.rejected.len(), 10);
}

#[test]
fn a_droplet_asks_its_service_first_and_its_last_drive_then() {
    let mut seen = with_dmi("sys_vendor", "DigitalOcean");
    seen.volumes = vec![volume("/dev/vdb", Label::Config2), volume("/dev/vdc", Label::Config2)];
    assert_eq!(names(&seen), ["digitalocean", "configdrive /dev/vdc", "configdrive /dev/vdb"]);
    assert!(!choose(&seen).sources[0].needs_network());
}

#[test]
fn of_several_disks_the_last_is_read_first_and_another_datasource_waits_until_they_decline() {
    let mut seen = with_dmi("sys_vendor", "Amazon EC2");
    seen.volumes = vec![volume("/dev/sr0", Label::Cidata), volume("/dev/vdb", Label::Cidata)];
    seen.volumes.push(volume("/dev/vdc", Label::Config2));
    assert_eq!(names(&seen), ["nocloud /dev/vdb", "nocloud /dev/sr0"]);
    let others: Vec<String> = choose(&seen).others.iter().map(ToString::to_string).collect();
    assert_eq!(others, ["configdrive /dev/vdc", "ec2"]);
}

#[test]
fn the_command_line_can_order_one_datasource_or_none() {
    let mut seen = with_dmi("sys_vendor", "QEMU");
    seen.has_fw_cfg = true;
    seen.command_line.only = Some("ec2".into());
    assert_eq!(choose(&seen).sources, [Source::Ec2(Protocol::TokenOrNone)]);
    seen.command_line.only = Some("none".into());
    assert_eq!(choose(&seen).sources, []);
    let mut aws = with_dmi("sys_vendor", "Amazon EC2");
    aws.command_line.only = Some("ec2".into());
    assert_eq!(choose(&aws).sources, [Source::Ec2(Protocol::TokenOnly)], "an order is no leave to go without a token");
}

#[test]
fn seeds_of_nocloud_are_urls_folders_or_words_beside_a_disk() {
    let mut seen = with_dmi("product_serial", "ds=nocloud;s=http://192.0.2.1/__dmi.system-version__");
    seen.dmi.fields.insert("product_version", "v2".into());
    assert_eq!(names(&seen), ["nocloud http://192.0.2.1/v2/"]);
    seen.command_line = CommandLine::parse("ds=nocloud;s=https://192.0.2.1/?doc=");
    assert_eq!(names(&seen), ["nocloud https://192.0.2.1/?doc="]);
    seen.command_line = CommandLine::parse("ds=nocloud;s=/seed/");
    assert_eq!(names(&seen), ["local /seed/"]);
    seen.command_line = CommandLine::parse("ds=nocloud;h=web1");
    assert_eq!(names(&seen), ["nocloud in its words alone"]);
    seen.volumes.push(volume("/dev/vdb", Label::Cidata));
    assert_eq!(names(&seen), ["nocloud /dev/vdb"]);
    seen.has_fw_cfg = true;
    assert_eq!(names(&seen), ["fw_cfg opt/org.ferrite"]);
    seen.has_fw_cfg = false;
    let mut named = with_dmi("product_serial", "ds=nocloud;h=by-serial;i=i-9");
    assert_eq!(names(&named), ["nocloud in its words alone"]);
    named.volumes.push(volume("/dev/vdb", Label::Cidata));
    assert_eq!(names(&named), ["nocloud /dev/vdb"]);
    assert_eq!(named.words().and_then(|words| words.hostname).as_deref(), Some("by-serial"));
    seen.command_line = CommandLine::parse("ds=nocloud;s=ftp://x/");
    assert!(choose(&seen).rejected.iter().any(|(_, reason)| reason.contains("'ftp://x/'")));
}
