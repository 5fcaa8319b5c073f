"""What several tests share: samples, independent readers, the stub of the SDK, the fuzzers."""
