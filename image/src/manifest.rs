//! The manifest of an image: SPDX 2.3 as JSON. Pure.
