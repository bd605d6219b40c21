//! The vocabulary of images: digest, reference, descriptor, manifest, index, config, platform, the verifying reader.
