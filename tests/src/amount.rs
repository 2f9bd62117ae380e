//! How much a test does: a sample in `make test`, everything in `make test-long`.

/// Whether everything is asked for (`FERRITE_LONG=1`).
pub fn everything() -> bool {
    std::env::var("FERRITE_LONG").is_ok_and(|value| value == "1")
}

/// The sample, or all when everything is asked for.
pub fn sample_or_all(sample: usize, all: usize) -> usize {
    if everything() { all } else { sample }
}
