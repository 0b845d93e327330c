//! `rcrun-cri check`: what this host lacks, and what that disables.
