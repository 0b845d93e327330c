//! The nftables rule set of all Services: pure, and its atomic load.
