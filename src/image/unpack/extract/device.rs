//! Numbers of devices.

/// The number as mknod(2) takes it; None if the kernel has no room for it: 12 and 20 bits.
pub fn number(major: u32, minor: u32) -> Option<u64> {
    (major < 1 << 12 && minor < 1 << 20).then(|| rustix::fs::makedev(major, minor))
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_of_the_size_that_the_kernel_has() {
        assert_eq!(number(1, 3), Some(0x103));
        assert_eq!(number(4095, (1 << 20) - 1), Some(rustix::fs::makedev(4095, 0xf_ffff)));
        assert_eq!((number(4096, 0), number(0, 1 << 20)), (None, None));
    }
}
