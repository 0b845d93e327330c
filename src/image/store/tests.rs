//! Blobs, layers and images on a real file system.
