//! Certificates of a test's own, for stores that are reached over TLS.

use std::path::Path;
use std::process::Command;

use super::skip;

/// Makes certificates and keys in `folder`: of the authority `ca`, of `server` (for localhost) and `client`, which it
/// vouches for, and of the authority `other`, as `<name>.pem` and `<name>.key`. False, and reported, without openssl.
pub(crate) fn make(folder: &Path) -> bool {
    if Command::new("openssl").arg("version").output().is_err() {
        skip("no openssl on PATH");
        return false;
    }
    let ca = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj";
    for name in ["ca", "other"] {
        openssl(folder, &format!("{ca} /CN={name} -keyout {name}.key -out {name}.pem"));
    }
    std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1").unwrap();
    for name in ["server", "client"] {
        let request = "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj";
        openssl(folder, &format!("{request} /CN={name} -keyout {name}.key -out {name}.csr"));
        let sign = "x509 -req -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names";
        openssl(folder, &format!("{sign} -in {name}.csr -out {name}.pem"));
    }
    true
}

fn openssl(folder: &Path, arguments: &str) {
    let made = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
