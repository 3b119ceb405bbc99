//! Follows the frames of an HTTP/2 connection, only as far as needed to tell whether the client is sending headers.

/// Length of the client's connection preface.
const PREFACE: usize = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();
const HEAD: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Parser of the frames of one direction.
pub(super) struct Frames {
    /// Bytes to skip: the preface, or the rest of a frame.
    skip: usize,
    head: [u8; HEAD],
    /// Bytes received of the next frame's header.
    have: usize,
    is_block_open: bool,
    /// Bytes of the open header block.
    block_bytes: usize,
    /// Whether the frame that is being skipped ends the block.
    ends_block: bool,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            skip: PREFACE,
            head: [0; HEAD],
            have: 0,
            is_block_open: false,
            block_bytes: 0,
            ends_block: false,
        }
    }
}

impl Frames {
    /// Processes the next bytes.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let passed = self.skip.min(bytes.len());
                self.skip -= passed;
                self.block_bytes += if self.is_block_open { passed } else { 0 };
                bytes = &bytes[passed..];
            } else {
                let taken = (HEAD - self.have).min(bytes.len());
                self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
                self.have += taken;
                bytes = &bytes[taken..];
                if self.have == HEAD {
                    self.begin();
                }
            }
            if self.skip == 0 && self.ends_block {
                (self.is_block_open, self.ends_block) = (false, false);
                self.block_bytes = 0;
            }
        }
    }

    fn begin(&mut self) {
        let [high, middle, low, kind, flags, ..] = self.head;
        self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        self.have = 0;
        if matches!(kind, HEADERS | CONTINUATION) {
            self.is_block_open = true;
            self.ends_block = flags & END_HEADERS != 0;
        }
    }

    /// Number of bytes received of a header block that has not ended.
    pub(super) fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// Whether a header block has begun and not ended. A frame whose type is not known yet counts as one.
    pub(super) fn is_in_headers(&self) -> bool {
        self.is_block_open || self.have > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        [&[0, 0, length, kind, flags, 0, 0, 0, 1][..], &vec![0xAA; length.into()]].concat()
    }

    /// What `is_in_headers` says after each byte.
    fn trace(parts: &[Vec<u8>]) -> Vec<bool> {
        let mut frames = Frames::default();
        frames.pass(&[0; PREFACE]);
        let mut said = Vec::new();
        for byte in parts.concat() {
            frames.pass(&[byte]);
            said.push(frames.is_in_headers());
        }
        said
    }

    #[test]
    fn a_block_lasts_until_its_last_continuation_ends() {
        let frames = [frame(HEADERS, 0, 5), frame(CONTINUATION, 0, 0), frame(CONTINUATION, END_HEADERS, 3)];
        let mut open = Frames::default();
        open.pass(&[&[0; PREFACE][..], &frames[0], &frames[1], &frames[2][..HEAD + 2]].concat());
        assert_eq!(open.block_bytes(), 5 + 2);
        open.pass(&frames[2][HEAD + 2..]);
        assert_eq!(open.block_bytes(), 0);
        let said = trace(&frames);
        let (last, before) = said.split_last().unwrap();
        assert!(!last && before.iter().all(|in_headers| *in_headers), "{said:?}");
        let mut at_once = Frames::default();
        at_once.pass(&[&[0; PREFACE][..], &frames.concat()].concat());
        assert!(!at_once.is_in_headers());
    }

    #[test]
    fn other_frames_count_only_until_they_say_what_they_are() {
        let said = trace(&[frame(0, 1, 4), frame(6, END_HEADERS, 8), frame(HEADERS, END_HEADERS, 0)]);
        for head in [0, 13, 30] {
            assert!(said[head..head + 8].iter().all(|in_headers| *in_headers), "{head} {said:?}");
            let rest = said[head + 8..].iter().take_while(|in_headers| !**in_headers).count();
            assert!(rest >= 1, "{head} {said:?}");
        }
        assert_eq!(said.last(), Some(&false));
    }
}
