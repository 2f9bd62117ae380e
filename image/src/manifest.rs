//! The manifest of an image: SPDX 2.3 as JSON, with every package and every file.
//!
//! Pure but for reading the files' contents; the same image gives the same bytes. Debian packages enter as packages
//! whose files were not analysed, because only some of their files are in the image; each file says which one it came
//! from.

use crate::packages::lock::Locked;
use crate::tree::{OURS, Tree};
use anyhow::{Context, Result};
use ferrite_layout::verity::hex;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::io::Read;

/// Namespace of the document's identifiers.
const NAMESPACE: uuid::Uuid = uuid::Uuid::from_u128(0x6f4e_32a1_5d0c_5b7e_9a43_f1c2_8d6b_0e57);

/// The licence of Ferrite's own programs and files.
const OUR_LICENCE: &str = "MIT OR Apache-2.0";

const IMAGE: &str = "SPDXRef-Image";
const UNKNOWN: &str = "NOASSERTION";

/// What a manifest is about.
#[derive(Debug, Clone, Copy)]
pub struct Contents<'a> {
    /// Name of the board.
    pub board: &'a str,
    /// Version of the image.
    pub version: &'a str,
    /// Time of the lock file.
    pub epoch: u64,
    /// The whole root file system.
    pub tree: &'a Tree,
    /// The packages that something came from.
    pub packages: &'a [Locked],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(rename = "SPDXID")]
    id: &'static str,
    spdx_version: &'static str,
    data_license: &'static str,
    name: String,
    document_namespace: String,
    creation_info: CreationInfo,
    document_describes: [&'static str; 1],
    packages: Vec<Package>,
    files: Vec<File>,
    relationships: Vec<Relationship>,
}

#[derive(Serialize)]
struct CreationInfo {
    created: String,
    creators: [String; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    #[serde(rename = "SPDXID")]
    id: String,
    name: String,
    version_info: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    package_file_name: Option<String>,
    download_location: &'static str,
    files_analyzed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    package_verification_code: Option<VerificationCode>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checksums: Vec<Checksum>,
    license_concluded: &'static str,
    license_declared: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    license_comments: Option<String>,
    copyright_text: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<ExternalRef>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VerificationCode {
    package_verification_code_value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checksum {
    algorithm: &'static str,
    checksum_value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(rename = "SPDXID")]
    id: String,
    file_name: String,
    checksums: [Checksum; 2],
    license_concluded: &'static str,
    copyright_text: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    relationship_type: &'static str,
    related_spdx_element: String,
}

/// The text of the manifest.
pub fn render(contents: &Contents<'_>) -> Result<String> {
    let Contents { board, version, epoch, tree, packages } = *contents;
    let (files, mut relationships) = files(tree)?;
    relationships.extend(packages.iter().map(|package| relation(IMAGE, "CONTAINS", &package_id(&package.name))));
    relationships.push(relation(IMAGE, "CONTAINS", &package_id(OURS)));
    let mut all = vec![image_package(board, version, &files), our_package(version)];
    for package in packages {
        all.push(debian_package(package, tree)?);
    }
    let identity = all.iter().flat_map(|p| p.checksums.iter().map(|c| c.checksum_value.as_str()));
    let identity: String = identity.chain(files.iter().map(|file| file.checksums[1].checksum_value.as_str())).collect();
    let document = Document {
        id: "SPDXRef-DOCUMENT",
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        name: format!("ferrite-{board}-{version}"),
        document_namespace: format!("urn:uuid:{}", uuid::Uuid::new_v5(&NAMESPACE, identity.as_bytes())),
        creation_info: CreationInfo { created: rfc3339(epoch), creators: [format!("Tool: ferrite-{version}")] },
        document_describes: [IMAGE],
        packages: all,
        files,
        relationships,
    };
    let mut text = serde_json::to_string_pretty(&document).context("writing the manifest as JSON")?;
    text.push('\n');
    Ok(text)
}

fn files(tree: &Tree) -> Result<(Vec<File>, Vec<Relationship>)> {
    let mut files = Vec::new();
    let mut relationships = Vec::new();
    for (path, node) in tree.iter() {
        let Some(content) = node.content() else { continue };
        let (sha1, sha256) = content.open().and_then(digests).with_context(|| format!("reading {path}"))?;
        let id = format!("SPDXRef-File-{}", files.len() + 1);
        relationships.push(relation(IMAGE, "CONTAINS", &id));
        relationships.push(relation(&id, "GENERATED_FROM", &package_id(&node.origin)));
        files.push(File {
            id,
            file_name: format!(".{path}"),
            checksums: [checksum("SHA1", sha1), checksum("SHA256", sha256)],
            license_concluded: if &*node.origin == OURS { OUR_LICENCE } else { UNKNOWN },
            copyright_text: UNKNOWN,
        });
    }
    Ok((files, relationships))
}

fn digests(mut reader: Box<dyn Read + Send>) -> std::io::Result<(String, String)> {
    let (mut sha1, mut sha256) = (sha1_smol::Sha1::new(), Sha256::new());
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = reader.read(&mut buffer)?;
        if count == 0 {
            return Ok((sha1.digest().to_string(), hex(&sha256.finalize())));
        }
        sha1.update(&buffer[..count]);
        sha256.update(&buffer[..count]);
    }
}

/// The image as a package: its verification code is the SHA-1 of all files' SHA-1s, as SPDX 2.3 section 7.9 says.
fn image_package(board: &str, version: &str, files: &[File]) -> Package {
    let mut hashes: Vec<&str> = files.iter().map(|file| file.checksums[0].checksum_value.as_str()).collect();
    hashes.sort_unstable();
    let code = sha1_smol::Sha1::from(hashes.concat()).digest().to_string();
    Package {
        id: IMAGE.to_owned(),
        name: format!("ferrite-{board}"),
        files_analyzed: true,
        package_verification_code: Some(VerificationCode { package_verification_code_value: code }),
        ..package(IMAGE, version)
    }
}

fn our_package(version: &str) -> Package {
    Package { license_concluded: OUR_LICENCE, license_declared: OUR_LICENCE, ..package(OURS, version) }
}

fn package(name: &str, version: &str) -> Package {
    Package {
        id: package_id(name),
        name: name.to_owned(),
        version_info: version.to_owned(),
        package_file_name: None,
        download_location: UNKNOWN,
        files_analyzed: false,
        package_verification_code: None,
        checksums: Vec::new(),
        license_concluded: UNKNOWN,
        license_declared: UNKNOWN,
        license_comments: None,
        copyright_text: UNKNOWN,
        external_refs: Vec::new(),
    }
}

fn debian_package(locked: &Locked, tree: &Tree) -> Result<Package> {
    let path = format!("/usr/share/doc/{}/copyright", locked.name);
    let licence = match tree.get(&path).and_then(|node| node.content()) {
        Some(content) => {
            let (_, sha256) = content.open().and_then(digests).with_context(|| format!("reading {path}"))?;
            Some(format!("the licences are in {path} of the image, SHA-256 {sha256}"))
        }
        None => None,
    };
    let escaped = locked.version.replace(':', "%3A").replace('+', "%2B").replace('~', "%7E");
    let locator = format!("pkg:deb/debian/{}@{escaped}?arch={}&distro=trixie", locked.name, locked.arch);
    Ok(Package {
        package_file_name: Some(locked.path.clone()),
        checksums: vec![checksum("SHA256", locked.sha256.clone())],
        license_comments: licence,
        external_refs: vec![ExternalRef {
            reference_category: "PACKAGE-MANAGER",
            reference_type: "purl",
            reference_locator: locator,
        }],
        ..package(&locked.name, &locked.version)
    })
}

fn checksum(algorithm: &'static str, checksum_value: String) -> Checksum {
    Checksum { algorithm, checksum_value }
}

fn relation(from: &str, relationship_type: &'static str, to: &str) -> Relationship {
    Relationship { spdx_element_id: from.to_owned(), relationship_type, related_spdx_element: to.to_owned() }
}

/// SPDX identifiers may hold letters, digits, dots and dashes only.
fn package_id(name: &str) -> String {
    let plain = name.replace("++", ".pp").replace('+', ".p.");
    format!("SPDXRef-Package-{plain}")
}

/// A time in seconds since 1970 as `2026-11-25T15:31:00Z`.
fn rfc3339(epoch: u64) -> String {
    let (days, second) = (epoch / 86_400, epoch % 86_400);
    // The proleptic Gregorian calendar in eras of 400 years that begin on the first of March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::lock::Archive;
    use crate::tree::Node;

    fn locked() -> Locked {
        Locked {
            name: "libstdc++6".into(),
            version: "1:2~3+b1".into(),
            arch: "amd64".into(),
            archive: Archive::Main,
            path: "pool/main/g/gcc/libstdc++6_2_amd64.deb".into(),
            size_bytes: 1,
            sha256: "ab".repeat(32),
        }
    }

    fn manifest() -> serde_json::Value {
        let mut tree = Tree::new();
        let add = |tree: &mut Tree, path: &str, origin: &str| {
            tree.insert(path, Node::file(0o644, "abc", &origin.into())).unwrap();
        };
        add(&mut tree, "/usr/lib/libx.so", "libstdc++6");
        add(&mut tree, "/usr/share/doc/libstdc++6/copyright", "libstdc++6");
        add(&mut tree, "/usr/lib/ferrite/ferrite-init", OURS);
        let contents =
            Contents { board: "qemu", version: "1.2", epoch: 1_764_084_660, tree: &tree, packages: &[locked()] };
        let text = render(&contents).unwrap();
        assert_eq!(text, render(&contents).unwrap());
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn every_package_and_every_file_is_listed_with_where_it_came_from() {
        let manifest = manifest();
        assert_eq!(manifest["creationInfo"]["created"], "2025-11-25T15:31:00Z");
        let names: Vec<&str> =
            manifest["packages"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["ferrite-qemu", "ferrite", "libstdc++6"]);
        let package = &manifest["packages"][2];
        assert_eq!(package["SPDXID"], "SPDXRef-Package-libstdc.pp6");
        assert_eq!(
            package["externalRefs"][0]["referenceLocator"],
            "pkg:deb/debian/libstdc++6@1%3A2%7E3%2Bb1?arch=amd64&distro=trixie"
        );
        assert!(package["licenseComments"].as_str().unwrap().contains("ba7816bf"));
        assert_eq!(manifest["packages"][1]["licenseDeclared"], OUR_LICENCE);
        let file = &manifest["files"][0];
        assert_eq!(file["fileName"], "./usr/lib/ferrite/ferrite-init");
        assert_eq!(file["checksums"][0]["checksumValue"], "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(manifest["files"].as_array().unwrap().len(), 3);
        let from =
            manifest["relationships"].as_array().unwrap().iter().filter(|r| r["relationshipType"] == "GENERATED_FROM");
        assert_eq!(from.count(), 3);
    }

    #[test]
    fn no_address_of_a_host_is_in_a_manifest() {
        assert!(!manifest().to_string().contains("://"));
    }

    #[test]
    fn times_are_written_as_dates() {
        for (epoch, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(epoch), text);
        }
    }
}
