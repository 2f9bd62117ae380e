//! Placeholder header, to be written by the owner of this file.
