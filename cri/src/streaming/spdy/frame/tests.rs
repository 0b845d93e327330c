use super::*;
use crate::streaming::spdy::headers::tests::Deflater;

fn header(bytes: &[u8]) -> Header {
    Header::read(bytes[..HEADER].try_into().unwrap()).unwrap()
}

fn control(bytes: &[u8]) -> Result<Control, FrameError> {
    match Header::read(bytes[..HEADER].try_into().unwrap())? {
        Header::Control { kind, flags, length } => {
            assert_eq!(length as usize, bytes.len() - HEADER);
            Control::read(kind, flags, &bytes[HEADER..], &mut Inflater::default())
        }
        other => panic!("{other:?}"),
    }
}

/// A control frame by its parts.
pub fn frame(kind: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80, 3];
    bytes.extend(kind.to_be_bytes());
    bytes.extend((u32::from(flags) << 24 | payload.len() as u32).to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A SYN_STREAM frame.
pub fn open(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    let mut payload = stream.to_be_bytes().to_vec();
    payload.extend([0; 6]);
    payload.extend(block);
    frame(SYN_STREAM, flags, &payload)
}

#[test]
fn a_stream_is_opened_with_headers() {
    let block = Deflater::default().write(&[("streamtype", "stdin")]);
    let headers = vec![("streamtype".to_owned(), "stdin".to_owned())];
    assert_eq!(control(&open(5, FIN, &block)).unwrap(), Control::Open { stream: 5, fin: true, headers });
}

#[test]
fn what_a_server_says_is_read_back() {
    let written = |out: &Out| {
        let mut bytes = BytesMut::new();
        Writer::default().put(&mut bytes, out);
        bytes
    };
    let data = written(&Out::Data { stream: 7, data: "abc".into() });
    assert_eq!(header(&data), Header::Data { stream: 7, fin: false, length: 3 });
    assert_eq!(&data[HEADER..], b"abc");
    let end = written(&Out::End { stream: 7 });
    assert_eq!(header(&end), Header::Data { stream: 7, fin: true, length: 0 });
    assert_eq!(control(&written(&Out::Accept { stream: 7 })).unwrap(), Control::Nothing);
    assert_eq!(control(&written(&Out::Refuse { stream: 7 })).unwrap(), Control::Reset { stream: 7 });
    assert_eq!(control(&written(&Out::Reset { stream: 7 })).unwrap(), Control::Reset { stream: 7 });
    assert_eq!(control(&written(&Out::Ping { id: 9 })).unwrap(), Control::Ping { id: 9 });
    assert_eq!(control(&written(&Out::Close { failed: false })).unwrap(), Control::GoAway);
}

#[test]
fn frames_of_other_kinds_are_nothing_or_refused() {
    assert_eq!(control(&frame(WINDOW_UPDATE, 0, &[0; 8])).unwrap(), Control::Nothing);
    assert_eq!(control(&frame(SETTINGS, 0, &[0; 4])).unwrap(), Control::Nothing);
    assert_eq!(
        control(&frame(SETTINGS, 0, &[0, 0, 0, 1, 0, 0, 0, 7, 0, 1, 0, 0])).unwrap(),
        Control::Nothing
    );
    for kind in [0, 5, 10, 0xffff] {
        assert_eq!(control(&frame(kind, 0, &[0; 8])), Err(FrameError::Type(kind)));
    }
}

#[test]
fn lengths_that_lie_are_refused() {
    for (kind, payload) in [
        (SYN_STREAM, &[0, 0, 0, 1][..]),
        (SYN_STREAM, &[]),
        (RST_STREAM, &[0, 0, 0, 1]),
        (PING, &[0; 8]),
        (PING, &[]),
        (GOAWAY, &[0; 4]),
        (WINDOW_UPDATE, &[0; 9]),
        (SETTINGS, &[]),
        (SETTINGS, &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]),
        (SETTINGS, &[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        let length = payload.len() as u32;
        assert_eq!(
            control(&frame(kind, 0, payload)),
            Err(FrameError::Length { kind, length }),
            "{payload:?}"
        );
    }
    let huge = [0x80, 3, 0, SETTINGS as u8, 0, 0xff, 0xff, 0xff];
    assert_eq!(Header::read(huge), Err(FrameError::Length { kind: SETTINGS, length: 0xff_ffff }));
}

#[test]
fn other_versions_and_stream_zero_are_refused() {
    assert_eq!(Header::read([0x80, 2, 0, 1, 0, 0, 0, 0]), Err(FrameError::Version(2)));
    assert_eq!(Header::read([0; 8]), Err(FrameError::StreamZero));
    assert_eq!(control(&frame(RST_STREAM, 0, &[0, 0, 0, 0, 0, 0, 0, 5])), Err(FrameError::StreamZero));
    let block = Deflater::default().write(&[]);
    assert_eq!(control(&open(0x8000_0000, 0, &block)), Err(FrameError::StreamZero));
}

#[test]
fn no_bytes_make_it_panic() {
    // A xorshift, so that a failure comes again.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let good = open(1, 0, &Deflater::default().write(&[("streamtype", "error"), ("port", "80")]));
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..random() % 6 {
            let at = random() as usize % bytes.len();
            bytes[at] = random() as u8;
        }
        bytes.truncate(HEADER.max(random() as usize % (bytes.len() + 1)));
        if let Ok(Header::Control { kind, flags, .. }) = Header::read(bytes[..HEADER].try_into().unwrap()) {
            let kind = if random() % 2 == 0 { kind } else { random() as u16 % 12 };
            let _ = Control::read(kind, flags, &bytes[HEADER..], &mut Inflater::default());
        }
    }
}
