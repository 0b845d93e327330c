//! Options of a file system that are longer than fsconfig(2) takes them: an overlay of many layers.

use std::ffi::{CStr, CString};

use super::step::FsOption;

/// Bytes of a string that fsconfig(2) takes.
const LONGEST: usize = 255;

/// The options as mount(2) takes them, where one of them or the source is too long for fsconfig(2).
pub(super) fn needed(options: &[FsOption], source: Option<&CStr>) -> Option<CString> {
    let is_long = |text: &CStr| text.to_bytes().len() > LONGEST;
    let long = options.iter().any(|option| matches!(option, FsOption::Value(_, value) if is_long(value)));
    if !long && !source.is_some_and(is_long) {
        return None;
    }
    let mut data = Vec::new();
    for option in options {
        if !data.is_empty() {
            data.push(b',');
        }
        match option {
            FsOption::Flag(key) => data.extend_from_slice(key.to_bytes()),
            FsOption::Value(key, value) => {
                data.extend_from_slice(key.to_bytes());
                data.push(b'=');
                data.extend_from_slice(value.to_bytes());
            }
        }
    }
    CString::new(data).ok()
}

/// The same options with an overlay's layers one by one: `lowerdir+`, and `datadir+` after `::`.
pub(super) fn in_parts(fstype: &str, options: Vec<FsOption>) -> Vec<FsOption> {
    if fstype != "overlay" {
        return options;
    }
    let parts = |option| match option {
        FsOption::Value(key, value) if *key == *c"lowerdir" => layers(value.to_bytes()),
        option => vec![option],
    };
    options.into_iter().flat_map(parts).collect()
}

/// Layers are separated by `:`, data-only ones by `::`; `\\` takes the next byte as it is.
fn layers(list: &[u8]) -> Vec<FsOption> {
    let (mut layers, mut layer, mut data_only) = (Vec::new(), Vec::new(), false);
    let mut bytes = list.iter().copied().peekable();
    let mut end = |layer: &mut Vec<u8>, data_only: bool| {
        let key: CString = if data_only { c"datadir+".into() } else { c"lowerdir+".into() };
        layers.push(FsOption::Value(key, CString::new(std::mem::take(layer)).unwrap_or_default()));
    };
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => layer.extend(bytes.next()),
            b':' => {
                end(&mut layer, data_only);
                data_only = bytes.next_if_eq(&b':').is_some();
            }
            byte => layer.push(byte),
        }
    }
    end(&mut layer, data_only);
    layers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(key: &CStr, value: &str) -> FsOption {
        FsOption::Value(key.into(), CString::new(value).unwrap())
    }

    #[test]
    fn short_options_stay_as_they_are() {
        let options = [value(c"lowerdir", "/a:/b"), FsOption::Flag(c"metacopy".into())];
        assert_eq!(needed(&options, Some(c"overlay")), None);
        let longest = [value(c"lowerdir", &"x".repeat(LONGEST))];
        assert_eq!(needed(&longest, None), None);
    }

    #[test]
    fn long_layers_come_one_by_one_and_as_a_whole() {
        let list = format!("/{}:/b\\:c::/data", "a".repeat(300));
        let options = vec![value(c"lowerdir", &list), value(c"upperdir", "/u")];
        let data = needed(&options, None).unwrap().into_string().unwrap();
        assert_eq!(data, format!("lowerdir={list},upperdir=/u"));
        let expected = [
            value(c"lowerdir+", &format!("/{}", "a".repeat(300))),
            value(c"lowerdir+", "/b:c"),
            value(c"datadir+", "/data"),
            value(c"upperdir", "/u"),
        ];
        assert_eq!(in_parts("overlay", options.clone()), expected);
        assert_eq!(in_parts("other", options.clone()), options);
    }
}
