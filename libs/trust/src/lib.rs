//! Whom https trusts: the certificate authorities of the image, and those that an administrator adds.

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// Where programs find the certificates of the authorities.
pub const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What a client needs to trust those whose certificates stand in this PEM text; `None`: there is none in it.
pub fn tls(pem: &[u8]) -> Option<TlsConfig> {
    let certificates = parse_pem(pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        // What is no certificate signs for nobody.
        _ => None,
    });
    let certificates: Vec<Certificate<'static>> = certificates.collect();
    let roots = || RootCerts::new_with_certs(&certificates);
    (!certificates.is_empty()).then(|| TlsConfig::builder().root_certs(roots()).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_certificates_trusts_nobody() {
        assert!(tls(b"").is_none() && tls(b"#cloud-config\n").is_none());
        assert!(tls(b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n").is_none());
        assert!(tls(b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n").is_some());
    }
}
