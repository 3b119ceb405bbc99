//! Parses the `Cookie` header as bytes. White space is a space or a tab, as in RFC 6265bis, and nothing else.
//!
//! A browser treats any other character around a name as a part of the name. A parser that strips it would find
//! another cookie than the browser checked, which defeats the prefix (`__Host-`). The bytes of other cookies do not
//! matter.

/// The values of the cookies with this name in one `Cookie` header, in order. Quotes are part of a value.
pub fn values<'h>(header: &'h [u8], name: &'h [u8]) -> impl Iterator<Item = &'h [u8]> {
    header.split(|byte| *byte == b';').filter_map(move |pair| {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        (trim(&pair[..equals]) == name).then(|| trim(&pair[equals + 1..]))
    })
}

/// Strips surrounding white space (`WSP`, RFC 5234).
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const NAME: &[u8] = b"__Host-sid";

    /// Unicode's `White_Space`, what of it other languages trim besides (Python the separators, Java every control
    /// character, JavaScript the byte order mark), and what looks like none at all.
    fn blanks() -> Vec<Vec<u8>> {
        let unicode = (0..=u32::from(char::MAX)).filter_map(char::from_u32).filter(|c| c.is_whitespace());
        let others = ['\u{180e}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}', '\u{7f}'];
        let controls = (0..=0x20_u8).map(char::from);
        let text = unicode.chain(others).chain(controls).map(|c| c.to_string().into_bytes());
        text.chain((0..=u8::MAX).map(|byte| vec![byte])).collect()
    }

    fn read(header: &[u8]) -> Vec<Vec<u8>> {
        values(header, NAME).map(<[u8]>::to_vec).collect()
    }

    /// Byte for byte, as the RFC says it: a name to the first `=`, a value to the next `;`, a space or tab at an end dropped.
    fn model(header: &[u8]) -> Vec<Vec<u8>> {
        let (mut found, mut name, mut value) = (Vec::new(), Vec::new(), None::<Vec<u8>>);
        for byte in header.iter().copied().chain([b';']) {
            match (byte, &mut value) {
                (b';', _) => {
                    let value = value.take();
                    let name = bare(&std::mem::take(&mut name));
                    found.extend(value.filter(|_| name == NAME).map(|value| bare(&value)));
                }
                (b'=', None) => value = Some(Vec::new()),
                (_, None) => name.push(byte),
                (_, Some(value)) => value.push(byte),
            }
        }
        found
    }

    fn bare(text: &[u8]) -> Vec<u8> {
        let is_kept = |byte: &u8| ![0x20, 0x09].contains(byte);
        let Some(start) = text.iter().position(is_kept) else { return Vec::new() };
        let end = text.iter().rposition(is_kept).unwrap_or(start);
        text[start..=end].to_vec()
    }

    #[test]
    fn every_byte_and_every_white_space_of_any_language_is_told_from_space_and_tab() {
        for blank in blanks() {
            let is_blank = matches!(blank[..], [b' ' | b'\t']);
            let around = |before: &[u8], name: &[u8], after: &[u8]| [before, name, after, b"=v"].concat();
            for header in [around(&blank, NAME, b""), around(b"", NAME, &blank)] {
                let ends = matches!(blank[..], [b';' | b'=']);
                assert!(ends || read(&header).is_empty() != is_blank, "{blank:?}");
                let beside = [&header[..], b"; __Host-sid=own"].concat();
                assert_eq!(read(&beside).last().unwrap(), b"own", "{blank:?}");
            }
            // In another cookie, and around the value.
            let other = [b"lang=", &blank[..], b"x; __Host-sid=own; a", &blank[..]].concat();
            assert_eq!(read(&other), [b"own"], "{blank:?}");
            let value = [NAME, b"=", &blank[..], b"v", &blank[..]].concat();
            let kept = [&blank[..], b"v", &blank[..]].concat();
            let is_end = blank == b";";
            let expected = if is_blank {
                b"v".to_vec()
            } else if is_end {
                Vec::new()
            } else {
                kept
            };
            assert_eq!(read(&value), [expected], "{blank:?}");
        }
    }

    #[test]
    fn what_is_no_pair_is_passed_over() {
        for (header, found) in [
            (&b"__Host-sid"[..], &[][..]),
            (b"__host-sid=v; __Host-Sid=v; __Host-sid2=v; x__Host-sid=v", &[]),
            (b"=__Host-sid=v; ;;", &[]),
            (b"__Host-sid=a=b; __Host-sid=\"q\";__Host-sid= ", &[&b"a=b"[..], b"\"q\"", b""]),
            (b" \t__Host-sid\t = \t1 2 \t", &[b"1 2"]),
        ] {
            assert_eq!(read(header), found, "{}", header.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn it_reads_what_the_model_reads(
            pieces in vec(
                prop_oneof![
                    3 => prop::sample::select(vec![&b"__Host-sid"[..], b"=", b";", b"; ", b" ", b"\t", b"v", b"\""])
                        .prop_map(<[u8]>::to_vec),
                    1 => prop::sample::select(blanks()),
                    1 => vec(any::<u8>(), 0..4),
                ],
                0..24,
            ),
        ) {
            let header = pieces.concat();
            prop_assert_eq!(read(&header), model(&header));
        }
    }
}
