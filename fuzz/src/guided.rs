//! libFuzzer at one door. Its loop needs nothing of what `cargo fuzz` sets up but the flags of the build, which
//! `cargo xtask fuzz` sets.
#![allow(unsafe_code, reason = "libFuzzer is a C library")]

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::{fs, io, ptr, slice};

use fuzz::Door;
// Links libFuzzer.
use libfuzzer_sys as _;

/// More than any input of use takes.
const MAX_LENGTH: usize = 4096;

/// Seconds after which an input counts as one that never ends; much, for the machine may have other work.
const TIMEOUT: u32 = 120;

/// One run.
pub(crate) struct Run {
    pub(crate) executions: u32,
    pub(crate) seed: u32,
    /// Keeps `corpus`, what is worth being tried again, `dictionary`, and what failed.
    pub(crate) folder: PathBuf,
}

thread_local! {
    /// libFuzzer calls on the thread that it was started on, with nothing but the bytes.
    static DOOR: RefCell<Option<Box<dyn Door>>> = const { RefCell::new(None) };
}

type Callback = extern "C" fn(*const u8, usize) -> c_int;

unsafe extern "C" {
    fn LLVMFuzzerRunDriver(argc: *mut c_int, argv: *mut *mut *mut c_char, callback: Callback) -> c_int;
}

/// libFuzzer's crate refers to this, as the macro that it offers defines it; that macro's programs try one target only.
#[unsafe(no_mangle)]
extern "Rust" fn rust_fuzzer_test_input(bytes: &[u8]) -> i32 {
    try_one(bytes)
}

extern "C" fn callback(data: *const u8, length: usize) -> c_int {
    if data.is_null() {
        return try_one(&[]);
    }
    // SAFETY: libFuzzer hands over `length` bytes at `data`, which it keeps until this returns.
    try_one(unsafe { slice::from_raw_parts(data, length) })
}

fn try_one(bytes: &[u8]) -> c_int {
    DOOR.with_borrow(|door| {
        if let Some(Err(finding)) = door.as_ref().map(|door| door.with_bytes(bytes)) {
            eprintln!("FOUND: {finding}");
            // What libFuzzer takes for a crash: it writes the bytes to a file and ends.
            std::process::abort();
        }
    });
    0
}

impl Run {
    /// Tries the door. Ends the process, unless the arguments are refused.
    pub(crate) fn start(&self, door: Box<dyn Door>) -> io::Result<ExitCode> {
        let corpus = self.folder.join("corpus");
        fs::create_dir_all(&corpus)?;
        for (number, seed) in door.seeds().iter().enumerate() {
            fs::write(corpus.join(format!("seed-{number}")), seed)?;
        }
        let words = dictionary_of(door.words());
        DOOR.set(Some(door));
        // What is caught is shown once, made small, and not each time on the way there.
        std::panic::set_hook(Box::new(|_| {}));

        let mut arguments = vec![
            "fuzz".to_owned(),
            format!("-runs={}", self.executions),
            format!("-seed={}", self.seed),
            format!("-max_len={MAX_LENGTH}"),
            format!("-timeout={TIMEOUT}"),
            format!("-artifact_prefix={}/", self.folder.display()),
            "-rss_limit_mb=4096".to_owned(),
            // A comparison that comes closer counts as something new.
            "-use_value_profile=1".to_owned(),
            "-print_final_stats=1".to_owned(),
            corpus.display().to_string(),
        ];
        // An empty one is refused.
        if !words.is_empty() {
            let dictionary = self.folder.join("dictionary");
            fs::write(&dictionary, words)?;
            arguments.push(format!("-dict={}", dictionary.display()));
        }
        let arguments = arguments.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>()?;
        // To the end of the process: libFuzzer keeps them.
        let mut pointers: Vec<*mut c_char> = arguments.into_iter().map(CString::into_raw).collect();
        let mut count = c_int::try_from(pointers.len()).map_err(io::Error::other)?;
        pointers.push(ptr::null_mut());
        let mut pointers = pointers.leak().as_mut_ptr();
        // SAFETY: `count` strings that end with NUL, and a null pointer behind them, as a `main` in C gets them.
        let code = unsafe { LLVMFuzzerRunDriver(&raw mut count, &raw mut pointers, callback) };
        Ok(if code == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The words as libFuzzer reads them: a line each, in quotes, bytes in hexadecimal.
fn dictionary_of(words: &[&str]) -> String {
    let mut dictionary = String::new();
    for word in words {
        let bytes = word.bytes().fold(String::new(), |mut bytes, byte| {
            let _ = write!(bytes, "\\x{byte:02x}");
            bytes
        });
        let _ = writeln!(dictionary, "\"{bytes}\"");
    }
    dictionary
}
