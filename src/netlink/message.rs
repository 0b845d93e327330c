//! Netlink messages as bytes, netlink(7): requests are laid out, replies are taken apart.

use rustix::io::Errno;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// `struct nlmsghdr`.
const HEADER: usize = 16;

/// A request in the making.
#[derive(Clone, Debug)]
pub(super) struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// A request that the kernel acknowledges.
    pub fn new(kind: u16, flags: u16) -> Self {
        Self::with_flags(kind, NLM_F_REQUEST | NLM_F_ACK | flags)
    }

    /// A request for all objects of a kind.
    pub fn dump(kind: u16) -> Self {
        Self::with_flags(kind, NLM_F_REQUEST | NLM_F_DUMP)
    }

    /// A request that the kernel answers only if it fails.
    pub fn silent(kind: u16, flags: u16) -> Self {
        Self::with_flags(kind, NLM_F_REQUEST | flags)
    }

    /// The kernel acknowledges it.
    pub fn acknowledged(mut self) -> Self {
        let flags = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]) | NLM_F_ACK;
        self.bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        self
    }

    fn with_flags(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        Self { bytes }
    }

    /// `struct ifinfomsg`.
    pub fn link(mut self, index: u32, flags: u32, change: u32) -> Self {
        self.bytes.extend([0; 4]);
        for word in [index, flags, change] {
            self.bytes.extend(word.to_ne_bytes());
        }
        self
    }

    /// `struct ifaddrmsg`, of global scope.
    pub fn address(mut self, family: u8, prefix: u8, index: u32) -> Self {
        self.bytes.extend([family, prefix, 0, 0]);
        self.bytes.extend(index.to_ne_bytes());
        self
    }

    /// Any other fixed part.
    pub fn fixed(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self.bytes.resize(padded(self.bytes.len()), 0);
        self
    }

    /// An attribute of attributes.
    pub fn nest(mut self, kind: u16, inside: impl FnOnce(Self) -> Self) -> Self {
        const NLA_F_NESTED: u16 = 0x8000;
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend((kind | NLA_F_NESTED).to_ne_bytes());
        self = inside(self);
        // Senders keep below 64 KiB.
        let length = (self.bytes.len() - start) as u16;
        if let Some(bytes) = self.bytes.get_mut(start..start + 2) {
            bytes.copy_from_slice(&length.to_ne_bytes());
        }
        self
    }

    /// An attribute that is a number in the machine's byte order.
    pub fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// An attribute that is a number in the network's byte order.
    pub fn big_endian(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// An attribute; padded to four bytes.
    pub fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        // Names and addresses: far below what a length can say.
        self.bytes.extend((value.len() as u16 + 4).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(padded(self.bytes.len()), 0);
        self
    }

    /// An attribute that is a string.
    pub fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    /// A number that its answer bears.
    pub fn sequence(mut self, number: u32) -> Self {
        self.bytes[8..12].copy_from_slice(&number.to_ne_bytes());
        self
    }

    /// The message, ready to be sent.
    pub fn finish(mut self) -> Vec<u8> {
        let length = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes
    }
}

/// Hands each message of a datagram to `take`, with its type; Some when it was the last of an answer.
pub(super) fn replies(mut rest: &[u8], take: &mut impl FnMut(u16, &[u8])) -> Option<Result<(), Errno>> {
    while let Some(&[l0, l1, l2, l3, k0, k1, _, _]) = rest.first_chunk() {
        let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
        let Some(body) = rest.get(HEADER..length) else { return Some(Err(Errno::PROTO)) };
        match u16::from_ne_bytes([k0, k1]) {
            NLMSG_DONE => return Some(Ok(())),
            NLMSG_ERROR => {
                let code = body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                return Some(match code {
                    0 => Ok(()),
                    code => Err(Errno::from_raw_os_error(code.saturating_neg())),
                });
            }
            kind => take(kind, body),
        }
        rest = rest.get(padded(length)..).unwrap_or_default();
    }
    None
}

/// Hands each acknowledgement of a datagram to `take`: the request's number, and its result.
pub(super) fn acknowledgements(mut rest: &[u8], take: &mut impl FnMut(usize, Result<(), Errno>)) {
    while let Some(&[l0, l1, l2, l3, k0, k1, _, _, s0, s1, s2, s3]) = rest.first_chunk() {
        let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
        let body = rest.get(HEADER..length).unwrap_or_default();
        if let (NLMSG_ERROR, Some(code)) = (u16::from_ne_bytes([k0, k1]), body.first_chunk()) {
            let result = match i32::from_ne_bytes(*code) {
                0 => Ok(()),
                code => Err(Errno::from_raw_os_error(code.saturating_neg())),
            };
            take(u32::from_ne_bytes([s0, s1, s2, s3]) as usize, result);
        }
        rest = rest.get(padded(length.max(HEADER))..).unwrap_or_default();
    }
}

/// The attributes of a message: type and value.
pub(super) struct Attributes<'a>(pub &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [l0, l1, k0, k1] = *self.0.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(padded(length)..).unwrap_or_default();
        // Without NLA_F_NESTED and NLA_F_NET_BYTEORDER.
        Some((u16::from_ne_bytes([k0, k1]) & 0x3fff, value))
    }
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_knows_its_length_and_pads_its_attributes() {
        let bytes = Request::new(18, 0).link(0, 0, 0).text(3, "eth0").finish();
        assert_eq!((bytes.len(), &bytes[..4]), (44, 44u32.to_ne_bytes().as_slice()));
        assert_eq!(&bytes[32..], [9, 0, 3, 0, b'e', b't', b'h', b'0', 0, 0, 0, 0]);
        let attributes: Vec<_> = Attributes(&bytes[32..]).collect();
        assert_eq!(attributes, [(3, b"eth0\0".as_slice())]);
    }

    #[test]
    fn an_answer_ends_with_an_error_or_an_acknowledgement() {
        let error = |code: i32| Request::with_flags(NLMSG_ERROR, 0).bytes_raw(&code.to_ne_bytes());
        let end = |bytes: &[u8]| replies(bytes, &mut |_, _| panic!("no message expected"));
        assert_eq!(end(&error(-19)), Some(Err(Errno::NODEV)));
        assert_eq!(end(&error(0)), Some(Ok(())));
        assert_eq!(end(&[]), None);
        let mut kinds = Vec::new();
        let two = [Request::new(16, 0).link(1, 0, 0).finish(), error(0)].concat();
        assert_eq!(replies(&two, &mut |kind, body| kinds.push((kind, body.len()))), Some(Ok(())));
        assert_eq!(kinds, [(16, 16)]);
    }

    #[test]
    fn an_attribute_of_attributes_has_their_length() {
        let bytes = Request::new(18, 0).nest(18, |r| r.number(1, 7).big_endian(2, 7)).finish();
        let (kind, inside) = Attributes(&bytes[16..]).next().unwrap();
        let attributes: Vec<_> = Attributes(inside).collect();
        assert_eq!((kind, bytes.len()), (18, 36));
        assert_eq!(attributes, [(1, 7u32.to_ne_bytes().as_slice()), (2, &[0, 0, 0, 7])]);
    }

    #[test]
    fn acknowledgements_name_their_request() {
        let answer = |number, code: i32| {
            let request = Request::with_flags(NLMSG_ERROR, 0).sequence(number);
            request.bytes_raw(&code.to_ne_bytes())
        };
        let mut found = Vec::new();
        let datagram = [answer(0, 0), answer(5, -17)].concat();
        acknowledgements(&datagram, &mut |number, result| found.push((number, result)));
        assert_eq!(found, [(0, Ok(())), (5, Err(Errno::EXIST))]);
        acknowledgements(&datagram[..18], &mut |_, _| panic!("a cut one is none"));
    }

    #[test]
    fn a_cut_message_is_no_message() {
        let message = Request::new(16, 0).link(1, 0, 0).finish();
        assert_eq!(replies(&message[..20], &mut |_, _| ()), Some(Err(Errno::PROTO)));
        assert_eq!(Attributes(&[200, 0, 3, 0, 1]).count(), 0);
        assert_eq!(Attributes(&[2, 0, 3, 0]).count(), 0);
    }

    impl Request {
        fn bytes_raw(mut self, bytes: &[u8]) -> Vec<u8> {
            self.bytes.extend(bytes);
            self.finish()
        }
    }
}
