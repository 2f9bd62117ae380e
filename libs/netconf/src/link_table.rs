//! The keys of `.link` files. Pure.

use ferrite_unit::value::wrong;

use crate::key::{Key, idle, key};
use crate::link::{Link, MacPolicy};
use crate::value::{choice, link_name, mac, mtu, optional};

pub(crate) static LINK: &[Key<Link>] = &[
    key("Name", "a name of at most 15 characters", "the name to give", |link, text| {
        optional(text, link_name).map(|name| link.name = name)
    }),
    key("MTUBytes", "bytes, K or M behind", "the largest packet", |link, text| {
        optional(text, mtu).map(|mtu| link.mtu = mtu)
    }),
    key("MACAddress", "a hardware address", "set on the link", |link, text| {
        optional(text, mac).map(|mac| link.mac = mac)
    }),
    key("MACAddressPolicy", "none or persistent", "how one is made where the kernel chose it", |link, text| {
        let kinds = [("none", MacPolicy::None), ("", MacPolicy::None), ("persistent", MacPolicy::Persistent)];
        choice(text, &kinds).map(|policy| link.mac_policy = policy)
    }),
    key("Alias", "text", "a description in the kernel", |link, text| {
        if text.len() > 255 {
            return Err(wrong("the text", "at most 255 bytes long"));
        }
        link.alias = Some(text.to_owned());
        Ok(())
    }),
    key("Description", "text", "for people", |_, _| Ok(())),
    idle("NamePolicy", "a link keeps the kernel's name unless `Name=` gives another"),
    idle("AlternativeNamesPolicy", "a link gets no further names"),
    idle("AlternativeName", "a link gets no further names"),
    idle("WakeOnLan", "it is left as the driver has it"),
];
