//! CRIU's messages, protocol buffers as its `images/rpc.proto` numbers them: the fields that are used.
//!
//! A field that is not set is not sent, and CRIU has a default for it.

/// What is asked, or what an answer is about: `criu_req_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
#[allow(missing_docs)]
pub enum Kind {
    Empty = 0,
    Dump = 1,
    Restore = 2,
    PreDump = 4,
    Notify = 6,
    FeatureCheck = 9,
}

/// `criu_req`.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs)]
pub struct Request {
    #[prost(enumeration = "Kind", required, tag = "1")]
    pub kind: i32,
    #[prost(message, optional, tag = "2")]
    pub options: Option<Options>,
    #[prost(bool, optional, tag = "3")]
    pub notify_success: Option<bool>,
    #[prost(message, optional, tag = "5")]
    pub features: Option<Features>,
}

/// `criu_opts`.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs)]
pub struct Options {
    /// Descriptors of directories are the caller's own: CRIU opens them through /proc.
    #[prost(int32, required, tag = "1")]
    pub images_dir_fd: i32,
    #[prost(int32, optional, tag = "2")]
    pub pid: Option<i32>,
    #[prost(bool, optional, tag = "3")]
    pub leave_running: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    pub ext_unix_sk: Option<bool>,
    #[prost(bool, optional, tag = "5")]
    pub tcp_established: Option<bool>,
    #[prost(bool, optional, tag = "6")]
    pub evasive_devices: Option<bool>,
    #[prost(bool, optional, tag = "7")]
    pub shell_job: Option<bool>,
    #[prost(bool, optional, tag = "8")]
    pub file_locks: Option<bool>,
    #[prost(int32, optional, tag = "9")]
    pub log_level: Option<i32>,
    #[prost(string, optional, tag = "10")]
    pub log_file: Option<String>,
    #[prost(message, optional, tag = "11")]
    pub page_server: Option<PageServer>,
    #[prost(bool, optional, tag = "12")]
    pub notify_scripts: Option<bool>,
    #[prost(string, optional, tag = "13")]
    pub root: Option<String>,
    #[prost(string, optional, tag = "14")]
    pub parent_img: Option<String>,
    #[prost(bool, optional, tag = "15")]
    pub track_mem: Option<bool>,
    #[prost(bool, optional, tag = "16")]
    pub auto_dedup: Option<bool>,
    #[prost(int32, optional, tag = "17")]
    pub work_dir_fd: Option<i32>,
    #[prost(bool, optional, tag = "18")]
    pub link_remap: Option<bool>,
    #[prost(bool, optional, tag = "24")]
    pub manage_cgroups: Option<bool>,
    #[prost(message, repeated, tag = "25")]
    pub cg_root: Vec<CgroupRoot>,
    /// The restored process is a child of CRIU's parent.
    #[prost(bool, optional, tag = "26")]
    pub rst_sibling: Option<bool>,
    #[prost(message, repeated, tag = "27")]
    pub inherit_fd: Vec<InheritFd>,
    #[prost(enumeration = "CgroupsMode", optional, tag = "34")]
    pub manage_cgroups_mode: Option<i32>,
    #[prost(string, repeated, tag = "37")]
    pub external: Vec<String>,
    /// CLONE_NEW* flags of namespaces whose contents are not CRIU's business.
    #[prost(uint32, optional, tag = "38")]
    pub empty_ns: Option<u32>,
    #[prost(message, repeated, tag = "39")]
    pub join_ns: Vec<JoinNamespace>,
    #[prost(string, optional, tag = "44")]
    pub freeze_cgroup: Option<String>,
    #[prost(bool, optional, tag = "46")]
    pub tcp_skip_in_flight: Option<bool>,
    #[prost(bool, optional, tag = "48")]
    pub lazy_pages: Option<bool>,
    #[prost(bool, optional, tag = "50")]
    pub orphan_pts_master: Option<bool>,
    #[prost(string, optional, tag = "51")]
    pub config_file: Option<String>,
    #[prost(string, optional, tag = "53")]
    pub lsm_profile: Option<String>,
    #[prost(string, optional, tag = "63")]
    pub lsm_mount_context: Option<String>,
    #[prost(enumeration = "NetworkLock", optional, tag = "64")]
    pub network_lock: Option<i32>,
}

/// `criu_network_lock_method`: how packets are held back while connections are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
#[allow(missing_docs)]
pub enum NetworkLock {
    Iptables = 1,
    Nftables = 2,
}

/// `criu_cg_mode`: what CRIU does about the cgroups of what it restores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
#[allow(missing_docs)]
pub enum CgroupsMode {
    Ignore = 0,
    Soft = 3,
    Full = 4,
    Strict = 5,
    Default = 6,
}

/// `criu_page_server_info`.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs)]
pub struct PageServer {
    #[prost(string, optional, tag = "1")]
    pub address: Option<String>,
    #[prost(int32, optional, tag = "2")]
    pub port: Option<i32>,
}

/// `cgroup_root`: where the dumped cgroups of a hierarchy go.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs)]
pub struct CgroupRoot {
    #[prost(string, optional, tag = "1")]
    pub controllers: Option<String>,
    #[prost(string, required, tag = "2")]
    pub path: String,
}

/// `inherit_fd`: an open descriptor of CRIU's in the place of a dumped one.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs)]
pub struct InheritFd {
    #[prost(string, required, tag = "1")]
    pub key: String,
    #[prost(int32, required, tag = "2")]
    pub fd: i32,
}

/// `join_namespace`.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs)]
pub struct JoinNamespace {
    #[prost(string, required, tag = "1")]
    pub kind: String,
    #[prost(string, required, tag = "2")]
    pub file: String,
}

/// `criu_features`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
#[allow(missing_docs)]
pub struct Features {
    #[prost(bool, optional, tag = "1")]
    pub mem_track: Option<bool>,
    #[prost(bool, optional, tag = "2")]
    pub lazy_pages: Option<bool>,
}

/// `criu_resp`.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs)]
pub struct Response {
    #[prost(enumeration = "Kind", required, tag = "1")]
    pub kind: i32,
    #[prost(bool, required, tag = "2")]
    pub success: bool,
    #[prost(message, optional, tag = "4")]
    pub restore: Option<Restored>,
    #[prost(message, optional, tag = "5")]
    pub notify: Option<Notify>,
    #[prost(int32, optional, tag = "7")]
    pub errno: Option<i32>,
    #[prost(message, optional, tag = "8")]
    pub features: Option<Features>,
    #[prost(string, optional, tag = "9")]
    pub message: Option<String>,
}

/// `criu_restore_resp`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
#[allow(missing_docs)]
pub struct Restored {
    #[prost(int32, required, tag = "1")]
    pub pid: i32,
}

/// `criu_notify`: CRIU has come to a point of its way and waits.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs)]
pub struct Notify {
    #[prost(string, optional, tag = "1")]
    pub script: Option<String>,
    #[prost(int32, optional, tag = "2")]
    pub pid: Option<i32>,
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_protocol() {
        let request = Request {
            kind: Kind::Dump.into(),
            options: Some(Options { images_dir_fd: 5, pid: Some(300), ..Options::default() }),
            ..Request::default()
        };
        // Field 1 as varint 1; field 2, five bytes: field 1 as varint 5, field 2 as varint 300.
        assert_eq!(request.encode_to_vec(), [0x08, 1, 0x12, 5, 0x08, 5, 0x10, 0xac, 0x02]);
    }

    #[test]
    fn required_fields_are_sent_though_they_are_zero() {
        assert_eq!(Request::default().encode_to_vec(), [0x08, 0]);
        assert_eq!(Options::default().encode_to_vec(), [0x08, 0]);
    }

    #[test]
    fn a_notification_is_read_and_unknown_fields_are_skipped() {
        let bytes = [&[0x08, 6, 0x10, 1, 0x2a, 12, 0x0a, 8][..], b"pre-dump", &[0x10, 7, 0x58, 3]].concat();
        let response = Response::decode(&bytes[..]).unwrap();
        assert_eq!(response.kind(), Kind::Notify);
        assert!(response.success);
        let notify = response.notify.unwrap();
        assert_eq!((notify.script(), notify.pid()), ("pre-dump", 7));
    }
}
